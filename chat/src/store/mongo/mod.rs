//! Messages in `MongoDB`, version 6.0 or later, on a replica set.

mod call;
mod document;
mod floors;
mod indexes;
mod reads;
mod writer;
mod writes;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bson::{Document, RawDocumentBuf, doc};
use mongodb::{
    Client, Collection, Database,
    error::ErrorKind,
    options::{
        Acknowledgment, ClientOptions, CollectionOptions, DatabaseOptions, ReadConcern, ReadPreference,
        SelectionCriteria, WriteConcern,
    },
};
use quikapp_entities::{MessageId, Timestamp, UserId};

use self::{call::Calls, writer::Writer};
use super::{Head, Inserted, MessageStore, PageQuery, Replaced, Unread, UnreadQuery};
use crate::{
    Result,
    messages::model::{ChannelKey, Message, ThreadSummary},
};

/// The wire version of `MongoDB` 6.0, the first with all that the queries use.
const OLDEST_WIRE_VERSION: i32 = 17;

/// Why the store cannot be opened, in one line for the operator. Shows neither the address nor credentials.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address cannot be read.
    #[error("the address of MongoDB is not valid: {0}")]
    Address(String),
    /// Nothing answers there.
    #[error("MongoDB does not answer: {0}")]
    Unreachable(String),
    /// One server by itself has no majority and no retryable writes.
    #[error("MongoDB runs as a single server; start it with --replSet and initiate the replica set")]
    NotReplicated,
    /// An old server.
    #[error("MongoDB is older than 6.0")]
    TooOld,
    /// The server refuses what has to be done.
    #[error("MongoDB refused to prepare the database: {0}")]
    Refused(String),
}

