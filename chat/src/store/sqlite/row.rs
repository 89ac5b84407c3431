//! A message as a row: columns for what is queried, JSON for the rest.

use std::borrow::Cow;

use quikapp_entities::{ChannelId, MessageId, Timestamp, UserId, WorkspaceId};
use rusqlite::{Row, types::Type};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::messages::model::{
    Block, ChangeTicks, ChannelKey, Message, MessageKind, ReactionGroup, SystemEvent, ThreadSummary,
};

/// The columns that [`decode`] reads, in its order.
pub(super) const COLUMNS: &str = "id, workspace_id, channel_id, author_id, ts, seq, visible_count, \
     client_message_id, thread_root, thread_pending, created_at, purge_at, ticks, body";

/// The columns of a message that are nowhere queried.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    kind: MessageKind,
    text: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "<[Block]>::is_empty")]
    blocks: Cow<'a, [Block]>,
    #[serde(default, skip_serializing_if = "<[UserId]>::is_empty")]
    mentions: Cow<'a, [UserId]>,
    #[serde(default)]
    mentions_everyone: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<MessageId>,
    #[serde(default)]
    broadcast: bool,
    #[serde(default, skip_serializing_if = "<[ReactionGroup]>::is_empty")]
    reactions: Cow<'a, [ReactionGroup]>,
    thread: Cow<'a, ThreadSummary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    system: Option<Cow<'a, SystemEvent>>,
    changes: ChangeTicks,
    ticks_mark: i64,
    ticks_mark_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edited_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_by: Option<UserId>,
    updated_at: Timestamp,
    changed_at: Timestamp,
}

/// A message ready to be bound: made on the caller's side, so that the writer only writes.
#[derive(Debug)]
pub(super) struct MessageRow {
    pub(super) id: [u8; 16],
    pub(super) workspace: [u8; 16],
    pub(super) channel: [u8; 16],
    pub(super) author: [u8; 16],
    pub(super) ts: i64,
    pub(super) seq: i64,
    pub(super) visible_count: i64,
    pub(super) client_message_id: Option<String>,
    pub(super) thread_root: Option<[u8; 16]>,
    pub(super) in_timeline: bool,
    pub(super) visible: bool,
    pub(super) thread_pending: bool,
    pub(super) created_at: i64,
    pub(super) purge_at: Option<i64>,
    pub(super) ticks: Vec<i64>,
    pub(super) ticks_json: String,
    pub(super) body: String,
}

/// The bytes of a key's two columns.
pub(super) fn key_bytes(key: ChannelKey) -> ([u8; 16], [u8; 16]) {
    (key.workspace.0.into_bytes(), key.channel.0.into_bytes())
}

/// The row of a message.
pub(super) fn encode(message: &Message) -> serde_json::Result<MessageRow> {
    let body = Body {
        kind: message.kind,
        text: Cow::Borrowed(&message.text),
        blocks: Cow::Borrowed(&message.blocks),
        mentions: Cow::Borrowed(&message.mentions),
        mentions_everyone: message.mentions_everyone,
        reply_to: message.reply_to,
        broadcast: message.broadcast,
        reactions: Cow::Borrowed(&message.reactions),
        thread: Cow::Borrowed(&message.thread),
        system: message.system.as_ref().map(Cow::Borrowed),
        changes: message.changes,
        ticks_mark: message.ticks_mark,
        ticks_mark_at: message.ticks_mark_at,
        edited_at: message.edited_at,
        deleted_at: message.deleted_at,
        deleted_by: message.deleted_by,
        updated_at: message.updated_at,
        changed_at: message.changed_at,
    };
    let (workspace, channel) = key_bytes(message.key);
    Ok(MessageRow {
        id: message.id.0.into_bytes(),
        workspace,
        channel,
        author: message.author.0.into_bytes(),
        ts: message.ts,
        seq: message.seq,
        visible_count: message.visible_count,
        client_message_id: message.client_message_id.clone(),
        thread_root: message.thread_root.map(|id| id.0.into_bytes()),
        in_timeline: message.in_timeline(),
        visible: message.counts(),
        thread_pending: message.thread_pending,
        created_at: message.created_at.0,
        purge_at: message.purge_at.map(|at| at.0),
        ticks_json: serde_json::to_string(&message.ticks)?,
        ticks: message.ticks.clone(),
        body: serde_json::to_string(&body)?,
    })
}

fn json<'r, T: Deserialize<'r>>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

fn uuid(row: &Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(column)?))
}

/// The channel of the two columns that start at `column`.
pub(super) fn decode_key(row: &Row<'_>, column: usize) -> rusqlite::Result<ChannelKey> {
    Ok(ChannelKey { workspace: WorkspaceId(uuid(row, column)?), channel: ChannelId(uuid(row, column + 1)?) })
}

/// The message of a row of [`COLUMNS`].
pub(super) fn decode(row: &Row<'_>) -> rusqlite::Result<Message> {
    let body: Body<'_> = json(row, 13)?;
    Ok(Message {
        id: MessageId(uuid(row, 0)?),
        key: decode_key(row, 1)?,
        author: UserId(uuid(row, 3)?),
        ts: row.get(4)?,
        seq: row.get(5)?,
        visible_count: row.get(6)?,
        client_message_id: row.get(7)?,
        thread_root: row.get::<_, Option<[u8; 16]>>(8)?.map(|id| MessageId(Uuid::from_bytes(id))),
        thread_pending: row.get(9)?,
        created_at: Timestamp(row.get(10)?),
        purge_at: row.get::<_, Option<i64>>(11)?.map(Timestamp),
        ticks: json(row, 12)?,
        changes: body.changes,
        ticks_mark: body.ticks_mark,
        ticks_mark_at: body.ticks_mark_at,
        kind: body.kind,
        text: body.text.into_owned(),
        blocks: body.blocks.into_owned(),
        mentions: body.mentions.into_owned(),
        mentions_everyone: body.mentions_everyone,
        reply_to: body.reply_to,
        broadcast: body.broadcast,
        reactions: body.reactions.into_owned(),
        thread: body.thread.into_owned(),
        system: body.system.map(Cow::into_owned),
        edited_at: body.edited_at,
        deleted_at: body.deleted_at,
        deleted_by: body.deleted_by,
        updated_at: body.updated_at,
        changed_at: body.changed_at,
    })
}
