//! Messages: type, look-ups, send, edit, delete.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Object, SimpleObject};
use quikapp_chat::{
    entities::{ChannelId, UserId, ids::MessageKey},
    messages::{self, NewMessage, change::Edit},
    store::Scope,
};

use crate::{
    blocks::{BlockInput, MessageBlock},
    budget::LongText,
    channels::Channel,
    context::ContextExt,
    error::Result,
    history::{HistoryArguments, MessageConnection},
    ids,
    reactions::{Reaction, ReactionConnection, ReactionGroup},
    scalars::{BigInt, DateTime},
    threads::Thread,
    users::User,
};

/// What a message mainly is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "messages::MessageKind")]
pub enum MessageKind {
    /// Plain words.
    Text,
    /// Formatted in blocks.
    Rich,
    /// Source code.
    Code,
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A recording.
    Audio,
    /// Any other file.
    File,
    /// A question; the text is the question.
    Poll,
    /// What `/me` gives: the author does something.
    Action,
    /// Written by the server when the channel changes: members come and go, names and topics change. Cannot be sent.
    System,
}

/// A message. Deleted ones stay in place as tombstones without content.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Message {
    /// Its id.
    pub id: ID,
    /// The channel's tick of its latest change. It grows with every change in the channel; the greater one is the newer
    /// state of a message.
    pub seq: BigInt,
    /// Where it was written.
    pub channel_id: ID,
    /// The channel's tick of its creation: messages of a channel stand in this order, for everyone and for ever.
    pub ts: BigInt,
    /// What it mainly is.
    pub kind: MessageKind,
    /// The words. Empty on tombstones, and where a picture or file needs none.
    pub text: LongText,
    /// Whether it addresses all members.
    pub mentions_everyone: bool,
    /// Whether its content was changed.
    pub is_edited: bool,
    /// When its content was last changed; null if never.
    pub edited_at: Option<DateTime>,
    /// Whether it is a tombstone.
    pub is_deleted: bool,
    /// When it was deleted; null if it was not.
    pub deleted_at: Option<DateTime>,
    /// Whether a reply also stands in the channel's timeline.
    pub is_broadcast: bool,
    /// When it was written.
    pub created_at: DateTime,
    /// When its content last changed.
    pub updated_at: DateTime,
    #[graphql(skip)]
    inner: Arc<messages::Message>,
}

impl From<Arc<messages::Message>> for Message {
    fn from(inner: Arc<messages::Message>) -> Self {
        Self {
            id: ids::id(inner.api_id()),
            seq: BigInt(inner.seq),
            channel_id: ids::id(inner.key.channel),
            ts: BigInt(inner.ts),
            kind: inner.kind.into(),
            text: LongText::Of(Arc::clone(&inner)),
            mentions_everyone: inner.mentions_everyone,
            is_edited: inner.edited_at.is_some(),
            edited_at: inner.edited_at.map(DateTime),
            is_deleted: inner.is_deleted(),
            deleted_at: inner.deleted_at.map(DateTime),
            is_broadcast: inner.broadcast,
            created_at: DateTime(inner.created_at),
            updated_at: DateTime(inner.updated_at),
            inner,
        }
    }
}

impl Message {
    /// The id of another message of the same channel.
    fn sibling(&self, id: quikapp_chat::entities::MessageId) -> MessageKey {
        MessageKey { id, channel: self.inner.key.channel }
    }
}

#[ComplexObject]
impl Message {
    /// Where it was written.
    async fn channel(&self, ctx: &Context<'_>) -> Result<Channel> {
        Ok(ctx.loaders()?.channel(self.inner.key.channel).await?.into())
    }

    /// Who wrote it; of SYSTEM messages, who caused it.
    async fn author(&self, ctx: &Context<'_>) -> Result<User> {
        Ok(ctx.loaders()?.user(self.inner.author).await?.into())
    }

