//! Durable events of a channel, live.

use std::{future::ready, sync::Arc};

use async_graphql::{ComplexObject, Context, Enum, ID, SimpleObject, Subscription, Union};
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use quikapp_chat::{
    Error,
    access::{ChannelReader, Viewer},
    entities::{ChannelId, MessageId, Timestamp, UserId, WorkspaceId, ids::MessageKey},
    live::{
        event::{self as domain, Event, Item},
        notes::Notes,
        viewer::ViewerItem,
    },
    log::Aspect,
};

use crate::{
    channels::{Channel, ChannelMembership},
    context::ContextExt,
    cursors::{self, Position, ViewerPosition},
    error::Result,
    fanout, ids,
    messages::Message,
    scalars::{BigInt, DateTime, EventCursor},
    users::User,
    workspaces::Workspace,
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
    /// A channel was made; only on `viewerEvents`.
    ChannelCreated(ChannelCreated),
    /// A workspace's own fields changed; only on `viewerEvents`.
    WorkspaceUpdated(WorkspaceUpdated),
    /// Somebody's profile changed; only on `viewerEvents`.
    UserUpdated(UserUpdated),
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
    /// Where.
    channel_id: ID,
    /// Who.
    user_id: ID,
    #[graphql(skip)]
    of: (ChannelId, UserId),
}

#[ComplexObject]
impl MemberJoined {
    /// The membership as it is now; null if the viewer cannot see it any more.
    async fn membership(&self, ctx: &Context<'_>) -> Result<Option<ChannelMembership>> {
        Ok(ctx.loaders()?.membership(self.of.0, self.of.1).await?.map(Into::into))
    }
}

/// Somebody's role or silence changed.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct MemberUpdated {
    /// Where.
    channel_id: ID,
    /// Who.
    user_id: ID,
    #[graphql(skip)]
    of: (ChannelId, UserId),
}

#[ComplexObject]
impl MemberUpdated {
    /// The membership as it is now; null if the viewer cannot see it any more.
    async fn membership(&self, ctx: &Context<'_>) -> Result<Option<ChannelMembership>> {
        Ok(ctx.loaders()?.membership(self.of.0, self.of.1).await?.map(Into::into))
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
    /// Which one.
    channel_id: ID,
    /// The names of the fields that changed, such as `topic`.
    changed: Vec<String>,
    #[graphql(skip)]
    of: ChannelId,
}

#[ComplexObject]
impl ChannelUpdated {
    /// The channel as it is now; null if the viewer cannot see it any more.
    async fn channel(&self, ctx: &Context<'_>) -> Result<Option<Channel>> {
        Ok(seen(ctx.loaders()?.channel(self.of).await)?.map(Into::into))
    }
}

/// A channel was made: one that is open to the viewer, or one that the viewer was put into from the start.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct ChannelCreated {
    /// Which one.
    channel_id: ID,
    #[graphql(skip)]
    of: ChannelId,
}

#[ComplexObject]
impl ChannelCreated {
    /// The channel as it is now; null if the viewer cannot see it any more.
    async fn channel(&self, ctx: &Context<'_>) -> Result<Option<Channel>> {
        Ok(seen(ctx.loaders()?.channel(self.of).await)?.map(Into::into))
    }
}

/// A workspace's own fields changed.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct WorkspaceUpdated {
    /// Which one.
    workspace_id: ID,
    #[graphql(skip)]
    of: WorkspaceId,
}

#[ComplexObject]
impl WorkspaceUpdated {
    /// The workspace as it is now; null if the viewer does not belong to it any more.
    async fn workspace(&self, ctx: &Context<'_>) -> Result<Option<Workspace>> {
        Ok(seen(ctx.loaders()?.workspace(self.of).await)?.map(Into::into))
    }
}

/// Somebody's profile changed.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct UserUpdated {
    /// Whose.
    user_id: ID,
    #[graphql(skip)]
    of: UserId,
}

#[ComplexObject]
impl UserUpdated {
    /// The profile as it is now.
    async fn user(&self, ctx: &Context<'_>) -> Result<User> {
        Ok(ctx.loaders()?.user(self.of).await?.into())
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
    /// You read too slowly, more than 25,000 changes behind, or 1,000 after leaving an item untaken for five seconds: go on after your last
    /// cursor.
    SlowConsumer,
}

/// The stream ends here; the reason tells how to go on.
#[derive(Clone, SimpleObject)]
pub struct StreamReset {
    /// Why.
    reason: ResetReason,
}

/// An event of a channel on its way to one subscriber.
#[derive(Clone)]
pub(crate) struct Happening {
    channel: ChannelId,
    item: Item,
    cursor: Option<EventCursor>,
}

impl Happening {
    /// An event of a stream that goes on after a cursor given out at `since`.
    fn new(channel: ChannelId, since: Option<Timestamp>, now: Timestamp, item: Item) -> Self {
        let is_behind = item.replayed && !matches!(item.event, Event::CaughtUp(_));
        let at = since.filter(|_| is_behind).unwrap_or(now);
        let cursor = item.position.map(|seq| cursors::channel_at(channel, seq, at));
        Self { channel, item, cursor }
    }

