//! A message as a `MongoDB` document. The mapping is spelled out, so that renaming a field of the domain cannot change what
//! is stored.

use std::borrow::Cow;

use bson::{DateTime, RawDocument, RawDocumentBuf, Uuid};
use quikapp_entities::{ChannelId, MessageId, Timestamp, UserId, WorkspaceId, workspace_members::MemberRole};
use serde::{Deserialize, Serialize};

use crate::messages::model::{
    Block, ChangeTicks, ChannelKey, Message, MessageKind, ReactionGroup, Reactor, SystemEvent, ThreadSummary,
};

/// A document that does not hold a message.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// A field is missing or of a wrong type.
    #[error("{0}")]
    Bson(#[from] bson::error::Error),
    /// The JSON text of an opaque block is broken.
    #[error("an opaque block: {0}")]
    Json(#[from] serde_json::Error),
    /// The type of a block or system event is not known, or one of its fields is missing.
    #[error("cannot read a {what} of type {name:?}")]
    Variant { what: &'static str, name: String },
}

#[derive(Serialize, Deserialize)]
struct MessageDocument<'a> {
    #[serde(rename = "_id")]
    id: Uuid,
    workspace_id: Uuid,
    channel_id: Uuid,
    author_id: Uuid,
    ts: i64,
    seq: i64,
    ticks: Cow<'a, [i64]>,
    ticks_mark: i64,
    ticks_mark_at: DateTime,
    changes: ChangesDocument,
    visible_count: i64,
    kind: MessageKind,
    content: ContentDocument<'a>,
    // Absent when empty: the index on mentions holds only messages that have some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mentions: Vec<Uuid>,
    #[serde(default, skip_serializing_if = "is_false")]
    mentions_everyone: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_message_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thread_root: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<Uuid>,
    #[serde(default, skip_serializing_if = "is_false")]
    broadcast: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    thread_pending: bool,
    // Derived, for indexes and filters; never read back.
    in_timeline: bool,
    visible: bool,
    /// `ts` of what is visible in the timeline: a field of its own, so that only one index can answer for the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    visible_ts: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reactions: Vec<ReactionDocument<'a>>,
    thread: ThreadDocument,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    system: Option<SystemDocument<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edited_at: Option<DateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_at: Option<DateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted_by: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purge_at: Option<DateTime>,
    created_at: DateTime,
    updated_at: DateTime,
    changed_at: DateTime,
}

#[derive(Serialize, Deserialize)]
struct ChangesDocument {
    content: i64,
    reactions: i64,
    thread: i64,
    deleted: i64,
}

#[derive(Serialize, Deserialize)]
struct ContentDocument<'a> {
    text: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blocks: Vec<BlockDocument<'a>>,
}

/// All kinds of blocks in one flat shape: serde's tagged enums buffer what they read, and BSON's own types do not survive
/// that.
#[derive(Serialize, Deserialize, Default)]
struct BlockDocument<'a> {
    r#type: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    language: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    /// JSON text: keys and numbers in there may be anything JSON allows, and BSON does not allow all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ReactionDocument<'a> {
    emoji: Cow<'a, str>,
    users: Vec<ReactorDocument>,
}

#[derive(Serialize, Deserialize)]
struct ReactorDocument {
    user: Uuid,
    at: DateTime,
}

#[derive(Serialize, Deserialize)]
struct ThreadDocument {
    reply_count: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_reply_at: Option<DateTime>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    participants: Vec<Uuid>,
}

#[derive(Serialize, Deserialize, Default)]
struct SystemDocument<'a> {
    r#type: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removed_by: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<MemberRole>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed: Option<Cow<'a, [String]>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read: Option<ReadDocument>,
}

