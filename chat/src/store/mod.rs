//! Where messages are kept: one trait, two implementors, one contract suite that holds them together.
//!
//! The trait is made of primitives. Which tick a change takes, what a change does, who may do it and who is told are the
//! domain's (see `log`), the same above both stores.

pub mod mongo;
pub mod sqlite;

use async_trait::async_trait;
use quikapp_entities::{MessageId, Timestamp, UserId};

use crate::{
    Result,
    messages::model::{ChannelKey, Message, ThreadSummary},
};

/// The newest state of a channel's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// The last tick taken; 0 in a channel without messages.
    pub seq: i64,
    /// `visible_count` as of that tick.
    pub visible_count: i64,
}

/// What made a write stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// Another writer took the tick first.
    Tick,
    /// The author has sent this `client_message_id` to this channel before.
    ClientMessageId,
}

/// How far an insert got. The messages before the conflicting one are committed, that one and all behind it are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inserted {
    /// How many messages are committed, from the first on.
    pub committed: usize,
    /// Why the next one is not.
    pub conflict: Option<Conflict>,
}

/// What became of a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// Committed.
    Done,
    /// The stored message is not at the expected tick any more (or is gone).
    Stale,
    /// Another writer took the new tick first.
    TickTaken,
}

/// Which messages of a channel a page is cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those with [`Message::in_timeline`].
    Timeline,
    /// The replies of this root.
    Thread(MessageId),
}

/// A page of history. Tombstones are part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageQuery {
    /// What it is cut from.
    pub scope: Scope,
    /// Only messages with `ts` greater than this; 0 = from the beginning.
    pub after: i64,
    /// Only messages with `ts` less than this; `i64::MAX` = to the end.
    pub before: i64,
    /// At most so many.
    pub limit: usize,
    /// Whether the limit keeps the newest (true) or the oldest (false) of them. The answer is in that order too: newest
    /// first, or oldest first.
    pub newest_first: bool,
}

/// A stretch of a channel's timeline in which unread messages are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadQuery {
    /// The channel.
    pub key: ChannelKey,
    /// Only messages with `ts` greater than this.
    pub after: i64,
    /// Only messages with `ts` up to this.
    pub up_to: i64,
}

/// What somebody has not read of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unread {
    /// How many messages.
    pub count: i64,
    /// The oldest of them.
    pub first: MessageId,
}

/// A message store. Every method is safe to cancel: a write that was begun ends by itself and leaves a valid log. Every
/// method fails with `Error::Unavailable { store: "message store" }` within about five seconds when the store does not
/// answer, after which a write may or may not have happened (the caller looks).
///
/// What is written is there for good: acknowledged by a majority where there are several members. What is read is there
/// for good as well, so nobody is told of a tick that a failover takes back. And it is what was acknowledged so far, with
/// one exception: for a moment after a failover the new primary may not know yet how much of what it has is for good, and
/// tell a little less. [`MessageStore::latest_head`] waits until it knows. A write that is refused for a conflict, or as
/// stale, says so only when what it collided with is for good, and can be read.
#[async_trait]
pub trait MessageStore: Send + Sync + 'static {
    /// The last tick of the channel and its counter. Never goes back, even after the message that took the last tick was
    /// purged.
    async fn head(&self, key: ChannelKey) -> Result<Head>;

    /// [`MessageStore::head`] as of no earlier than this call: everything acknowledged before it is in, and in whatever is
    /// read afterwards. Dearer where there are several members, since a majority of them has to agree.
    async fn latest_head(&self, key: ChannelKey) -> Result<Head>;

    /// [`MessageStore::head`] of many channels at once, in one query; channels without messages are left out.
    async fn heads(&self, keys: &[ChannelKey]) -> Result<Vec<(ChannelKey, Head)>>;

    /// Appends messages with consecutive ticks, in order, as one grouped write; stops at the first conflict. A conflict of
    /// both kinds at once is told as [`Conflict::ClientMessageId`].
    async fn insert(&self, key: ChannelKey, messages: &[Message]) -> Result<Inserted>;

    /// Writes the new state of a message if the stored one still has `seq == expected_seq`. The tick `message.seq` must
    /// not be listed by any message of the channel, and must be greater than `expected_seq`: a message only ever moves up,
    /// or the head would go back with the one that holds it.
    async fn replace(&self, message: &Message, expected_seq: i64) -> Result<Replaced>;

    /// Clears `thread_pending` of these replies, without a tick (it is no part of the message for its readers).
    async fn clear_thread_pending(&self, key: ChannelKey, replies: &[MessageId]) -> Result<()>;

    /// Messages by id, tombstones included, from any channels, in one query; unknown ones are left out. No order.
    async fn get(&self, ids: &[(ChannelKey, MessageId)]) -> Result<Vec<Message>>;

    /// Messages by their authors' own ids. No order.
    async fn by_client_ids(&self, key: ChannelKey, ids: &[(UserId, String)]) -> Result<Vec<Message>>;

    /// A page of history.
    async fn page(&self, key: ChannelKey, query: PageQuery) -> Result<Vec<Message>>;

    /// The messages that changed after tick `after`, by `seq`, at most `limit`; tombstones included.
    async fn changes(&self, key: ChannelKey, after: i64, limit: usize) -> Result<Vec<Message>>;

    /// For each channel its newest message that [`Message::counts`] and stands in the timeline, with `ts` greater than the
    /// given floor; channels without one are left out. One query.
    async fn newest(&self, keys: &[(ChannelKey, i64)]) -> Result<Vec<Message>>;

    /// For each channel the messages in the given stretch that [`Message::counts`], stand in the timeline and are not by
    /// `reader`, counted up to `limit`; channels without one are left out. Each channel is asked for once at most. One
    /// query; its cost grows with what it counts, and with what the reader wrote in between.
    async fn unread(
        &self,
        reader: UserId,
        queries: &[UnreadQuery],
        limit: u32,
    ) -> Result<Vec<(ChannelKey, Unread)>>;

    /// The summary of a thread, counted afresh from its replies.
    async fn thread_summary(&self, key: ChannelKey, root: MessageId) -> Result<ThreadSummary>;

    /// Replies whose root does not carry them yet, at most 1,000, oldest first: work that a stopped node left over.
    async fn pending_replies(&self, key: ChannelKey) -> Result<Vec<Message>>;

    /// Channels that have such replies, written before `before`; at most 1,000.
    async fn pending_channels(&self, before: Timestamp) -> Result<Vec<ChannelKey>>;

    /// Removes every message of a channel.
    async fn delete_channel(&self, key: ChannelKey) -> Result<()>;

    /// Removes tombstones whose `purge_at` has come. A store that does so by itself returns 0.
    async fn purge(&self, now: Timestamp) -> Result<u64>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<()>;

    /// Queries and writes sent to the store since it was opened.
    fn queries(&self) -> u64;
}
