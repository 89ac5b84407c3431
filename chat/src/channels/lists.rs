//! Channels in lists.

use quikapp_entities::{
    ChannelId, Timestamp, WorkspaceId, channel_members,
    channels::{self, ChannelType},
};
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use crate::{
    Chat, Error, Result,
    access::{Viewer, VisibleChannel, WorkspaceMember, present_in},
    paging::{Page, Window},
};

/// A position in [`Chat::viewer_channels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewerChannelsCursor {
    /// Pinned channels come first.
    pub is_pinned: bool,
    /// Then those with the newest messages; those without any come last.
    pub last_message_at: Option<Timestamp>,
    /// Then by id.
    pub channel: ChannelId,
}

impl ViewerChannelsCursor {
    /// Where this channel stands in the list.
    #[must_use]
    pub fn of(visible: &VisibleChannel) -> Self {
        Self {
            is_pinned: visible.membership().is_some_and(|membership| membership.is_pinned),
            last_message_at: visible.channel().last_message_at,
            channel: visible.channel().id,
        }
    }

    /// The condition of standing behind it.
    fn behind(self) -> Condition {
        let (time, id) = (channels::Column::LastMessageAt, channels::Column::Id);
        let older = match self.last_message_at {
            Some(at) => Condition::any()
                .add(time.lt(at))
                .add(time.is_null())
                .add(Condition::all().add(time.eq(at)).add(id.gt(self.channel))),
            None => Condition::any().add(Condition::all().add(time.is_null()).add(id.gt(self.channel))),
        };
        let pinned = channel_members::Column::IsPinned;
        let here = Condition::all().add(pinned.eq(self.is_pinned)).add(older);
        if self.is_pinned { Condition::any().add(pinned.eq(false)).add(here) } else { here }
    }
}

impl Chat {
    /// The channels the viewer is in, in one workspace or in all, without archived ones: pinned ones first, then by the
    /// newest message. One query.
    pub async fn viewer_channels(
        &self,
        viewer: &Viewer,
        workspace: Option<WorkspaceId>,
        window: &Window<ViewerChannelsCursor>,
    ) -> Result<Page<VisibleChannel>> {
        let found = self.channels_where(viewer, |query| {
            let mut query = present_in(query, workspace).filter(channels::Column::IsArchived.eq(false));
            if let Some(after) = window.after {
                query = query.filter(after.behind());
            }
            // Both stores put NULL below every value, so descending it comes last.
            query
                .order_by_desc(channel_members::Column::IsPinned)
                .order_by_desc(channels::Column::LastMessageAt)
                .order_by_asc(channels::Column::Id)
                .limit(window.rows())
        });
        Ok(Page::cut(found.await?, window))
    }

    /// The channels of a workspace that the member may see, by name; direct ones only with the member in them. One query.
    pub async fn workspace_channels(
        &self,
        member: &WorkspaceMember,
        kind: Option<ChannelType>,
        include_archived: bool,
        window: &Window<String>,
    ) -> Result<Page<VisibleChannel>> {
        let found = self.channels_where(member.viewer(), |query| {
            let mut query = query.filter(channels::Column::WorkspaceId.eq(member.id()));
            if let Some(kind) = kind {
                query = query.filter(channels::Column::Kind.eq(kind));
            }
            if !include_archived {
                query = query.filter(channels::Column::IsArchived.eq(false));
            }
            if let Some(after) = &window.after {
                query = query.filter(channels::Column::Name.gt(after.as_str()));
            }
            query.order_by_asc(channels::Column::Name).limit(window.rows())
        });
        Ok(Page::cut(found.await?, window))
    }

    /// The channel that is about a business entity; [`Error::NotFound`] without one that the member may see.
    pub async fn channel_by_entity(
        &self,
        member: &WorkspaceMember,
        entity_type: &str,
        entity_id: &str,
    ) -> Result<VisibleChannel> {
        let found = self.channels_where(member.viewer(), |query| {
            query
                .filter(channels::Column::WorkspaceId.eq(member.id()))
                .filter(channels::Column::EntityType.eq(entity_type))
                .filter(channels::Column::EntityId.eq(entity_id))
        });
        found.await?.into_iter().next().ok_or(Error::NotFound("channel"))
    }
}
