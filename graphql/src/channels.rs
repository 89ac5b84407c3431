//! Channels and their members: types and look-ups.

use async_graphql::{ComplexObject, Context, Enum, ID, Object, SimpleObject};
use quikapp_chat::{
    Error,
    access::VisibleChannel,
    channels::ViewerChannelsCursor,
    entities::{
        ChannelId, UserId, WorkspaceId, channel_members, channels, ids::ChannelMembershipId,
        workspace_members,
    },
    paging::Window,
};

use crate::{
    context::ContextExt,
    cursors,
    error::{Result, seen},
    history::{HistoryArguments, MessageConnection},
    ids, messages,
    messages::Message,
    paging,
    reads::ChannelUnread,
    scalars::{BigInt, DateTime, EventCursor},
    users::User,
    workspaces::Workspace,
};

/// The kind of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "channels::ChannelType")]
pub enum ChannelType {
    /// Everybody in the workspace but guests can read it and join it.
    Public,
    /// Only its members know of it.
    Private,
    /// Between two people, or notes to oneself. One for each pair.
    Direct,
    /// Between three to nine people. One for each set of them.
    GroupDirect,
    /// About a thing of the business, such as a ticket or an order; as open as PUBLIC.
    Topic,
}

/// Which part of the history a member sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "channels::HistoryVisibility")]
pub enum HistoryVisibility {
    /// All of it.
    Shared,
    /// What was written since the member's latest join.
    SinceJoin,
}

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

/// A conversation.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Channel {
    /// Its id.
    pub id: ID,
    /// Its kind.
    #[graphql(name = "type")]
    pub kind: ChannelType,
    /// Its name, unique in the workspace; null on direct conversations.
    pub name: Option<String>,
    /// What it is about at the moment; null if not said.
    pub topic: Option<String>,
    /// What it is for; null if not said.
    pub description: Option<String>,
    /// Whether only its members can read it.
    pub is_private: bool,
    /// Whether it is read-only and left out of lists.
    pub is_archived: bool,
    /// Whether it is the channel that everybody in the workspace belongs to.
    pub is_general: bool,
    /// The thing that it is about; only on TOPIC channels.
    pub entity: Option<EntityRef>,
    /// Which part of the history its members see.
    pub history_visibility: HistoryVisibility,
    /// How many members it has.
    pub member_count: i32,
    /// How many messages people wrote that are not deleted, thread replies included; at most a second behind.
    pub message_count: BigInt,
    /// When the newest of them in the timeline was written; null if there is none. At most a second behind.
    pub last_message_at: Option<DateTime>,
    /// When it was made.
    pub created_at: DateTime,
    /// When its own fields last changed.
    pub updated_at: DateTime,
    #[graphql(skip)]
    visible: VisibleChannel,
    /// The last tick of its log before it was read.
    #[graphql(skip)]
    position: i64,
}

/// A thing of the business outside of the chat.
#[derive(Clone, SimpleObject)]
pub struct EntityRef {
    /// Its type, such as `ticket`.
    #[graphql(name = "type")]
    kind: String,
    /// Its id there.
    id: String,
}

impl From<VisibleChannel> for Channel {
    fn from(visible: VisibleChannel) -> Self {
        let channel = visible.channel();
        let direct =
            matches!(channel.kind, channels::ChannelType::Direct | channels::ChannelType::GroupDirect);
        let open = matches!(channel.kind, channels::ChannelType::Public | channels::ChannelType::Topic);
        Self {
            id: ids::id(channel.id),
            kind: channel.kind.into(),
            name: (!direct).then(|| channel.name.clone()),
            topic: channel.topic.clone(),
            description: channel.description.clone(),
            is_private: !open,
            is_archived: channel.is_archived,
            is_general: channel.is_general,
            entity: channel
                .entity_type
                .clone()
                .zip(channel.entity_id.clone())
                .map(|(kind, id)| EntityRef { kind, id }),
            history_visibility: channel.history_visibility.into(),
            member_count: channel.member_count,
            message_count: BigInt(channel.message_count),
            last_message_at: channel.last_message_at.map(DateTime),
            created_at: DateTime(channel.created_at),
            updated_at: DateTime(channel.updated_at),
            // The row is at most a second behind the log, and never ahead of it.
            position: channel.log_seq,
            visible,
        }
    }
}

#[ComplexObject]
impl Channel {
    /// The workspace that it belongs to.
    async fn workspace(&self, ctx: &Context<'_>) -> Result<Workspace> {
        Ok(ctx.loaders()?.workspace(self.visible.key().workspace).await?.into())
    }

    /// The name to show: its own, or the names of the others in a direct conversation.
    async fn display_name(&self, ctx: &Context<'_>) -> Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let own = ctx.viewer()?.user();
        let mut members = ctx.loaders()?.direct_members(self.visible.key().channel).await?;
        if members.len() > 1 {
            members.retain(|member| *member != own);
        }
        let members = User::load_all(ctx, &members).await?;
        Ok(members.into_iter().map(|user| user.display_name).collect::<Vec<_>>().join(", "))
    }