#[derive(Serialize, Deserialize)]
struct ReadDocument {
    seq: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Uuid>,
    since: i64,
    at: DateTime,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_false(value: &bool) -> bool {
    !value
}

/// A UUID as BSON binary of subtype 4.
pub(super) fn binary(id: uuid::Uuid) -> Uuid {
    Uuid::from_bytes(id.into_bytes())
}

fn uuid(id: Uuid) -> uuid::Uuid {
    uuid::Uuid::from_bytes(id.bytes())
}

/// A moment as a BSON date.
pub(super) fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.0)
}

fn timestamp(at: DateTime) -> Timestamp {
    Timestamp(at.timestamp_millis())
}

/// The key of a channel read from its two fields.
pub(super) fn channel_key(workspace: Uuid, channel: Uuid) -> ChannelKey {
    ChannelKey { workspace: WorkspaceId(uuid(workspace)), channel: ChannelId(uuid(channel)) }
}

/// A summary made of its parts.
pub(super) fn thread_summary(
    reply_count: i64,
    last: Option<DateTime>,
    participants: Vec<Uuid>,
) -> ThreadSummary {
    ThreadSummary {
        reply_count,
        last_reply_at: last.map(timestamp),
        participants: participants.into_iter().map(|id| UserId(uuid(id))).collect(),
    }
}

/// The document of a message.
pub(super) fn encode(message: &Message) -> Result<RawDocumentBuf, bson::error::Error> {
    bson::serialize_to_raw_document_buf(&MessageDocument::from(message))
}

/// The message of a document.
pub(super) fn decode(document: &RawDocument) -> Result<Message, DecodeError> {
    let document: MessageDocument<'_> = bson::deserialize_from_slice(document.as_bytes())?;
    document.try_into()
}

impl<'a> From<&'a Message> for MessageDocument<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            id: binary(message.id.0),
            workspace_id: binary(message.key.workspace.0),
            channel_id: binary(message.key.channel.0),
            author_id: binary(message.author.0),
            ts: message.ts,
            seq: message.seq,
            ticks: Cow::Borrowed(&message.ticks),
            ticks_mark: message.ticks_mark,
            ticks_mark_at: date(message.ticks_mark_at),
            changes: ChangesDocument {
                content: message.changes.content,
                reactions: message.changes.reactions,
                thread: message.changes.thread,
                deleted: message.changes.deleted,
            },
            visible_count: message.visible_count,
            kind: message.kind,
            content: ContentDocument {
                text: Cow::Borrowed(&message.text),
                blocks: message.blocks.iter().map(Into::into).collect(),
            },
            mentions: message.mentions.iter().map(|user| binary(user.0)).collect(),
            mentions_everyone: message.mentions_everyone,
            client_message_id: message.client_message_id.as_deref().map(Cow::Borrowed),
            thread_root: message.thread_root.map(|id| binary(id.0)),
            reply_to: message.reply_to.map(|id| binary(id.0)),
            broadcast: message.broadcast,
            thread_pending: message.thread_pending,
            in_timeline: message.in_timeline(),
            visible: message.counts(),
            visible_ts: (message.counts() && message.in_timeline()).then_some(message.ts),
            reactions: message.reactions.iter().map(Into::into).collect(),
            thread: ThreadDocument {
                reply_count: message.thread.reply_count,
                last_reply_at: message.thread.last_reply_at.map(date),
                participants: message.thread.participants.iter().map(|user| binary(user.0)).collect(),
            },
            system: message.system.as_ref().map(Into::into),
            edited_at: message.edited_at.map(date),
            deleted_at: message.deleted_at.map(date),
            deleted_by: message.deleted_by.map(|user| binary(user.0)),
            purge_at: message.purge_at.map(date),
            created_at: date(message.created_at),
            updated_at: date(message.updated_at),
            changed_at: date(message.changed_at),
        }
    }
}

