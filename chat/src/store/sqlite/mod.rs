//! Messages in a `SQLite` file, for the embedded mode; the same file may hold the relational store.

mod fault;
mod readers;
mod reads;
mod row;
mod schema;
mod writer;
mod writes;

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use quikapp_entities::{MessageId, Timestamp, UserId};
use rusqlite::Connection;

pub use self::schema::OpenError;
use self::{readers::Readers, writer::Writer};
use super::{Head, Inserted, MessageStore, PageQuery, Replaced, Unread, UnreadQuery};
use crate::{
    Error, Result,
    messages::model::{ChannelKey, Message, ThreadSummary},
};

/// How long a caller waits for the commit of its change.
const TIME_LIMIT: Duration = Duration::from_millis(4_500);
/// How many messages one job removes, so that it does not hold up the others.
const REMOVED_AT_ONCE: u16 = 1_000;

/// The messages of one file.
pub struct SqliteStore {
    writer: Writer,
    readers: Readers,
    queries: AtomicU64,
}

impl SqliteStore {
    /// Opens the file, makes it and its tables if they are not there. Its folder must exist. Blocks for a moment.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let writer = Writer::start(schema::open_writer(path)?)?;
        Ok(Self { writer, readers: Readers::new(path), queries: AtomicU64::new(0) })
    }

    async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        self.readers.read(what, query).await
    }

    async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        weight: usize,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        tokio::time::timeout(TIME_LIMIT, self.writer.submit(what, weight, job)).await.unwrap_or_else(|_| {
            tracing::warn!(what, "the message store did not answer in time");
            Err(fault::unavailable())
        })
    }
}

fn encoded(message: &Message) -> Result<row::MessageRow> {
    row::encode(message).map_err(|error| {
        tracing::error!(%error, "a message cannot be written as JSON");
        Error::Internal
    })
}

#[async_trait]
impl MessageStore for SqliteStore {
    async fn head(&self, key: ChannelKey) -> Result<Head> {
        Ok(self.read("head", move |connection| reads::head(connection, key)).await?.unwrap_or_default())
    }

    async fn latest_head(&self, key: ChannelKey) -> Result<Head> {
        self.head(key).await
    }

    async fn heads(&self, keys: &[ChannelKey]) -> Result<Vec<(ChannelKey, Head)>> {
        let keys = keys.to_vec();
        self.read("heads", move |connection| reads::heads(connection, &keys)).await
    }

    async fn insert(&self, key: ChannelKey, messages: &[Message]) -> Result<Inserted> {
        debug_assert!(messages.iter().all(|message| message.key == key));
        if messages.is_empty() {
            return Ok(Inserted { committed: 0, conflict: None });
        }
        let rows = messages.iter().map(encoded).collect::<Result<Vec<_>>>()?;
        self.write("insert", rows.len(), move |connection| writes::insert(connection, &rows)).await
    }

    async fn replace(&self, message: &Message, expected_seq: i64) -> Result<Replaced> {
        let row = encoded(message)?;
        self.write("replace", 1, move |connection| writes::replace(connection, &row, expected_seq)).await
    }

    async fn clear_thread_pending(&self, key: ChannelKey, replies: &[MessageId]) -> Result<()> {
        if replies.is_empty() {
            return Ok(());
        }
        let replies: Vec<_> = replies.iter().map(|id| id.0.into_bytes()).collect();
        self.write("clear pending", replies.len(), move |connection| {
            writes::clear_thread_pending(connection, key, &replies)
        })
        .await
    }

    async fn get(&self, ids: &[(ChannelKey, MessageId)]) -> Result<Vec<Message>> {
        let ids = ids.to_vec();
        self.read("get", move |connection| reads::get(connection, &ids)).await
    }

    async fn by_client_ids(&self, key: ChannelKey, ids: &[(UserId, String)]) -> Result<Vec<Message>> {
        let ids = ids.to_vec();
        self.read("by client ids", move |connection| reads::by_client_ids(connection, key, &ids)).await
    }

    async fn page(&self, key: ChannelKey, query: PageQuery) -> Result<Vec<Message>> {
        self.read("page", move |connection| reads::page(connection, key, query)).await
    }

    async fn changes(&self, key: ChannelKey, after: i64, limit: usize) -> Result<Vec<Message>> {
        self.read("changes", move |connection| reads::changes(connection, key, after, limit)).await
    }

    async fn newest(&self, keys: &[(ChannelKey, i64)]) -> Result<Vec<Message>> {
        let keys = keys.to_vec();
        self.read("newest", move |connection| reads::newest(connection, &keys)).await
    }

    async fn unread(
        &self,
        reader: UserId,
        queries: &[UnreadQuery],
        limit: u32,
    ) -> Result<Vec<(ChannelKey, Unread)>> {
        let queries = queries.to_vec();
        self.read("unread", move |connection| reads::unread(connection, reader, &queries, limit)).await
    }

    async fn thread_summary(&self, key: ChannelKey, root: MessageId) -> Result<ThreadSummary> {
        self.read("thread summary", move |connection| reads::thread_summary(connection, key, root)).await
    }

    async fn pending_replies(&self, key: ChannelKey) -> Result<Vec<Message>> {
        self.read("pending replies", move |connection| reads::pending_replies(connection, key)).await
    }

    async fn pending_channels(&self, before: Timestamp) -> Result<Vec<ChannelKey>> {
        self.read("pending channels", move |connection| reads::pending_channels(connection, before)).await
    }

    async fn delete_channel(&self, key: ChannelKey) -> Result<()> {
        let limit = REMOVED_AT_ONCE;
        loop {
            let job = move |connection: &Connection| writes::delete_channel(connection, key, limit.into());
            if self.write("delete channel", limit.into(), job).await? < limit.into() {
                return Ok(());
            }
        }
    }

    async fn purge(&self, now: Timestamp) -> Result<u64> {
        let limit = REMOVED_AT_ONCE;
        let mut all = 0;
        loop {
            let job = move |connection: &Connection| writes::purge(connection, now.0, limit.into());
            let removed = self.write("purge", limit.into(), job).await?;
            all += u64::try_from(removed).unwrap_or(u64::MAX);
            if removed < limit.into() {
                return Ok(all);
            }
        }
    }

    async fn ping(&self) -> Result<()> {
        self.read("ping", |connection| connection.query_row("SELECT 1", [], |_| Ok(()))).await
    }

    fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }
}
