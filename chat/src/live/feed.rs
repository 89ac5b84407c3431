//! One listener's view of a followed channel: replay from the store, then what the node sends out.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use moka::future::Cache;
use quikapp_entities::{ChannelId, MessageId};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Error, Result,
    live::{
        notes::Notes,
        position::{Base, Position},
        ring::{self, Lagged},
        topic::{REPLAY_PAGE, Raw, Step, Topic, head_of},
    },
    messages::model::{ChannelKey, Message},
    store::MessageStore,
};

/// Pages of replays that are read from the store at once, so that a thousand clients who come back together leave room
/// for those who are there.
const READS: usize = 4;
/// How long a page is kept for others who come back from the same place.
const KEPT: Duration = Duration::from_secs(2);
/// Pages that are kept.
const PAGES: u64 = 64;

/// What the store told of a channel after a tick.
struct Page {
    steps: Vec<(Arc<Message>, Arc<Notes>)>,
    /// The tick that the log had reached when it was read, or a later one.
    head: i64,
    /// Whether there is more.
    is_full: bool,
    /// The tick that the node knew of before the page was read.
    as_of: i64,
}

/// Reads replays, those of many who come back from the same place once.
pub(super) struct Replays {
    store: Arc<dyn MessageStore>,
    reads: Semaphore,
    pages: Cache<(ChannelId, i64), Arc<Page>>,
}

impl Replays {
    pub(super) fn new(store: Arc<dyn MessageStore>) -> Self {
        let pages = Cache::builder().max_capacity(PAGES).time_to_live(KEPT).build();
        Self { store, reads: Semaphore::new(READS), pages }
    }

    /// What changed in a channel after a tick, of which `last` is known to be taken. Empty only if nothing is left of the
    /// ticks up to `last`.
    async fn page(self: &Arc<Self>, key: ChannelKey, after: i64, last: i64) -> Result<Arc<Page>> {
        let replays = Arc::clone(self);
        // A task of its own: others wait for this page and for this read, while the one who asked may have something else
        // to wait for, such as a client that takes nothing.
        let reading = tokio::spawn(async move { replays.find(key, after, last).await });
        AbortOnDropHandle::new(reading).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a page of a replay was not read to its end");
            Err(Error::Internal)
        })
    }

    async fn find(&self, key: ChannelKey, after: i64, last: i64) -> Result<Arc<Page>> {
        let place = (key.channel, after);
        let page = self.pages.try_get_with(place, self.read(key, after, last)).await;
        let page = page.map_err(|error| error.as_ref().clone())?;
        if page.steps.is_empty() && page.as_of < last {
            self.pages.invalidate(&place).await;
            return self.read(key, after, last).await;
        }
        Ok(page)
    }

    async fn read(&self, key: ChannelKey, after: i64, last: i64) -> Result<Arc<Page>> {
        // The semaphore is never closed.
        let _turn = self.reads.acquire().await;
        let mut page = self.store.changes(key, after, REPLAY_PAGE).await?;
        if page.is_empty() && after < last {
            // Before that is believed: right after a failover the store may tell less than was acknowledged.
            self.store.latest_head(key).await?;
            page = self.store.changes(key, after, REPLAY_PAGE).await?;
        }
        let is_full = page.len() == REPLAY_PAGE;
        let head = head_of(&page, key, self.store.as_ref()).await?;
        let steps = page.into_iter().map(|message| (Arc::new(message), Arc::default())).collect();
        Ok(Arc::new(Page { steps, head, is_full, as_of: last }))
    }
}

/// A change as one listener sees it.
#[derive(Debug, Clone)]
pub struct Told {
    /// Where the listener stands when it has been told the first of two items; otherwise `position` is all that matters.
    pub before: Option<Position>,
    /// Where it stands behind the change.
    pub position: Position,
    /// The tick as of which the listener knows the message. One that is younger is new to it.
    pub after: i64,
    /// Whether the listener was told the line of this message before it was cut off, but not what the line tells.
    pub is_half: bool,
    /// The message as it is now.
    pub message: Arc<Message>,
    /// What other listeners made of it.
    pub notes: Arc<Notes>,
}

/// One listener's view of a channel: every change after its position, in order, each at most once. Where it was too slow
/// for the node's buffer it reads on from the store: coalesced, but complete.
pub struct Feed {
    out: ring::Receiver<Step>,
    position: i64,
    /// What the listener knows.
    base: Base,
    /// The messages that it was told behind what it knows of all, with their ticks.
    told: HashMap<MessageId, i64>,
    /// Read from the store, with the tick that the log had reached then.
    replay: VecDeque<(Arc<Message>, Arc<Notes>, i64)>,
    /// Whether the store has more.
    is_behind: bool,
    replays: Arc<Replays>,
    // Keeps the sequencer's channel open.
    topic: Arc<Topic>,
}

