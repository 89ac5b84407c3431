//! The changes, as the writing thread runs them. It is the only writer, so what it looks up holds until it commits.

use rusqlite::{Connection, OptionalExtension, params};

use super::row::{MessageRow, key_bytes};
use crate::{
    messages::model::ChannelKey,
    store::{Conflict, Inserted, Replaced},
};

/// A UUID's.
type Bytes = [u8; 16];

const INSERT: &str = "INSERT INTO messages (id, workspace_id, channel_id, author_id, ts, seq, visible_count, \
     client_message_id, thread_root, in_timeline, visible, thread_pending, created_at, purge_at, ticks, body) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
const UPDATE: &str = "UPDATE messages SET author_id = ?4, ts = ?5, seq = ?6, visible_count = ?7, \
     client_message_id = ?8, thread_root = ?9, in_timeline = ?10, visible = ?11, thread_pending = ?12, \
     created_at = ?13, purge_at = ?14, ticks = ?15, body = ?16 \
     WHERE id = ?1 AND workspace_id = ?2 AND channel_id = ?3";

fn write_row(connection: &Connection, sql: &str, row: &MessageRow) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(params![
        row.id,
        row.workspace,
        row.channel,
        row.author,
        row.ts,
        row.seq,
        row.visible_count,
        row.client_message_id,
        row.thread_root,
        row.in_timeline,
        row.visible,
        row.thread_pending,
        row.created_at,
        row.purge_at,
        row.ticks_json,
        row.body,
    ])?;
    Ok(())
}

fn write_tick(connection: &Connection, row: &MessageRow, tick: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO message_ticks (workspace_id, channel_id, tick, message_id) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![row.workspace, row.channel, tick, row.id])?;
    Ok(())
}

fn is_taken(connection: &Connection, row: &MessageRow, tick: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM message_ticks WHERE workspace_id = ?1 AND channel_id = ?2 AND tick = ?3",
        )?
        .exists(params![row.workspace, row.channel, tick])
}

fn is_repeat(connection: &Connection, row: &MessageRow) -> rusqlite::Result<bool> {
    let Some(client_message_id) = &row.client_message_id else { return Ok(false) };
    connection
        .prepare_cached(
            "SELECT 1 FROM messages WHERE workspace_id = ?1 AND channel_id = ?2 AND author_id = ?3 \
             AND client_message_id = ?4",
        )?
        .exists(params![row.workspace, row.channel, row.author, client_message_id])
}

/// Moves the channel's clock on; never back.
fn move_clock(connection: &Connection, row: &MessageRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO channel_clocks (workspace_id, channel_id, seq, visible_count) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT DO UPDATE SET seq = excluded.seq, visible_count = excluded.visible_count \
             WHERE excluded.seq > seq",
        )?
        .execute(params![row.workspace, row.channel, row.seq, row.visible_count])?;
    Ok(())
}

pub(super) fn insert(connection: &Connection, rows: &[MessageRow]) -> rusqlite::Result<Inserted> {
    let mut inserted = Inserted { committed: 0, conflict: None };
    for row in rows {
        if is_repeat(connection, row)? {
            inserted.conflict = Some(Conflict::ClientMessageId);
            break;
        }
        let mut taken = false;
        for tick in &row.ticks {
            taken = taken || is_taken(connection, row, *tick)?;
        }
        if taken {
            inserted.conflict = Some(Conflict::Tick);
            break;
        }
        for tick in &row.ticks {
            write_tick(connection, row, *tick)?;
        }
        write_row(connection, INSERT, row)?;
        inserted.committed += 1;
    }
    if let Some(last) = rows[..inserted.committed].iter().max_by_key(|row| row.seq) {
        move_clock(connection, last)?;
    }
    Ok(inserted)
}

pub(super) fn replace(
    connection: &Connection,
    row: &MessageRow,
    expected_seq: i64,
) -> rusqlite::Result<Replaced> {
    let stored: Option<(i64, String)> = connection
        .prepare_cached(
            "SELECT seq, ticks FROM messages WHERE id = ?1 AND workspace_id = ?2 AND channel_id = ?3",
        )?
        .query_row(params![row.id, row.workspace, row.channel], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((seq, ticks)) = stored else { return Ok(Replaced::Stale) };
    if seq != expected_seq {
        return Ok(Replaced::Stale);
    }
    let old: Vec<i64> = serde_json::from_str(&ticks).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
    })?;
    let added: Vec<i64> = row.ticks.iter().copied().filter(|tick| !old.contains(tick)).collect();
    for tick in &added {
        if is_taken(connection, row, *tick)? {
            return Ok(Replaced::TickTaken);
        }
    }
    for tick in added {
        write_tick(connection, row, tick)?;
    }
    for tick in old.into_iter().filter(|tick| !row.ticks.contains(tick)) {
        free_tick(connection, &row.workspace, &row.channel, tick)?;
    }
    write_row(connection, UPDATE, row)?;
    move_clock(connection, row)?;
    Ok(Replaced::Done)
}

fn free_tick(connection: &Connection, workspace: &Bytes, channel: &Bytes, tick: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM message_ticks WHERE workspace_id = ?1 AND channel_id = ?2 AND tick = ?3",
        )?
        .execute(params![workspace, channel, tick])?;
    Ok(())
}

pub(super) fn clear_thread_pending(
    connection: &Connection,
    key: ChannelKey,
    replies: &[Bytes],
) -> rusqlite::Result<()> {
    let (workspace, channel) = key_bytes(key);
    let mut update = connection.prepare_cached(
        "UPDATE messages SET thread_pending = 0 WHERE id = ?1 AND workspace_id = ?2 AND channel_id = ?3",
    )?;
    for id in replies {
        update.execute(params![id, workspace, channel])?;
    }
    Ok(())
}

/// Removes up to `limit` messages of a channel, its clock with the last one; how many.
pub(super) fn delete_channel(
    connection: &Connection,
    key: ChannelKey,
    limit: i64,
) -> rusqlite::Result<usize> {
    let (workspace, channel) = key_bytes(key);
    let removed = connection
        .prepare_cached(
            "DELETE FROM messages WHERE rowid IN (SELECT rowid FROM messages \
             WHERE workspace_id = ?1 AND channel_id = ?2 ORDER BY seq LIMIT ?3)",
        )?
        .execute(params![workspace, channel, limit])?;
    if i64::try_from(removed).is_ok_and(|removed| removed < limit) {
        for table in ["message_ticks", "channel_clocks"] {
            connection.execute(
                &format!("DELETE FROM {table} WHERE workspace_id = ?1 AND channel_id = ?2"),
                params![workspace, channel],
            )?;
        }
    }
    Ok(removed)
}

/// Removes up to `limit` tombstones whose time has come; how many.
pub(super) fn purge(connection: &Connection, now: i64, limit: i64) -> rusqlite::Result<usize> {
    let mut due = connection.prepare_cached(
        "SELECT id, workspace_id, channel_id, ticks FROM messages \
         WHERE purge_at IS NOT NULL AND purge_at <= ?1 ORDER BY purge_at LIMIT ?2",
    )?;
    let due: Vec<(Bytes, Bytes, Bytes, String)> = due
        .query_map(params![now, limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, workspace, channel, ticks) in &due {
        let ticks: Vec<i64> = serde_json::from_str(ticks).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(error))
        })?;
        for tick in ticks {
            free_tick(connection, workspace, channel, tick)?;
        }
        connection.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([id])?;
    }
    Ok(due.len())
}
