//! Reactions: types, put and take back.

use std::{collections::BinaryHeap, sync::Arc};

use async_graphql::{ComplexObject, Context, ID, Object, SimpleObject};
use quikapp_chat::{
    entities::{Timestamp, UserId, ids::MessageKey},
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
        let after = after.as_ref().map(|(at, user, emoji)| (*at, *user, emoji.as_str()));
        // There may be 250,000 of them, and a page shows a hundred: so only the first ones are kept, with one more that tells
        // whether there is another page.
        let mut kept = BinaryHeap::with_capacity(limit + 2);
        let mut has_previous = false;
        for group in groups.iter().filter(|group| emoji.is_none_or(|emoji| emoji == group.emoji)) {
            for by in &group.users {
                let reaction = (by.at.0, by.user, group.emoji.as_str());
                if after.is_some_and(|after| reaction <= after) {
                    has_previous = true;
                } else if kept.len() <= limit {
                    kept.push(reaction);
                } else if let Some(mut last) = kept.peek_mut().filter(|last| reaction < **last) {
                    *last = reaction;
                }
            }
        }
        let mut page = kept.into_sorted_vec();
        let has_next = page.len() > limit;
        page.truncate(limit);
        let page = page.into_iter().map(|reaction| {
            let (at, user, emoji) = reaction;
            let node = Self { emoji: emoji.to_owned(), created_at: DateTime(Timestamp(at)), user };
            (paging::cursor(&reaction), node)
        });
        Ok(ReactionConnection::new(page.collect(), has_previous, has_next))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use messages::model::Reactor;
    use quikapp_chat::entities::UserId;

    use super::*;

    /// Groups in which nothing is in order, some at the same time.
    fn groups(emojis: u128, users: u128) -> Vec<messages::ReactionGroup> {
        let reactor = |emoji: u128, user: u128| Reactor {
            user: UserId(uuid::Uuid::from_u128(user)),
            at: Timestamp(i64::try_from((user * 7_919 + emoji * 31) % 101).unwrap()),
        };
        let group = |emoji: u128| messages::ReactionGroup {
            emoji: format!(":e{emoji}:"),
            users: (0..users).map(|user| reactor(emoji, user)).collect(),
        };
        (0..emojis).map(group).collect()
    }

    #[test]
    fn pages_together_are_all_reactions_in_order() {
        for (emojis, users, first) in [(0, 0, 5), (1, 1, 1), (7, 53, 10), (7, 53, 100), (3, 20, 60)] {
            let groups = groups(emojis, users);
            for emoji in [None, Some(":e1:")] {
                let mut wanted: Vec<(i64, UserId, String)> = groups
                    .iter()
                    .filter(|group| emoji.is_none_or(|emoji| emoji == group.emoji))
                    .flat_map(|group| group.users.iter().map(|by| (by.at.0, by.user, group.emoji.clone())))
                    .collect();
                wanted.sort();
                let mut got = Vec::new();
                let mut after: Option<String> = None;
                loop {
                    let page = Reaction::page(&groups, emoji, first, after.as_deref()).unwrap();
                    assert_eq!(page.page_info.has_previous_page, after.is_some());
                    let node = |one: Reaction| (one.created_at.0.0, one.user, one.emoji);
                    got.extend(page.nodes.into_iter().map(node));
                    assert_eq!(page.page_info.has_next_page, got.len() < wanted.len());
                    after = page.page_info.end_cursor;
                    if !page.page_info.has_next_page {
                        break;
                    }
                }
                assert_eq!(got, wanted);
            }
        }
    }
}
