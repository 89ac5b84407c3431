//! Who is in a channel: types, and the viewer's own list.

use async_graphql::{ComplexObject, Context, Enum, ID, SimpleObject};
use quikapp_chat::{
    Error,
    access::VisibleChannel,
    channels::ViewerChannelsCursor,
    entities::{
        ChannelId, UserId, WorkspaceId, channel_members, ids::ChannelMembershipId, workspace_members,
    },
    paging::Window,
};

use crate::{
    channels::Channel,
    context::ContextExt,
    error::{Result, seen},
    ids, paging,
    reads::ChannelUnread,
    scalars::DateTime,
    users::User,
};

/// A role, in a workspace or in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "workspace_members::MemberRole")]
pub enum MemberRole {
    /// May do everything.
    Owner,
    /// May manage members and settings.
    Admin,
    /// May take part.
    Member,
    /// May take part in the channels that they were added to.
    Guest,
}

/// Where a membership stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "channel_members::MembershipStatus")]
pub enum MembershipStatus {
    /// Reads and writes.
    Active,
    /// Silenced by a moderator: reads only.
    Muted,
    /// Left by themselves; may join an open channel again.
    Left,
    /// Removed by somebody; has to be added again.
    Removed,
}

/// What of a channel notifies its member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "channel_members::NotificationLevel")]
pub enum NotificationLevel {
    /// Every message.
    All,
    /// Messages that address the member.
    Mentions,
    /// Nothing.
    None,
}

/// Somebody in a channel.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct ChannelMembership {
    /// Its id.
    pub id: ID,
    /// The member's role in the channel.
    pub role: MemberRole,
    /// Where the membership stands.
    pub status: MembershipStatus,
    /// When the member last came in.
    pub joined_at: DateTime,
    /// When the member went; null while in.
    pub left_at: Option<DateTime>,
    #[graphql(skip)]
    inner: channel_members::Model,
    /// The channel as the viewer may see it, where it is at hand.
    #[graphql(skip)]
    visible: Option<Box<VisibleChannel>>,
}

impl From<channel_members::Model> for ChannelMembership {
    fn from(inner: channel_members::Model) -> Self {
        Self {
            visible: None,
            id: ids::id(ChannelMembershipId { user: inner.user_id, channel: inner.channel_id }),
            role: inner.role.into(),
            status: inner.status.into(),
            joined_at: DateTime(inner.joined_at),
            left_at: inner.left_at.map(DateTime),
            inner,
        }
    }
}

impl ChannelMembership {
    /// A membership in a channel that the viewer may read.
    pub(crate) async fn load(ctx: &Context<'_>, channel: ChannelId, user: UserId) -> Result<Self> {
        let membership = ctx.loaders()?.membership(channel, user).await?;
        Ok(membership.ok_or(Error::NotFound("membership"))?.into())
    }

    /// A membership that an event tells of, if the viewer may still read its channel.
    pub(crate) async fn told(ctx: &Context<'_>, channel: ChannelId, user: UserId) -> Result<Option<Self>> {
        let Some(visible) = seen(ctx.loaders()?.channel(channel).await)? else { return Ok(None) };
        let membership = ctx.loaders()?.membership(channel, user).await?;
        // Its `channel` is the one found here: between two looks the viewer may lose it.
        Ok(membership.map(|of| Self { visible: Some(Box::new(visible)), ..of.into() }))
    }

    async fn visible(&self, ctx: &Context<'_>) -> Result<VisibleChannel> {
        match &self.visible {
            Some(visible) => Ok(visible.as_ref().clone()),
            None => ctx.loaders()?.channel(self.inner.channel_id).await,
        }
    }

    /// A part of the channel's read state, if the membership is the viewer's own and holds.
    async fn of_unread<T>(
        &self,
        ctx: &Context<'_>,
        part: impl FnOnce(ChannelUnread) -> Option<T>,
    ) -> Option<Result<T>> {
        let find = async {
            if self.own(ctx, ())?.is_none() || !self.inner.is_present() {
                return Ok(None);
            }
            Ok(ChannelUnread::find(ctx, self.inner.channel_id).await?.and_then(part))
        };
        find.await.transpose()
    }

    /// The value, if the membership is the viewer's own.
    fn own<T>(&self, ctx: &Context<'_>, value: T) -> Result<Option<T>> {
        Ok(ctx.identity()?.is(self.inner.user_id)?.then_some(value))
    }
}

