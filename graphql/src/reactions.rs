//! Reactions: types, put and take back.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, ID, Object, SimpleObject};
use quikapp_chat::{
    entities::{UserId, ids::MessageKey},
    messages,
};

use crate::{
    context::ContextExt,
    error::Result,
    ids,
    messages::{Message, member_for_message},
    paging,
    scalars::DateTime,
    users::User,
};

/// How many users a group names.
const TOP_USERS: usize = 5;

/// One emoji on a message, with everybody who put it.
pub struct ReactionGroup {
    message: Arc<messages::Message>,
    index: usize,
}

impl ReactionGroup {
    pub(crate) fn of(message: &Arc<messages::Message>, index: usize) -> Self {
        Self { message: Arc::clone(message), index }
    }

    fn users(&self) -> impl Iterator<Item = UserId> {
        self.message.reactions.get(self.index).into_iter().flat_map(|group| &group.users).map(|by| by.user)
    }
}

/// One emoji on a message, with everybody who put it.
#[Object]
impl ReactionGroup {
    /// The emoji, or a name in colons.
    async fn emoji(&self) -> &str {
        self.message.reactions.get(self.index).map_or("", |group| &group.emoji)
    }

    /// How many users put it.
    async fn count(&self) -> usize {
        self.users().count()
    }

    /// Whether the viewer is one of them.
    async fn viewer_has_reacted(&self, ctx: &Context<'_>) -> Result<bool> {
        Ok(ctx.identity()?.is_among(self.users())?)
    }

    /// The first five users who put it.
    async fn top_users(&self, ctx: &Context<'_>) -> Result<Vec<User>> {
        let top: Vec<UserId> = self.users().take(TOP_USERS).collect();
        User::load_all(ctx, &top).await
    }
}

/// One user's emoji on a message.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Reaction {
    /// The emoji, or a name in colons.
    emoji: String,
    /// When it was put.
    created_at: DateTime,
    #[graphql(skip)]
    user: UserId,
}

#[ComplexObject]
impl Reaction {
    /// Who put it.
    async fn user(&self, ctx: &Context<'_>) -> Result<User> {
        Ok(ctx.loaders()?.user(self.user).await?.into())
    }
}

paging::connection!(ReactionConnection, ReactionEdge, Reaction, "reactions");

impl Reaction {
    pub(crate) fn page(
        groups: &[messages::ReactionGroup],
        emoji: Option<&str>,
        first: i32,
        after: Option<&str>,
    ) -> Result<ReactionConnection> {
        let limit = paging::size(first, "first")?;
        let after: Option<(i64, UserId, String)> = paging::parse_cursor(after, "after")?;
        let mut reactions: Vec<(i64, UserId, String)> = groups
            .iter()
            .filter(|group| emoji.is_none_or(|emoji| emoji == group.emoji))
            .flat_map(|group| group.users.iter().map(|by| (by.at.0, by.user, group.emoji.clone())))
            .collect();
        reactions.sort_unstable();
        let start = after.as_ref().map_or(0, |after| reactions.partition_point(|reaction| reaction <= after));
        let has_next = reactions.len() > start + limit;
        let page = reactions.drain(start..).take(limit).map(|reaction| {
            let cursor = paging::cursor(&reaction);
            let (at, user, emoji) = reaction;
            (cursor, Self { emoji, created_at: DateTime(quikapp_chat::entities::Timestamp(at)), user })
        });
        Ok(ReactionConnection::new(page.collect(), start > 0, has_next))
    }
}

/// What putting a reaction gives.
#[derive(SimpleObject)]
pub struct AddReactionPayload {
    /// The message as it is now.
    message: Message,
}

/// What taking a reaction back gives.
#[derive(SimpleObject)]
pub struct RemoveReactionPayload {
    /// The message as it is now.
    message: Message,
}

/// Reacting.
#[derive(Default)]
pub struct ReactionMutation;

#[Object]
impl ReactionMutation {
    /// Puts the viewer's emoji on a message. Putting it again changes nothing. At most 50 different emojis stand on a
    /// message, and at most 5,000 users under each.
    async fn add_reaction(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message's id.")] message_id: ID,
        #[graphql(desc = "One emoji, such as 👍, or a name in colons, such as :party:.")] emoji: String,
    ) -> Result<AddReactionPayload> {
        let viewer = ctx.viewer()?;
        let key: MessageKey = ids::parse(&message_id, "messageId")?;
        let member = member_for_message(ctx, &viewer, key).await?;
        let message = ctx.chat()?.add_reaction(&member, key.id, emoji).await?;
        Ok(AddReactionPayload { message: message.into() })
    }

    /// Takes the viewer's emoji back from a message. Taking back what is not there changes nothing.
    async fn remove_reaction(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message's id.")] message_id: ID,
        #[graphql(desc = "The emoji.")] emoji: String,
    ) -> Result<RemoveReactionPayload> {
        let viewer = ctx.viewer()?;
        let key: MessageKey = ids::parse(&message_id, "messageId")?;
        let member = member_for_message(ctx, &viewer, key).await?;
        let message = ctx.chat()?.remove_reaction(&member, key.id, emoji).await?;
        Ok(RemoveReactionPayload { message: message.into() })
    }
}
