//! Live delivery: the hub that wakes listeners, and the relay that carries its messages between nodes. The log tells the
//! truth: what is lost on the way is read from the store.

pub mod event;
mod feed;
mod flow;
mod inbox;
pub mod notes;
pub mod position;
pub mod positions;
pub(crate) mod presence;
mod publication;
mod relay;
mod ring;
pub mod slices;
pub mod stream;
#[cfg(test)]
mod tests;
mod topic;
pub mod typing;
pub mod viewer;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use quikapp_entities::{ChannelId, SessionId, UserId, WorkspaceId};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast};

pub use feed::{Feed, Told};
pub use relay::Relay;

use crate::{
    Result,
    clock::Environment,
    live::{
        inbox::{Inbox, Incoming},
        topic::{Raw, Topics},
    },
    messages::model::{ChannelKey, Message},
    reads::is_read_log,
    store::MessageStore,
};

/// How often the followed channels are compared with the store, in case that a publication was lost in silence or, as the
/// outcome of a write was not known, never made.
const SWEEP: Duration = Duration::from_secs(5);
/// Logs of read cursors, of which there is one for each user, are compared once in so many rounds.
const READS_ROUND: u32 = 12;
/// Followed channels compared with one query.
const SWEPT_AT_ONCE: usize = 500;
const CONTROL_TOPIC: &str = "control";
const TURNS_TOPIC: &str = "turns";

/// Something every node has to know at once, because it ends or changes what open connections may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Control {
    /// The session was revoked: its connections close.
    SessionRevoked {
        /// Which one.
        session: SessionId,
    },
    /// The account was suspended, deactivated or deleted: its connections close.
    UserDisabled {
        /// Whose.
        user: UserId,
    },
    /// The user's access to a channel (or, without one, to the whole workspace) ended or shrank: streams check again.
    AccessChanged {
        /// Whose.
        user: UserId,
        /// Where.
        workspace: WorkspaceId,
        /// In which channel; in all of them if none.
        channel: Option<ChannelId>,
    },
    /// What the members of a channel may see of it changed, for all of them: its streams check again.
    ChannelAccessChanged {
        /// Where.
        workspace: WorkspaceId,
        /// In which channel.
        channel: ChannelId,
    },
    /// Announcements of other nodes may have been missed: everything checks again.
    Missed,
}

/// Live delivery of one node. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    topics: Arc<Topics>,
    store: Arc<dyn MessageStore>,
    relay: Option<Relay>,
    control: broadcast::Sender<Control>,
    turns: broadcast::Sender<ChannelKey>,
    slices: slices::Slices,
    /// Lets the followed channels be compared with the store now.
    sweep: Arc<Notify>,
    typing: typing::Typing,
    presence: presence::Presences,
}

impl Hub {
    /// A hub for the only node. Needs a Tokio runtime.
    #[must_use]
    pub fn alone(store: Arc<dyn MessageStore>, env: &Environment) -> Self {
        let hub = Self::build(store, None, env);
        // A write may have happened although its outcome was not known, and then nobody published it.
        tokio::spawn(sweep(Arc::downgrade(&hub.inner), Arc::clone(&hub.inner.sweep)));
        hub
    }

    /// A hub among several nodes, joined by the Redis at `url`. Every key begins with `prefix`.
    ///
    /// # Errors
    /// The driver's reason, for the operator, when Redis does not answer at start.
    pub async fn joined(
        store: Arc<dyn MessageStore>,
        url: &str,
        prefix: &str,
        env: &Environment,
    ) -> std::result::Result<Self, String> {
        let (relay, incoming) = Relay::connect(url, prefix).await.map_err(|error| error.to_string())?;
        for topic in [CONTROL_TOPIC, TURNS_TOPIC, typing::TOPIC, presence::TOPIC] {
            relay.subscribe(topic).await.map_err(|error| error.to_string())?;
        }
        let hub = Self::build(store, Some(relay), env);
        tokio::spawn(dispatch(Arc::downgrade(&hub.inner), incoming));
        tokio::spawn(sweep(Arc::downgrade(&hub.inner), Arc::clone(&hub.inner.sweep)));
        Ok(hub)
    }

    fn build(store: Arc<dyn MessageStore>, relay: Option<Relay>, env: &Environment) -> Self {
        Self {
            inner: Arc::new(Inner {
                topics: Arc::new(Topics::new(Arc::clone(&store), relay.clone())),
                store,
                typing: typing::Typing::new(relay.clone(), env.clone()),
                presence: presence::Presences::new(relay.clone(), env.clone()),
                relay,
                control: broadcast::channel(1_024).0,
                turns: broadcast::channel(256).0,
                slices: slices::Slices::default(),
                sweep: Arc::default(),
            }),
        }
    }

