//! A channel's events for one viewer: replay from a position, then live, until the viewer's access ends. What was missed
//! comes several items at a time, so that what belongs to them can be looked up together.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use futures_util::{Stream, stream};
use quikapp_entities::{ChannelId, MessageId};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    Chat, Error, Result,
    access::{ChannelReader, Viewer},
    live::{
        Control,
        event::{Event, Item, ResetReason, reset},
        flow::{Flow, RETRY},
        position::Position,
        slices::Slice,
    },
    messages::model::ChannelKey,
};

/// Most items that come together.
pub(super) const TOGETHER: usize = 32;
/// From so many bytes on they wait for no more company: what is told at a time is kept until the listener takes it.
pub(super) const HEAVY: usize = 64 << 10;

struct State {
    chat: Chat,
    viewer: Viewer,
    channel: ChannelId,
    /// Then lines are not told, only looked at.
    is_of_thread: bool,
    flow: Flow,
    /// Of the flow.
    floor: Arc<AtomicI64>,
    controls: Receiver<Control>,
    /// The turn at being told what was missed.
    slice: Slice,
    /// To be said before the end.
    last_word: Option<Item>,
    ended: bool,
}

impl Chat {
    /// The last tick of a channel, to be read before anything that a stream after it is to complete.
    pub async fn position(&self, reader: &ChannelReader) -> Result<i64> {
        Ok(self.store.head(reader.key()).await?.seq)
    }

    /// The same of many channels at once, in one query. Only ask for those that the viewer may read.
    pub async fn positions(&self, keys: &[ChannelKey]) -> Result<HashMap<ChannelKey, i64>> {
        let mut positions: HashMap<ChannelKey, i64> = keys.iter().map(|key| (*key, 0)).collect();
        positions.extend(self.store.heads(keys).await?.into_iter().map(|(key, head)| (key, head.seq)));
        Ok(positions)
    }

    /// The channel's events, from now on or after a position.
    pub async fn channel_events(
        &self,
        reader: &ChannelReader,
        after: Option<Position>,
    ) -> Result<impl Stream<Item = Vec<Item>> + use<>> {
        self.events(reader, None, after).await
    }

    /// The events of one thread of the channel, from now on or after a position: those of its root and of its replies.
    pub async fn thread_events(
        &self,
        reader: &ChannelReader,
        root: MessageId,
        after: Option<Position>,
    ) -> Result<impl Stream<Item = Vec<Item>> + use<>> {
        self.events(reader, Some(root), after).await
    }

    async fn events(
        &self,
        reader: &ChannelReader,
        thread: Option<MessageId>,
        after: Option<Position>,
    ) -> Result<impl Stream<Item = Vec<Item>> + use<>> {
        let controls = self.hub.controls();
        let feed = self.hub.follow(reader.key()).await?;
        // Access may have ended before the announcements were listened to.
        let reader = self.channel_reader(reader.viewer(), reader.key().channel).await?;
        let floor = Arc::new(AtomicI64::new(reader.floor()));
        let head = feed.position();
        let mut flow = Flow::new(feed, Arc::clone(&floor), thread, &self.env);
        let mut last_word = None;
        if let Some(after) = after {
            if after.head() > head && after.head() > self.log.head(reader.key()).await?.seq {
                last_word = Some(reset(self.env.now(), ResetReason::EpochChanged));
            } else {
                flow.resume_after(&after);
            }
        }
        let state = State {
            chat: self.clone(),
            viewer: *reader.viewer(),
            channel: reader.key().channel,
            is_of_thread: thread.is_some(),
            flow,
            floor,
            controls,
            slice: Slice::default(),
            ended: last_word.is_some(),
            last_word,
        };
        Ok(stream::unfold(state, |mut state| async move { state.next().await.map(|items| (items, state)) }))
    }
}

impl State {
    async fn next(&mut self) -> Option<Vec<Item>> {
        if self.flow.is_catching_up() {
            // Those who come back do not crowd out those who are there.
            tokio::task::yield_now().await;
        }
        loop {
            if let Some(item) = self.last_word.take() {
                return Some(vec![item]);
            }
            if self.ended {
                return None;
            }
            self.slice.hold_if(self.flow.is_catching_up(), self.chat.hub.slices()).await;
            tokio::select! {
                biased;
                control = self.controls.recv() => Box::pin(self.control(control)).await,
                item = self.flow.next() => {
                    let mut weight = item.event.weight();
                    let mut items = Vec::with_capacity(if item.replayed { TOGETHER } else { 1 });
                    self.take(item, &mut items).await;
                    while items.len() < TOGETHER
                        && weight < HEAVY
                        && !self.ended
                        && let Some(item) = self.flow.replayed()
                    {
                        weight += item.event.weight();
                        self.take(item, &mut items).await;
                    }
                    if !items.is_empty() {
                        return Some(items);
                    }
                }
            }
        }
    }

    /// Adds an item to those that come together, if it is to be told.
    async fn take(&mut self, item: Item, items: &mut Vec<Item>) {
        if let Some(user) = item.event.changes_access_of() {
            if user == self.viewer.user() {
                Box::pin(self.control(Ok(Control::Missed))).await;
            }
            if self.ended || self.is_of_thread {
                return;
            }
        }
        self.ended = matches!(item.event, Event::Reset(_));
        items.push(item);
    }

    async fn control(&mut self, control: std::result::Result<Control, RecvError>) {
        let concerned = match control {
            Ok(Control::AccessChanged { user, channel, .. }) => {
                user == self.viewer.user() && channel.is_none_or(|channel| channel == self.channel)
            }
            Ok(Control::ChannelAccessChanged { channel, .. }) => channel == self.channel,
            Ok(Control::SessionRevoked { session }) => session == self.viewer.session(),
            Ok(Control::UserDisabled { user }) => user == self.viewer.user(),
            // What was missed may have been about this viewer.
            Ok(Control::Missed) | Err(RecvError::Lagged(_)) => true,
            Err(RecvError::Closed) => false,
        };
        if !concerned {
            return;
        }
        if let Ok(Control::SessionRevoked { .. } | Control::UserDisabled { .. }) = control {
            self.end();
            return;
        }
        loop {
            match self.chat.channel_reader(&self.viewer, self.channel).await {
                Ok(reader) => self.floor.store(reader.floor(), Ordering::SeqCst),
                // Not to know is not to be allowed: nothing is told until it is known.
                Err(Error::Unavailable { .. }) => {
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Err(_) => self.end(),
            }
            return;
        }
    }

    fn end(&mut self) {
        self.last_word = Some(reset(self.chat.env.now(), ResetReason::AccessChanged));
        self.ended = true;
    }
}
