//! A channel's events for one viewer: replay from a position, then live, until the viewer's access ends.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, stream};
use quikapp_entities::{ChannelId, MessageId, Timestamp, UserId};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::{
    Chat, Error, Result,
    access::{ChannelReader, Viewer},
    live::{Control, Feed, Told, notes::Notes},
    log::Aspect,
    messages::model::{ChannelKey, Message, MessageKind, SystemEvent},
};

/// How long a stream waits before it asks a store again that did not answer.
const RETRY: Duration = Duration::from_millis(250);

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    /// The cursor is older than tombstones are kept: read afresh.
    CursorExpired,
    /// The cursor is of another life of the server's data: read afresh.
    EpochChanged,
    /// The viewer may not see the channel any more.
    AccessChanged,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message is new.
    Created(Arc<Message>),
    /// A message changed.
    Updated(Arc<Message>, Vec<Aspect>),
    /// A message became a tombstone.
    Deleted(Arc<Message>),
    /// Somebody came in.
    MemberJoined(UserId),
    /// Somebody went or was removed.
    MemberLeft(UserId, Option<UserId>),
    /// Somebody's role or silence changed.
    MemberChanged(UserId),
    /// The channel's own fields changed.
    ChannelUpdated(Vec<String>),
    /// Everything that was missed has been told.
    CaughtUp(u64),
    /// The stream ends.
    Reset(ResetReason),
}

/// An event with its place in the channel's log.
#[derive(Debug, Clone)]
pub struct Item {
    /// Go on after this tick to miss nothing behind the event; none where the position does not move.
    pub position: Option<i64>,
    /// The tick of the change.
    pub seq: Option<i64>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Whether it had happened before the stream began.
    pub replayed: bool,
    /// What happened.
    pub event: Event,
    /// What other listeners made of the change; none on items that are no change.
    pub notes: Option<Arc<Notes>>,
}

/// What changed of a message after tick `after`, seen from there: one event, and one more for what a SYSTEM message tells.
fn events(Told { before, after, message, notes }: &Told, replayed: bool) -> VecDeque<Item> {
    let (before, after) = (*before, *after);
    let item = |position, event, occurred_at| Item {
        position: Some(position),
        seq: Some(message.seq),
        occurred_at,
        replayed,
        event,
        notes: Some(Arc::clone(notes)),
    };
    let mut items = VecDeque::with_capacity(2);
    if message.is_deleted() && message.changes.deleted.max(message.ts) > after {
        items.push_back(item(message.seq, Event::Deleted(Arc::clone(message)), message.changed_at));
        return items;
    }
    if message.ts <= after {
        let ticks = &message.changes;
        let changed = [
            (Aspect::Content, ticks.content),
            (Aspect::Reactions, ticks.reactions),
            (Aspect::Thread, ticks.thread),
        ];
        let changed =
            changed.into_iter().filter(|(_, tick)| *tick > after).map(|(aspect, _)| aspect).collect();
        items.push_back(item(message.seq, Event::Updated(Arc::clone(message), changed), message.changed_at));
        return items;
    }
    let told = message.system.as_ref().map(|event| match event {
        SystemEvent::MemberJoined { user } => Event::MemberJoined(*user),
        SystemEvent::MemberLeft { user, removed_by } => Event::MemberLeft(*user, *removed_by),
        SystemEvent::MemberChanged { user, .. } => Event::MemberChanged(*user),
        SystemEvent::ChannelUpdated { changed } => Event::ChannelUpdated(changed.clone()),
    });
    // Of two items the first must not move the position: whoever is cut off between them gets both again.
    let first_position = if told.is_some() { before } else { message.seq };
    items.push_back(item(first_position, Event::Created(Arc::clone(message)), message.created_at));
    items.extend(told.map(|event| item(message.seq, event, message.created_at)));
    items
}

