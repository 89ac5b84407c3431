//! The SQLite crate that the server keeps messages with, called as directly as can be.

use std::sync::Arc;

use rusqlite::{Connection, OpenFlags, ToSql, params, params_from_iter, types::Value};
use serde::Deserialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    inserts::{Own, Waiting},
    mongo::Shown,
};
use crate::{
    failure::{Failure, Result},
    stores::Stores,
};

fn read_only(stores: &Stores) -> Result<Connection> {
    Ok(Connection::open_with_flags(
        stores.file(),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?)
}

/// Grouped inserts of rows like those of the server, into a file of their own with the same table and indexes.
pub(super) struct SqliteInserts {
    path: std::path::PathBuf,
    columns: Arc<[String]>,
    pattern: Arc<[Value]>,
}

impl SqliteInserts {
    pub(super) fn open(stores: &Stores) -> Result<Self> {
        let server = read_only(stores)?;
        let mut tables = server.prepare(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = 'messages' AND sql IS NOT NULL ORDER BY type = 'table' DESC",
        )?;
        let tables: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut sent =
            server.prepare("SELECT * FROM messages WHERE client_message_id IS NOT NULL LIMIT 1")?;
        let columns: Arc<[String]> = sent.column_names().into_iter().map(str::to_owned).collect();
        let pattern = sent.query_row([], |row| {
            (0..columns.len()).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()
        })?;

        let store = Self { path: stores.folder.path().join("raw.db"), columns, pattern };
        store.connect()?.execute_batch(&tables.join(";\n"))?;
        Ok(store)
    }

    /// As durable as the server's own, and set up like that.
    fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        for (pragma, value) in
            [("synchronous", 2), ("cache_size", -64 * 1_024), ("wal_autocheckpoint", 8_192)]
        {
            connection.pragma_update(None, pragma, value)?;
        }
        Ok(connection)
    }

    /// Makes rows.
    pub(super) fn maker(&self) -> impl Fn(&Own) -> Result<Vec<Value>> + Clone + Send + 'static {
        let (columns, pattern) = (Arc::clone(&self.columns), Arc::clone(&self.pattern));
        move |own| {
            let tick = own.tick;
            let row = columns.iter().zip(pattern.iter()).map(|(column, value)| match column.as_str() {
                "id" => Value::Blob(Uuid::now_v7().into_bytes().to_vec()),
                "author_id" => Value::Blob(own.author.into_bytes().to_vec()),
                "channel_id" => Value::Blob(own.channel.into_bytes().to_vec()),
                "client_message_id" => Value::Text(own.marker.number.to_string()),
                "ticks" => Value::Text(format!("[{tick}]")),
                "ts" | "seq" | "visible_count" => Value::Integer(tick),
                _ => value.clone(),
            });
            Ok(row.collect())
        }
    }

    /// Writes what waits until nobody can wait any more; for a thread of its own.
    pub(super) fn writer(
        &self,
        mut waiting: mpsc::Receiver<Waiting<Vec<Value>>>,
        most: usize,
    ) -> Result<impl FnOnce() -> Result<()> + Send + 'static> {
        let mut connection = self.connect()?;
        let marks = vec!["?"; self.columns.len()].join(", ");
        let insert = format!("INSERT INTO messages ({}) VALUES ({marks})", self.columns.join(", "));
        Ok(move || {
            let mut group = Vec::with_capacity(most);
            while waiting.blocking_recv_many(&mut group, most) > 0 {
                let transaction = connection.transaction()?;
                let mut statement = transaction.prepare_cached(&insert)?;
                let mut all = Vec::with_capacity(group.len());
                for (row, done) in group.drain(..) {
                    statement.execute(params_from_iter(row.iter().map(|value| value as &dyn ToSql)))?;
                    all.push(done);
                }
                drop(statement);
                transaction.commit()?;
                for done in all {
                    let _ = done.send(());
                }
            }
            Ok(())
        })
    }

    pub(super) fn count(&self) -> Result<u64> {
        let count: i64 = self.connect()?.query_row("SELECT count(*) FROM messages", [], |row| row.get(0))?;
        Ok(u64::try_from(count)?)
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    text: std::borrow::Cow<'a, str>,
    #[serde(default)]
    reactions: Vec<Reaction>,
}

#[derive(Deserialize)]
struct Reaction {
    emoji: String,
    users: Vec<serde::de::IgnoredAny>,
}

/// Selects in one channel.
pub(super) struct SqliteReads {
    connection: Connection,
    workspace: Vec<u8>,
    channel: Vec<u8>,
}

impl SqliteReads {
    /// In the channel of the message with this `clientMessageId`.
    pub(super) fn open(stores: &Stores, client_id: &str) -> Result<Self> {
        let connection = read_only(stores)?;
        let (workspace, channel) = connection.query_row(
            "SELECT workspace_id, channel_id FROM messages WHERE client_message_id = ?1",
            [client_id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(Self { connection, workspace, channel })
    }

    /// The newest messages as JSON, and how many they are.
    pub(super) fn newest(&self, count: usize) -> Result<(usize, Vec<u8>)> {
        self.select("in_timeline = 1 AND ts > ?3 ORDER BY ts DESC", 0, count)
    }

    /// All changes after a tick.
    pub(super) fn changes(&self, after: i64, most: usize) -> Result<(usize, Vec<u8>)> {
        self.select("seq > ?3 ORDER BY seq", after, most)
    }

    fn select(&self, which: &str, after: i64, most: usize) -> Result<(usize, Vec<u8>)> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT id, author_id, ts, seq, created_at, body FROM messages \
             WHERE workspace_id = ?1 AND channel_id = ?2 AND {which} LIMIT ?4"
        ))?;
        let most = i64::try_from(most)?;
        let mut rows = statement.query(params![self.workspace, self.channel, after, most])?;
        let mut json = vec![b'['];
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let body: Body<'_> = serde_json::from_str(
                row.get_ref(5)?.as_str().map_err(|_| Failure::new("a message's body is no text"))?,
            )?;
            let id = |bytes: [u8; 16]| Uuid::from_bytes(bytes).to_string();
            let shown = Shown {
                id: id(row.get(0)?),
                author: id(row.get(1)?),
                ts: row.get(2)?,
                seq: row.get(3)?,
                text: &body.text,
                created_at: row.get(4)?,
                reactions: body
                    .reactions
                    .iter()
                    .map(|reaction| (&*reaction.emoji, reaction.users.len()))
                    .collect(),
            };
            serde_json::to_writer(&mut json, &shown)?;
            json.push(b',');
            count += 1;
        }
        Ok((count, json))
    }
}
