//! The domain of `QuikApp`: what can be done, by whom, and what is told to whom. It knows the stores behind their traits
//! and nothing of GraphQL or HTTP.

pub mod access;
pub mod accounts;
mod activity;
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
pub mod outbox;
pub mod paging;
mod passwords;
pub mod people;
pub mod presence;
pub mod reads;
pub mod sessions;
pub mod store;
#[cfg(test)]
mod testing;
mod together;
mod tokens;
pub mod workspace_members;
pub mod workspaces;

use std::{ops::Deref, sync::Arc};

pub use error::{Error, FieldError, Result};
pub use quikapp_entities as entities;

use crate::{
    clock::Environment, database::Database, live::Hub, log::Log, sessions::Authentication,
    store::MessageStore,
};

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
    /// How long presence holds.
    pub presence: presence::Timing,
}

/// The whole domain behind one cheap handle; its functions are in `impl Chat` blocks, split by noun.
#[derive(Clone)]
pub struct Chat(Arc<Services>);

/// What the functions of a [`Chat`] work with.
pub struct Services {
    pub(crate) db: Database,
    pub(crate) store: Arc<dyn MessageStore>,
    pub(crate) hub: Hub,
    pub(crate) log: Log,
    pub(crate) counters: activity::Flush,
    pub(crate) env: Environment,
    pub(crate) auth: Arc<Authentication>,
    pub(crate) presence: Arc<presence::Service>,
    pub(crate) told: outbox::Told,
    pub(crate) standings: access::Lookups<access::Standing>,
    pub(crate) sightings: access::Lookups<access::Sighting>,
}

impl Chat {
    /// Puts the parts together, and begins the work that goes on beside the requests. Needs a Tokio runtime.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (activity, changed) = tokio::sync::mpsc::unbounded_channel();
        let counters = activity::start(parts.database.clone(), Arc::clone(&parts.store), changed);
        let log = Log::new(Arc::clone(&parts.store), parts.hub.clone(), parts.environment.clone(), activity);
        let auth = Arc::new(Authentication::new(&parts.jwt_secret, &parts.hub));
        let Parts { database: db, store, hub, environment: env, .. } = parts;
        let presence = presence::Service::start(db.clone(), hub.clone(), env.clone(), parts.presence);
        let told = outbox::Told::start(db.clone());
        let (standings, sightings) = (access::Lookups::new(), access::Lookups::new());
        let services =
            Services { db, store, hub, log, counters, env, auth, presence, told, standings, sightings };
        Self(Arc::new(services))
    }

    /// The same with access tokens that live so long, instead of 15 minutes. Has to be the same on every node.
    #[must_use]
    pub fn with_access_token_life(self, life: std::time::Duration) -> Self {
        self.auth.tokens.set_life(life);
        self
    }

    /// Brings the channels' counters up to their logs and finishes threads, where a stopped node left them behind.
    pub async fn catch_up(&self) -> Result<()> {
        self.catch_up_counters().await?;
        self.finish_threads().await
    }

    /// Brings the channels' counters up to their logs, where a node was killed before it did.
    pub async fn catch_up_counters(&self) -> Result<()> {
        activity::catch_up(&self.db, self.store.as_ref()).await
    }

    /// Writes down at once what the channels' counters are, before the node stops.
    pub async fn flush_counters(&self) {
        self.counters.now().await;
    }

    /// Lets the roots of threads know the replies that a stopped node wrote last.
    pub async fn finish_threads(&self) -> Result<()> {
        for key in self.store.pending_channels(self.env.now()).await? {
            self.log.repair(key).await?;
        }
        Ok(())
    }

    /// Removes tombstones whose time has come, where the store does not do so by itself.
    pub async fn purge(&self) -> Result<u64> {
        self.store.purge(self.env.now()).await
    }

    /// Whether the stores answer, by role.
    pub async fn ping(&self) -> Vec<(&'static str, Result<()>)> {
        let (database, messages, relay) = tokio::join!(self.db.ping(), self.store.ping(), self.hub.ping());
        vec![("database", database), ("messages", messages), ("relay", relay)]
    }

    /// The present moment, by the domain's clock.
    #[must_use]
    pub fn now(&self) -> entities::Timestamp {
        self.env.now()
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

impl Deref for Chat {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}
