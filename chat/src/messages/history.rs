//! Reading: by id, by page, the newest of each channel.

use std::collections::HashMap;

use quikapp_entities::{ChannelId, MessageId, UserId, ids::MessageKey};

use crate::{
    Chat, Error, Result,
    access::{ChannelReader, Viewer, VisibleChannel},
    messages::model::{ChannelKey, Message},
    store::{PageQuery, Scope},
};

/// Which part of a channel or thread is wanted. Positions are ticks of creation (`ts`), exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRequest {
    /// The oldest `limit` messages between the bounds.
    First {
        /// How many.
        limit: usize,
        /// Only later ones.
        after: Option<i64>,
        /// Only earlier ones.
        before: Option<i64>,
    },
    /// The newest `limit` messages between the bounds.
    Last {
        /// How many.
        limit: usize,
        /// Only later ones.
        after: Option<i64>,
        /// Only earlier ones.
        before: Option<i64>,
    },
    /// `limit` messages with this one in the middle.
    Around {
        /// How many in all.
        limit: usize,
        /// The one in the middle.
        id: MessageId,
    },
}

/// A page, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryPage {
    /// The messages, tombstones included.
    pub messages: Vec<Message>,
    /// Whether there are earlier ones.
    pub has_previous: bool,
    /// Whether there are later ones.
    pub has_next: bool,
}

impl Chat {
    /// Messages by id; those that the viewer cannot see are left out. Three queries, however many.
    pub async fn messages(
        &self,
        viewer: &Viewer,
        ids: &[MessageKey],
    ) -> Result<HashMap<MessageKey, Message>> {
        let mut channels: Vec<ChannelId> = ids.iter().map(|id| id.channel).collect();
        channels.sort_unstable();
        channels.dedup();
        let readers = self.visible_channels(viewer, &channels).await?;
        let wanted: Vec<(ChannelKey, MessageId)> =
            ids.iter().filter_map(|id| Some((readers.get(&id.channel)?.key(), id.id))).collect();
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.store.get(&wanted).await?;
        Ok(found
            .into_iter()
            .filter(|message| {
                readers.get(&message.key.channel).is_some_and(|reader| message.ts > reader.floor())
            })
            .map(|message| (message.api_id(), message))
            .collect())
    }

    /// The reader's own message with this `clientMessageId` in the channel, if there is one: also of before the reader left
    /// and came back, as sending it again gives it too.
    pub async fn message_by_client_id(&self, reader: &ChannelReader, id: &str) -> Result<Option<Message>> {
        let author: UserId = reader.viewer().user();
        let found = self.store.by_client_ids(reader.key(), &[(author, id.to_owned())]).await?;
        Ok(found.into_iter().next())
    }

    /// A page of what the reader may see of a channel's timeline or of a thread.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a middle that the reader cannot see.
    pub async fn history(
        &self,
        reader: &ChannelReader,
        scope: Scope,
        request: HistoryRequest,
    ) -> Result<HistoryPage> {
        let key = reader.key();
        let floor = reader.floor();
        let query = |after: Option<i64>, before: Option<i64>, limit, newest_first| PageQuery {
            scope,
            after: after.unwrap_or(0).max(floor),
            before: before.unwrap_or(i64::MAX),
            // One more tells whether there is another page.
            limit: limit + 1,
            newest_first,
        };
        match request {
            HistoryRequest::First { limit, after, before } => {
                let mut messages = self.store.page(key, query(after, before, limit, false)).await?;
                let has_next = messages.len() > limit;
                messages.truncate(limit);
                Ok(HistoryPage { messages, has_previous: after.is_some_and(|after| after > floor), has_next })
            }
            HistoryRequest::Last { limit, after, before } => {
                let mut messages = self.store.page(key, query(after, before, limit, true)).await?;
                let has_previous = messages.len() > limit;
                messages.truncate(limit);
                messages.reverse();
                Ok(HistoryPage { messages, has_previous, has_next: before.is_some() })
            }
            HistoryRequest::Around { limit, id } => {
                let found = self.store.get(&[(key, id)]).await?;
                let middle =
                    found.into_iter().find(|message| message.ts > floor).ok_or(Error::NotFound("message"))?;
                let half = limit / 2;
                let later_limit = limit.saturating_sub(half + 1);
                let (earlier, later) = tokio::join!(
                    self.store.page(key, query(None, Some(middle.ts), half, true)),
                    self.store.page(key, query(Some(middle.ts), None, later_limit, false)),
                );
                let (mut messages, mut later) = (earlier?, later?);
                let has_previous = messages.len() > half;
                let has_next = later.len() > later_limit;
                messages.truncate(half);
                messages.reverse();
                later.truncate(later_limit);
                let in_scope = match scope {
                    Scope::Timeline => middle.in_timeline(),
                    Scope::Thread(root) => middle.thread_root == Some(root),
                };
                messages.extend(in_scope.then_some(middle));
                messages.extend(later);
                Ok(HistoryPage { messages, has_previous, has_next })
            }
        }
    }

    /// The newest message of each channel that the viewer may see: one query.
    pub async fn newest_messages(&self, channels: &[VisibleChannel]) -> Result<HashMap<ChannelId, Message>> {
        let keys: Vec<_> = channels.iter().map(|channel| (channel.key(), channel.floor())).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let newest = self.store.newest(&keys).await?;
        Ok(newest.into_iter().map(|message| (message.key.channel, message)).collect())
    }
}
