//! Durable events: streams that replay what was missed and then go on live.

mod events;
mod happening;

use std::future::ready;

use async_graphql::{Context, ID, Subscription};
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use quikapp_chat::{
    Error,
    access::ChannelReader,
    entities::{ChannelId, MessageId, WorkspaceId, ids::MessageKey},
    live::{
        event::{self as domain, Event},
        viewer::ViewerItem,
    },
};

pub use events::*;
pub(crate) use happening::Happening;

use crate::{
    context::ContextExt,
    cursors::{self, ChannelPosition, ViewerPosition},
    error::Result,
    fanout, ids,
    messages::Message,
    scalars::EventCursor,
};

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
            let written = happenings.map(|mut happenings| {
                happenings.retain(|happening| happening.written().is_some());
                happenings
            });
            fanout::hand_over(ctx, written)?
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
                return items(
                    ctx,
                    stream::once(ready(vec![Happening::new(nowhere, None, chat.now(), reset)])),
                );
            }
            Some(ViewerPosition::After(positions, at)) => (Some(positions), Some(at)),
            None => (None, None),
        };
        let events = chat.viewer_events(&viewer, workspace, after).await?;
        let mut happening = move |told: ViewerItem| {
            if matches!(told.item.event, Event::CaughtUp(_)) {
                // Tombstones that the replay had not come to are kept from their deletion on, not from now on.
                since = None;
            }
            Happening::of_viewer(&viewer, workspace, since, chat.now(), told)
        };
        items(ctx, events.map(move |told| told.into_iter().map(&mut happening).collect()))
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
    happenings: impl Stream<Item = Vec<Happening>> + Send + 'static,
) -> Result<Items<'ctx>> {
    Ok(fanout::hand_over(ctx, happenings)?.map(|happening| Ok(happening.into())).boxed())
}

/// The events of a channel, or of one of its threads.
async fn follow(
    ctx: &Context<'_>,
    reader: &ChannelReader,
    thread: Option<MessageId>,
    after: Option<EventCursor>,
) -> Result<BoxStream<'static, Vec<Happening>>> {
    let channel = reader.key().channel;
    let chat = ctx.chat()?.clone();
    let position = after.map(|after| cursors::read_channel(ctx, channel, &after)).transpose()?;
    let (after, since) = match position {
        Some(ChannelPosition::Expired) => {
            let reset = domain::reset(chat.now(), domain::ResetReason::CursorExpired);
            return Ok(stream::once(ready(vec![Happening::new(channel, None, chat.now(), reset)])).boxed());
        }
        Some(ChannelPosition::After(position, at)) => (Some(position), Some(at)),
        None => (None, None),
    };
    let events = match thread {
        Some(root) => chat.thread_events(reader, root, after).await?.boxed(),
        None => chat.channel_events(reader, after).await?.boxed(),
    };
    let happening = move |item| Happening::new(channel, since, chat.now(), item);
    Ok(events.map(move |items| items.into_iter().map(&happening).collect()).boxed())
}