#[ComplexObject]
impl ChannelMembership {
    /// The channel.
    async fn channel(&self, ctx: &Context<'_>) -> Result<Channel> {
        Ok(self.visible(ctx).await?.into())
    }

    /// The member.
    async fn user(&self, ctx: &Context<'_>) -> Result<User> {
        Ok(ctx.loaders()?.user(self.inner.user_id).await?.into())
    }

    /// Who removed the member; null unless removed, and for all but admins of the channel.
    async fn removed_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        let remover = self.inner.removed_by?;
        let find = async {
            if !self.visible(ctx).await?.moderates() {
                return Ok(None);
            }
            Ok(Some(ctx.loaders()?.user(remover).await?.into()))
        };
        find.await.transpose()
    }

    /// Whether the channel stays silent for the member; null on memberships of others.
    async fn is_muted(&self, ctx: &Context<'_>) -> Result<Option<bool>> {
        self.own(ctx, self.inner.is_muted)
    }

    /// Whether the channel stands before the others in the member's list; null on memberships of others.
    async fn is_pinned(&self, ctx: &Context<'_>) -> Result<Option<bool>> {
        self.own(ctx, self.inner.is_pinned)
    }

    /// What of the channel notifies the member; null on memberships of others.
    async fn notification_level(&self, ctx: &Context<'_>) -> Result<Option<NotificationLevel>> {
        self.own(ctx, self.inner.notification_level.into())
    }

    /// The last message of the timeline that the member marked as read, with all before it; null if there is none, and on
    /// memberships of others. Whoever comes in has nothing unread, and this is null until they mark something.
    async fn last_read_message_id(&self, ctx: &Context<'_>) -> Option<Result<ID>> {
        self.of_unread(ctx, |unread| unread.last_read_message_id).await
    }

    /// When the member last marked the channel as read or unread; null if they did not since they came in, and on memberships
    /// of others.
    async fn last_read_at(&self, ctx: &Context<'_>) -> Option<Result<DateTime>> {
        self.of_unread(ctx, |unread| unread.last_read_at).await
    }

    /// How many messages the member has not read, as `ChannelUnread.unread` counts them, at most 1,000; null on memberships
    /// of others and where the member is not in the channel.
    async fn unread_count(&self, ctx: &Context<'_>) -> Option<Result<i32>> {
        self.of_unread(ctx, |unread| Some(unread.unread)).await
    }

    /// The beginning of the channel's newest message, up to 140 characters; null if there is none, and on memberships of
    /// others.
    async fn last_message_preview(&self, ctx: &Context<'_>) -> Option<Result<String>> {
        let find = async {
            if self.own(ctx, ())?.is_none() || !self.inner.is_present() {
                return Ok(None);
            }
            let newest = ctx.loaders()?.newest(self.inner.channel_id).await?;
            Ok(newest.map(|message| message.text.chars().take(140).collect()))
        };
        find.await.transpose()
    }
}

paging::connection!(
    ChannelMembershipConnection,
    ChannelMembershipEdge,
    ChannelMembership,
    "channel memberships"
);

/// The viewer's own memberships, in the order of their list.
pub(crate) async fn of_viewer(
    ctx: &Context<'_>,
    workspace: Option<WorkspaceId>,
    first: i32,
    after: Option<String>,
) -> Result<ChannelMembershipConnection> {
    let after: Option<ViewerChannelsCursor> = paging::parse_cursor(after.as_deref(), "after")?;
    let limit = viewer_channels_size(first)?;
    let page = ctx.chat()?.viewer_channels(&ctx.viewer()?, workspace, &Window { after, limit }).await?;
    let items = page.items.into_iter().filter_map(|visible| {
        let mut membership = ChannelMembership::from(visible.membership()?.clone());
        let cursor = paging::cursor(&ViewerChannelsCursor::of(&visible));
        membership.visible = Some(Box::new(visible));
        Some((cursor, membership))
    });
    Ok(ChannelMembershipConnection::new(items.collect(), after.is_some(), page.has_more))
}

/// A sidebar is one page more often than not, so it may be longer than other lists.
fn viewer_channels_size(first: i32) -> Result<u64> {
    u64::try_from(first)
        .ok()
        .filter(|first| (1..=200).contains(first))
        .ok_or_else(|| Error::invalid("first", "must be from 1 to 200").into())
}
