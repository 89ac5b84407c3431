//! What the streams tell: the envelope and the union of events.

use async_graphql::{ComplexObject, Context, Enum, ID, SimpleObject, Union};
use quikapp_chat::{
    entities::{ChannelId, UserId, WorkspaceId},
    live::event::{self as domain, Event},
    log::Aspect,
};

use super::Happening;
use crate::{
    channel_members::ChannelMembership,
    channels::Channel,
    context::ContextExt,
    error::{Result, seen},
    ids,
    messages::Message,
    reads::ChannelUnread,
    scalars::{BigInt, DateTime, EventCursor},
    users::User,
    workspaces::Workspace,
};

/// An event with its place in the stream.
#[derive(Clone, SimpleObject)]
pub struct StreamItem {
    /// Give it back in `after` to go on behind this event. Null where the position does not move.
    cursor: Option<EventCursor>,
    /// The tick of the change in the log that the item comes from; null on items that come from none. That is the channel's
    /// log, and on `viewerEvents` that of the workspace for `ChannelCreated`, `WorkspaceUpdated` and `UserUpdated`, and the
    /// viewer's own for `ReadStateChanged` and for `MemberUpdated` of their own membership. Ticks of different logs do not
    /// compare.
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
    /// Somebody's role or silence changed; on `viewerEvents` also the viewer's own settings for a channel.
    MemberUpdated(MemberUpdated),
    /// The channel's own fields changed.
    ChannelUpdated(ChannelUpdated),
    /// A channel was made; only on `viewerEvents`.
    ChannelCreated(ChannelCreated),
    /// A workspace's own fields changed; only on `viewerEvents`.
    WorkspaceUpdated(WorkspaceUpdated),
    /// Somebody's profile changed; only on `viewerEvents`, once for each workspace shared with them.
    UserUpdated(UserUpdated),
    /// The viewer read a channel, or marked it as unread; only on `viewerEvents`.
    ReadStateChanged(ReadStateChanged),
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
    /// What changed since you were told of the message, or else since the cursor that you first went on after.
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
        ChannelMembership::told(ctx, self.of.0, self.of.1).await
    }
}

/// Somebody's role or silence changed. On `viewerEvents` also: the viewer changed their own settings for a channel, such as
/// `isMuted` and `isPinned`, on whichever device; of that nobody else is told.
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
        ChannelMembership::told(ctx, self.of.0, self.of.1).await
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

/// Somebody's profile changed. Told once for each workspace that the viewer shares with them.
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

/// The viewer read a channel, or marked it as unread, on whichever device. Nobody else is told. A count that moves because
/// somebody wrote or deleted something is not told so: that is told by the message.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct ReadStateChanged {
    /// Which channel.
    channel_id: ID,
    #[graphql(skip)]
    of: ChannelId,
}

#[ComplexObject]
impl ReadStateChanged {
    /// Whose read state it is: always the viewer's own.
    async fn user_id(&self, ctx: &Context<'_>) -> Result<ID> {
        Ok(ids::id(ctx.viewer()?.user()))
    }

    /// The channel's read state as it is now; null if the viewer is not in the channel any more.
    async fn unread(&self, ctx: &Context<'_>) -> Result<Option<ChannelUnread>> {
        ChannelUnread::find(ctx, self.of).await
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
    /// The viewer may not see this any more, or their session has ended: sign in if need be, and drop it only if it is not
    /// found then.
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
            // The item is of the viewer's own log, the membership of that channel.
            Event::MembershipChanged(of, user) => {
                let (channel_id, user_id, of) = (ids::id(of), ids::id(user), (of, user));
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
            Event::ReadStateChanged(of) => {
                StreamEvent::ReadStateChanged(ReadStateChanged { channel_id: ids::id(of), of })
            }
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
