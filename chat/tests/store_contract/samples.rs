//! Messages to test with.

use quikapp_chat::{
    entities::{ChannelId, MessageId, Timestamp, UserId, WorkspaceId, workspace_members::MemberRole},
    messages::model::{
        Block, ChangeTicks, ChannelKey, Message, MessageKind, ReactionGroup, Reactor, SystemEvent,
        ThreadSummary,
    },
    store::{Inserted, MessageStore},
};
use serde_json::json;
use uuid::Uuid;

/// When the messages of a test begin.
pub(crate) const START: i64 = 1_763_700_000_123;

/// A new channel in a new workspace.
pub(crate) fn channel() -> ChannelKey {
    ChannelKey { workspace: WorkspaceId(Uuid::now_v7()), channel: ChannelId(Uuid::now_v7()) }
}

pub(crate) fn user() -> UserId {
    UserId(Uuid::now_v7())
}

/// A plain message at `tick`.
pub(crate) fn message(key: ChannelKey, tick: i64) -> Message {
    let at = Timestamp(START + tick);
    Message {
        id: MessageId(Uuid::now_v7()),
        key,
        ts: tick,
        seq: tick,
        changes: ChangeTicks::default(),
        ticks: vec![tick],
        ticks_mark: 0,
        ticks_mark_at: at,
        visible_count: tick,
        author: UserId(Uuid::from_u128(7)),
        kind: MessageKind::Text,
        text: format!("message {tick}"),
        blocks: Vec::new(),
        mentions: Vec::new(),
        mentions_everyone: false,
        client_message_id: None,
        thread_root: None,
        reply_to: None,
        broadcast: false,
        thread_pending: false,
        reactions: Vec::new(),
        thread: ThreadSummary::default(),
        system: None,
        edited_at: None,
        deleted_at: None,
        deleted_by: None,
        purge_at: None,
        created_at: at,
        updated_at: at,
        changed_at: at,
    }
}

/// A reply at `tick`, not yet carried by its root.
pub(crate) fn reply(key: ChannelKey, tick: i64, root: MessageId) -> Message {
    Message { thread_root: Some(root), thread_pending: true, ..message(key, tick) }
}

/// The next state of `message`, at `tick`.
pub(crate) fn changed(message: &Message, tick: i64) -> Message {
    let mut next = message.clone();
    next.seq = tick;
    next.ticks.push(tick);
    next.visible_count = tick * 10;
    next.updated_at = Timestamp(START + tick);
    next
}

/// `message` deleted at `tick`, to go at `purge_at`.
pub(crate) fn tombstone(message: &Message, tick: i64, purge_at: Timestamp) -> Message {
    let mut next = changed(message, tick);
    next.text.clear();
    next.changes.deleted = tick;
    next.deleted_at = Some(next.updated_at);
    next.deleted_by = Some(next.author);
    next.purge_at = Some(purge_at);
    next
}

/// `count` plain messages from tick `first` on, inserted.
pub(crate) async fn filled(
    store: &dyn MessageStore,
    key: ChannelKey,
    first: i64,
    count: i64,
) -> Vec<Message> {
    let messages: Vec<_> = (first..first + count).map(|tick| message(key, tick)).collect();
    assert_eq!(store.insert(key, &messages).await, Ok(all_of(messages.len())));
    messages
}

/// An insert without a conflict.
pub(crate) fn all_of(count: usize) -> Inserted {
    Inserted { committed: count, conflict: None }
}

pub(crate) fn by_id(mut messages: Vec<Message>) -> Vec<Message> {
    messages.sort_by_key(|message| (message.key, message.id));
    messages
}

pub(crate) fn ticks(messages: &[Message]) -> Vec<i64> {
    messages.iter().map(|message| message.ts).collect()
}