    /// Who made it.
    async fn created_by(&self, ctx: &Context<'_>) -> Result<User> {
        Ok(ctx.loaders()?.user(self.visible.channel().created_by).await?.into())
    }

    /// How many of its ACTIVE members, those that `memberCount` counts, are online, AWAY and DND included. At most ten
    /// seconds old with more than 200 members, else as of now; null while it cannot be found out.
    async fn online_member_count(&self, ctx: &Context<'_>) -> Option<Result<i32>> {
        let channel = self.visible.key().channel;
        Some(async { ctx.loaders()?.online_members(channel, self.member_count).await }.await)
    }

    /// The newest message in its timeline that a person wrote, that is not deleted, and that the viewer may see.
    async fn last_message(&self, ctx: &Context<'_>) -> Option<Result<Message>> {
        async { Ok(ctx.loaders()?.newest(self.visible.key().channel).await?.map(Message::from)) }
            .await
            .transpose()
    }

    /// The viewer's own membership; null if they are not in the channel.
    async fn viewer_membership(&self) -> Option<ChannelMembership> {
        self.visible.membership().cloned().map(ChannelMembership::from)
    }

    /// The channel's position, read before the channel and what you ask of it: follow `channelEvents` after it, and nothing
    /// is missed in between. In lists it may be a second old, so that what you just read may be told once more.
    async fn sync_cursor(&self, ctx: &Context<'_>) -> Result<EventCursor> {
        cursors::channel(ctx, self.visible.key().channel, self.position)
    }

    /// Its members, in order of their ids.
    async fn members(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Only those with this status; by default those who are in the channel, silenced or not."
        )]
        status: Option<MembershipStatus>,
        #[graphql(desc = "Page size, 1 to 100.", default = 50)] first: i32,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
    ) -> Result<ChannelMembershipConnection> {
        let after: Option<UserId> = paging::parse_cursor(after.as_deref(), "after")?;
        let window = Window { after, limit: paging::size(first, "first")? as u64 };
        let page = ctx.chat()?.channel_members(&self.visible, status.map(Into::into), &window).await?;
        let items = page.items.into_iter().map(|member| (paging::cursor(&member.user_id), member.into()));
        Ok(ChannelMembershipConnection::new(items.collect(), after.is_some(), page.has_more))
    }

    /// Its timeline, oldest first: everything but plain thread replies. `last` with `before` goes back from the end, `first`
    /// with `after` goes forward, `around` a message gives its surroundings; without any of them the newest 50.
    #[allow(clippy::too_many_arguments)] // each is an argument of the API
    async fn messages(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size forward, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only messages after this cursor.")] after: Option<String>,
        #[graphql(desc = "Page size back, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only messages before this cursor.")] before: Option<String>,
        #[graphql(desc = "The id of the message in the middle of the page; `first` gives the page's size.")]
        around: Option<ID>,
    ) -> async_graphql::Result<MessageConnection> {
        let arguments = HistoryArguments { first, after, last, before, around };
        messages::of_channel(ctx, &self.visible, arguments).await
    }
}

impl Channel {
    /// A channel by id, for a query that begins with it: its position is read first, if the query wants to go on from it.
    pub(crate) async fn find(ctx: &Context<'_>, id: ChannelId) -> Result<Self> {
        let (chat, viewer) = (ctx.chat()?, ctx.viewer()?);
        if !ctx.look_ahead().field("syncCursor").exists() {
            return Ok(chat.visible_channel(&viewer, id).await?.into());
        }
        let position = chat.position(&chat.channel_reader(&viewer, id).await?).await?;
        Ok(Self { position, ..chat.visible_channel(&viewer, id).await?.into() })
    }
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

paging::connection!(ChannelConnection, ChannelEdge, Channel, "channels");
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

/// Looking channels up.
#[derive(Default)]
pub struct ChannelQuery;

#[Object]
impl ChannelQuery {
    /// A channel by id. NOT_FOUND if there is none, or the viewer may not see it.
    async fn channel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] id: ID,
    ) -> Option<Result<Channel>> {
        Some(
            async {
                ctx.viewer()?;
                Channel::find(ctx, ids::parse(&id, "id")?).await
            }
            .await,
        )
    }

    /// The TOPIC channel about a thing. NOT_FOUND if there is none, or the viewer may not see it.
    async fn channel_by_entity(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The workspace's id.")] workspace_id: ID,
        #[graphql(desc = "The thing's type.", name = "type")] kind: String,
        #[graphql(desc = "The thing's id.")] id: String,
    ) -> Option<Result<Channel>> {
        Some(
            async {
                let viewer = ctx.viewer()?;
                let member =
                    ctx.chat()?.workspace_member(&viewer, ids::parse(&workspace_id, "workspaceId")?).await?;
                Ok(ctx.chat()?.channel_by_entity(&member, &kind, &id).await?.into())
            }
            .await,
        )
    }
}
