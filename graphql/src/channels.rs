//! Channels: types and look-ups.

use async_graphql::{ComplexObject, Context, Enum, ID, Object, SimpleObject};
use quikapp_chat::{
    access::VisibleChannel,
    entities::{ChannelId, UserId, channels},
    paging::Window,
};

use crate::{
    channel_members::{ChannelMembership, ChannelMembershipConnection, MembershipStatus},
    context::ContextExt,
    cursors,
    error::Result,
    history::{HistoryArguments, MessageConnection},
    ids, messages,
    messages::Message,
    paging,
    scalars::{BigInt, DateTime, EventCursor},
    sync,
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

    /// The channel's position, read before the channel and what you ask of it, and before all else that the query asks for
    /// where a root field names the channel or one of its messages by id: follow `channelEvents` after it, and nothing is missed in between. In lists it may be a
    /// second old, so that what you just read may be told once more.
    async fn sync_cursor(&self, ctx: &Context<'_>) -> Result<EventCursor> {
        let channel = self.visible.key().channel;
        let start = sync::channel(ctx, channel).transpose()?;
        cursors::channel(ctx, channel, start.unwrap_or(self.position))
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
    /// A channel by id, for a query that begins with it.
    pub(crate) async fn find(ctx: &Context<'_>, id: ChannelId) -> Result<Self> {
        Ok(ctx.chat()?.visible_channel(&ctx.viewer()?, id).await?.into())
    }
}

paging::connection!(ChannelConnection, ChannelEdge, Channel, "channels");
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
