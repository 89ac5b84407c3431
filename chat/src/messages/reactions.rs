//! Reactions: each user at most once under each emoji of a message, in the message's own document.

use std::sync::Arc;

use quikapp_entities::MessageId;

use crate::{
    Chat, Error, Result,
    access::ChannelMember,
    log::{Alteration, Aspect},
    messages::model::{Message, ReactionGroup, Reactor},
};

/// Most different emojis of a message.
pub const EMOJI_LIMIT: usize = 50;
/// Most users under one emoji.
pub const USER_LIMIT: usize = 5_000;
/// Longest emoji or name in colons, in characters.
pub const EMOJI_LENGTH: usize = 64;

/// An emoji (`👍`, with its joiners and skin tones) or a name in colons (`:party_parrot:`).
fn check_emoji(emoji: &str) -> Result<()> {
    let named = emoji.strip_prefix(':').and_then(|rest| rest.strip_suffix(':')).is_some_and(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+'))
    });
    // Keycaps begin with an ASCII character, so one that is not somewhere is enough.
    let drawn =
        !emoji.is_ascii() && !emoji.chars().any(|c| c.is_alphabetic() || c.is_whitespace() || c.is_control());
    if (named || drawn) && emoji.chars().count() <= EMOJI_LENGTH {
        Ok(())
    } else {
        Err(Error::invalid("emoji", "must be one emoji or a name in colons, such as :party:"))
    }
}

impl Chat {
    /// Puts the member's reaction; putting it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no emoji; [`Error::QuotaExceeded`] past 50 emojis or 5,000 users;
    /// [`Error::Conflict`] on a tombstone.
    pub async fn add_reaction(
        &self,
        member: &ChannelMember,
        id: MessageId,
        emoji: String,
    ) -> Result<Arc<Message>> {
        member.writable()?;
        check_emoji(&emoji)?;
        let reactor = Reactor { user: member.viewer().user(), at: self.env.now() };
        let floor = member.floor();
        let alteration = Alteration::new(move |message| {
            reactable(message, floor)?;
            if let Some(group) = message.reactions.iter_mut().find(|group| group.emoji == emoji) {
                if group.users.iter().any(|other| other.user == reactor.user) {
                    return Ok(None);
                }
                if group.users.len() >= USER_LIMIT {
                    return Err(Error::QuotaExceeded(format!(
                        "at most {USER_LIMIT} users can react with one emoji"
                    )));
                }
                group.users.push(reactor);
            } else {
                if message.reactions.len() >= EMOJI_LIMIT {
                    return Err(Error::QuotaExceeded(format!(
                        "at most {EMOJI_LIMIT} emojis can stand on a message"
                    )));
                }
                message.reactions.push(ReactionGroup { emoji: emoji.clone(), users: vec![reactor] });
            }
            Ok(Some(Aspect::Reactions))
        });
        self.log.alter(member.key(), id, alteration).await
    }

    /// Takes the member's reaction back; taking back what is not there changes nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] on a tombstone.
    pub async fn remove_reaction(
        &self,
        member: &ChannelMember,
        id: MessageId,
        emoji: String,
    ) -> Result<Arc<Message>> {
        member.writable()?;
        check_emoji(&emoji)?;
        let user = member.viewer().user();
        let floor = member.floor();
        let alteration = Alteration::new(move |message| {
            reactable(message, floor)?;
            let Some(index) = message.reactions.iter().position(|group| group.emoji == emoji) else {
                return Ok(None);
            };
            let users = &mut message.reactions[index].users;
            let before = users.len();
            users.retain(|reactor| reactor.user != user);
            if users.len() == before {
                return Ok(None);
            }
            if users.is_empty() {
                message.reactions.remove(index);
            }
            Ok(Some(Aspect::Reactions))
        });
        self.log.alter(member.key(), id, alteration).await
    }
}

fn reactable(message: &Message, floor: i64) -> Result<()> {
    if message.ts <= floor {
        return Err(Error::NotFound("message"));
    }
    if message.is_deleted() {
        return Err(Error::Conflict("the message is deleted"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emojis_and_names_in_colons_only() {
        for good in ["👍", "👩🏽‍💻", "❤️", "1️⃣", "🇩🇪", ":party_parrot:", ":+1:"] {
            assert_eq!(check_emoji(good), Ok(()), "{good}");
        }
        for bad in ["", "a", "::", ":a b:", "👍 👍", "é", "<script>", "1"] {
            assert!(check_emoji(bad).is_err(), "{bad}");
        }
    }
}
