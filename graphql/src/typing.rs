//! Who types, live.

use std::{collections::HashMap, time::Duration};

use async_graphql::{ComplexObject, Context, ID, Object, SimpleObject, Subscription};
use futures_util::{Stream, stream};
use quikapp_chat::{
    Chat, Error,
    access::Viewer,
    entities::{ChannelId, Timestamp, UserId, ids::MessageKey},
    live::{
        Control,
        typing::{Place, TypingChange, TypingFeed},
    },
};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{context::ContextExt, error::Result, ids, scalars::DateTime, users::User};

/// How long a stream waits before it asks again whether the viewer may see the channel.
const RETRY: Duration = Duration::from_millis(250);

/// What telling that one types gives.
#[derive(SimpleObject)]
pub struct SetTypingPayload {
    /// Until when it holds. Tell again before that to go on.
    expires_at: DateTime,
}

/// Who types at a place now.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct TypingState {
    /// The channel.
    channel_id: ID,
    /// The thread's root; null in the channel's timeline.
    thread_root_id: Option<ID>,
    /// When the first of them stops unless they go on.
    expires_at: DateTime,
    #[graphql(skip)]
    typing: Vec<UserId>,
}

#[ComplexObject]
impl TypingState {
    /// Everybody who types there, the viewer left out; empty when the last one stopped.
    async fn users(&self, ctx: &Context<'_>) -> Result<Vec<User>> {
        User::load_all(ctx, &self.typing).await
    }
}

/// A channel's timeline, or a thread that the viewer may see.
async fn place(ctx: &Context<'_>, channel: ChannelId, thread: Option<&ID>) -> Result<Place> {
    let thread: Option<MessageKey> = ids::parse_option(thread, "threadRootId")?;
    let Some(key) = thread else { return Ok(Place { channel, thread: None }) };
    let root = ctx.loaders()?.message(key).await?.filter(|root| root.key.channel == channel);
    let root = root.ok_or(Error::NotFound("message"))?;
    Ok(Place { channel, thread: Some(root.thread_root.unwrap_or(root.id)) })
}

/// Telling that one types.
#[derive(Default)]
pub struct TypingMutation;

#[Object]
impl TypingMutation {
    /// Tells the others in a channel that the viewer types, for 8 seconds. Sending a message there ends it.
    async fn set_typing(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] channel_id: ID,
        #[graphql(desc = "The thread's root, if the viewer types in a thread.")] thread_root_id: Option<ID>,
        #[graphql(desc = "Whether the viewer types; false ends it.", default = true)] is_typing: bool,
    ) -> Result<SetTypingPayload> {
        let viewer = ctx.viewer()?;
        let channel: ChannelId = ids::parse(&channel_id, "channelId")?;
        let member = ctx.chat()?.channel_member(&viewer, channel).await?;
        member.writable()?;
        let place = place(ctx, channel, thread_root_id.as_ref()).await?;
        let until = ctx.chat()?.hub().typing().set(place, viewer.user(), is_typing).await?;
        Ok(SetTypingPayload { expires_at: DateTime(until) })
    }
}

/// Typing, live.
#[derive(Default)]
pub struct TypingSubscription;

#[Subscription]
impl TypingSubscription {
    /// Everybody who types in a channel's timeline or in one of its threads, whenever that changes. Begins with those who
    /// type already, if there are any. Not durable. Ends when the viewer may not see the channel any more.
    async fn typing_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] channel_id: ID,
        #[graphql(desc = "The thread's root, to follow a thread.")] thread_root_id: Option<ID>,
    ) -> Result<impl Stream<Item = Result<TypingState>> + use<>> {
        let viewer = ctx.viewer()?;
        let channel: ChannelId = ids::parse(&channel_id, "channelId")?;
        let chat = ctx.chat()?.clone();
        // Listened to before the access is checked, or its end could fall between the two.
        let controls = chat.hub().controls();
        chat.channel_reader(&viewer, channel).await?;
        let place = place(ctx, channel, thread_root_id.as_ref()).await?;
        let changes = chat.hub().typing().changes(place);
        let mut typing = chat.hub().typing().current(place).await?;
        typing.remove(&viewer.user());
        let watch = Watch { tell: !typing.is_empty(), chat, viewer, place, controls, changes, typing };
        Ok(stream::unfold(watch, |mut watch| async move { Some((Ok(watch.next().await?), watch)) }))
    }
}

struct Watch {
    chat: Chat,
    viewer: Viewer,
    place: Place,
    controls: Receiver<Control>,
    changes: TypingFeed,
    typing: HashMap<UserId, Timestamp>,
    /// Whether there is something that was not told.
    tell: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<TypingState> {
        loop {
            if std::mem::take(&mut self.tell) {
                return Some(self.state());
            }
            let now = self.chat.now();
            let end = self.typing.values().min().copied();
            let silence = end.map(|end| Duration::from_millis(u64::try_from(end.0 - now.0).unwrap_or(0) + 1));
            tokio::select! {
                biased;
                control = self.controls.recv() => if !self.may_stay(control).await {
                    return None;
                },
                change = self.changes.next() => match change {
                    Ok(change) => self.note(&change),
                    Err(RecvError::Lagged(_)) => self.look().await,
                    Err(RecvError::Closed) => return None,
                },
                () = wait(silence) => {
                    let now = self.chat.now();
                    let before = self.typing.len();
                    self.typing.retain(|_, until| *until > now);
                    self.tell = self.typing.len() != before;
                }
            }
        }
    }

    fn note(&mut self, change: &TypingChange) {
        if change.place != self.place || change.user == self.viewer.user() {
            return;
        }
        self.tell = match change.until {
            // Going on is no change of who types.
            Some(until) => self.typing.insert(change.user, until).is_none(),
            None => self.typing.remove(&change.user).is_some(),
        };
    }

    async fn look(&mut self) {
        if let Ok(mut typing) = self.chat.hub().typing().current(self.place).await {
            typing.remove(&self.viewer.user());
            self.tell = self.typing.len() != typing.len()
                || typing.keys().any(|user| !self.typing.contains_key(user));
            self.typing = typing;
        }
    }

    async fn may_stay(&self, control: std::result::Result<Control, RecvError>) -> bool {
        let is_concerned = match control {
            Ok(Control::AccessChanged { user, channel, .. }) => {
                user == self.viewer.user() && channel.is_none_or(|channel| channel == self.place.channel)
            }
            Ok(Control::ChannelAccessChanged { channel, .. }) => channel == self.place.channel,
            Ok(Control::SessionRevoked { session }) => return session != self.viewer.session(),
            Ok(Control::UserDisabled { user }) => return user != self.viewer.user(),
            Ok(Control::Missed) | Err(RecvError::Lagged(_)) => true,
            Err(RecvError::Closed) => return false,
        };
        if !is_concerned {
            return true;
        }
        loop {
            match self.chat.channel_reader(&self.viewer, self.place.channel).await {
                Ok(_) => return true,
                // Nothing is told until it is known.
                Err(Error::Unavailable { .. }) => tokio::time::sleep(RETRY).await,
                Err(_) => return false,
            }
        }
    }

    fn state(&self) -> TypingState {
        let channel = self.place.channel;
        let mut typing: Vec<UserId> = self.typing.keys().copied().collect();
        typing.sort_unstable();
        TypingState {
            channel_id: ids::id(channel),
            thread_root_id: self.place.thread.map(|id| ids::id(MessageKey { id, channel })),
            expires_at: DateTime(self.typing.values().min().copied().unwrap_or_else(|| self.chat.now())),
            typing,
        }
    }
}

async fn wait(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
