//! Durable events of a channel, live.

use async_graphql::{ComplexObject, Context, Enum, ID, SimpleObject, Subscription, Union};
use futures_util::{Stream, StreamExt, stream};
use quikapp_chat::{
    Error,
    access::ChannelReader,
    entities::{ChannelId, MessageId, Timestamp, UserId, ids::MessageKey},
    live::stream::{self as domain, Event, Item},
    log::Aspect,
};

use crate::{
    channels::{Channel, ChannelMembership},
    context::ContextExt,
    cursors::{self, Position},
    error::Result,
    ids,
    messages::Message,
    scalars::{BigInt, DateTime, EventCursor},
};

/// An event with its place in the stream.
#[derive(Clone, SimpleObject)]
pub struct StreamItem {
    /// Give it back in `after` to go on behind this event. Null where the position does not move.
    cursor: Option<EventCursor>,
    /// The channel's tick of the change; null on items that are no change.
    seq: Option<BigInt>,
    /// When it happened.
    occurred_at: DateTime,
    /// Whether it had happened before the stream began.
    replayed: bool,
    /// What happened.
    event: StreamEvent,
}

/// What happened.
#[derive(Clone, Union)]
pub enum StreamEvent {
    /// A message is new.
    MessageCreated(MessageCreated),
    /// A message changed.
    MessageUpdated(MessageUpdated),
    /// A message became a tombstone.
    MessageDeleted(MessageDeleted),
    /// Somebody came in.
    MemberJoined(MemberJoined),
    /// Somebody went, or was removed.
    MemberLeft(MemberLeft),
    /// Somebody's role or silence changed.
    MemberUpdated(MemberUpdated),
    /// The channel's own fields changed.
    ChannelUpdated(ChannelUpdated),
    /// Everything that was missed has been told.
    StreamCaughtUp(StreamCaughtUp),
    /// The stream ends here.
    StreamReset(StreamReset),
}

/// What of a message changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum MessageChange {
    /// Text or blocks.
    Content,
    /// Reactions.
    Reactions,
    /// Its thread: replies were added or deleted.
    Thread,
}

/// A message is new.
#[derive(Clone, SimpleObject)]
pub struct MessageCreated {
    /// The message as it is now.
    message: Message,
}

/// A message changed.
#[derive(Clone, SimpleObject)]
pub struct MessageUpdated {
    /// The message as it is now.
    message: Message,
    /// What changed since the stream's previous position.
    changed: Vec<MessageChange>,
}

/// A message became a tombstone.
#[derive(Clone, SimpleObject)]
pub struct MessageDeleted {
    /// The tombstone.
    message: Message,
}

/// Somebody came in, by oneself or added.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct MemberJoined {
    /// Who.
    user_id: ID,
    #[graphql(skip)]
    of: (ChannelId, UserId),
}

#[ComplexObject]
impl MemberJoined {
    /// The membership as it is now.
    async fn membership(&self, ctx: &Context<'_>) -> Result<ChannelMembership> {
        ChannelMembership::load(ctx, self.of.0, self.of.1).await
    }
}

/// Somebody's role or silence changed.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct MemberUpdated {
    /// Who.
    user_id: ID,
    #[graphql(skip)]
    of: (ChannelId, UserId),
}

#[ComplexObject]
impl MemberUpdated {
    /// The membership as it is now.
    async fn membership(&self, ctx: &Context<'_>) -> Result<ChannelMembership> {
        ChannelMembership::load(ctx, self.of.0, self.of.1).await
    }
}

/// Somebody went, or was removed.
#[derive(Clone, SimpleObject)]
pub struct MemberLeft {
    /// From where.
    channel_id: ID,
    /// Who.
    user_id: ID,
    /// Who removed them; null if they left by themselves.
    removed_by: Option<ID>,
}

/// The channel's own fields changed.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct ChannelUpdated {
    /// The names of the fields that changed, such as `topic`.
    changed: Vec<String>,
    #[graphql(skip)]
    of: ChannelId,
}

#[ComplexObject]
impl ChannelUpdated {
    /// The channel as it is now.
    async fn channel(&self, ctx: &Context<'_>) -> Result<Channel> {
        Ok(ctx.loaders()?.channel(self.of).await?.into())
    }
}