    /// Formatted content; empty where the words are all.
    async fn blocks(&self) -> Vec<MessageBlock> {
        self.inner.blocks.iter().cloned().map(MessageBlock::from).collect()
    }

    /// Whom it addresses by name: people who could see the channel when it was written, each once.
    async fn mentions(&self, ctx: &Context<'_>) -> Result<Vec<User>> {
        User::load_all(ctx, &self.inner.mentions).await
    }

    /// What happened to the channel; only on messages of kind SYSTEM.
    async fn system_event(&self) -> Option<SystemEvent> {
        self.inner.system.as_ref().and_then(SystemEvent::of)
    }

    /// The sender's own id for it; null for everyone but the author.
    async fn client_message_id(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        let is_own = ctx.identity()?.is(self.inner.author)?;
        // On SYSTEM messages it is the server's.
        let is_shown = is_own && self.inner.kind != messages::MessageKind::System;
        Ok(self.inner.client_message_id.clone().filter(|_| is_shown))
    }

    /// The first message of the thread that it replies in; null if it is no reply, or the viewer may not see that one.
    async fn thread_root(&self, ctx: &Context<'_>) -> Option<Result<Message>> {
        let root = self.sibling(self.inner.thread_root?);
        load(ctx, root).await.transpose()
    }

    /// The message that it quotes; null if it quotes none, or the viewer may not see that one.
    async fn reply_to(&self, ctx: &Context<'_>) -> Option<Result<Message>> {
        let quoted = self.sibling(self.inner.reply_to?);
        load(ctx, quoted).await.transpose()
    }

    /// Its thread, which may be empty yet; null on replies.
    async fn thread(&self) -> Option<Thread> {
        // Also where no reply is counted yet: the first one may be in the log already, and a client that goes on behind it
        // has to find it here.
        self.inner.thread_root.is_none().then(|| Thread::of(Arc::clone(&self.inner)))
    }

    /// Reactions by emoji, in order of each emoji's first.
    async fn reaction_groups(&self) -> Vec<ReactionGroup> {
        (0..self.inner.reactions.len()).map(|index| ReactionGroup::of(&self.inner, index)).collect()
    }

    /// Single reactions, oldest first, with a given emoji or all.
    async fn reactions(
        &self,
        #[graphql(desc = "Only those with this emoji.")] emoji: Option<String>,
        #[graphql(desc = "Page size, 1 to 100.", default = 50)] first: i32,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
    ) -> Result<ReactionConnection> {
        Reaction::page(&self.inner.reactions, emoji.as_deref(), first, after.as_deref())
    }

    /// Who deleted it; null if it was not.
    async fn deleted_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        let user = self.inner.deleted_by?;
        Some(async { Ok(ctx.loaders()?.user(user).await?.into()) }.await)
    }

    /// Whether the viewer may change what it says.
    async fn viewer_can_edit(&self, ctx: &Context<'_>) -> Result<bool> {
        let changeable = !self.inner.is_deleted() && self.inner.kind != messages::MessageKind::System;
        Ok(changeable && ctx.identity()?.is(self.inner.author)?)
    }
}

/// What happened to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum SystemEventType {
    /// Somebody came in.
    MemberJoined,
    /// Somebody went, or was removed.
    MemberLeft,
    /// Somebody's role or silence changed.
    MemberUpdated,
    /// The channel's own fields changed.
    ChannelUpdated,
}

/// What happened to a channel; the message's author caused it.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct SystemEvent {
    /// What it was.
    #[graphql(name = "type")]
    kind: SystemEventType,
    /// The names of the channel's fields that changed, such as `topic`; empty on other events.
    changed: Vec<String>,
    #[graphql(skip)]
    member: Option<UserId>,
}

