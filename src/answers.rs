//! Large answers that wait for their clients to take them: bounded in what they take together, and for each user.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::StatusCode;
use bytes::Bytes;
use uuid::Uuid;

use crate::failure::{ErrorCode, Failure};

/// Smaller ones do not count: they are bounded by the number of connections and of operations on each.
const SMALL_BYTES: usize = 64 * 1_024;
/// What one user may take of the whole: a quarter, so that nobody keeps out others by not reading.
const SHARE: usize = 4;

#[derive(Default)]
struct Sums {
    all: usize,
    /// None stands for all who are not signed in.
    users: HashMap<Option<Uuid>, usize>,
}

/// What is held at present.
pub(crate) struct Answers {
    limit: usize,
    sums: Mutex<Sums>,
}

/// Keeps an answer counted.
pub(crate) struct Held {
    answers: Arc<Answers>,
    user: Option<Uuid>,
    bytes: usize,
}

impl Answers {
    /// With nothing held, and room for `limit` bytes.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, sums: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer until what comes back is dropped; None for a small one.
    ///
    /// # Errors
    /// `UNAVAILABLE` when there is no room: what was to be answered is dropped, and may be asked for again.
    pub(crate) fn hold(self: &Arc<Self>, user: Option<Uuid>, bytes: usize) -> Result<Option<Held>, Failure> {
        if bytes <= SMALL_BYTES {
            return Ok(None);
        }
        let mut sums = self.lock();
        let own = sums.users.get(&user).copied().unwrap_or_default();
        if sums.all.saturating_add(bytes) > self.limit || own.saturating_add(bytes) > self.limit / SHARE {
            return Err(no_room());
        }
        sums.all += bytes;
        sums.users.insert(user, own + bytes);
        drop(sums);
        Ok(Some(Held { answers: Arc::clone(self), user, bytes }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut sums = self.answers.lock();
        sums.all = sums.all.saturating_sub(self.bytes);
        let own = sums.users.get(&self.user).copied().unwrap_or_default().saturating_sub(self.bytes);
        if own == 0 {
            sums.users.remove(&self.user);
        } else {
            sums.users.insert(self.user, own);
        }
    }
}

fn no_room() -> Failure {
    let message = "too many large answers wait to be taken; read them, or ask again for smaller pages";
    let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message);
    Failure { retry_after: Some(Duration::from_secs(1)), ..failure }
}

struct Kept {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// `bytes` that are counted until the last part of them is written.
pub(crate) fn keep(bytes: impl Into<Bytes>, held: Option<Held>) -> Bytes {
    let bytes = bytes.into();
    match held {
        Some(held) => Bytes::from_owner(Kept { bytes, _held: held }),
        None => bytes,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MB: usize = 1 << 20;

    #[test]
    fn a_user_has_a_quarter_and_all_have_the_whole() {
        let answers = Answers::new(8 * MB);
        let user = |id: u128| Some(Uuid::from_u128(id));
        assert!(answers.hold(user(1), SMALL_BYTES).unwrap().is_none());
        let first = answers.hold(user(1), MB).unwrap();
        let second = answers.hold(user(1), MB).unwrap();
        let refused = answers.hold(user(1), MB).err().unwrap();
        assert_eq!((refused.code, refused.retry_after.is_some()), (ErrorCode::Unavailable, true));
        let others: Vec<_> = [None, user(2), user(3)].map(|user| answers.hold(user, 2 * MB).unwrap()).into();
        assert!(answers.hold(user(4), MB).is_err());
        drop(first);
        let _another = answers.hold(user(4), MB).unwrap();

        let bytes = keep(vec![0; 10], second);
        let part = bytes.slice(2..4);
        drop((bytes, others));
        assert_eq!(answers.lock().users.get(&user(1)), Some(&MB));
        drop(part);
        assert!(!answers.lock().users.contains_key(&user(1)));
    }
}
