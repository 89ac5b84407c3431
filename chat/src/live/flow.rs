//! One channel's events on their way to one listener, who may see all of them: access is the caller's business.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use quikapp_entities::MessageId;
use tokio::time::Instant;

use crate::{
    clock::Environment,
    live::{
        Feed, Told,
        event::{Event, Item, ResetReason, events, reset},
        position::Position,
    },
};

/// How long a stream waits before it asks a store again that did not answer.
pub(super) const RETRY: Duration = Duration::from_millis(250);
/// A live listener that is more changes behind its channel is reset.
const MOST_BEHIND: i64 = 25_000;
/// The same for one that left an item untaken for [`UNTAKEN`].
const MOST_BEHIND_UNTAKEN: i64 = 1_000;
const UNTAKEN: Duration = Duration::from_secs(5);

pub(super) struct Flow {
    feed: Feed,
    /// Messages with `ts` up to this tick are not shown.
    floor: Arc<AtomicI64>,
    /// Only this thread's root and replies are told, if one is given.
    thread: Option<MessageId>,
    waiting: VecDeque<Item>,
    /// The position that the replay has to reach, and what it told so far.
    catching_up: Option<(i64, u64)>,
    /// When the listener was given an item that it has not come back from.
    given_at: Option<Instant>,
    /// How many changes it may be behind, live: [`MOST_BEHIND`], but in tests.
    pub(super) most_behind: i64,
    env: Environment,
}

impl Flow {
    /// From the feed's present position on.
    pub(super) fn new(
        feed: Feed,
        floor: Arc<AtomicI64>,
        thread: Option<MessageId>,
        env: &Environment,
    ) -> Self {
        Self {
            feed,
            floor,
            thread,
            waiting: VecDeque::new(),
            catching_up: None,
            given_at: None,
            most_behind: MOST_BEHIND,
            env: env.clone(),
        }
    }

    /// Tells what happened after a position that the channel has reached, and that it has been told.
    pub(super) fn resume_after(&mut self, after: &Position) {
        self.catching_up = Some((self.feed.position(), 0));
        self.feed.resume_after(after);
    }

    /// Whether the listener is still being told what it missed.
    pub(super) fn is_catching_up(&self) -> bool {
        self.catching_up.is_some()
    }

    /// The next item. Nothing is lost by giving up waiting for it.
    pub(super) async fn next(&mut self) -> Item {
        let untaken = self.given_at.take().map(|at| at.elapsed());
        if self.is_too_slow(untaken) {
            return reset(self.env.now(), ResetReason::SlowConsumer);
        }
        let item = self.find().await;
        self.given_at = Some(Instant::now());
        item
    }

    /// The next item, if nothing has to be waited for: of the same change, or of what was missed and is read already.
    pub(super) fn replayed(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.waiting.pop_front() {
                return Some(item);
            }
            if self.has_caught_up() || !self.is_catching_up() {
                return None;
            }
            let told = self.feed.replayed()?;
            self.told(&told);
        }
    }

    async fn find(&mut self) -> Item {
        loop {
            if let Some(item) = self.waiting.pop_front() {
                return item;
            }
            if self.has_caught_up()
                && let Some((_, count)) = self.catching_up.take()
            {
                return Item {
                    position: Some(self.feed.cursor()),
                    seq: None,
                    occurred_at: self.env.now(),
                    replayed: true,
                    event: Event::CaughtUp(count),
                    notes: None,
                };
            }
            match self.feed.next().await {
                Ok(Some(told)) => self.told(&told),
                // The replay may have come to its end by that.
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "a stream waits for the store");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Whether what was missed has been told. What moved on meanwhile comes behind the replay's goal, and belongs to it.
    fn has_caught_up(&self) -> bool {
        self.catching_up.is_some_and(|(goal, _)| self.feed.position() >= goal && self.feed.is_complete())
    }

    /// Only who was up to date once can be too slow.
    fn is_too_slow(&self, untaken: Option<Duration>) -> bool {
        let most = if untaken > Some(UNTAKEN) { MOST_BEHIND_UNTAKEN } else { self.most_behind };
        self.catching_up.is_none() && self.feed.lag() > most
    }

    fn told(&mut self, told: &Told) {
        let message = &told.message;
        let concerns = |root| message.id == root || message.thread_root == Some(root);
        let is_hidden = !self.thread.is_none_or(concerns);
        if message.ts <= self.floor.load(Ordering::SeqCst) || (is_hidden && message.system.is_none()) {
            return;
        }
        let replayed = self.catching_up.is_some_and(|(goal, _)| message.seq <= goal);
        let mut items = events(told, replayed);
        if is_hidden {
            // The listener looks at its access by these and tells nobody of them.
            items.retain(|item| item.event.changes_access_of().is_some());
        } else if let Some((_, count)) = &mut self.catching_up {
            *count += items.len() as u64;
        }
        self.waiting = items;
    }
}
