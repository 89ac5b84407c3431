//! A lane: the task that commits one channel's changes, what waits together in one group.

use std::{sync::Arc, time::Duration};

use quikapp_entities::MessageId;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    Result,
    log::{Alteration, Appended, Command, Draft, HEAD_TRUST, Inner},
    messages::model::{ChannelKey, Message},
    store::Head,
};

/// The largest group committed at once.
const GROUP: usize = 512;
/// How long a lane stays open with nothing to do.
const IDLE: Duration = Duration::from_secs(30);
/// How often a change is tried against other nodes before it is given up.
pub(super) const ATTEMPTS: usize = 200;

pub(super) type Appending = (Draft, oneshot::Sender<Result<Appended>>);
pub(super) type Altering = (Alteration, oneshot::Sender<Result<Arc<Message>>>);

/// One step of a group: neighbours of a kind are committed together.
enum Step {
    Append(Vec<Appending>),
    Alter(MessageId, Vec<Altering>),
}

/// A channel's lane with what it knows of the log.
pub(super) struct Lane {
    pub(super) shared: Arc<Inner>,
    pub(super) key: ChannelKey,
    head: Option<(Head, Instant)>,
}

impl Lane {
    /// The head to go on from; read from the store if it is not known for sure or known for too long.
    pub(super) async fn head(&mut self) -> Result<Head> {
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
    }

    /// Goes on from what was just committed, and tells everybody.
    pub(super) fn committed(&mut self, message: &Arc<Message>) {
        self.head = Some((Head { seq: message.seq, visible_count: message.visible_count }, Instant::now()));
        self.shared.hub.publish(message);
    }
}

/// Serves a channel until it has been quiet for a while.
pub(super) async fn run(shared: Arc<Inner>, key: ChannelKey, mut commands: mpsc::Receiver<Command>) {
    let mut lane = Lane { shared, key, head: None };
    lane.finish_left_over_replies().await;
    let mut group = Vec::with_capacity(GROUP);
    loop {
        match tokio::time::timeout(IDLE, commands.recv_many(&mut group, GROUP)).await {
            Ok(0) => return,
            Ok(_) => {
                for step in steps(group.drain(..)) {
                    match step {
                        Step::Append(drafts) => lane.append(drafts).await,
                        Step::Alter(id, alterations) => lane.alter(id, alterations).await,
                    }
                }
                let _ = lane.shared.activity.send(key);
            }
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