impl OpenError {
    fn of(error: &mongodb::error::Error) -> Self {
        match error.kind.as_ref() {
            ErrorKind::InvalidArgument { message, .. } => Self::Address(one_line(message)),
            ErrorKind::ServerSelection { .. } | ErrorKind::Io(_) | ErrorKind::DnsResolve { .. } => {
                Self::Unreachable(one_line(&error.kind.to_string()))
            }
            kind => Self::Refused(one_line(&kind.to_string())),
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A handle on the messages of one database. Cheap to clone.
#[derive(Clone)]
pub struct MongoStore {
    database: Database,
    messages: Collection<RawDocumentBuf>,
    clocks: Collection<Document>,
    calls: Arc<Calls>,
    writer: Writer,
}

impl MongoStore {
    /// Connects to `uri` and prepares `database`; safe when several nodes do so at once.
    pub async fn open(uri: &str, database: &str) -> Result<Self, OpenError> {
        let mut options = ClientOptions::parse(uri).await.map_err(|error| OpenError::of(&error))?;
        options.app_name.get_or_insert_with(|| "quikapp".to_owned());
        options.server_selection_timeout.get_or_insert(Duration::from_secs(3));
        options.connect_timeout.get_or_insert(Duration::from_secs(3));
        options.max_pool_size.get_or_insert(48);
        options.min_pool_size.get_or_insert(4);
        options.retry_writes = Some(true);
        let client = Client::with_options(options).map_err(|error| OpenError::of(&error))?;
        Self::with_client(&client, database).await
    }

    /// [`MongoStore::open`] on a client that is already there.
    pub async fn with_client(client: &Client, database: &str) -> Result<Self, OpenError> {
        // A tick that is read and then taken back by a failover would have been told to subscribers, and somebody else's
        // change would get it a second time: so only what a majority has is read, from whoever is the primary.
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        let reads = DatabaseOptions::builder()
            .read_concern(ReadConcern::majority())
            .selection_criteria(primary.clone())
            .build();
        let database = client.database_with_options(database, reads);
        check_server(&database).await?;

        let acknowledge = |timeout: Option<Duration>| {
            WriteConcern::builder()
                .w(Some(Acknowledgment::Majority))
                .journal(Some(true))
                .w_timeout(timeout)
                .build()
        };
        // Building an index may take long, a write may not.
        let patient = CollectionOptions::builder().write_concern(acknowledge(None)).build();
        let messages = database.collection_with_options::<Document>("messages", patient);
        indexes::ensure(&messages).await.map_err(|error| OpenError::of(&error))?;
        floors::make(&database, acknowledge(None)).await.map_err(|error| OpenError::of(&error))?;

        let options = CollectionOptions::builder()
            .write_concern(acknowledge(Some(Duration::from_secs(4))))
            .read_concern(ReadConcern::majority())
            .selection_criteria(primary)
            .build();
        let (messages, calls) =
            (database.collection_with_options("messages", options.clone()), Arc::default());
        let store = Self {
            writer: Writer::new(messages.clone(), Arc::clone(&calls)),
            messages,
            clocks: database.collection_with_options(floors::CLOCKS, options),
            database,
            calls,
        };
        store.heal_floors().await.map_err(|error| OpenError::Refused(error.to_string()))?;
        Ok(store)
    }
}

/// Refuses servers on which the guarantees of this store do not hold.
async fn check_server(database: &Database) -> Result<(), OpenError> {
    let hello = database
        .run_command(doc! { "hello": 1 })
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .await
        .map_err(|error| OpenError::of(&error))?;
    if hello.get_i32("maxWireVersion").unwrap_or(0) < OLDEST_WIRE_VERSION {
        return Err(OpenError::TooOld);
    }
    if !hello.contains_key("setName") && !hello.get_str("msg").is_ok_and(|kind| kind == "isdbgrid") {
        return Err(OpenError::NotReplicated);
    }
    Ok(())
}

#[async_trait]
impl MessageStore for MongoStore {
    async fn head(&self, key: ChannelKey) -> Result<Head> {
        let heads = self.read_heads(&[key], ReadConcern::majority()).await?;
        Ok(heads.first().map_or(Head::default(), |(_, head)| *head))
    }

    async fn latest_head(&self, key: ChannelKey) -> Result<Head> {
        let heads = self.read_heads(&[key], ReadConcern::linearizable()).await?;
        Ok(heads.first().map_or(Head::default(), |(_, head)| *head))
    }

    async fn heads(&self, keys: &[ChannelKey]) -> Result<Vec<(ChannelKey, Head)>> {
        self.read_heads(keys, ReadConcern::majority()).await
    }

    async fn insert(&self, key: ChannelKey, messages: &[Message]) -> Result<Inserted> {
        self.write_new(key, messages).await
    }

    async fn replace(&self, message: &Message, expected_seq: i64) -> Result<Replaced> {
        self.write_again(message, expected_seq).await
    }

    async fn clear_thread_pending(&self, key: ChannelKey, replies: &[MessageId]) -> Result<()> {
        self.write_not_pending(key, replies).await
    }

    async fn get(&self, ids: &[(ChannelKey, MessageId)]) -> Result<Vec<Message>> {
        self.read_by_id(ids).await
    }

    async fn by_client_ids(&self, key: ChannelKey, ids: &[(UserId, String)]) -> Result<Vec<Message>> {
        self.read_by_client_id(key, ids).await
    }

    async fn page(&self, key: ChannelKey, query: PageQuery) -> Result<Vec<Message>> {
        self.read_page(key, query).await
    }

    async fn changes(&self, key: ChannelKey, after: i64, limit: usize) -> Result<Vec<Message>> {
        self.read_changes(key, after, limit).await
    }

    async fn newest(&self, keys: &[(ChannelKey, i64)]) -> Result<Vec<Message>> {
        self.read_newest(keys).await
    }

    async fn unread(
        &self,
        reader: UserId,
        queries: &[UnreadQuery],
        limit: u32,
    ) -> Result<Vec<(ChannelKey, Unread)>> {
        self.read_unread(reader, queries, limit).await
    }

    async fn thread_summary(&self, key: ChannelKey, root: MessageId) -> Result<ThreadSummary> {
        self.read_thread_summary(key, root).await
    }

    async fn pending_replies(&self, key: ChannelKey) -> Result<Vec<Message>> {
        self.read_pending_replies(key).await
    }

    async fn pending_channels(&self, before: Timestamp) -> Result<Vec<ChannelKey>> {
        self.read_pending_channels(before).await
    }

    async fn delete_channel(&self, key: ChannelKey) -> Result<()> {
        self.remove_channel(key).await
    }

    async fn purge(&self, _now: Timestamp) -> Result<u64> {
        // The server removes tombstones by itself; what it takes with them has to be kept.
        self.heal_floors().await?;
        Ok(0)
    }

    async fn ping(&self) -> Result<()> {
        let database = self.database.clone();
        let call = async move {
            let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
            database.run_command(doc! { "ping": 1 }).selection_criteria(primary).await?;
            Ok(())
        };
        self.calls.run("ping", call).await
    }

    fn queries(&self) -> u64 {
        self.calls.count()
    }
}
