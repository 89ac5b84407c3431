//! The tables, and how a connection is set up.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// How long a statement waits for another process or the relational store to finish its write, in milliseconds. Less than
/// the time limit of a call, so that a busy file is told as such.
const BUSY_TIMEOUT: u32 = 4_000;
/// Prepared statements kept per connection.
const STATEMENTS: usize = 64;

/// What the writer has beside the others.
const WRITER_PRAGMAS: [(&str, i64); 4] = [
    // In KiB when it is negative: the pages at which the indexes of all active channels grow.
    ("cache_size", -64 * 1_024),
    // Pages of the write-ahead log before they are copied into the file. A group of messages changes hundreds of pages, mostly
    // the same ones again: with the usual 1,000 each was copied after every few groups.
    ("wal_autocheckpoint", 8_192),
    // Bytes that the log's file keeps when it is begun anew.
    ("journal_size_limit", 64 << 20),
    // In memory: what a savepoint would restore, which went through a file for each page.
    ("temp_store", 2),
];

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS messages (
    id BLOB NOT NULL PRIMARY KEY,
    workspace_id BLOB NOT NULL,
    channel_id BLOB NOT NULL,
    author_id BLOB NOT NULL,
    ts INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    visible_count INTEGER NOT NULL,
    client_message_id TEXT,
    thread_root BLOB,
    -- Derived: stands in the timeline; written by somebody and not deleted.
    in_timeline INTEGER NOT NULL,
    visible INTEGER NOT NULL,
    thread_pending INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    purge_at INTEGER,
    ticks TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS messages_seq ON messages (workspace_id, channel_id, seq);
CREATE UNIQUE INDEX IF NOT EXISTS messages_client_message_id
    ON messages (workspace_id, channel_id, author_id, client_message_id) WHERE client_message_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages_timeline ON messages (workspace_id, channel_id, ts) WHERE in_timeline = 1;
-- The newest message, and the number of those that somebody has yet to read, their own passed over by the author.
CREATE INDEX IF NOT EXISTS messages_visible
    ON messages (workspace_id, channel_id, ts, author_id) WHERE in_timeline = 1 AND visible = 1;
DROP INDEX IF EXISTS messages_newest;
CREATE INDEX IF NOT EXISTS messages_thread
    ON messages (workspace_id, channel_id, thread_root, ts) WHERE thread_root IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages_thread_pending
    ON messages (workspace_id, channel_id, ts) WHERE thread_pending = 1;
CREATE INDEX IF NOT EXISTS messages_purge_at ON messages (purge_at) WHERE purge_at IS NOT NULL;
-- Every tick that a message lists: none is taken twice.
CREATE TABLE IF NOT EXISTS message_ticks (
    workspace_id BLOB NOT NULL,
    channel_id BLOB NOT NULL,
    tick INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    PRIMARY KEY (workspace_id, channel_id, tick)
) STRICT, WITHOUT ROWID;
-- The head of each channel; stays when the message that took the last tick is purged.
CREATE TABLE IF NOT EXISTS channel_clocks (
    workspace_id BLOB NOT NULL,
    channel_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    visible_count INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, channel_id)
) STRICT, WITHOUT ROWID;
";

/// Why the store cannot be opened, in one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be opened or written.
    #[error("cannot open the message store in {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What `SQLite` says.
        reason: String,
    },
    /// The file system cannot do what write-ahead logging needs.
    #[error("{path} is on a file system without write-ahead logging (a network share?); use a local disk")]
    NoWriteAheadLog {
        /// The file.
        path: String,
    },
    /// The system refuses the writer's thread.
    #[error("cannot start the message store's writer: {0}")]
    Thread(std::io::Error),
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "busy_timeout", BUSY_TIMEOUT)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // With FULL, what was acknowledged also survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// The connection of the writer, with all tables there.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let fail = |error: rusqlite::Error| OpenError::File {
        path: path.display().to_string(),
        reason: error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let connection =
        connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).map_err(fail)?;
    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(fail)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(OpenError::NoWriteAheadLog { path: path.display().to_string() });
    }
    for (pragma, value) in WRITER_PRAGMAS {
        connection.pragma_update(None, pragma, value).map_err(fail)?;
    }
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} COMMIT;")).map_err(fail)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}
