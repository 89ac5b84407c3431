//! The channel log: one lane a channel through which all changes of its messages pass.

use std::sync::Arc;

use quikapp_entities::UserId;

use crate::{
    Result,
    clock::Environment,
    live::Hub,
    messages::model::{ChannelKey, Message, SystemEvent},
    store::{Head, MessageStore},
};

/// The logs of all channels. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    store: Arc<dyn MessageStore>,
    _hub: Hub,
    _env: Environment,
}

impl Log {
    /// Logs over a store.
    #[must_use]
    pub fn new(store: Arc<dyn MessageStore>, hub: Hub, env: Environment) -> Self {
        Self { store, _hub: hub, _env: env }
    }

    /// The channel's last tick and counter.
    pub async fn head(&self, key: ChannelKey) -> Result<Head> {
        self.store.head(key).await
    }

    /// Writes what happened to a channel into its timeline, as a message of kind SYSTEM by `author`.
    pub async fn system(
        &self,
        _key: ChannelKey,
        _author: UserId,
        _event: SystemEvent,
    ) -> Result<Arc<Message>> {
        Err(crate::Error::Internal)
    }
}
