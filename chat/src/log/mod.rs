//! The channel log: one lane a channel, through which all changes of its messages on this node pass.
//!
//! Each durable change takes the channel's next tick, dense from 1, and is one document write: change, log entry and tick
//! at once. Between nodes the ticks are kept single by a unique index: whoever loses a tick looks at the head and tries
//! the next. A message that changes moves on to its new tick; so that the old one cannot be taken again by a node which
//! has not noticed, the message lists the ticks it took in the last [`TICK_MEMORY`], and all of these are unique. A lane in
//! turn never writes by a head that it learned longer ago than [`HEAD_TRUST`].

mod alter;
mod append;
mod lane;
mod rivals;
mod thread;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use dashmap::DashMap;
use quikapp_entities::{MessageId, Timestamp, UserId};
use tokio::sync::{broadcast, mpsc, oneshot};

pub use alter::{Alteration, Aspect};

pub use crate::activity::Changed;
use crate::{
    Error, Result,
    clock::Environment,
    live::Hub,
    messages::model::{Block, ChannelKey, Message, MessageKind, SystemEvent},
    store::{Head, MessageStore},
};

/// How long a message lists a tick that it has moved on from.
pub const TICK_MEMORY: Duration = Duration::from_mins(10);
/// How long a lane goes by a head without looking again.
pub const HEAD_TRUST: Duration = Duration::from_mins(1);
/// How often an entry is looked for and made where others make the same one, or one beside it, at the same time.
const NOTE_TRIES: usize = 3;
/// Changes that may wait in a lane; one more waits for room, which slows its sender down.
const LANE_ROOM: usize = 4_096;

/// A message to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Its id.
    pub id: MessageId,
    /// Who writes it.
    pub author: UserId,
    /// When.
    pub created_at: Timestamp,
    /// What it mainly is.
    pub kind: MessageKind,
    /// The words.
    pub text: String,
    /// Formatted content.
    pub blocks: Vec<Block>,
    /// Whom it addresses.
    pub mentions: Vec<UserId>,
    /// Whether it addresses all members.
    pub mentions_everyone: bool,
    /// The sender's own id for it.
    pub client_message_id: Option<String>,
    /// The first message of the thread that it replies in.
    pub thread_root: Option<MessageId>,
    /// The message that it quotes.
    pub reply_to: Option<MessageId>,
    /// Whether a reply also stands in the timeline.
    pub broadcast: bool,
    /// What happened, on SYSTEM messages.
    pub system: Option<SystemEvent>,
}

/// A message that is in the log.
#[derive(Debug, Clone)]
pub struct Appended {
    /// The message.
    pub message: Arc<Message>,
    /// Whether it was there already, by its `client_message_id`.
    pub deduplicated: bool,
}

/// What a lane is asked to do.
pub(crate) enum Command {
    Append {
        draft: Box<Draft>,
        done: oneshot::Sender<Result<Appended>>,
    },
    Alter {
        id: MessageId,
        alteration: Alteration,
        done: oneshot::Sender<Result<Arc<Message>>>,
    },
    /// Another node asks for a turn.
    GiveWay,
}

/// Tells that a channel's counters moved.
pub type Activity = mpsc::UnboundedSender<Changed>;

/// The logs of all channels. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn MessageStore>,
    pub(crate) hub: Hub,
    pub(crate) env: Environment,
    pub(crate) lanes: DashMap<ChannelKey, mpsc::Sender<Command>>,
    pub(crate) activity: Activity,
}

