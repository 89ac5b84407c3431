//! Live delivery: the hub that wakes listeners, and the relay that carries its messages between nodes. The log tells the
//! truth: what is lost on the way is read from the store.

pub(crate) mod presence;
mod relay;
pub mod stream;
mod topic;
pub mod typing;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use quikapp_entities::{ChannelId, SessionId, UserId, WorkspaceId};
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc};

pub use relay::Relay;
pub use topic::{Feed, Told};

use crate::{
    Result,
    clock::Environment,
    live::{
        relay::Incoming,
        topic::{Raw, Topics},
    },
    messages::model::{ChannelKey, Message},
    store::MessageStore,
};

/// How often the followed channels are compared with the store, in case that a publication was lost in silence or, as the
/// outcome of a write was not known, never made.
const SWEEP: Duration = Duration::from_secs(5);
const CONTROL_TOPIC: &str = "control";

/// Something every node has to know at once, because it ends or changes what open connections may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    typing: typing::Typing,
    presence: presence::Presences,
}

impl Hub {
    /// A hub for the only node. Needs a Tokio runtime.
    #[must_use]
    pub fn alone(store: Arc<dyn MessageStore>, env: &Environment) -> Self {
        let hub = Self::build(store, None, env);
        // A write may have happened although its outcome was not known, and then nobody published it.
        tokio::spawn(sweep(Arc::downgrade(&hub.inner)));
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
        for topic in [CONTROL_TOPIC, typing::TOPIC, presence::TOPIC] {
            relay.subscribe(topic).await.map_err(|error| error.to_string())?;
        }
        let hub = Self::build(store, Some(relay), env);
        tokio::spawn(dispatch(Arc::downgrade(&hub.inner), incoming));
        tokio::spawn(sweep(Arc::downgrade(&hub.inner)));
        Ok(hub)
    }

    fn build(store: Arc<dyn MessageStore>, relay: Option<Relay>, env: &Environment) -> Self {
        Self {
            inner: Arc::new(Inner {
                topics: Arc::default(),
                store,
                typing: typing::Typing::new(relay.clone(), env.clone()),
                presence: presence::Presences::new(relay.clone(), env.clone()),
                relay,
                control: broadcast::channel(1_024).0,
            }),
        }
    }

    /// Tells the listeners of all nodes that a message changed. Call it in tick order, after the commit.
    pub fn publish(&self, message: &Arc<Message>) {
        let channel = message.key.channel;
        self.inner.topics.deliver(channel, Raw::Changed(Arc::clone(message)));
        if let Some(relay) = &self.inner.relay {
            match serde_json::to_vec(message.as_ref()) {
                Ok(payload) => relay.publish(&topic::topic_name(channel), &payload),
                Err(error) => tracing::error!(%error, "a message could not be written for the relay"),
            }
        }
    }

    /// Follows a channel from its present tick on.
    pub async fn follow(&self, key: ChannelKey) -> Result<Feed> {
        self.inner.topics.follow(key, &self.inner.store, self.inner.relay.as_ref()).await
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
async fn dispatch(hub: Weak<Inner>, mut incoming: mpsc::UnboundedReceiver<Incoming>) {
    while let Some(incoming) = incoming.recv().await {
        let Some(hub) = hub.upgrade() else { return };
        match incoming {
            Incoming::Reconnected { has_dropped } => {
                hub.topics.check_all();
                hub.presence.check_all();
                let _ = hub.control.send(Control::Missed);
                // Among what was lost may have been that somebody's access ended, which no sweep would find.
                if has_dropped
                    && let Some(relay) = &hub.relay
                    && let Ok(payload) = serde_json::to_vec(&Control::Missed)
                {
                    relay.publish(CONTROL_TOPIC, &payload);
                }
            }
            Incoming::Message { topic, payload } => match topic.as_str() {
                CONTROL_TOPIC => {
                    if let Ok(control) = serde_json::from_slice(&payload) {
                        let _ = hub.control.send(control);
                    }
                }
                typing::TOPIC => hub.typing.receive(&payload),
                presence::TOPIC => hub.presence.receive(&payload),
                _ => match serde_json::from_slice::<Message>(&payload) {
                    Ok(message) => {
                        hub.topics.deliver(message.key.channel, Raw::Changed(Arc::new(message)));
                    }
                    // A newer node may write what this one cannot read; the store has it in a form that both know.
                    Err(error) => tracing::warn!(%error, "a publication could not be read"),
                },
            },
        }
    }
}

/// Compares the followed channels with the store, in one query.
async fn sweep(hub: Weak<Inner>) {
    let mut tick = tokio::time::interval(SWEEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(hub) = hub.upgrade() else { return };
        let positions = hub.topics.positions();
        for part in positions.chunks(500) {
            let keys: Vec<_> = part.iter().map(|(key, _)| *key).collect();
            let Ok(heads) = hub.store.heads(&keys).await else { continue };
            for (key, head) in heads {
                if part.iter().any(|(other, last)| *other == key && *last < head.seq) {
                    hub.topics.deliver(key.channel, Raw::Check);
                }
            }
        }
    }
}
