//! The queries. A list costs one statement per entry where the entries lie apart: there is no network between.

use std::collections::{BTreeSet, HashSet};

use quikapp_entities::{MessageId, Timestamp, UserId};
use rusqlite::{Connection, OptionalExtension, Params, params};
use uuid::Uuid;

use super::row::{COLUMNS, decode, decode_key, key_bytes};
use crate::{
    messages::model::{ChannelKey, Message, ThreadSummary},
    store::{Head, PageQuery, Scope, Unread, UnreadQuery},
};

/// How much unfinished work one call returns.
const PENDING_LIMIT: i64 = 1_000;

fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn select(rest: &str) -> String {
    format!("SELECT {COLUMNS} FROM messages WHERE {rest}")
}

fn all(connection: &Connection, rest: &str, params: impl Params) -> rusqlite::Result<Vec<Message>> {
    connection.prepare_cached(&select(rest))?.query_map(params, decode)?.collect()
}

pub(super) fn head(connection: &Connection, key: ChannelKey) -> rusqlite::Result<Option<Head>> {
    let (workspace, channel) = key_bytes(key);
    connection
        .prepare_cached(
            "SELECT seq, visible_count FROM channel_clocks WHERE workspace_id = ?1 AND channel_id = ?2",
        )?
        .query_row(params![workspace, channel], |row| {
            Ok(Head { seq: row.get(0)?, visible_count: row.get(1)? })
        })
        .optional()
}

pub(super) fn heads(
    connection: &Connection,
    keys: &[ChannelKey],
) -> rusqlite::Result<Vec<(ChannelKey, Head)>> {
    let keys: BTreeSet<_> = keys.iter().copied().collect();
    let mut heads = Vec::with_capacity(keys.len());
    for key in keys {
        heads.extend(head(connection, key)?.map(|head| (key, head)));
    }
    Ok(heads)
}

pub(super) fn get(
    connection: &Connection,
    ids: &[(ChannelKey, MessageId)],
) -> rusqlite::Result<Vec<Message>> {
    let mut statement =
        connection.prepare_cached(&select("id = ?1 AND workspace_id = ?2 AND channel_id = ?3"))?;
    let mut messages = Vec::with_capacity(ids.len());
    let ids: HashSet<_> = ids.iter().collect();
    for (key, id) in ids {
        let (workspace, channel) = key_bytes(*key);
        messages
            .extend(statement.query_row(params![id.0.into_bytes(), workspace, channel], decode).optional()?);
    }
    Ok(messages)
}

pub(super) fn by_client_ids(
    connection: &Connection,
    key: ChannelKey,
    ids: &[(UserId, String)],
) -> rusqlite::Result<Vec<Message>> {
    let (workspace, channel) = key_bytes(key);
    let mut statement = connection.prepare_cached(&select(
        "workspace_id = ?1 AND channel_id = ?2 AND author_id = ?3 AND client_message_id = ?4",
    ))?;
    let mut messages = Vec::new();
    let ids: HashSet<_> = ids.iter().collect();
    for (author, id) in ids {
        let params = params![workspace, channel, author.0.into_bytes(), id];
        messages.extend(statement.query_row(params, decode).optional()?);
    }
    Ok(messages)
}

pub(super) fn page(
    connection: &Connection,
    key: ChannelKey,
    query: PageQuery,
) -> rusqlite::Result<Vec<Message>> {
    let (workspace, channel) = key_bytes(key);
    let order = if query.newest_first { "DESC" } else { "ASC" };
    let range = "workspace_id = ?1 AND channel_id = ?2 AND ts > ?3 AND ts < ?4";
    let (after, before, limit) = (query.after, query.before, limit(query.limit));
    match query.scope {
        Scope::Timeline => all(
            connection,
            &format!("{range} AND in_timeline = 1 ORDER BY ts {order} LIMIT ?5"),
            params![workspace, channel, after, before, limit],
        ),
        Scope::Thread(root) => all(
            connection,
            &format!("{range} AND thread_root = ?6 ORDER BY ts {order} LIMIT ?5"),
            params![workspace, channel, after, before, limit, root.0.into_bytes()],
        ),
    }
}