impl Feed {
    pub(super) fn new(topic: Arc<Topic>, out: ring::Receiver<Step>, replays: Arc<Replays>) -> Self {
        let position = topic.last.load(Ordering::SeqCst);
        Self {
            out,
            position,
            base: Base::at(position),
            told: HashMap::new(),
            replay: VecDeque::new(),
            is_behind: false,
            replays,
            topic,
        }
    }

    /// The channel.
    #[must_use]
    pub fn key(&self) -> ChannelKey {
        self.topic.key
    }

    /// How many ticks of the channel the listener has yet to be told.
    #[must_use]
    pub fn lag(&self) -> i64 {
        self.topic.last.load(Ordering::SeqCst) - self.position
    }

    /// The tick up to which the listener has been told.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Whether the listener knows every message as of its position.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.base.is_plain()
    }

    /// Where the listener stands: what it has to keep to go on from here.
    #[must_use]
    pub fn cursor(&self) -> Position {
        Position::new(self.position, &self.base)
    }

    /// Goes on after `after`, which the channel has reached: what changed since then is told first, as it is now.
    pub fn resume_after(&mut self, after: &Position) {
        let last = self.topic.last.load(Ordering::SeqCst);
        if after.tick() == last && *after == self.cursor() {
            return;
        }
        self.position = after.tick();
        self.base = after.base();
        self.told = HashMap::new();
        let after = after.head();
        if after > last {
            // Another node was faster.
            self.topic.tell(Raw::Check);
        }
        self.behind();
    }

    fn behind(&mut self) {
        self.replay.clear();
        self.out = self.topic.out.subscribe();
    }

    /// The next change of those that are read from the store already, if there is one.
    pub(super) fn replayed(&mut self) -> Option<Told> {
        while let Some((message, notes, head)) = self.replay.pop_front() {
            if let Some(told) = self.step(message, notes, head) {
                return Some(told);
            }
        }
        None
    }

    /// The next change. Waits until there is one; none when the position moved over ticks of which nothing is left.
    ///
    /// # Errors
    /// When the store does not answer while the listener reads on from it; the feed stays valid.
    pub async fn next(&mut self) -> Result<Option<Told>> {
        loop {
            if let Some(told) = self.replayed() {
                return Ok(Some(told));
            }
            // Before the store is read, or what comes in meanwhile would be passed over.
            let last = self.topic.last.load(Ordering::SeqCst);
            if self.is_behind || (self.position < last && self.out.is_empty()) {
                let page = self.replays.page(self.key(), self.position, last).await?;
                self.is_behind = page.is_full;
                let steps = page.steps.iter().cloned();
                self.replay.extend(steps.map(|(message, notes)| (message, notes, page.head)));
                if self.replay.is_empty() {
                    // Purged for good: there is nothing left to tell about these ticks.
                    self.position = self.position.max(last);
                    self.reach(self.position);
                    return Ok(None);
                }
                continue;
            }
            match self.out.recv().await {
                Ok(step) if step.before <= self.position => {
                    if let Some(told) = self.step(step.message, step.notes, step.head) {
                        return Ok(Some(told));
                    }
                }
                // The listener is behind the node: the store has what it was not told, this change included.
                Ok(step) => self.is_behind |= step.message.seq > self.position,
                Err(Lagged) => self.behind(),
            }
        }
    }

    fn step(&mut self, message: Arc<Message>, notes: Arc<Notes>, head: i64) -> Option<Told> {
        if message.seq <= self.position {
            return None;
        }
        let half = self.base.take_half(&message);
        // Whether two items come of it is known where they are made.
        let before = message.system.is_some().then(|| {
            let mut base = self.base.clone();
            base.tell_half(message.seq);
            Position::new(self.position, &base)
        });
        // Not by this page's head alone: of two pages that others have read, too, the second may be the older one.
        let is_complete = message.seq >= head.max(self.base.head());
        let known = if is_complete {
            self.told.remove(&message.id)
        } else {
            self.told.insert(message.id, message.seq)
        };
        let known = known.or(half).or_else(|| self.base.told(&message));
        let after = known.unwrap_or(self.base.known());
        self.position = message.seq;
        if is_complete {
            self.reach(message.seq);
        } else {
            self.base.tell(message.seq, head);
        }
        Some(Told { before, position: self.cursor(), after, is_half: half.is_some(), message, notes })
    }

    /// From here on the listener knows every message as of `tick`.
    fn reach(&mut self, tick: i64) {
        self.base = Base::at(tick);
        if !self.told.is_empty() {
            self.told = HashMap::new();
        }
    }
}
