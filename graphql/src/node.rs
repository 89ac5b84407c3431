//! Any object by its id.

use async_graphql::{Context, ID, Interface, Object};
use futures_util::future::join_all;
use quikapp_chat::{
    Error,
    entities::{
        ChannelId, SessionId, UserId, WorkspaceId,
        ids::{ChannelMembershipId, MessageKey, WorkspaceMemberId},
    },
};

use crate::{
    accounts::Session,
    channel_members::ChannelMembership,
    channels::Channel,
    context::ContextExt,
    error::Result,
    ids,
    messages::{self, Message},
    users::User,
    workspaces::{Workspace, WorkspaceMember},
};

/// Most ids of one look-up.
const NODES_LIMIT: usize = 100;

/// An object with an id of its own.
#[derive(Clone, Interface)]
#[graphql(field(
    name = "id",
    ty = "&ID",
    desc = "Its id: opaque, the same for ever, and of one object only."
))]
#[allow(clippy::large_enum_variant)] // short-lived
pub enum Node {
    /// A person.
    User(User),
    /// A sign-in on one client.
    Session(Session),
    /// A team with its people and channels.
    Workspace(Workspace),
    /// Somebody in a workspace.
    WorkspaceMember(WorkspaceMember),
    /// A conversation.
    Channel(Channel),
    /// Somebody in a channel.
    ChannelMembership(ChannelMembership),
    /// A message.
    Message(Message),
}

/// Finds an object by what its id says it is, through the request's loaders.
async fn find(ctx: &Context<'_>, id: &ID, field: &str) -> Result<Node> {
    ctx.viewer()?;
    let prefix = id.rsplit_once('_').map_or("", |(prefix, _)| prefix);
    Ok(match prefix {
        UserId::PREFIX => Node::User(User::find(ctx, ids::parse(id, field)?).await?),
        SessionId::PREFIX => Node::Session(Session::find(ctx, ids::parse(id, field)?).await?),
        WorkspaceId::PREFIX => {
            Node::Workspace(ctx.loaders()?.workspace(ids::parse(id, field)?).await?.into())
        }
        WorkspaceMemberId::PREFIX => {
            Node::WorkspaceMember(WorkspaceMember::find(ctx, ids::parse(id, field)?).await?)
        }
        ChannelId::PREFIX => Node::Channel(ctx.loaders()?.channel(ids::parse(id, field)?).await?.into()),
        ChannelMembershipId::PREFIX => {
            let of: ChannelMembershipId = ids::parse(id, field)?;
            Node::ChannelMembership(ChannelMembership::load(ctx, of.channel, of.user).await?)
        }
        MessageKey::PREFIX => {
            let key: MessageKey = ids::parse(id, field)?;
            Node::Message(messages::load(ctx, key).await?.ok_or(Error::NotFound("message"))?)
        }
        _ => return Err(Error::NotFound("object").into()),
    })
}

/// Objects by id.
#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Any object by its id. NOT_FOUND if there is none, or the viewer may not see it.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The object's id.")] id: ID,
    ) -> Option<Result<Node>> {
        Some(find(ctx, &id, "id").await)
    }

    /// Objects by their ids, in the same order. In the place of one that does not exist, or that the viewer may not see,
    /// stands null, with a NOT_FOUND error.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Up to 100 ids.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Result<Node>>>> {
        if ids.len() > NODES_LIMIT {
            return Err(Error::invalid("ids", "must be at most 100").into());
        }
        let found = ids
            .iter()
            .enumerate()
            .map(|(index, id)| async move { Some(find(ctx, id, &format!("ids.{index}")).await) });
        Ok(join_all(found).await)
    }
}