impl TryFrom<MessageDocument<'_>> for Message {
    type Error = DecodeError;

    fn try_from(document: MessageDocument<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: MessageId(uuid(document.id)),
            key: channel_key(document.workspace_id, document.channel_id),
            ts: document.ts,
            seq: document.seq,
            changes: ChangeTicks {
                content: document.changes.content,
                reactions: document.changes.reactions,
                thread: document.changes.thread,
                deleted: document.changes.deleted,
            },
            ticks: document.ticks.into_owned(),
            ticks_mark: document.ticks_mark,
            ticks_mark_at: timestamp(document.ticks_mark_at),
            visible_count: document.visible_count,
            author: UserId(uuid(document.author_id)),
            kind: document.kind,
            text: document.content.text.into_owned(),
            blocks: document.content.blocks.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            mentions: document.mentions.into_iter().map(|id| UserId(uuid(id))).collect(),
            mentions_everyone: document.mentions_everyone,
            client_message_id: document.client_message_id.map(Cow::into_owned),
            thread_root: document.thread_root.map(|id| MessageId(uuid(id))),
            reply_to: document.reply_to.map(|id| MessageId(uuid(id))),
            broadcast: document.broadcast,
            thread_pending: document.thread_pending,
            reactions: document.reactions.into_iter().map(Into::into).collect(),
            thread: thread_summary(
                document.thread.reply_count,
                document.thread.last_reply_at,
                document.thread.participants,
            ),
            system: document.system.map(TryInto::try_into).transpose()?,
            edited_at: document.edited_at.map(timestamp),
            deleted_at: document.deleted_at.map(timestamp),
            deleted_by: document.deleted_by.map(|id| UserId(uuid(id))),
            purge_at: document.purge_at.map(timestamp),
            created_at: timestamp(document.created_at),
            updated_at: timestamp(document.updated_at),
            changed_at: timestamp(document.changed_at),
        })
    }
}

impl<'a> From<&'a Block> for BlockDocument<'a> {
    fn from(block: &'a Block) -> Self {
        match block {
            Block::Paragraph { text } => {
                Self { r#type: "paragraph".into(), text: Some(text.into()), ..Self::default() }
            }
            Block::Mention { user } => {
                Self { r#type: "mention".into(), user: Some(binary(user.0)), ..Self::default() }
            }
            Block::Code { language, code } => Self {
                r#type: "code".into(),
                language: language.as_deref().map(Cow::Borrowed),
                code: Some(code.into()),
                ..Self::default()
            },
            Block::Opaque { name, data } => Self {
                r#type: "opaque".into(),
                name: Some(name.into()),
                data: Some(data.to_string()),
                ..Self::default()
            },
        }
    }
}

impl TryFrom<BlockDocument<'_>> for Block {
    type Error = DecodeError;

    fn try_from(block: BlockDocument<'_>) -> Result<Self, DecodeError> {
        Ok(match block {
            BlockDocument { r#type, text: Some(text), .. } if r#type == "paragraph" => {
                Self::Paragraph { text: text.into_owned() }
            }
            BlockDocument { r#type, user: Some(user), .. } if r#type == "mention" => {
                Self::Mention { user: UserId(uuid(user)) }
            }
            BlockDocument { r#type, language, code: Some(code), .. } if r#type == "code" => {
                Self::Code { language: language.map(Cow::into_owned), code: code.into_owned() }
            }
            BlockDocument { r#type, name: Some(name), data: Some(data), .. } if r#type == "opaque" => {
                Self::Opaque { name: name.into_owned(), data: serde_json::from_str(&data)? }
            }
            BlockDocument { r#type, .. } => {
                return Err(DecodeError::Variant { what: "block", name: r#type.into_owned() });
            }
        })
    }
}

impl<'a> From<&'a ReactionGroup> for ReactionDocument<'a> {
    fn from(group: &'a ReactionGroup) -> Self {
        let users = group.users.iter();
        Self {
            emoji: Cow::Borrowed(&group.emoji),
            users: users
                .map(|reactor| ReactorDocument { user: binary(reactor.user.0), at: date(reactor.at) })
                .collect(),
        }
    }
}

impl From<ReactionDocument<'_>> for ReactionGroup {
    fn from(group: ReactionDocument<'_>) -> Self {
        let users = group.users.into_iter();
        Self {
            emoji: group.emoji.into_owned(),
            users: users
                .map(|reactor| Reactor { user: UserId(uuid(reactor.user)), at: timestamp(reactor.at) })
                .collect(),
        }
    }
}