pub(super) fn changes(
    connection: &Connection,
    key: ChannelKey,
    after: i64,
    at_most: usize,
) -> rusqlite::Result<Vec<Message>> {
    let (workspace, channel) = key_bytes(key);
    all(
        connection,
        "workspace_id = ?1 AND channel_id = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4",
        params![workspace, channel, after, limit(at_most)],
    )
}

pub(super) fn newest(connection: &Connection, keys: &[(ChannelKey, i64)]) -> rusqlite::Result<Vec<Message>> {
    let mut statement = connection.prepare_cached(&select(
        "workspace_id = ?1 AND channel_id = ?2 AND in_timeline = 1 AND visible = 1 AND ts > ?3 \
         ORDER BY ts DESC LIMIT 1",
    ))?;
    let mut messages = Vec::with_capacity(keys.len());
    for (key, after) in keys {
        let (workspace, channel) = key_bytes(*key);
        messages.extend(statement.query_row(params![workspace, channel, after], decode).optional()?);
    }
    Ok(messages)
}

pub(super) fn unread(
    connection: &Connection,
    reader: UserId,
    queries: &[UnreadQuery],
    limit: u32,
) -> rusqlite::Result<Vec<(ChannelKey, Unread)>> {
    // The planner would take the timeline's index for the count, and look at what does not count too.
    let stretch = "FROM messages INDEXED BY messages_visible \
         WHERE workspace_id = ?1 AND channel_id = ?2 AND in_timeline = 1 AND visible = 1 \
         AND ts > ?3 AND ts <= ?4 AND author_id <> ?5 ORDER BY ts";
    // One statement, so that the count and the first of them are of the same moment.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT (SELECT count(*) FROM (SELECT 1 {stretch} LIMIT ?6)), id {stretch} LIMIT min(1, ?6)"
    ))?;
    let mut found = Vec::with_capacity(queries.len());
    for UnreadQuery { key, after, up_to } in queries {
        let (workspace, channel) = key_bytes(*key);
        let params = params![workspace, channel, after, up_to, reader.0.into_bytes(), limit];
        let row = statement.query_row(params, |row| {
            Ok(Unread { count: row.get(0)?, first: MessageId(Uuid::from_bytes(row.get(1)?)) })
        });
        found.extend(row.optional()?.map(|unread| (*key, unread)));
    }
    Ok(found)
}

pub(super) fn thread_summary(
    connection: &Connection,
    key: ChannelKey,
    root: MessageId,
) -> rusqlite::Result<ThreadSummary> {
    let (workspace, channel) = key_bytes(key);
    let replies =
        "FROM messages WHERE workspace_id = ?1 AND channel_id = ?2 AND thread_root = ?3 AND visible = 1";
    let (reply_count, last) = connection
        .prepare_cached(&format!("SELECT count(*), max(created_at) {replies}"))?
        .query_row(params![workspace, channel, root.0.into_bytes()], |row| {
            Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?))
        })?;
    let participants = connection
        .prepare_cached(&format!("SELECT author_id {replies} GROUP BY author_id ORDER BY min(ts) LIMIT ?4"))?
        .query_map(
            params![workspace, channel, root.0.into_bytes(), limit(ThreadSummary::PARTICIPANTS)],
            |row| Ok(UserId(Uuid::from_bytes(row.get(0)?))),
        )?
        .collect::<rusqlite::Result<_>>()?;
    Ok(ThreadSummary { reply_count, last_reply_at: last.map(Timestamp), participants })
}

pub(super) fn pending_replies(connection: &Connection, key: ChannelKey) -> rusqlite::Result<Vec<Message>> {
    let (workspace, channel) = key_bytes(key);
    all(
        connection,
        "workspace_id = ?1 AND channel_id = ?2 AND thread_pending = 1 ORDER BY ts LIMIT ?3",
        params![workspace, channel, PENDING_LIMIT],
    )
}

pub(super) fn pending_channels(
    connection: &Connection,
    before: Timestamp,
) -> rusqlite::Result<Vec<ChannelKey>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT workspace_id, channel_id FROM messages \
             WHERE thread_pending = 1 AND created_at < ?1 LIMIT ?2",
        )?
        .query_map(params![before.0, PENDING_LIMIT], |row| decode_key(row, 0))?
        .collect()
}
