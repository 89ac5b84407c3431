//! Sending.

use std::sync::Arc;

use quikapp_entities::{ChannelId, MessageId, ids::MessageKey};

use crate::{
    Chat, Error, Result,
    access::{ChannelMember, Viewer},
    error::Validation,
    live::typing::Place,
    log::{Appended, Draft},
    messages::{
        content::{self, NewBlock},
        model::{Message, MessageKind},
    },
};

/// Longest `clientMessageId`, in characters.
pub const CLIENT_ID_LIMIT: usize = 128;

/// A message as a client sends it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    /// The sender's own id for it: sent again, it is the same message.
    pub client_message_id: String,
    /// The words.
    pub text: Option<String>,
    /// Formatted content.
    pub blocks: Vec<NewBlock>,
    /// What it mainly is.
    pub kind: MessageKind,
    /// Any message of the thread that it replies in.
    pub thread_root: Option<MessageKey>,
    /// The message that it quotes.
    pub reply_to: Option<MessageKey>,
    /// Whether a reply also stands in the channel's timeline.
    pub broadcast: bool,
}

impl Chat {
    /// Sends a message to a channel. One that the viewer sent before is that message, also where they may not send any
    /// more: they may have lost the answer and then their voice.
    ///
    /// # Errors
    /// Those of [`Chat::channel_member`] and [`Chat::send_message`].
    pub async fn send(&self, viewer: &Viewer, channel: ChannelId, new: NewMessage) -> Result<Appended> {
        let own_id = new.client_message_id.clone();
        let sent = async { self.send_message(&self.channel_member(viewer, channel).await?, new).await };
        match sent.await {
            Err(refused @ (Error::Forbidden(_) | Error::Archived | Error::NotFound(_))) => {
                // Only here, so that a send that succeeds costs nothing more.
                self.sent_before(viewer, channel, &own_id).await?.ok_or(refused)
            }
            result => result,
        }
    }

    /// The viewer's message with this `client_message_id`; none where there is none, or the viewer may not see the channel.
    async fn sent_before(&self, viewer: &Viewer, channel: ChannelId, id: &str) -> Result<Option<Appended>> {
        let reader = match self.channel_reader(viewer, channel).await {
            Err(Error::NotFound(_)) => return Ok(None),
            reader => reader?,
        };
        let found = self.message_by_client_id(&reader, id).await?;
        Ok(found.map(|message| Appended { message: Arc::new(message), deduplicated: true }))
    }

    /// Sends a message to the member's channel.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every bad field; [`Error::Archived`]; [`Error::NotFound`] for a root or quoted message that
    /// the sender cannot see; [`Error::Unavailable`] when it is not known whether the message was written: the same `client_message_id` tells.
    pub async fn send_message(&self, member: &ChannelMember, new: NewMessage) -> Result<Appended> {
        member.writable()?;
        let mut validation = Validation::default();
        validation.length("input.clientMessageId", &new.client_message_id, 1, CLIENT_ID_LIMIT);
        validation.check(
            !new.broadcast || new.thread_root.is_some(),
            "input.broadcastToChannel",
            "only a reply can be broadcast to its channel",
        );
        let content = content::check("input.", new.kind, new.text, new.blocks, &mut validation)?;
        let (thread_root, reply_to) = self.related(member, new.thread_root, new.reply_to).await?;
        let mentions = self.mentions(member, &content).await?;
        let author = member.viewer().user();
        let draft = Draft {
            id: MessageId(self.env.uuid()),
            author,
            created_at: self.env.now(),
            kind: new.kind,
            text: content.text,
            blocks: content.blocks,
            mentions: mentions.users,
            mentions_everyone: mentions.everyone,
            client_message_id: Some(new.client_message_id),
            thread_root,
            reply_to,
            broadcast: new.broadcast,
            system: None,
        };
        let appended = self.log.append(member.key(), draft).await?;
        self.hub.typing().end(Place { channel: member.key().channel, thread: thread_root }, author);
        Ok(appended)
    }

    /// The root of the thread and the quoted message, both checked in one query. A reply to a reply goes to its root.
    async fn related(
        &self,
        member: &ChannelMember,
        thread_root: Option<MessageKey>,
        reply_to: Option<MessageKey>,
    ) -> Result<(Option<MessageId>, Option<MessageId>)> {
        let key = member.key();
        let wanted: Vec<MessageKey> = thread_root.into_iter().chain(reply_to).collect();
        if wanted.is_empty() {
            return Ok((None, None));
        }
        if wanted.iter().any(|wanted| wanted.channel != key.channel) {
            return Err(Error::NotFound("message"));
        }
        let ids: Vec<_> = wanted.iter().map(|wanted| (key, wanted.id)).collect();
        let found = self.store.get(&ids).await?;
        let visible = |id: MessageKey| -> Result<&Message> {
            found
                .iter()
                .find(|message| message.id == id.id && message.ts > member.floor())
                .ok_or(Error::NotFound("message"))
        };
        let root =
            thread_root.map(visible).transpose()?.map(|message| message.thread_root.unwrap_or(message.id));
        let quoted = reply_to.map(visible).transpose()?.map(|message| message.id);
        Ok((root, quoted))
    }
}