impl SystemEvent {
    fn of(event: &messages::SystemEvent) -> Option<Self> {
        use messages::SystemEvent as Domain;
        let (kind, member) = match event {
            Domain::MemberJoined { user } => (SystemEventType::MemberJoined, Some(*user)),
            Domain::MemberLeft { user, .. } => (SystemEventType::MemberLeft, Some(*user)),
            Domain::MemberChanged { user, .. } => (SystemEventType::MemberUpdated, Some(*user)),
            Domain::ChannelUpdated { .. } => (SystemEventType::ChannelUpdated, None),
            // These stand in no channel.
            Domain::ChannelCreated { .. }
            | Domain::WorkspaceUpdated
            | Domain::UserUpdated { .. }
            | Domain::MembershipChanged { .. }
            | Domain::ReadUpTo { .. } => return None,
        };
        let changed = match event {
            Domain::ChannelUpdated { changed } => changed.clone(),
            _ => Vec::new(),
        };
        Some(Self { kind, changed, member })
    }
}

#[ComplexObject]
impl SystemEvent {
    /// Whom it is about; null where it is about the channel itself.
    async fn user(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        let member = self.member?;
        Some(async { Ok(ctx.loaders()?.user(member).await?.into()) }.await)
    }
}

/// A message by id, through the request's loader.
pub(crate) async fn load(ctx: &Context<'_>, key: MessageKey) -> Result<Option<Message>> {
    Ok(ctx.loaders()?.message(key).await?.map(Message::from))
}

/// A message to send.
#[derive(InputObject)]
pub struct SendMessageInput {
    /// Where to.
    channel_id: ID,
    /// Your own id for the message, 1 to 128 characters, such as a UUID. Sent again, after a lost answer for instance, it
    /// is the same message.
    client_message_id: String,
    /// The words, up to 20,000 characters. Address people with `<@user_…>`. May be left out where blocks are given; then
    /// it is made of them.
    text: Option<String>,
    /// Formatted content, up to 100 blocks.
    blocks: Option<Vec<BlockInput>>,
    /// What it mainly is. SYSTEM is not allowed.
    #[graphql(default_with = "MessageKind::Text")]
    kind: MessageKind,
    /// Any message of the thread to reply in.
    thread_root_id: Option<ID>,
    /// The message to quote.
    reply_to_id: Option<ID>,
    /// Whether a reply is to stand in the channel's timeline too.
    #[graphql(default)]
    broadcast_to_channel: bool,
}

/// What sending gives.
#[derive(SimpleObject)]
pub struct SendMessagePayload {
    /// The message.
    message: Message,
    /// Whether it had been sent before, with the same `clientMessageId`.
    deduplicated: bool,
}

/// What editing gives.
#[derive(SimpleObject)]
pub struct EditMessagePayload {
    /// The message as it is now.
    message: Message,
}

/// What deleting gives.
#[derive(SimpleObject)]
pub struct DeleteMessagePayload {
    /// The tombstone.
    message: Message,
}

/// Looking messages up.
#[derive(Default)]
pub struct MessageQuery;

#[Object]
impl MessageQuery {
    /// A message by id. NOT_FOUND if there is none, or the viewer may not see it.
    async fn message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message's id.")] id: ID,
    ) -> Option<Result<Message>> {
        Some(find(ctx, &id).await)
    }

    /// The viewer's own message by the id that the client gave it; null if none arrived. Tells after a lost answer
    /// whether a message was sent, also where the viewer has left and joined again since and the channel's history begins
    /// behind it.
    async fn message_by_client_id(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel it was sent to.")] channel_id: ID,
        #[graphql(desc = "Your own id for it.")] client_message_id: String,
    ) -> Option<Result<Message>> {
        async {
            let viewer = ctx.viewer()?;
            let channel: ChannelId = ids::parse(&channel_id, "channelId")?;
            let reader = ctx.chat()?.channel_reader(&viewer, channel).await?;
            let found = ctx.chat()?.message_by_client_id(&reader, &client_message_id).await?;
            Ok(found.map(|message| Arc::new(message).into()))
        }
        .await
        .transpose()
    }
}

