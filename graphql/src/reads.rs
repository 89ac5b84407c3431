//! What the viewer has read, and what not.

use async_graphql::{ComplexObject, Context, ID, Object, SimpleObject};
use quikapp_chat::{
    Error,
    access::VisibleChannel,
    entities::{ChannelId, WorkspaceId, ids::MessageKey},
    live::positions::Positions,
    reads,
};

use crate::{
    channel_members::ChannelMembership,
    context::ContextExt,
    cursors,
    error::Result,
    ids,
    scalars::{BigInt, DateTime, EventCursor},
    sync,
};

/// What the viewer has not read of a channel that they are in.
///
/// `unread` counts the messages of the channel's timeline behind the viewer's cursor: not the viewer's own, whose sending
/// leaves the cursor where it is, not deleted ones, no SYSTEM messages, and of replies in threads only those that were
/// broadcast to the channel. What was written before the viewer came in counts as read.
#[derive(Clone, SimpleObject)]
pub struct ChannelUnread {
    /// The channel.
    channel_id: ID,
    /// How many messages; 1,000 stands for so many or more.
    pub(crate) unread: i32,
    /// The viewer's cursor: messages with a `ts` up to this tick of the channel are read.
    last_read_seq: BigInt,
    /// The channel's last tick before the counting: messages with a `ts` up to it are counted, later ones come on top.
    latest_seq: BigInt,
    /// The oldest unread message; null if there is none.
    first_unread_message_id: Option<ID>,
    /// The last message of the timeline that was marked as read, with all before it; null if there is none.
    pub(crate) last_read_message_id: Option<ID>,
    /// When the viewer last marked the channel as read or unread; null if they did not since they came in.
    pub(crate) last_read_at: Option<DateTime>,
}

impl From<reads::ChannelUnread> for ChannelUnread {
    fn from(unread: reads::ChannelUnread) -> Self {
        Self {
            channel_id: ids::id(unread.channel),
            unread: i32::try_from(unread.unread).unwrap_or(i32::MAX),
            last_read_seq: BigInt(unread.last_read_seq),
            latest_seq: BigInt(unread.latest_seq),
            first_unread_message_id: unread.first.map(ids::id),
            last_read_message_id: unread.last_read.map(ids::id),
            last_read_at: unread.last_read_at.map(DateTime),
        }
    }
}

impl ChannelUnread {
    /// Of a channel; none if the viewer is not in it.
    pub(crate) async fn find(ctx: &Context<'_>, channel: ChannelId) -> Result<Option<Self>> {
        Ok(ctx.loaders()?.unread(channel).await?.map(Self::from))
    }
}

/// What the viewer has not read, in many channels.
#[derive(Clone, SimpleObject)]
pub struct UnreadSummary {
    /// The sum of `unread` over the channels that the viewer has not muted.
    total_unread: i32,
    /// Each of the channels, muted ones and those without anything unread too, in order of their ids.
    channels: Vec<ChannelUnread>,
    /// The position of everything that the viewer is a member of, read before all else in here, and in a query before all else
    /// that it asks for: follow `viewerEvents` after it, and nothing is missed in between.
    as_of: EventCursor,
}

impl UnreadSummary {
    /// Of all channels of the viewer that are not archived, in one workspace or in all.
    pub(crate) async fn find(ctx: &Context<'_>, workspace: Option<WorkspaceId>) -> Result<Self> {
        let (chat, viewer) = (ctx.chat()?, ctx.viewer()?);
        let positions = match sync::viewer(ctx).transpose()? {
            Some(positions) => positions,
            // Not asked of the stores unless it is asked for.
            None if ctx.look_ahead().field("asOf").exists() => chat.viewer_positions(&viewer).await?,
            None => Positions::default(),
        };
        let unread = chat.viewer_unread(&viewer, workspace).await?;
        let total: i64 = unread.iter().filter(|unread| !unread.is_muted).map(|unread| unread.unread).sum();
        Ok(Self {
            total_unread: i32::try_from(total).unwrap_or(i32::MAX),
            channels: unread.into_iter().map(Into::into).collect(),
            as_of: cursors::viewer_at(&viewer, None, &positions, chat.now()),
        })
    }
}

/// What marking a channel as read gives.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct MarkChannelReadPayload {
    /// The viewer's membership.
    membership: ChannelMembership,
}

#[ComplexObject]
impl MarkChannelReadPayload {
    /// What the viewer has not read now, in all channels.
    async fn unread(&self, ctx: &Context<'_>) -> Result<UnreadSummary> {
        UnreadSummary::find(ctx, None).await
    }
}

/// What marking a channel as unread gives.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct MarkChannelUnreadPayload {
    /// The viewer's membership.
    membership: ChannelMembership,
}

#[ComplexObject]
impl MarkChannelUnreadPayload {
    /// What the viewer has not read now, in all channels.
    async fn unread(&self, ctx: &Context<'_>) -> Result<UnreadSummary> {
        UnreadSummary::find(ctx, None).await
    }
}

async fn channel(ctx: &Context<'_>, id: &ID) -> Result<VisibleChannel> {
    let viewer = ctx.viewer()?;
    Ok(ctx.chat()?.visible_channel(&viewer, ids::parse(id, "id")?).await?)
}

fn membership(channel: &VisibleChannel) -> Result<ChannelMembership> {
    Ok(channel.membership().cloned().ok_or(Error::Internal)?.into())
}

/// Reading.
#[derive(Default)]
pub struct ReadMutation;

#[Object]
impl ReadMutation {
    /// Marks a channel that the viewer is in as read. The viewer's cursor only moves forward; where it is further already,
    /// nothing changes and nobody is told. The viewer's other devices are told with `ReadStateChanged`.
    async fn mark_channel_read(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] id: ID,
        #[graphql(
            desc = "The last message that was read, with all before it: the last one on the screen. Without it, everything that is there now."
        )]
        up_to_message_id: Option<ID>,
    ) -> Result<MarkChannelReadPayload> {
        ctx.viewer()?;
        let up_to: Option<MessageKey> = ids::parse_option(up_to_message_id.as_ref(), "upToMessageId")?;
        let channel = channel(ctx, &id).await?;
        ctx.chat()?.mark_channel_read(channel.reader(), up_to).await?;
        Ok(MarkChannelReadPayload { membership: membership(&channel)? })
    }

    /// Marks a channel that the viewer is in as unread from a message on: that one and all behind it are unread, those before
    /// it are read. The viewer's other devices are told with `ReadStateChanged`.
    async fn mark_channel_unread(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] id: ID,
        #[graphql(desc = "The first message to be unread.")] from_message_id: ID,
    ) -> Result<MarkChannelUnreadPayload> {
        ctx.viewer()?;
        let from: MessageKey = ids::parse(&from_message_id, "fromMessageId")?;
        let channel = channel(ctx, &id).await?;
        ctx.chat()?.mark_channel_unread(channel.reader(), from).await?;
        Ok(MarkChannelUnreadPayload { membership: membership(&channel)? })
    }
}
