//! The domain of `QuikApp`: what can be done, by whom, and what is told to whom. It knows the stores behind their traits
//! and nothing of GraphQL or HTTP.

pub mod access;
mod aftermath;
pub mod channel_members;
pub mod channels;
pub mod clock;
pub mod database;
pub mod direct_channels;
pub mod error;
pub mod import;
pub mod invitations;
pub mod live;
pub mod log;
pub mod messages;
pub mod paging;
pub mod store;
pub mod workspace_members;
pub mod workspaces;

use std::sync::Arc;

pub use error::{Error, FieldError, Result};
pub use quikapp_entities as entities;

use crate::{clock::Environment, database::Database, live::Hub, log::Log, store::MessageStore};

/// What a [`Chat`] is made of.
pub struct Parts {
    /// Users, workspaces, channels.
    pub database: Database,
    /// Messages.
    pub store: Arc<dyn MessageStore>,
    /// Live delivery.
    pub hub: Hub,
    /// Time and chance.
    pub environment: Environment,
    /// Signs and checks access tokens; at least 32 bytes.
    pub jwt_secret: Vec<u8>,
}

/// The whole domain behind one cheap handle; its functions are in `impl Chat` blocks, split by noun.
#[derive(Clone)]
pub struct Chat {
    pub(crate) db: Database,
    pub(crate) store: Arc<dyn MessageStore>,
    pub(crate) hub: Hub,
    pub(crate) log: Log,
    pub(crate) env: Environment,
}

impl Chat {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (activity, _changed) = tokio::sync::mpsc::unbounded_channel();
        let log = Log::new(Arc::clone(&parts.store), parts.hub.clone(), parts.environment.clone(), activity);
        Self { db: parts.database, store: parts.store, hub: parts.hub, log, env: parts.environment }
    }

    /// Live delivery, for streams.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Statements sent to the relational store and to the message store since they were opened.
    #[must_use]
    pub fn store_queries(&self) -> (u64, u64) {
        (self.db.queries(), self.store.queries())
    }
}