async fn find(ctx: &Context<'_>, id: &ID) -> Result<Message> {
    ctx.viewer()?;
    let key: MessageKey = ids::parse(id, "id")?;
    load(ctx, key).await?.ok_or_else(|| quikapp_chat::Error::NotFound("message").into())
}

/// Writing messages.
#[derive(Default)]
pub struct MessageMutation;

#[Object]
impl MessageMutation {
    /// Sends a message. It is in the channel's log when this returns, once, however often it is sent with the same
    /// `clientMessageId`. What was sent before is answered as long as the viewer may see the channel, also if they may not
    /// send there any more.
    async fn send_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message.")] input: SendMessageInput,
    ) -> Result<SendMessagePayload> {
        let viewer = ctx.viewer()?;
        let new = NewMessage {
            client_message_id: input.client_message_id,
            text: input.text,
            blocks: BlockInput::read_all(input.blocks.unwrap_or_default(), "input.blocks")?,
            kind: input.kind.into(),
            thread_root: ids::parse_option(input.thread_root_id.as_ref(), "input.threadRootId")?,
            reply_to: ids::parse_option(input.reply_to_id.as_ref(), "input.replyToId")?,
            broadcast: input.broadcast_to_channel,
        };
        let channel = ids::parse(&input.channel_id, "input.channelId")?;
        let sent = ctx.chat()?.send(&viewer, channel, new).await?;
        Ok(SendMessagePayload { message: sent.message.into(), deduplicated: sent.deduplicated })
    }

    /// Changes what a message says. Only its author may. Text and blocks are replaced together: what is left out is made
    /// of the other or dropped.
    async fn edit_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message's id.")] id: ID,
        #[graphql(desc = "The new words.")] text: Option<String>,
        #[graphql(desc = "The new formatted content.")] blocks: Option<Vec<BlockInput>>,
        #[graphql(desc = "The `seq` that you saw; CONFLICT if the message has changed since.")]
        expected_seq: Option<BigInt>,
    ) -> Result<EditMessagePayload> {
        let viewer = ctx.viewer()?;
        let key: MessageKey = ids::parse(&id, "id")?;
        let edit = Edit {
            text,
            blocks: blocks.map(|blocks| BlockInput::read_all(blocks, "blocks")).transpose()?,
            expected_seq: expected_seq.map(|seq| seq.0),
        };
        let member = member_for_message(ctx, &viewer, key).await?;
        let message = ctx.chat()?.edit_message(&member, key.id, edit).await?;
        Ok(EditMessagePayload { message: message.into() })
    }

    /// Makes a message a tombstone, for everyone. Its author may, and moderators of the channel. The thread stays.
    async fn delete_message(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The message's id.")] id: ID,
    ) -> Result<DeleteMessagePayload> {
        let viewer = ctx.viewer()?;
        let key: MessageKey = ids::parse(&id, "id")?;
        let member = member_for_message(ctx, &viewer, key).await?;
        let message = ctx.chat()?.delete_message(&member, key.id).await?;
        Ok(DeleteMessagePayload { message: message.into() })
    }
}

/// The viewer's right to act on a message; of one in a channel that the viewer cannot see not even the channel is told.
pub(crate) async fn member_for_message(
    ctx: &Context<'_>,
    viewer: &quikapp_chat::access::Viewer,
    key: MessageKey,
) -> Result<quikapp_chat::access::ChannelMember> {
    match ctx.chat()?.channel_member(viewer, key.channel).await {
        Err(quikapp_chat::Error::NotFound(_)) => Err(quikapp_chat::Error::NotFound("message").into()),
        result => Ok(result?),
    }
}

/// The messages of a channel; see [`HistoryArguments`].
pub(crate) async fn of_channel(
    ctx: &Context<'_>,
    reader: &quikapp_chat::access::ChannelReader,
    arguments: HistoryArguments,
) -> async_graphql::Result<MessageConnection> {
    MessageConnection::read(ctx, reader, Scope::Timeline, None, arguments).await
}
