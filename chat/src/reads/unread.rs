//! Counting what is unread: three queries of the message store for any number of channels.

use std::collections::HashMap;

use quikapp_entities::{ChannelId, Timestamp, WorkspaceId, channels, ids::MessageKey};
use sea_orm::{ColumnTrait, QueryFilter};

use super::{Cursor, entry, read_log};
use crate::{
    Chat, Result,
    access::{Viewer, VisibleChannel, present_in},
    store::UnreadQuery,
};

/// A count goes no further.
pub const MOST_UNREAD: u32 = 1_000;

/// What a member has not read of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelUnread {
    /// The channel.
    pub channel: ChannelId,
    /// How many messages of its timeline behind the cursor others wrote and nobody deleted, SYSTEM messages aside; at
    /// most [`MOST_UNREAD`].
    pub unread: i64,
    /// The oldest of them.
    pub first: Option<MessageKey>,
    /// Messages with `ts` up to this tick are read.
    pub last_read_seq: i64,
    /// The last message of the timeline that the member marked as read, by itself or with those behind it.
    pub last_read: Option<MessageKey>,
    /// When the member last moved the cursor.
    pub last_read_at: Option<Timestamp>,
    /// The channel's last tick before anything else of this was read; what was written behind it is not counted.
    pub latest_seq: i64,
    /// Whether the channel stays silent for the member.
    pub is_muted: bool,
}

impl Chat {
    /// What the viewer has not read of these channels, where they are in them; all are of one viewer.
    pub async fn unread(&self, channels: &[VisibleChannel]) -> Result<HashMap<ChannelId, ChannelUnread>> {
        let present: HashMap<_, _> = channels
            .iter()
            .filter_map(|channel| Some((channel.key(), (channel, channel.membership()?))))
            .collect();
        let Some((viewer, _)) = present.values().next() else { return Ok(HashMap::new()) };
        let user = viewer.viewer().user();
        let keys: Vec<_> = present.keys().copied().collect();
        let heads: HashMap<_, _> = self.store.heads(&keys).await?.into_iter().collect();
        let entries: Vec<_> =
            keys.iter().map(|key| (read_log(key.workspace, user), entry(key.channel, user))).collect();
        let entries: HashMap<_, _> =
            self.store.get(&entries).await?.into_iter().map(|entry| (entry.id, entry.system)).collect();
        let mut states = HashMap::with_capacity(keys.len());
        let mut queries = Vec::with_capacity(keys.len());
        for (key, (channel, membership)) in present {
            let said = entries.get(&entry(key.channel, user)).and_then(Option::as_ref);
            let cursor = Cursor::of(said, membership.joined_seq);
            let up_to = heads.get(&key).map_or(0, |head| head.seq);
            let after = cursor.seq.max(channel.floor());
            // A channel that was read to its end is not asked for.
            if after < up_to {
                queries.push(UnreadQuery { key, after, up_to });
            }
            let of = |id| MessageKey { id, channel: key.channel };
            let state = ChannelUnread {
                channel: key.channel,
                unread: 0,
                first: None,
                last_read_seq: cursor.seq,
                last_read: cursor.message.map(of),
                last_read_at: cursor.at,
                latest_seq: up_to,
                is_muted: membership.is_muted,
            };
            states.insert(key.channel, state);
        }
        for (key, unread) in self.store.unread(user, &queries, MOST_UNREAD).await? {
            if let Some(state) = states.get_mut(&key.channel) {
                state.unread = unread.count;
                state.first = Some(MessageKey { id: unread.first, channel: key.channel });
            }
        }
        Ok(states)
    }

    /// The same for all channels that the viewer is in and that are not archived, in one workspace or in all, by id. Four
    /// queries.
    pub async fn viewer_unread(
        &self,
        viewer: &Viewer,
        workspace: Option<WorkspaceId>,
    ) -> Result<Vec<ChannelUnread>> {
        let found = self
            .channels_where(viewer, |query| {
                present_in(query, workspace).filter(channels::Column::IsArchived.eq(false))
            })
            .await?;
        let mut unread: Vec<_> = self.unread(&found).await?.into_values().collect();
        unread.sort_unstable_by_key(|unread| unread.channel);
        Ok(unread)
    }
}