impl<'a> From<&'a SystemEvent> for SystemDocument<'a> {
    fn from(event: &'a SystemEvent) -> Self {
        match event {
            SystemEvent::MemberJoined { user } => {
                Self { r#type: "member_joined".into(), user: Some(binary(user.0)), ..Self::default() }
            }
            SystemEvent::MemberLeft { user, removed_by } => Self {
                r#type: "member_left".into(),
                user: Some(binary(user.0)),
                removed_by: removed_by.map(|user| binary(user.0)),
                ..Self::default()
            },
            SystemEvent::MemberChanged { user, role } => Self {
                r#type: "member_changed".into(),
                user: Some(binary(user.0)),
                role: Some(*role),
                ..Self::default()
            },
            SystemEvent::ChannelUpdated { changed } => Self {
                r#type: "channel_updated".into(),
                changed: Some(Cow::Borrowed(changed)),
                ..Self::default()
            },
            SystemEvent::ChannelCreated { channel } => {
                Self { r#type: "channel_created".into(), channel: Some(binary(channel.0)), ..Self::default() }
            }
            SystemEvent::WorkspaceUpdated => Self { r#type: "workspace_updated".into(), ..Self::default() },
            SystemEvent::UserUpdated { user } => {
                Self { r#type: "user_updated".into(), user: Some(binary(user.0)), ..Self::default() }
            }
            SystemEvent::MembershipChanged { channel } => Self {
                r#type: "membership_changed".into(),
                channel: Some(binary(channel.0)),
                ..Self::default()
            },
            SystemEvent::ReadUpTo { channel, seq, message, since, at } => Self {
                r#type: "read_up_to".into(),
                channel: Some(binary(channel.0)),
                read: Some(ReadDocument {
                    seq: *seq,
                    message: message.map(|id| binary(id.0)),
                    since: *since,
                    at: date(*at),
                }),
                ..Self::default()
            },
        }
    }
}

impl TryFrom<SystemDocument<'_>> for SystemEvent {
    type Error = DecodeError;

    fn try_from(event: SystemDocument<'_>) -> Result<Self, DecodeError> {
        let user = event.user.map(|id| UserId(uuid(id)));
        Ok(match (&*event.r#type, user, event.role, event.changed) {
            ("member_joined", Some(user), ..) => Self::MemberJoined { user },
            ("member_left", Some(user), ..) => {
                Self::MemberLeft { user, removed_by: event.removed_by.map(|id| UserId(uuid(id))) }
            }
            ("member_changed", Some(user), Some(role), _) => Self::MemberChanged { user, role },
            ("channel_updated", _, _, Some(changed)) => {
                Self::ChannelUpdated { changed: changed.into_owned() }
            }
            ("user_updated", Some(user), ..) => Self::UserUpdated { user },
            ("workspace_updated", ..) => Self::WorkspaceUpdated,
            ("channel_created", ..) if let Some(channel) = event.channel => {
                Self::ChannelCreated { channel: ChannelId(uuid(channel)) }
            }
            ("membership_changed", ..) if let Some(channel) = event.channel => {
                Self::MembershipChanged { channel: ChannelId(uuid(channel)) }
            }
            ("read_up_to", ..) if let (Some(channel), Some(read)) = (event.channel, event.read) => {
                Self::ReadUpTo {
                    channel: ChannelId(uuid(channel)),
                    seq: read.seq,
                    message: read.message.map(|id| MessageId(uuid(id))),
                    since: read.since,
                    at: timestamp(read.at),
                }
            }
            (name, ..) => {
                return Err(DecodeError::Variant { what: "system event", name: name.to_owned() });
            }
        })
    }
}
