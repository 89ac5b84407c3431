//! Rows that cannot be told although the message store answers. They are tried again, but not as often as others, and an
//! operator is told once.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quikapp_entities::{MessageId, Timestamp};

/// How long a row rests that could not be told.
const REST: Duration = Duration::from_secs(10);
/// A row that did not fail again for so long is not there any more: another node told it.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// When rows failed that this node tried to tell.
#[derive(Default)]
pub(super) struct Failed(Mutex<HashMap<MessageId, Timestamp>>);

impl Failed {
    /// Whether the row is not to be tried yet.
    pub(super) fn rests(&self, id: MessageId, now: Timestamp) -> bool {
        self.lock().get(&id).is_some_and(|at| at.plus(REST) > now)
    }

    /// Takes down that a row failed; whether that is new.
    pub(super) fn note(&self, id: MessageId, now: Timestamp) -> bool {
        let mut failed = self.lock();
        let is_new = failed.insert(id, now).is_none();
        if is_new {
            failed.retain(|_, at| at.plus(FORGOTTEN) > now);
        }
        is_new
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MessageId, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
