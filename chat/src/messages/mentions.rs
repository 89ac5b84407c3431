//! Whom a message addresses: `<@user_…>` and `@everyone` in its text, and its mention blocks.

use quikapp_entities::{
    UserId,
    channel_members::{self, MembershipStatus},
    channels::ChannelType,
    workspace_members::{self, MemberRole},
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::{
    Chat, Result,
    access::ChannelMember,
    messages::{content::Content, model::Block},
};

/// Most people that a message addresses by name; further ones are left out.
pub const MENTION_LIMIT: usize = 100;

/// Whom a message addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mentions {
    /// By name: distinct people who can see the channel, in the order of the message.
    pub users: Vec<UserId>,
    /// All members.
    pub everyone: bool,
}

/// The users named, each once, in order.
fn named(content: &Content) -> Vec<UserId> {
    let in_blocks = content.blocks.iter().filter_map(|block| match block {
        Block::Mention { user } => Some(*user),
        _ => None,
    });
    let in_text = content
        .text
        .split("<@")
        .skip(1)
        .filter_map(|rest| rest.split_once('>'))
        .filter_map(|(id, _)| id.parse().ok());
    let mut users: Vec<UserId> = Vec::new();
    for user in in_blocks.chain(in_text) {
        if users.len() < MENTION_LIMIT && !users.contains(&user) {
            users.push(user);
        }
    }
    users
}

/// Whether `@everyone` stands in the text as a word.
fn names_everyone(text: &str) -> bool {
    text.match_indices("@everyone").any(|(at, word)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

impl Chat {
    /// Resolves what a message by `member` addresses. `@everyone` counts from channel and workspace admins only; from
    /// others it is words.
    pub(crate) async fn mentions(&self, member: &ChannelMember, content: &Content) -> Result<Mentions> {
        let everyone = names_everyone(&content.text) && member.moderate().is_ok();
        let named = named(content);
        if named.is_empty() {
            return Ok(Mentions { users: named, everyone });
        }
        let key = member.key();
        let mut seeing: Vec<UserId> = self
            .db
            .read(
                channel_members::Entity::find()
                    .select_only()
                    .column(channel_members::Column::UserId)
                    .filter(channel_members::Column::ChannelId.eq(key.channel))
                    .filter(channel_members::Column::UserId.is_in(named.iter().copied()))
                    .filter(
                        channel_members::Column::Status
                            .is_in([MembershipStatus::Active, MembershipStatus::Muted]),
                    )
                    .into_tuple::<UserId>()
                    .all(self.db.pool()),
            )
            .await?;
        if matches!(member.kind(), ChannelType::Public | ChannelType::Topic) {
            let in_workspace = self
                .db
                .read(
                    workspace_members::Entity::find()
                        .select_only()
                        .column(workspace_members::Column::UserId)
                        .filter(workspace_members::Column::WorkspaceId.eq(key.workspace))
                        .filter(workspace_members::Column::UserId.is_in(named.iter().copied()))
                        .filter(workspace_members::Column::Role.ne(MemberRole::Guest))
                        .into_tuple::<UserId>()
                        .all(self.db.pool()),
                )
                .await?;
            seeing.extend(in_workspace);
        }
        Ok(Mentions { users: named.into_iter().filter(|user| seeing.contains(user)).collect(), everyone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_is_a_word_of_its_own() {
        for (text, expected) in [
            ("@everyone", true),
            ("hey (@everyone)!", true),
            ("me@everyone.org", false),
            ("@everyone_else", false),
            ("@everyones", false),
            ("no@everyone and @everyone", true),
        ] {
            assert_eq!(names_everyone(text), expected, "{text}");
        }
    }
}
