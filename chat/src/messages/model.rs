//! A message as the channel log holds it: the document is its own log entry.

use quikapp_entities::{
    ChannelId, MessageId, Timestamp, UserId, WorkspaceId, ids::MessageKey, workspace_members::MemberRole,
};
use serde::{Deserialize, Serialize};

/// The shard key: every unique index on messages starts with it, and every query carries both parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelKey {
    /// The tenant.
    pub workspace: WorkspaceId,
    /// The channel.
    pub channel: ChannelId,
}

/// What a message mainly is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MessageKind {
    /// Plain words.
    Text,
    /// Formatted in blocks.
    Rich,
    /// Source code.
    Code,
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A recording.
    Audio,
    /// Any other file.
    File,
    /// A question with options.
    Poll,
    /// What `/me` gives: the author does something.
    Action,
    /// Written by the server when the channel changes; see [`SystemEvent`].
    System,
}

/// A piece of formatted content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Block {
    /// Words.
    Paragraph {
        /// The words.
        text: String,
    },
    /// A person addressed.
    Mention {
        /// Who.
        user: UserId,
    },
    /// Source code.
    Code {
        /// The language's name, as the author gave it.
        language: Option<String>,
        /// The code, unchanged.
        code: String,
    },
    /// Of a type that this version does not know, kept as it came.
    Opaque {
        /// The type's name.
        name: String,
        /// Everything else.
        data: serde_json::Value,
    },
}

/// One emoji and who put it, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReactionGroup {
    /// The emoji itself (`👍`) or a name in colons (`:party:`).
    pub emoji: String,
    /// Who, and when; each user once.
    pub users: Vec<Reactor>,
}

/// Who put a reaction, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reactor {
    /// Who.
    pub user: UserId,
    /// When.
    pub at: Timestamp,
}

/// What happened to the channel, on messages of kind [`MessageKind::System`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SystemEvent {
    /// Somebody came in, by oneself or added by the message's author.
    MemberJoined {
        /// Who.
        user: UserId,
    },
    /// Somebody went, or was removed by the message's author.
    MemberLeft {
        /// Who.
        user: UserId,
        /// Who removed them, unless they left by themselves.
        removed_by: Option<UserId>,
    },
    /// A member's role or silence changed.
    MemberChanged {
        /// Who.
        user: UserId,
        /// The role now.
        role: MemberRole,
    },
    /// The channel's own fields changed.
    ChannelUpdated {
        /// Names of the API's fields that changed: `name`, `topic`, `description`, `isArchived`, …
        changed: Vec<String>,
    },
    /// An open channel was made; only in the log of its workspace.
    ChannelCreated {
        /// Which one.
        channel: ChannelId,
    },
    /// The workspace's own fields changed; only in its log.
    WorkspaceUpdated,
    /// A member's profile changed; only in the log of the workspace.
    UserUpdated {
        /// Whose.
        user: UserId,
    },
    /// The author's own membership of a channel is not as it was, its settings changed or it ended; only in their own
    /// read log.
    MembershipChanged {
        /// Which one.
        channel: ChannelId,
    },
    /// How far the author has read a channel; only in their own read log, see `reads`.
    ReadUpTo {
        /// Which one.
        channel: ChannelId,
        /// Messages of the channel with `ts` up to this tick are read.
        seq: i64,
        /// The last message of the timeline among them; none if there is none.
        message: Option<MessageId>,
        /// `joined_seq` of the membership that it belongs to: after another join it is void.
        since: i64,
        /// When the author said so.
        at: Timestamp,
    },
}

/// The channel's ticks at which each aspect of a message last changed; 0 = never. So a replay from any cursor can say
/// what changed since, not only that something did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChangeTicks {
    /// Text or blocks edited.
    pub content: i64,
    /// A reaction added or removed.
    pub reactions: i64,
    /// A reply added, or a reply deleted.
    pub thread: i64,
    /// Deleted.
    pub deleted: i64,
}

/// What a root knows of its replies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ThreadSummary {
    /// Replies that are not deleted.
    pub reply_count: i64,
    /// When the newest of them was written.
    pub last_reply_at: Option<Timestamp>,
    /// Up to [`ThreadSummary::PARTICIPANTS`] authors of replies, in order of their first one.
    pub participants: Vec<UserId>,
}

impl ThreadSummary {
    /// How many participants a root carries.
    pub const PARTICIPANTS: usize = 8;
}

/// A message, its reactions and its thread's summary: one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Where it lives.
    #[serde(flatten)]
    pub key: ChannelKey,
    /// The channel's tick of its creation: the order of history.
    pub ts: i64,
    /// The channel's tick of its latest change; equals `ts` until the first one.
    pub seq: i64,
    /// The ticks of its latest change by aspect.
    pub changes: ChangeTicks,
    /// Ticks that it took recently, the present one included, oldest first. A tick that is still listed cannot be taken
    /// again by a writer that has not seen it; see `log`.
    pub ticks: Vec<i64>,
    /// Every tick up to this one was taken at or before `ticks_mark_at`; the next change later than
    /// `log::TICK_MEMORY` after that drops them from `ticks`.
    pub ticks_mark: i64,
    /// When `ticks_mark` was set.
    pub ticks_mark_at: Timestamp,
    /// Messages by people in this channel that are not deleted, as of `seq`: the channel's counter travels in its log.
    pub visible_count: i64,
    /// Who wrote it; of SYSTEM messages, who caused it.
    pub author: UserId,
    /// What it mainly is.
    pub kind: MessageKind,
    /// The words; empty once deleted.
    pub text: String,
    /// Formatted content; empty when there is none and once deleted.
    pub blocks: Vec<Block>,
    /// Whom it addresses: distinct users who can see the channel.
    pub mentions: Vec<UserId>,
    /// Whether it addresses all members.
    pub mentions_everyone: bool,
    /// The sender's own id for it: the same one of the same author in the same channel is the same message.
    pub client_message_id: Option<String>,
    /// The first message of the thread that it replies in.
    pub thread_root: Option<MessageId>,
    /// The message that it quotes.
    pub reply_to: Option<MessageId>,
    /// Whether a reply also stands in the channel's timeline.
    pub broadcast: bool,
    /// Set on a reply until its root carries it in its summary.
    pub thread_pending: bool,
    /// Reactions, in order of each emoji's first.
    pub reactions: Vec<ReactionGroup>,
    /// What it knows of its replies.
    pub thread: ThreadSummary,
    /// What happened, on SYSTEM messages.
    pub system: Option<SystemEvent>,
    /// When the text last changed.
    pub edited_at: Option<Timestamp>,
    /// When it was deleted: from then on it is a tombstone.
    pub deleted_at: Option<Timestamp>,
    /// By whom.
    pub deleted_by: Option<UserId>,
    /// When the tombstone goes for good.
    pub purge_at: Option<Timestamp>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When its author or the server last changed its content.
    pub updated_at: Timestamp,
    /// When it took the tick `seq`, whatever changed.
    pub changed_at: Timestamp,
}

impl Message {
    /// The id that the API shows.
    #[must_use]
    pub fn api_id(&self) -> MessageKey {
        MessageKey { id: self.id, channel: self.key.channel }
    }

    /// Whether it stands in the channel's timeline: everything but plain thread replies.
    #[must_use]
    pub fn in_timeline(&self) -> bool {
        self.thread_root.is_none() || self.broadcast
    }

    /// Whether it is a tombstone.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }

    /// Whether it counts as a message of the channel: written by somebody and not deleted.
    #[must_use]
    pub fn counts(&self) -> bool {
        !self.is_deleted() && self.kind != MessageKind::System
    }
}