    /// Tells the listeners of all nodes that a message changed. Call it in tick order, after the commit.
    pub fn publish(&self, message: &Arc<Message>) {
        let channel = message.key.channel;
        self.inner.topics.deliver(channel, Raw::Changed(Arc::clone(message)));
        if let Some(relay) = &self.inner.relay {
            relay.publish(&topic::topic_name(channel), &publication::write(message));
        }
    }

    /// Follows a channel from its present tick on.
    pub async fn follow(&self, key: ChannelKey) -> Result<Feed> {
        self.inner.topics.follow(&[key]).await?.pop().ok_or(crate::Error::Internal)
    }

    /// Follows many channels from their present ticks on, in the order given; one query.
    pub async fn follow_all(&self, keys: &[ChannelKey]) -> Result<Vec<Feed>> {
        self.inner.topics.follow(keys).await
    }

    /// Tells every node, this one included.
    pub fn announce(&self, control: Control) {
        let _ = self.inner.control.send(control);
        if let Some(relay) = &self.inner.relay
            && let Ok(payload) = serde_json::to_vec(&control)
        {
            relay.publish(CONTROL_TOPIC, &payload);
        }
    }

    /// What is announced from now on, on any node. A receiver that lags has to check everything again.
    #[must_use]
    pub fn controls(&self) -> broadcast::Receiver<Control> {
        self.inner.control.subscribe()
    }

    /// Asks the other nodes for a turn at writing to a channel.
    pub(crate) fn ask_for_turn(&self, key: ChannelKey) {
        if let Some(relay) = &self.inner.relay
            && let Ok(payload) = serde_json::to_vec(&key)
        {
            relay.publish(TURNS_TOPIC, &payload);
        }
    }

    /// Channels at which other nodes ask for a turn. Some may be missed.
    pub(crate) fn turns_asked(&self) -> broadcast::Receiver<ChannelKey> {
        self.inner.turns.subscribe()
    }

    /// The turns of those who come back.
    #[must_use]
    pub fn slices(&self) -> &slices::Slices {
        &self.inner.slices
    }

    /// Who types where.
    #[must_use]
    pub fn typing(&self) -> &typing::Typing {
        &self.inner.typing
    }

    /// Who is connected.
    pub(crate) fn presence(&self) -> &presence::Presences {
        &self.inner.presence
    }

    /// Whether the relay answers; always, where there is none.
    pub async fn ping(&self) -> Result<()> {
        match &self.inner.relay {
            Some(relay) => relay.ping().await,
            None => Ok(()),
        }
    }
}

/// Hands on what the other nodes tell.
async fn dispatch(hub: Weak<Inner>, mut inbox: Inbox) {
    while let Some(incoming) = inbox.next().await {
        let Some(hub) = hub.upgrade() else { return };
        match incoming {
            Incoming::Missed => {
                hub.sweep.notify_one();
                hub.presence.check_all();
                let _ = hub.control.send(Control::Missed);
                // Among what was lost on the way out may have been that somebody's access ended, which no sweep would find.
                if let Some(relay) = &hub.relay
                    && relay.take_dropped()
                    && let Ok(payload) = serde_json::to_vec(&Control::Missed)
                {
                    relay.publish(CONTROL_TOPIC, &payload);
                }
            }
            Incoming::Message { topic, payload } => match topic.as_str() {
                CONTROL_TOPIC => {
                    if let Ok(control) = serde_json::from_slice(&payload) {
                        if control == Control::Missed {
                            hub.sweep.notify_one();
                        }
                        let _ = hub.control.send(control);
                    }
                }
                TURNS_TOPIC => {
                    if let Ok(key) = serde_json::from_slice(&payload) {
                        let _ = hub.turns.send(key);
                    }
                }
                typing::TOPIC => hub.typing.receive(&payload),
                presence::TOPIC => hub.presence.receive(&payload),
                _ => {
                    if let Some(channel) = topic::channel_of(&topic) {
                        hub.topics.deliver(channel, publication::read(&payload));
                    }
                }
            },
        }
    }
}

/// Compares the followed channels with the store, in few queries.
async fn sweep(hub: Weak<Inner>, now: Arc<Notify>) {
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut round = 0;
    loop {
        let is_with_reads = tokio::select! {
            _ = tick.tick() => {
                round = (round + 1) % READS_ROUND;
                round == 0
            }
            () = now.notified() => true,
        };
        let Some(hub) = hub.upgrade() else { return };
        let mut positions = hub.topics.positions();
        positions.retain(|(key, _)| is_with_reads || !is_read_log(*key));
        for part in positions.chunks(SWEPT_AT_ONCE) {
            let keys: Vec<_> = part.iter().map(|(key, _)| *key).collect();
            let Ok(heads) = hub.store.heads(&keys).await else { continue };
            let heads: HashMap<_, _> = heads.into_iter().collect();
            for (key, last) in part {
                if let Some(head) = heads.get(key)
                    && *last < head.seq
                {
                    hub.topics.deliver(key.channel, Raw::Reached(head.seq));
                }
            }
        }
    }
}
