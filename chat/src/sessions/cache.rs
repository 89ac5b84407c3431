//! What the database said a moment ago about a session, so that a request with a good access token asks it nothing.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;
use quikapp_entities::{SessionId, Timestamp, UserId};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use crate::live::{Control, Hub};

/// How long an answer is believed when nothing is announced: rows changed by hand, or an announcement that got lost.
const TTL: Duration = Duration::from_secs(2);
const CAPACITY: u64 = 100_000;

/// A session that may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) user: UserId,
    pub(super) expires_at: Timestamp,
}

/// Recent answers; `None` is the answer that a session may not act.
pub(super) struct SessionCache {
    answers: Cache<SessionId, Option<Live>>,
    controls: Mutex<Receiver<Control>>,
    /// Counts what was announced: an answer that was asked for before and comes after is not kept.
    epoch: AtomicU64,
}

impl SessionCache {
    pub(super) fn new(hub: &Hub) -> Self {
        Self {
            answers: Cache::builder().max_capacity(CAPACITY).time_to_live(TTL).build(),
            controls: Mutex::new(hub.controls()),
            epoch: AtomicU64::new(0),
        }
    }

    /// The answer, if it is known; and the epoch to bring along with a new one.
    pub(super) async fn get(&self, session: SessionId) -> (Option<Option<Live>>, u64) {
        self.apply_controls().await;
        let epoch = self.epoch.load(Ordering::Acquire);
        (self.answers.get(&session).await, epoch)
    }

    /// Keeps an answer, unless something was announced since `epoch`.
    pub(super) async fn put(&self, session: SessionId, answer: Option<Live>, epoch: u64) {
        self.apply_controls().await;
        if self.epoch.load(Ordering::Acquire) == epoch {
            self.answers.insert(session, answer).await;
        }
    }

    /// Forgets what is known about a session.
    pub(super) async fn forget(&self, session: SessionId) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.answers.invalidate(&session).await;
    }

    /// Reads what was announced up to now. Done by whoever asks, not by a task beside: what was announced before a request
    /// came in counts for it.
    async fn apply_controls(&self) {
        loop {
            let next = self.controls.lock().unwrap_or_else(PoisonError::into_inner).try_recv();
            match next {
                Ok(Control::SessionRevoked { session }) => self.forget(session).await,
                Ok(Control::AccessChanged { .. } | Control::ChannelAccessChanged { .. }) => {}
                // Which sessions the user has is not known here; both are rare.
                Ok(Control::UserDisabled { .. } | Control::Missed) | Err(TryRecvError::Lagged(_)) => {
                    self.epoch.fetch_add(1, Ordering::AcqRel);
                    self.answers.invalidate_all();
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }
}
