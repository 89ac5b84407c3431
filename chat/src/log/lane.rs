//! A lane: the task that commits one channel's changes, what waits together in one group.

use std::{sync::Arc, time::Duration};

use quikapp_entities::MessageId;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    Result,
    activity::Changed,
    log::{
        Alteration, Appended, Command, Draft, HEAD_TRUST, Inner,
        rivals::{Contest, Rivals},
    },
    messages::model::{ChannelKey, Message},
    store::Head,
};

/// The largest group committed at once.
const GROUP: usize = 512;
/// How long a lane stays open with nothing to do.
const IDLE: Duration = Duration::from_secs(30);
/// How long it waits before it tries again to tell roots of their replies.
const LEFT_OVER: Duration = Duration::from_secs(1);

pub(super) type Appending = (Draft, oneshot::Sender<Result<Appended>>);
pub(super) type Altering = (Alteration, oneshot::Sender<Result<Arc<Message>>>);

/// One step of a group: neighbours of a kind are committed together.
enum Step {
    Append(Vec<Appending>),
    Alter(MessageId, Vec<Altering>),
    GiveWay,
}

/// A channel's lane with what it knows of the log.
pub(super) struct Lane {
    pub(super) shared: Arc<Inner>,
    pub(super) key: ChannelKey,
    head: Option<(Head, Instant)>,
    /// What the last commit of the group tells of the channel's counters.
    changed: Changed,
    /// The lanes of other nodes, once one of them was faster.
    rivals: Option<Rivals>,
    /// How long a write takes, on average.
    write: Duration,
    /// Since when a root may not know its replies, as something could not be read or written.
    owes: Option<Instant>,
}

impl Lane {
    /// The head to go on from; read from the store if it is not known for sure or known for too long.
    pub(super) async fn head(&mut self) -> Result<Head> {
        if let (Some((head, _)), Some(rivals)) = (self.head, &mut self.rivals)
            && let Some(newer) = rivals.head_behind(head.seq)
        {
            self.head = Some(newer);
        }
        match self.head {
            Some((head, since)) if since.elapsed() < HEAD_TRUST => Ok(head),
            _ => {
                let asked = Instant::now();
                let head = self.shared.store.head(self.key).await?;
                self.head = Some((head, asked));
                Ok(head)
            }
        }
    }

    /// The head to go on from where tick `reached` is known to be taken.
    pub(super) async fn head_from(&mut self, reached: i64) -> Result<Head> {
        if self.head.is_some_and(|(head, _)| head.seq < reached) {
            self.lose_head();
        }
        self.head().await
    }

    /// Forgets the head: somebody else was faster, or the outcome of a write is not known.
    pub(super) fn lose_head(&mut self) {
        self.head = None;
        self.changed.counters = None;
    }

    /// Another node was faster: tells whether to try again.
    pub(super) async fn lose(&mut self, contest: &mut Contest) -> bool {
        let lost = self.head.map_or(1, |(head, _)| head.seq + 1);
        self.lose_head();
        self.shared.hub.ask_for_turn(self.key);
        if let Some(rivals) = &mut self.rivals {
            // What they committed is as good as told, sooner than a query would answer.
            self.head = rivals.head_from(lost, self.write).await;
        } else {
            self.listen().await;
        }
        contest.lost(self.write).await
    }

    async fn listen(&mut self) {
        let Inner { hub, env, .. } = &*self.shared;
        match Rivals::listen(hub, self.key, env).await {
            Ok(rivals) => self.rivals = Some(rivals),
            // The lane goes on without.
            Err(error) => tracing::debug!(%error, "the channel's other nodes cannot be listened to"),
        }
    }

    async fn give_way(&mut self) {
        if self.rivals.is_none() {
            self.listen().await;
        }
        if let Some(rivals) = &mut self.rivals {
            rivals.asked();
        }
    }

    /// A reply may be in the log without its root knowing.
    pub(super) fn owe(&mut self) {
        self.owes.get_or_insert_with(Instant::now);
    }

    /// Tells roots of replies that they do not know of, if it is time to try.
    async fn settle(&mut self) {
        if self.owes.is_some_and(|since| since.elapsed() >= LEFT_OVER) {
            self.owes = None;
            self.finish_left_over_replies().await;
        }
    }

    /// Notes how long a write took.
    pub(super) fn wrote(&mut self, took: Duration) {
        self.write = (self.write * 7 + took) / 8;
    }

    /// Goes on from what was just committed, and tells everybody.
    pub(super) fn committed(&mut self, message: &Arc<Message>) {
        self.head = Some((Head { seq: message.seq, visible_count: message.visible_count }, Instant::now()));
        if let Some(rivals) = &mut self.rivals {
            rivals.committed(message.seq);
        }
        self.changed = Changed::by(message);
        self.shared.hub.publish(message);
    }
}

/// Serves a channel until it has been quiet for a while.
pub(super) async fn run(shared: Arc<Inner>, key: ChannelKey, mut commands: mpsc::Receiver<Command>) {
    let mut lane = Lane {
        shared,
        key,
        head: None,
        changed: Changed { key, counters: None },
        rivals: None,
        write: Duration::ZERO,
        owes: None,
    };
    lane.finish_left_over_replies().await;
    let mut group = Vec::with_capacity(GROUP);
    loop {
        let wait = if lane.owes.is_some() { LEFT_OVER } else { IDLE };
        match tokio::time::timeout(wait, commands.recv_many(&mut group, GROUP)).await {
            Ok(0) => return,
            Ok(_) => {
                if let Some(rivals) = &mut lane.rivals {
                    rivals.take_turns(lane.write).await;
                    while group.len() < GROUP
                        && let Ok(command) = commands.try_recv()
                    {
                        group.push(command);
                    }
                }
                lane.changed.counters = None;
                for step in steps(group.drain(..)) {
                    match step {
                        Step::Append(drafts) => lane.append(drafts).await,
                        Step::Alter(id, alterations) => lane.alter(id, alterations).await,
                        Step::GiveWay => lane.give_way().await,
                    }
                }
                let _ = lane.shared.activity.send(lane.changed);
                lane.settle().await;
            }
            Err(_) if lane.owes.is_some() => lane.settle().await,
            Err(_) => {
                // Closed first: whoever sends from now on opens a new lane. What is in, and what somebody is just about to
                // put in, is still served: receiving ends only after that.
                commands.close();
                lane.shared.lanes.remove_if(&key, |_, sender| sender.is_closed());
            }
        }
    }
}

fn steps(commands: impl Iterator<Item = Command>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for command in commands {
        match (command, steps.last_mut()) {
            (Command::Append { draft, done }, Some(Step::Append(drafts))) => drafts.push((*draft, done)),
            (Command::GiveWay, _) => steps.push(Step::GiveWay),
            (Command::Append { draft, done }, _) => steps.push(Step::Append(vec![(*draft, done)])),
            (Command::Alter { id, alteration, done }, Some(Step::Alter(last, alterations)))
                if *last == id =>
            {
                alterations.push((alteration, done));
            }
            (Command::Alter { id, alteration, done }, _) => {
                steps.push(Step::Alter(id, vec![(alteration, done)]));
            }
        }
    }
    steps
}