/// One message that has every field set, and one of each kind and system event beside.
pub(crate) fn everything(key: ChannelKey) -> Vec<Message> {
    let full = Message {
        seq: 9,
        changes: ChangeTicks { content: 2, reactions: 3, thread: 8, deleted: 9 },
        ticks: vec![1, 2, 3, 8, 9],
        ticks_mark: 3,
        ticks_mark_at: Timestamp(START - 5),
        visible_count: 4_000_000_000,
        author: user(),
        kind: MessageKind::Rich,
        blocks: vec![
            Block::Paragraph { text: "words".into() },
            Block::Mention { user: user() },
            Block::Code { language: Some("rust".into()), code: "fn main() {\r\n\t}\n".into() },
            Block::Code { language: None, code: String::new() },
            Block::Opaque {
                name: "chart".into(),
                data: json!({
                    "type": "opaque", "a.b": [1, null, true, {}], "$set": -1.5, "\0": u64::MAX, "": [],
                }),
            },
            Block::Opaque { name: String::new(), data: serde_json::Value::Null },
        ],
        mentions: vec![user(), user()],
        mentions_everyone: true,
        client_message_id: Some("client-1".into()),
        thread_root: Some(MessageId(Uuid::now_v7())),
        reply_to: Some(MessageId(Uuid::now_v7())),
        broadcast: true,
        thread_pending: true,
        reactions: vec![
            ReactionGroup {
                emoji: "👩🏽‍🚀".into(),
                users: vec![
                    Reactor { user: user(), at: Timestamp(START + 1) },
                    Reactor { user: user(), at: Timestamp(START + 2) },
                ],
            },
            ReactionGroup { emoji: ":party:".into(), users: Vec::new() },
        ],
        thread: ThreadSummary {
            reply_count: 12,
            last_reply_at: Some(Timestamp(START + 3)),
            participants: vec![user(), user()],
        },
        system: Some(SystemEvent::ChannelUpdated { changed: Vec::new() }),
        edited_at: Some(Timestamp(START + 4)),
        deleted_at: Some(Timestamp(START + 5)),
        deleted_by: Some(user()),
        purge_at: Some(Timestamp(4_102_444_800_000)),
        created_at: Timestamp(-1),
        updated_at: Timestamp(START + 6),
        changed_at: Timestamp(START + 7),
        ..message(key, 1)
    };
    let events = [
        SystemEvent::MemberJoined { user: user() },
        SystemEvent::MemberLeft { user: user(), removed_by: None },
        SystemEvent::MemberLeft { user: user(), removed_by: Some(user()) },
        SystemEvent::MemberChanged { user: user(), role: MemberRole::Admin },
        SystemEvent::ChannelUpdated { changed: vec!["name".into(), "isArchived".into()] },
        SystemEvent::ChannelCreated { channel: ChannelId(Uuid::now_v7()) },
        SystemEvent::WorkspaceUpdated,
        SystemEvent::UserUpdated { user: user() },
        SystemEvent::MembershipChanged { channel: ChannelId(Uuid::now_v7()) },
        SystemEvent::ReadUpTo {
            channel: ChannelId(Uuid::now_v7()),
            seq: 1 << 40,
            message: Some(MessageId(Uuid::now_v7())),
            since: 7,
            at: Timestamp(START + 9),
        },
        SystemEvent::ReadUpTo {
            channel: ChannelId(Uuid::now_v7()),
            seq: 0,
            message: None,
            since: 0,
            at: Timestamp(-1),
        },
    ];
    let kinds = [
        MessageKind::Text,
        MessageKind::Rich,
        MessageKind::Code,
        MessageKind::Image,
        MessageKind::Video,
        MessageKind::Audio,
        MessageKind::File,
        MessageKind::Poll,
        MessageKind::Action,
        MessageKind::System,
    ];
    let events = events.into_iter().map(|event| (MessageKind::System, Some(event)));
    let others = kinds.into_iter().map(|kind| (kind, None)).chain(events);
    let others =
        (10..).zip(others).map(|(tick, (kind, system))| Message { kind, system, ..message(key, tick) });
    std::iter::once(full).chain(others).collect()
}