/// Everything that was missed has been told; from here on events are live.
#[derive(Clone, SimpleObject)]
pub struct StreamCaughtUp {
    /// How many events were told again.
    replayed_count: u64,
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::ResetReason")]
pub enum ResetReason {
    /// The cursor is older than deleted messages are remembered: query afresh and follow from there.
    CursorExpired,
    /// The cursor is of another life of the server's data: query afresh and follow from there.
    EpochChanged,
    /// The viewer may not see this any more.
    AccessChanged,
}

/// The stream ends here; the reason tells how to go on.
#[derive(Clone, SimpleObject)]
pub struct StreamReset {
    /// Why.
    reason: ResetReason,
}

/// An item of a stream that goes on after a cursor given out at `since`.
fn item(ctx: &Context<'_>, channel: ChannelId, since: Option<Timestamp>, item: Item) -> Result<StreamItem> {
    let is_behind = item.replayed && !matches!(item.event, Event::CaughtUp(_));
    let now = ctx.chat()?.now();
    let at = since.filter(|_| is_behind).unwrap_or(now);
    let membership = |user: UserId| (ids::id(user), (channel, user));
    let event = match item.event {
        Event::Created(message) => StreamEvent::MessageCreated(MessageCreated { message: message.into() }),
        Event::Updated(message, changed) => StreamEvent::MessageUpdated(MessageUpdated {
            message: message.into(),
            changed: changed
                .into_iter()
                .filter_map(|aspect| match aspect {
                    Aspect::Content => Some(MessageChange::Content),
                    Aspect::Reactions => Some(MessageChange::Reactions),
                    Aspect::Thread => Some(MessageChange::Thread),
                    Aspect::Deleted => None,
                })
                .collect(),
        }),
        Event::Deleted(message) => StreamEvent::MessageDeleted(MessageDeleted { message: message.into() }),
        Event::MemberJoined(user) => {
            let (user_id, of) = membership(user);
            StreamEvent::MemberJoined(MemberJoined { user_id, of })
        }
        Event::MemberChanged(user) => {
            let (user_id, of) = membership(user);
            StreamEvent::MemberUpdated(MemberUpdated { user_id, of })
        }
        Event::MemberLeft(user, removed_by) => StreamEvent::MemberLeft(MemberLeft {
            channel_id: ids::id(channel),
            user_id: ids::id(user),
            removed_by: removed_by.map(ids::id),
        }),
        Event::ChannelUpdated(changed) => {
            StreamEvent::ChannelUpdated(ChannelUpdated { changed, of: channel })
        }
        Event::CaughtUp(count) => StreamEvent::StreamCaughtUp(StreamCaughtUp { replayed_count: count }),
        Event::Reset(reason) => StreamEvent::StreamReset(StreamReset { reason: reason.into() }),
    };
    Ok(StreamItem {
        cursor: item.position.map(|seq| cursors::channel_at(channel, seq, at)),
        seq: item.seq.map(BigInt),
        occurred_at: DateTime(item.occurred_at),
        replayed: item.replayed,
        event,
    })
}

/// Durable events.
#[derive(Default)]
pub struct StreamSubscription;

#[Subscription]
impl StreamSubscription {
    /// Messages that people write to a channel from now on, thread replies included.
    async fn message_added<'ctx>(
        &self,
        ctx: &Context<'ctx>,
        #[graphql(desc = "The channel's id.")] channel_id: ID,
    ) -> Result<impl Stream<Item = Result<Message>> + use<'ctx>> {
        let viewer = ctx.viewer()?;
        let channel: ChannelId = ids::parse(&channel_id, "channelId")?;
        let reader = ctx.chat()?.channel_reader(&viewer, channel).await?;
        let events = ctx.chat()?.channel_events(&reader, None).await?;
        Ok(events.filter_map(|item| async move {
            match item.event {
                Event::Created(message) if domain::is_written(&message) => Some(Ok(Message::from(message))),
                _ => None,
            }
        }))
    }

    /// Everything that happens in a channel, in the order of its log: from now on, or after a cursor. Whoever goes on
    /// after a cursor first gets what was missed, each thing as it is now, then `StreamCaughtUp`, then what is live.
    /// Nothing is left out and nothing comes twice.
    async fn channel_events<'ctx>(
        &self,
        ctx: &Context<'ctx>,
        #[graphql(desc = "The channel's id.")] channel_id: ID,
        #[graphql(
            desc = "The last cursor that you got from this channel: an item's `cursor`, or a `syncCursor`."
        )]
        after: Option<EventCursor>,
    ) -> Result<impl Stream<Item = Result<StreamItem>> + use<'ctx>> {
        let viewer = ctx.viewer()?;
        let channel: ChannelId = ids::parse(&channel_id, "channelId")?;
        let reader = ctx.chat()?.channel_reader(&viewer, channel).await?;
        follow(ctx, &reader, None, after).await
    }

    /// Everything that happens in a thread: to its root, among them what its replies change of it, and to its replies. In the
    /// order of the channel's log, and resumable as `channelEvents` is, with the same cursors.
    async fn thread_events<'ctx>(
        &self,
        ctx: &Context<'ctx>,
        #[graphql(desc = "The id of the thread's root, or of one of its replies.")] root_id: ID,
        #[graphql(
            desc = "The last cursor that you got from this thread or its channel: an item's `cursor`, or a `syncCursor`."
        )]
        after: Option<EventCursor>,
    ) -> Result<impl Stream<Item = Result<StreamItem>> + use<'ctx>> {
        let viewer = ctx.viewer()?;
        let key: MessageKey = ids::parse(&root_id, "rootId")?;
        let root = ctx.loaders()?.message(key).await?.ok_or(Error::NotFound("message"))?;
        let reader = ctx.chat()?.channel_reader(&viewer, key.channel).await?;
        follow(ctx, &reader, Some(root.thread_root.unwrap_or(root.id)), after).await
    }
}

/// The events of a channel, or of one of its threads.
async fn follow<'ctx>(
    ctx: &Context<'ctx>,
    reader: &ChannelReader,
    thread: Option<MessageId>,
    after: Option<EventCursor>,
) -> Result<impl Stream<Item = Result<StreamItem>> + use<'ctx>> {
    let channel = reader.key().channel;
    let position = after.map(|after| cursors::read_channel(ctx, channel, &after)).transpose()?;
    let (after, since) = match position {
        Some(Position::Expired) => {
            let reset = domain::reset(ctx.chat()?.now(), domain::ResetReason::CursorExpired);
            let context = ctx.clone();
            return Ok(stream::once(async move { item(&context, channel, None, reset) }).boxed());
        }
        Some(Position::After(seq, at)) => (Some(seq), Some(at)),
        None => (None, None),
    };
    let events = match thread {
        Some(root) => ctx.chat()?.thread_events(reader, root, after).await?.boxed(),
        None => ctx.chat()?.channel_events(reader, after).await?.boxed(),
    };
    let context = ctx.clone();
    Ok(events.map(move |event| item(&context, channel, since, event)).boxed())
}
