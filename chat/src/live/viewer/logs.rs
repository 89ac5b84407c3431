//! Which logs a viewer may read: those of their channels and workspaces, and their own.

use std::collections::HashMap;

use quikapp_entities::{
    ChannelId, Timestamp, UserId, WorkspaceId,
    channel_members::{self, MembershipStatus},
    workspace_members,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryTrait};

use crate::{
    Chat, Result,
    access::{Viewer, present_in},
    messages::model::ChannelKey,
    reads::read_log,
};

/// The log of what happens to a workspace itself, beside those of its channels: its own fields, its people, new open
/// channels.
#[must_use]
pub fn workspace_log(workspace: WorkspaceId) -> ChannelKey {
    ChannelKey { workspace, channel: ChannelId(workspace.0) }
}

/// A log that the viewer may read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log {
    pub(super) key: ChannelKey,
    /// Messages with `ts` up to this tick are not shown.
    pub(super) floor: i64,
    /// Where a stream begins that did not know the log: at the viewer's joining.
    pub(super) start: i64,
    /// When the channel was made, which the viewer may leave; none of a log beside the channels.
    pub(super) made_at: Option<Timestamp>,
}

/// How the viewer came to be out of a channel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Departure {
    /// Where; not known while it is under way, as the time.
    pub(super) workspace: Option<WorkspaceId>,
    pub(super) at: Option<Timestamp>,
    /// None of those who left by themselves.
    pub(super) removed_by: Option<UserId>,
}

impl Chat {
    /// The logs that the viewer follows, and the viewer's membership in each workspace; two queries.
    pub(super) async fn logs_of(
        &self,
        viewer: &Viewer,
        workspace: Option<WorkspaceId>,
    ) -> Result<(Vec<Log>, HashMap<WorkspaceId, workspace_members::Model>)> {
        let mut members = self.workspaces_where(viewer, |query| query).await?;
        members.retain(|member| workspace.is_none_or(|only| only == member.id()));
        let channels = self.channels_where(viewer, |query| present_in(query, workspace)).await?;
        let channels = channels.into_iter().map(|visible| Log {
            key: visible.key(),
            floor: visible.floor(),
            start: visible.joined_seq().unwrap_or(0),
            made_at: Some(visible.channel().created_at),
        });
        let beside = members.iter().flat_map(|member| {
            let log = |key, start| Log { key, floor: 0, start, made_at: None };
            let joined_seq = member.membership().joined_seq.unwrap_or(i64::MAX);
            // All of the read log is the viewer's own, and it is short.
            [log(workspace_log(member.id()), joined_seq), log(read_log(member.id(), viewer.user()), 0)]
        });
        let logs = channels.chain(beside).collect();
        Ok((logs, members.iter().map(|member| (member.id(), member.membership().clone())).collect()))
    }

    /// The channels that the viewer was in and is not any more: all of them, or the one asked for if it is among them.
    pub(super) async fn channels_left(
        &self,
        viewer: &Viewer,
        channel: Option<ChannelId>,
    ) -> Result<HashMap<ChannelId, Departure>> {
        let query = channel_members::Entity::find()
            .filter(channel_members::Column::UserId.eq(viewer.user()))
            .filter(
                channel_members::Column::Status.is_in([MembershipStatus::Left, MembershipStatus::Removed]),
            )
            .apply_if(channel, |query, channel| query.filter(channel_members::Column::ChannelId.eq(channel)));
        let rows = self.db.read(query.all(self.db.pool())).await?;
        let departure = |row: channel_members::Model| Departure {
            workspace: Some(row.workspace_id),
            at: row.left_at,
            removed_by: row.removed_by,
        };
        Ok(rows.into_iter().map(|row| (row.channel_id, departure(row))).collect())
    }
}