    /// An event of a viewer's stream that goes on after a cursor given out at `since`.
    fn of_viewer(
        viewer: &Viewer,
        workspace: Option<WorkspaceId>,
        since: Option<Timestamp>,
        now: Timestamp,
        told: ViewerItem,
    ) -> Self {
        let at = since.unwrap_or(now);
        let cursor = told.positions.map(|positions| cursors::viewer_at(viewer, workspace, &positions, at));
        Self { channel: told.channel, item: told.item, cursor }
    }

    /// The subscriber's own cursor.
    pub(crate) fn cursor(&self) -> Option<EventCursor> {
        self.cursor.clone()
    }

    /// The same with another cursor.
    pub(crate) fn with_cursor(&self, cursor: EventCursor) -> Self {
        Self { cursor: Some(cursor), ..self.clone() }
    }

    /// Where to find what others made of it, and what tells it from other events that come of the same change; none where
    /// it is this subscriber's alone.
    pub(crate) fn shared(&self) -> Option<(&Notes, u32)> {
        let kind = match &self.item.event {
            Event::Created(_) => 1,
            Event::Updated(_, changed) => {
                0x100 | changed.iter().fold(0, |bits, aspect| bits | 1 << *aspect as u32)
            }
            Event::Deleted(_) => 2,
            Event::MemberJoined(_) => 3,
            Event::MemberLeft(..) => 4,
            Event::MemberChanged(_) => 5,
            Event::ChannelUpdated(_) => 6,
            Event::ChannelCreated(_) => 7,
            Event::WorkspaceUpdated(_) => 8,
            Event::UserUpdated(_) => 9,
            Event::CaughtUp(_) | Event::Reset(_) => return None,
        };
        let replayed = if self.item.replayed { 0x1000 } else { 0 };
        self.cursor.as_ref()?;
        Some((self.item.notes.as_deref()?, kind | replayed))
    }

