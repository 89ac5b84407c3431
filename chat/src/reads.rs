//! What somebody has read: a cursor in each channel, and the count of what is behind it.
//!
//! The cursors of a user in a workspace are entries of a log beside the channels, as a workspace's own log is: one entry
//! for each channel, whose content is the cursor, and which takes the log's next tick at each change. So the cursor is in
//! one place, one write of one document changes it and tells it, and a stream of the user's follows this log as it follows
//! any other. Beside them there is an entry for each channel whose settings the user changed, or that they went out of: it
//! says no more than that, so that their devices look again. What is unread is not kept anywhere: it is counted.

mod unread;

use quikapp_entities::{ChannelId, MessageId, Timestamp, UserId, WorkspaceId, ids::MessageKey};
use uuid::Uuid;

pub use self::unread::{ChannelUnread, MOST_UNREAD};
use crate::{
    Chat, Error, Result,
    access::ChannelReader,
    messages::model::{ChannelKey, Message, SystemEvent},
    store::{PageQuery, Scope},
};

/// An id made of two others: no channel's or message's own, as those are of version 7.
fn derived(first: Uuid, second: u128) -> Uuid {
    uuid::Builder::from_custom_bytes((first.as_u128() ^ second).to_be_bytes()).into_uuid()
}

/// The log in which a user's cursors in a workspace are; nobody else's stream follows it.
#[must_use]
pub fn read_log(workspace: WorkspaceId, user: UserId) -> ChannelKey {
    ChannelKey { workspace, channel: ChannelId(derived(workspace.0, user.0.as_u128())) }
}

/// Whether a log is one of cursors, so that no channel's counters are in it.
pub(crate) fn is_read_log(key: ChannelKey) -> bool {
    key.channel.0.get_version() == Some(uuid::Version::Custom)
}

/// The entry with a user's cursor in a channel.
fn entry(channel: ChannelId, user: UserId) -> MessageId {
    MessageId(derived(channel.0, user.0.as_u128().rotate_left(64)))
}

/// The entry in the same log that tells that a user's membership of a channel changed.
pub(crate) fn membership_entry(channel: ChannelId, user: UserId) -> MessageId {
    MessageId(derived(channel.0, user.0.as_u128().rotate_left(32)))
}

/// How far a member has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    /// Messages with `ts` up to this tick are read.
    seq: i64,
    /// The last one of the timeline among them.
    message: Option<MessageId>,
    /// When the member said so; none if they did not.
    at: Option<Timestamp>,
}

impl Cursor {
    /// What an entry says of a membership. One of before its latest joining says nothing: until the member says
    /// otherwise, everything up to the joining counts as read.
    fn of(entry: Option<&SystemEvent>, joined_seq: i64) -> Self {
        match entry {
            Some(SystemEvent::ReadUpTo { seq, message, since, at, .. }) if *since == joined_seq => {
                Self { seq: *seq, message: *message, at: Some(*at) }
            }
            _ => Self { seq: joined_seq, message: None, at: None },
        }
    }
}

/// Whether an entry is of a later membership than this one, so that it is not to be touched.
fn is_of_later_membership(entry: Option<&SystemEvent>, joined_seq: i64) -> bool {
    matches!(entry, Some(SystemEvent::ReadUpTo { since, .. }) if *since > joined_seq)
}

/// The tick at which the reader came in.
fn joined_seq(reader: &ChannelReader) -> Result<i64> {
    reader.joined_seq().ok_or(Error::Forbidden("join the channel first"))
}

impl Chat {
    /// Marks a channel as read by its member, up to a message or to its end. The cursor only moves forward: what was read
    /// further already stays so, and then nothing is written and nobody told.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for who is not in the channel; [`Error::NotFound`] for a message that is not in the channel or
    /// that the member cannot see.
    pub async fn mark_channel_read(&self, reader: &ChannelReader, up_to: Option<MessageKey>) -> Result<()> {
        joined_seq(reader)?;
        let last = match up_to {
            Some(id) => {
                let message = self.message_to_mark(reader, id).await?;
                // A plain reply is read as a part of the timeline before it.
                if message.in_timeline() {
                    Some((message.ts, Some(message.id)))
                } else {
                    let before = self.last_before(reader, message.ts).await?;
                    Some((message.ts, before.map(|message| message.id)))
                }
            }
            None => self.last_before(reader, i64::MAX).await?.map(|message| (message.ts, Some(message.id))),
        };
        let Some((seq, message)) = last else { return Ok(()) };
        self.move_cursor(reader, move |present| (seq > present.seq).then_some((seq, message))).await
    }

    /// Marks a channel as unread by its member from a message on, whether the cursor was before or behind it.
    ///
    /// # Errors
    /// As those of [`Chat::mark_channel_read`].
    pub async fn mark_channel_unread(&self, reader: &ChannelReader, from: MessageKey) -> Result<()> {
        joined_seq(reader)?;
        let from = self.message_to_mark(reader, from).await?;
        let last = self.last_before(reader, from.ts).await?.map(|message| message.id);
        let seq = from.ts - 1;
        let is_there = move |present: &Cursor| present.at.is_some() && present.seq == seq;
        self.move_cursor(reader, move |present| (!is_there(&present)).then_some((seq, last))).await
    }

    /// Moves the member's cursor to where `to` wants it, given where it is; none leaves it.
    async fn move_cursor(
        &self,
        reader: &ChannelReader,
        to: impl Fn(Cursor) -> Option<(i64, Option<MessageId>)> + Send + Sync + 'static,
    ) -> Result<()> {
        let since = joined_seq(reader)?;
        let (key, user, at) = (reader.key(), reader.viewer().user(), self.env.now());
        let revision = move |present: Option<&SystemEvent>| {
            if is_of_later_membership(present, since) {
                return None;
            }
            let (seq, message) = to(Cursor::of(present, since))?;
            Some(SystemEvent::ReadUpTo { channel: key.channel, seq, message, since, at })
        };
        self.log.revise(read_log(key.workspace, user), user, entry(key.channel, user), revision).await
    }

    async fn message_to_mark(&self, reader: &ChannelReader, id: MessageKey) -> Result<Message> {
        let key = reader.key();
        if id.channel != key.channel {
            return Err(Error::NotFound("message"));
        }
        let found = self.store.get(&[(key, id.id)]).await?;
        found.into_iter().find(|message| message.ts > reader.floor()).ok_or(Error::NotFound("message"))
    }

    /// The last message of the timeline before a tick that the reader may see, tombstones and SYSTEM messages included.
    async fn last_before(&self, reader: &ChannelReader, before: i64) -> Result<Option<Message>> {
        let query =
            PageQuery { scope: Scope::Timeline, after: reader.floor(), before, limit: 1, newest_first: true };
        Ok(self.store.page(reader.key(), query).await?.into_iter().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_their_own() {
        let (workspace, other) = (WorkspaceId(Uuid::now_v7()), WorkspaceId(Uuid::now_v7()));
        let (user, channel) = (UserId(Uuid::now_v7()), ChannelId(Uuid::now_v7()));
        assert!(is_read_log(read_log(workspace, user)));
        assert!(!is_read_log(ChannelKey { workspace, channel }));
        assert_ne!(read_log(workspace, user).channel, read_log(other, user).channel);
        assert_ne!(read_log(workspace, user).channel, read_log(workspace, UserId(Uuid::now_v7())).channel);
        assert_ne!(entry(channel, user), entry(channel, UserId(Uuid::now_v7())));
    }
}
