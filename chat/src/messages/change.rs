//! Editing and deleting.

use std::{sync::Arc, time::Duration};

use quikapp_entities::MessageId;

use crate::{
    Chat, Error, Result,
    access::ChannelMember,
    error::Validation,
    log::{Alteration, Aspect},
    messages::{
        content::{self, NewBlock},
        model::{Message, MessageKind},
    },
};

/// How long a tombstone is kept.
pub const SOFT_DELETE: Duration = Duration::from_hours(30 * 24);

/// What is to be instead.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edit {
    /// The new words; made from the blocks where none are given.
    pub text: Option<String>,
    /// The new formatted content; none = no blocks.
    pub blocks: Option<Vec<NewBlock>>,
    /// The tick that the editor saw; any other is a conflict.
    pub expected_seq: Option<i64>,
}

impl Chat {
    /// Changes what a message says.
    ///
    /// # Errors
    /// FORBIDDEN unless the member wrote it; CONFLICT when it has changed since `expected_seq` or is deleted.
    pub async fn edit_message(
        &self,
        member: &ChannelMember,
        id: MessageId,
        edit: Edit,
    ) -> Result<Arc<Message>> {
        member.writable()?;
        let mut validation = Validation::default();
        validation.check(
            edit.text.is_some() || edit.blocks.is_some(),
            "text",
            "text or blocks must be given",
        );
        validation.finish()?;
        let present = self.visible_message(member, id).await?;
        let author = member.viewer().user();
        if present.author != author || present.kind == MessageKind::System {
            return Err(Error::Forbidden("only its author can edit a message"));
        }
        let content =
            content::check("", present.kind, edit.text, edit.blocks.unwrap_or_default(), &mut validation)?;
        let mentions = self.mentions(member, &content).await?;
        let now = self.env.now();
        let alteration = Alteration::new(move |message| {
            if message.is_deleted() {
                return Err(Error::Conflict("the message is deleted"));
            }
            if edit.expected_seq.is_some_and(|seq| seq != message.seq) {
                return Err(Error::Conflict("the message has changed since"));
            }
            if message.text == content.text && message.blocks == content.blocks {
                return Ok(None);
            }
            message.text.clone_from(&content.text);
            message.blocks.clone_from(&content.blocks);
            message.mentions.clone_from(&mentions.users);
            message.mentions_everyone = mentions.everyone;
            message.edited_at = Some(now);
            message.updated_at = now.max(message.updated_at);
            Ok(Some(Aspect::Content))
        });
        self.log.alter(member.key(), id, alteration).await
    }

    /// Makes a message a tombstone: it keeps its place and its thread, and loses what it said. Deleting it again changes
    /// nothing.
    ///
    /// # Errors
    /// FORBIDDEN unless the member wrote it or moderates the channel.
    pub async fn delete_message(&self, member: &ChannelMember, id: MessageId) -> Result<Arc<Message>> {
        member.writable()?;
        let present = self.visible_message(member, id).await?;
        let user = member.viewer().user();
        if present.kind == MessageKind::System || (present.author != user && member.moderate().is_err()) {
            return Err(Error::Forbidden("only its author or a moderator can delete a message"));
        }
        let now = self.env.now();
        let alteration = Alteration::new(move |message| {
            if message.is_deleted() {
                return Ok(None);
            }
            message.text.clear();
            message.blocks.clear();
            message.mentions.clear();
            message.mentions_everyone = false;
            message.reactions.clear();
            message.deleted_at = Some(now);
            message.deleted_by = Some(user);
            message.purge_at = Some(now.plus(SOFT_DELETE));
            message.updated_at = now.max(message.updated_at);
            message.thread_pending = message.thread_root.is_some();
            Ok(Some(Aspect::Deleted))
        });
        self.log.alter(member.key(), id, alteration).await
    }

    /// A message of the member's channel that the member can see.
    async fn visible_message(&self, member: &ChannelMember, id: MessageId) -> Result<Message> {
        let found = self.store.get(&[(member.key(), id)]).await?;
        found.into_iter().find(|message| message.ts > member.floor()).ok_or(Error::NotFound("message"))
    }
}
