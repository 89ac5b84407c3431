//! What the peer of a WebSocket has sent of a message that is not whole yet. The library that puts frames together shows whole
//! messages only, so the bytes are counted below it.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    http::body::{self, SMALL_BYTES},
    ws::Close,
};

/// Copies of a message that is not whole: what was read, and what was put together of it.
const COPIES: usize = 2;
/// Bytes of the head of a short frame of a client.
const FRAME_HEAD: usize = 6;

/// How long a message may take, and what all large ones may take together.
struct Bounds {
    limit: Duration,
    large: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    /// None before the connection is a WebSocket's.
    bounds: Option<Bounds>,
    /// Read, and not in a whole message yet.
    bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
    held: Option<OwnedSemaphorePermit>,
    broken: Option<Close>,
}

/// Of one connection. Shared by its reading end and the socket above.
#[derive(Clone, Default)]
pub(crate) struct Arrival(Arc<Mutex<State>>);

impl Arrival {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a message has to be whole within `limit`, and has a part in what is left of `large`.
    pub(crate) fn watch(&self, limit: Duration, large: Arc<Semaphore>) {
        self.lock().bounds = Some(Bounds { limit, large });
    }

    /// More was read, at this time. Fails when a message takes too long or there is no room for it.
    pub(crate) fn more(&self, bytes: usize, now: Instant) -> io::Result<()> {
        let mut state = self.lock();
        let State { bounds: Some(bounds), bytes: sum, since, held, broken } = &mut *state else {
            return Ok(());
        };
        *sum += bytes;
        let fits = body::hold(held, &bounds.large, COPIES * sum.saturating_sub(SMALL_BYTES)).is_ok();
        if now.duration_since(*since.get_or_insert(now)) > bounds.limit {
            *broken = Some(Close::TOO_SLOW);
            return Err(io::Error::new(io::ErrorKind::TimedOut, "a message takes too long"));
        }
        if !fits {
            *broken = Some(Close::TRY_AGAIN);
            return Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                "too many large messages arrive at a time",
            ));
        }
        Ok(())
    }

    /// A message of so many bytes is whole. What is left is of the next one, or of the heads of frames; a little is forgotten.
    pub(crate) fn whole(&self, bytes: usize) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes + FRAME_HEAD);
        if state.bytes <= SMALL_BYTES {
            state.bytes = 0;
        }
        state.since = (state.bytes > 0).then(Instant::now);
        state.held = None;
    }

    /// A ping or pong with so many bytes, which may come in the midst of a message.
    pub(crate) fn control(&self, bytes: usize) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes + FRAME_HEAD);
        if state.bytes == 0 {
            state.since = None;
        }
    }

    /// Why reading failed, if it did here.
    pub(crate) fn broken(&self) -> Option<Close> {
        self.lock().broken.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn watched(limit: Duration, kilobytes: usize) -> (Arrival, Arc<Semaphore>) {
        let (arrival, large) = (Arrival::default(), Arc::new(Semaphore::new(kilobytes)));
        arrival.watch(limit, Arc::clone(&large));
        (arrival, large)
    }

    #[test]
    fn a_message_has_to_be_whole_in_time_whatever_comes_between() {
        let limit = Duration::from_secs(30);
        let start = Instant::now();
        let (arrival, _) = watched(limit, 1_000);
        arrival.more(1_000, start).unwrap();
        for pong in 1..=3 {
            arrival.more(FRAME_HEAD, start + pong * Duration::from_secs(9)).unwrap();
            arrival.control(0);
        }
        arrival.more(FRAME_HEAD, start + Duration::from_secs(36)).unwrap_err();
        assert_eq!(arrival.broken(), Some(Close::TOO_SLOW));

        let (arrival, _) = watched(limit, 1_000);
        for turn in 1..=10 {
            arrival.more(1_000 + FRAME_HEAD, start + turn * limit).unwrap();
            arrival.whole(1_000);
            arrival.more(4 + FRAME_HEAD, start + turn * limit).unwrap();
            arrival.control(4);
        }
        assert_eq!(arrival.broken(), None);
    }

    #[test]
    fn large_messages_have_room_together() {
        let (arrival, large) = watched(Duration::from_secs(30), 1_000);
        let now = Instant::now();
        arrival.more(SMALL_BYTES, now).unwrap();
        assert_eq!(large.available_permits(), 1_000);
        arrival.more(100 * 1_024, now).unwrap();
        assert_eq!(large.available_permits(), 800);
        arrival.whole(SMALL_BYTES + 100 * 1_024);
        assert_eq!(large.available_permits(), 1_000);
        arrival.more(SMALL_BYTES + 600 * 1_024, now).unwrap_err();
        assert_eq!(arrival.broken(), Some(Close::TRY_AGAIN));
        // Not a WebSocket.
        Arrival::default().more(usize::MAX, now).unwrap();
    }
}