    /// The message, if the event is that a person wrote it.
    fn written(&self) -> Option<Message> {
        match &self.item.event {
            Event::Created(message) if domain::is_written(message) => Some(Arc::clone(message).into()),
            _ => None,
        }
    }
}

impl From<Happening> for StreamItem {
    fn from(Happening { channel, item, cursor }: Happening) -> Self {
        let channel_id = ids::id(channel);
        let event = match item.event {
            Event::Created(message) => {
                StreamEvent::MessageCreated(MessageCreated { message: message.into() })
            }
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
            Event::Deleted(message) => {
                StreamEvent::MessageDeleted(MessageDeleted { message: message.into() })
            }
            Event::MemberJoined(user) => {
                let (user_id, of) = (ids::id(user), (channel, user));
                StreamEvent::MemberJoined(MemberJoined { channel_id, user_id, of })
            }
            Event::MemberChanged(user) => {
                let (user_id, of) = (ids::id(user), (channel, user));
                StreamEvent::MemberUpdated(MemberUpdated { channel_id, user_id, of })
            }
            Event::MemberLeft(user, removed_by) => StreamEvent::MemberLeft(MemberLeft {
                channel_id,
                user_id: ids::id(user),
                removed_by: removed_by.map(ids::id),
            }),
            Event::ChannelUpdated(changed) => {
                StreamEvent::ChannelUpdated(ChannelUpdated { channel_id, changed, of: channel })
            }
            Event::ChannelCreated(of) => {
                StreamEvent::ChannelCreated(ChannelCreated { channel_id: ids::id(of), of })
            }
            Event::WorkspaceUpdated(of) => {
                StreamEvent::WorkspaceUpdated(WorkspaceUpdated { workspace_id: ids::id(of), of })
            }
            Event::UserUpdated(of) => StreamEvent::UserUpdated(UserUpdated { user_id: ids::id(of), of }),
            Event::CaughtUp(count) => StreamEvent::StreamCaughtUp(StreamCaughtUp { replayed_count: count }),
            Event::Reset(reason) => StreamEvent::StreamReset(StreamReset { reason: reason.into() }),
        };
        Self {
            cursor,
            seq: item.seq.map(BigInt),
            occurred_at: DateTime(item.occurred_at),
            replayed: item.replayed,
            event,
        }
    }
}

/// The items of a subscription's stream.
type Items<'ctx> = BoxStream<'ctx, Result<StreamItem>>;

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
    ) -> Result<BoxStream<'ctx, Result<Message>>> {
        let happenings = if let Some(subject) = fanout::subject(ctx) {
            stream::once(ready(subject)).boxed()
        } else {
            let viewer = ctx.viewer()?;
            let channel: ChannelId = ids::parse(&channel_id, "channelId")?;
            let reader = ctx.chat()?.channel_reader(&viewer, channel).await?;
            let happenings = follow(ctx, &reader, None, None).await?;
            fanout::hand_over(ctx, happenings.filter(|happening| ready(happening.written().is_some())))?
        };
        Ok(happenings.filter_map(|happening| ready(happening.written().map(Ok))).boxed())
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
    ) -> Result<Items<'ctx>> {
        if let Some(subject) = fanout::subject(ctx) {
            return Ok(one(subject));
        }
        let viewer = ctx.viewer()?;
        let channel: ChannelId = ids::parse(&channel_id, "channelId")?;
        let reader = ctx.chat()?.channel_reader(&viewer, channel).await?;
        items(ctx, follow(ctx, &reader, None, after).await?)
    }

    /// Everything that happens where the viewer is a member, in one stream: in their channels, in order for each channel,
    /// and to their workspaces: new open channels, changed profiles. It follows the viewer into channels that they join,
    /// whatever happened there since they did included, and out of those that they leave, which it tells as `MemberLeft`.
    /// Resumable as `channelEvents` is, with its own cursors: `viewer.syncCursor` and those of its items.
    async fn viewer_events<'ctx>(
        &self,
        ctx: &Context<'ctx>,
        #[graphql(desc = "Only what happens in this workspace.")] workspace_id: Option<ID>,
        #[graphql(desc = "The last cursor that you got from this stream, or a `viewer.syncCursor`.")]
        after: Option<EventCursor>,
    ) -> Result<Items<'ctx>> {
        if let Some(subject) = fanout::subject(ctx) {
            return Ok(one(subject));
        }
        let viewer = ctx.viewer()?;
        let chat = ctx.chat()?.clone();
        let workspace: Option<WorkspaceId> = ids::parse_option(workspace_id.as_ref(), "workspaceId")?;
        let after =
            after.map(|after| cursors::read_viewer(&viewer, workspace, &after, chat.now())).transpose()?;
        let (after, mut since) = match after {
            Some(ViewerPosition::Expired) => {
                let reset = domain::reset(chat.now(), domain::ResetReason::CursorExpired);
                let nowhere = ChannelId(viewer.user().0);
                return items(ctx, stream::once(ready(Happening::new(nowhere, None, chat.now(), reset))));
            }
            Some(ViewerPosition::After(positions, at)) => (Some(positions), Some(at)),
            None => (None, None),
        };
        let events = chat.viewer_events(&viewer, workspace, after).await?;
        let happenings = events.map(move |told| {
            if matches!(told.item.event, Event::CaughtUp(_)) {
                // Tombstones that the replay had not come to are kept from their deletion on, not from now on.
                since = None;
            }
            Happening::of_viewer(&viewer, workspace, since, chat.now(), told)
        });
        items(ctx, happenings)
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
    ) -> Result<Items<'ctx>> {
        if let Some(subject) = fanout::subject(ctx) {
            return Ok(one(subject));
        }
        let viewer = ctx.viewer()?;
        let key: MessageKey = ids::parse(&root_id, "rootId")?;
        let root = ctx.loaders()?.message(key).await?.ok_or(Error::NotFound("message"))?;
        let reader = ctx.chat()?.channel_reader(&viewer, key.channel).await?;
        items(ctx, follow(ctx, &reader, Some(root.thread_root.unwrap_or(root.id)), after).await?)
    }
}

/// A stream of what is to be told just now.
fn one<'ctx>(subject: Happening) -> Items<'ctx> {
    stream::once(ready(Ok(subject.into()))).boxed()
}

/// A subscription's items, to be told together with those of others where that can be.
fn items<'ctx>(
    ctx: &Context<'ctx>,
    happenings: impl Stream<Item = Happening> + Send + 'static,
) -> Result<Items<'ctx>> {
    Ok(fanout::hand_over(ctx, happenings)?.map(|happening| Ok(happening.into())).boxed())
}

/// The events of a channel, or of one of its threads.
async fn follow(
    ctx: &Context<'_>,
    reader: &ChannelReader,
    thread: Option<MessageId>,
    after: Option<EventCursor>,
) -> Result<BoxStream<'static, Happening>> {
    let channel = reader.key().channel;
    let chat = ctx.chat()?.clone();
    let position = after.map(|after| cursors::read_channel(ctx, channel, &after)).transpose()?;
    let (after, since) = match position {
        Some(Position::Expired) => {
            let reset = domain::reset(chat.now(), domain::ResetReason::CursorExpired);
            return Ok(stream::once(ready(Happening::new(channel, None, chat.now(), reset))).boxed());
        }
        Some(Position::After(seq, at)) => (Some(seq), Some(at)),
        None => (None, None),
    };
    let events = match thread {
        Some(root) => chat.thread_events(reader, root, after).await?.boxed(),
        None => chat.channel_events(reader, after).await?.boxed(),
    };
    Ok(events.map(move |item| Happening::new(channel, since, chat.now(), item)).boxed())
}

/// What the viewer may see; none of what they may not, or not any more.
fn seen<T>(found: Result<T>) -> Result<Option<T>> {
    found.map(Some).or_else(|error| if error.is_not_found() { Ok(None) } else { Err(error) })
}