/// Tells the lanes at which other nodes ask for a turn.
async fn give_way(log: Weak<Inner>, mut asked: broadcast::Receiver<ChannelKey>) {
    loop {
        match asked.recv().await {
            Ok(key) => {
                let Some(log) = log.upgrade() else { return };
                if let Some(lane) = log.lanes.get(&key) {
                    // A lane without room for this is asked again.
                    let _ = lane.try_send(Command::GiveWay);
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

impl Log {
    /// Logs over a store; every channel that changes is told to `activity`. Needs a Tokio runtime.
    #[must_use]
    pub fn new(store: Arc<dyn MessageStore>, hub: Hub, env: Environment, activity: Activity) -> Self {
        let asked = hub.turns_asked();
        let inner = Arc::new(Inner { store, hub, env, lanes: DashMap::new(), activity });
        tokio::spawn(give_way(Arc::downgrade(&inner), asked));
        Self { inner }
    }

    /// The channel's last tick and counter, for what must not go by an older one; see [`MessageStore::latest_head`].
    pub async fn head(&self, key: ChannelKey) -> Result<Head> {
        self.inner.store.latest_head(key).await
    }

    /// Appends a message. What is sent at the same time to the same channel is committed together.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the outcome is not known; the same `client_message_id` finds out.
    pub async fn append(&self, key: ChannelKey, draft: Draft) -> Result<Appended> {
        let (done, answer) = oneshot::channel();
        self.send(key, Command::Append { draft: Box::new(draft), done }).await?;
        answer.await.map_err(|_| Error::Internal)?
    }

    /// Appends many messages in their order and waits for all of them.
    pub async fn append_all(&self, key: ChannelKey, drafts: Vec<Draft>) -> Result<Vec<Appended>> {
        let mut answers = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let (done, answer) = oneshot::channel();
            self.send(key, Command::Append { draft: Box::new(draft), done }).await?;
            answers.push(answer);
        }
        let mut appended = Vec::with_capacity(answers.len());
        for answer in answers {
            appended.push(answer.await.map_err(|_| Error::Internal)??);
        }
        Ok(appended)
    }

    /// Changes a message; see [`Alteration`].
    pub async fn alter(
        &self,
        key: ChannelKey,
        id: MessageId,
        alteration: Alteration,
    ) -> Result<Arc<Message>> {
        let (done, answer) = oneshot::channel();
        self.send(key, Command::Alter { id, alteration, done }).await?;
        answer.await.map_err(|_| Error::Internal)?
    }

    /// Writes what happened to a channel into its timeline, as a message of kind SYSTEM by `author`; once, however often it
    /// is called with the same `id`.
    pub async fn system(
        &self,
        key: ChannelKey,
        author: UserId,
        event: SystemEvent,
        id: MessageId,
    ) -> Result<Arc<Message>> {
        Ok(self.append(key, self.system_draft(author, event, id)).await?.message)
    }

    /// Writes that something changed again: one entry for each `id`, whoever wrote it first, which takes the next tick every
    /// time.
    pub async fn note(
        &self,
        key: ChannelKey,
        author: UserId,
        event: SystemEvent,
        id: MessageId,
    ) -> Result<()> {
        let mut refused = Error::Internal;
        for _ in 0..NOTE_TRIES {
            let event_now = event.clone();
            let again = Alteration::new(move |message| {
                message.system = Some(event_now.clone());
                Ok(Some(Aspect::Content))
            });
            match self.alter(key, id, again).await {
                Err(Error::NotFound(_)) => {}
                done => return done.map(|_| ()),
            }
            match self.append(key, self.system_draft(author, event.clone(), id)).await {
                Ok(appended) if !appended.deduplicated => return Ok(()),
                // The same by the same author was faster, and may have told of an earlier change.
                Ok(_) => {}
                Err(error @ Error::Unavailable { .. }) => return Err(error),
                // By its id alone it is no repeat: somebody else's was faster. Or only a neighbour's in the same write.
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// Revises the entry `id`, of which there is one that takes the next tick every time, as in [`Log::note`]: `revision`
    /// sees what it says now (none before the first time) and gives what it is to say, or none to leave everything as it
    /// is. It decides on what is there when the change is made, whoever was faster, so it may run several times.
    pub async fn revise(
        &self,
        key: ChannelKey,
        author: UserId,
        id: MessageId,
        revision: impl Fn(Option<&SystemEvent>) -> Option<SystemEvent> + Send + Sync + 'static,
    ) -> Result<()> {
        let present = self.inner.store.get(&[(key, id)]).await?.into_iter().next();
        // Mostly there is nothing to change, and then nothing is written.
        let Some(event) = revision(present.as_ref().and_then(|entry| entry.system.as_ref())) else {
            return Ok(());
        };
        if present.is_none() && !self.append(key, self.system_draft(author, event, id)).await?.deduplicated {
            return Ok(());
        }
        let again = Alteration::new(move |entry| {
            Ok(revision(entry.system.as_ref()).map(|event| {
                entry.system = Some(event);
                Aspect::Content
            }))
        });
        self.alter(key, id, again).await?;
        Ok(())
    }

    fn system_draft(&self, author: UserId, event: SystemEvent, id: MessageId) -> Draft {
        Draft {
            id,
            author,
            created_at: self.inner.env.now(),
            kind: MessageKind::System,
            text: String::new(),
            blocks: Vec::new(),
            mentions: Vec::new(),
            mentions_everyone: false,
            client_message_id: Some(format!("system:{}", id.0.simple())),
            thread_root: None,
            reply_to: None,
            broadcast: false,
            system: Some(event),
        }
    }

    /// Finishes threads whose replies were written by a node that stopped before their roots were told.
    pub async fn repair(&self, key: ChannelKey) -> Result<()> {
        let pending = self.inner.store.pending_replies(key).await?;
        thread::repair(self, key, &pending).await
    }

    async fn send(&self, key: ChannelKey, command: Command) -> Result<()> {
        let mut command = command;
        loop {
            let sender = self.inner.lanes.get(&key).map(|lane| lane.clone());
            let sender = match sender {
                Some(sender) => sender,
                None => self
                    .inner
                    .lanes
                    .entry(key)
                    .or_insert_with(|| {
                        let (sender, receiver) = mpsc::channel(LANE_ROOM);
                        tokio::spawn(lane::run(Arc::clone(&self.inner), key, receiver));
                        sender
                    })
                    .clone(),
            };
            match sender.send(command).await {
                Ok(()) => return Ok(()),
                // The lane retired in this moment: open it again.
                Err(mpsc::error::SendError(back)) => {
                    command = back;
                    self.inner.lanes.remove_if(&key, |_, lane| lane.is_closed());
                }
            }
        }
    }
}