struct State {
    chat: Chat,
    viewer: Viewer,
    channel: ChannelId,
    /// Only this thread's root and replies are told, if one is given.
    thread: Option<MessageId>,
    floor: i64,
    feed: Feed,
    controls: Receiver<Control>,
    waiting: VecDeque<Item>,
    /// The position that the replay has to reach, and what it told so far.
    catching_up: Option<(i64, u64)>,
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
        after: Option<i64>,
    ) -> Result<impl Stream<Item = Item> + use<>> {
        self.events(reader, None, after).await
    }

    /// The events of one thread of the channel, from now on or after a position: those of its root and of its replies.
    pub async fn thread_events(
        &self,
        reader: &ChannelReader,
        root: MessageId,
        after: Option<i64>,
    ) -> Result<impl Stream<Item = Item> + use<>> {
        self.events(reader, Some(root), after).await
    }

    async fn events(
        &self,
        reader: &ChannelReader,
        thread: Option<MessageId>,
        after: Option<i64>,
    ) -> Result<impl Stream<Item = Item> + use<>> {
        let controls = self.hub.controls();
        let mut feed = self.hub.follow(reader.key()).await?;
        // Access may have ended before the announcements were listened to.
        let reader = self.channel_reader(reader.viewer(), reader.key().channel).await?;
        let mut waiting = VecDeque::new();
        let mut catching_up = None;
        let mut ended = false;
        if let Some(after) = after {
            let head = feed.position();
            if after > head && after > self.log.head(reader.key()).await?.seq {
                waiting.push_back(reset(self.env.now(), ResetReason::EpochChanged));
                ended = true;
            } else {
                catching_up = Some((head, 0));
                feed.resume_after(after);
            }
        }
        let state = State {
            chat: self.clone(),
            viewer: *reader.viewer(),
            channel: reader.key().channel,
            thread,
            floor: reader.floor(),
            feed,
            controls,
            waiting,
            catching_up,
            ended,
        };
        Ok(stream::unfold(state, |mut state| async move { state.next().await.map(|item| (item, state)) }))
    }
}

/// An item that ends a stream.
#[must_use]
pub fn reset(now: Timestamp, reason: ResetReason) -> Item {
    Item {
        position: None,
        seq: None,
        occurred_at: now,
        replayed: false,
        event: Event::Reset(reason),
        notes: None,
    }
}

impl State {
    async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.waiting.pop_front() {
                return Some(item);
            }
            if self.ended {
                return None;
            }
            if let Some((goal, count)) = self.catching_up
                && self.feed.position() >= goal
            {
                self.catching_up = None;
                return Some(Item {
                    position: Some(self.feed.position()),
                    seq: None,
                    occurred_at: self.chat.env.now(),
                    replayed: true,
                    event: Event::CaughtUp(count),
                    notes: None,
                });
            }
            tokio::select! {
                biased;
                control = self.controls.recv() => self.control(control).await,
                next = self.feed.next() => match next {
                    Ok(Some(told)) => self.told(&told),
                    // The replay may have come to its end by that.
                    Ok(None) => {}
                    Err(error) => {
                        tracing::debug!(%error, "a stream waits for the store");
                        tokio::time::sleep(RETRY).await;
                    }
                },
            }
        }
    }

    fn told(&mut self, told: &Told) {
        let message = &told.message;
        let concerns = |root| message.id == root || message.thread_root == Some(root);
        if message.ts <= self.floor || !self.thread.is_none_or(concerns) {
            return;
        }
        let replayed = self.catching_up.is_some_and(|(goal, _)| message.seq <= goal);
        let items = events(told, replayed);
        if let Some((_, count)) = &mut self.catching_up {
            *count += items.len() as u64;
        }
        self.waiting = items;
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
                Ok(reader) => self.floor = reader.floor(),
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
        self.waiting.clear();
        self.waiting.push_back(reset(self.chat.env.now(), ResetReason::AccessChanged));
        self.ended = true;
    }
}

/// Whether `message` is something that a person wrote.
#[must_use]
pub fn is_written(message: &Message) -> bool {
    message.kind != MessageKind::System
}
