//! What comes in over the relay and waits for the hub: bounded, so that a burst that is faster than this node costs a look
//! at the store and not the node's memory.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::sync::mpsc;

/// How many publications may wait.
const ROOM: usize = 16_384;
/// How many bytes of them.
const BYTES: usize = 16 << 20;

/// What comes in from the other nodes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// Somebody published on a topic.
    Message {
        /// The topic, without the prefix.
        topic: String,
        /// What was published.
        payload: Bytes,
    },
    /// Anything may have been missed: the connection was lost and is back, or more came than there was room for.
    Missed,
}

impl Incoming {
    fn size(&self) -> usize {
        match self {
            Self::Message { topic, payload } => topic.len() + payload.len(),
            Self::Missed => 0,
        }
    }
}

#[derive(Default)]
struct State {
    bytes: AtomicUsize,
    has_missed: AtomicBool,
}

/// The end that the connection puts things into.
#[derive(Clone)]
pub(crate) struct Slot {
    sender: mpsc::Sender<Incoming>,
    state: Arc<State>,
}

/// The end that the hub empties.
pub(crate) struct Inbox {
    receiver: mpsc::Receiver<Incoming>,
    state: Arc<State>,
}

/// Both ends.
pub(crate) fn inbox() -> (Slot, Inbox) {
    let (sender, receiver) = mpsc::channel(ROOM);
    let state = Arc::<State>::default();
    (Slot { sender, state: Arc::clone(&state) }, Inbox { receiver, state })
}

impl Slot {
    /// Puts something in; never waits. Where there is no room, the hub is told that it has missed something.
    pub(crate) fn put(&self, incoming: Incoming) {
        let size = incoming.size();
        if self.state.bytes.fetch_add(size, Ordering::SeqCst) + size > BYTES
            || self.sender.try_send(incoming).is_err()
        {
            self.state.bytes.fetch_sub(size, Ordering::SeqCst);
            self.miss();
        }
    }

    /// Lets the hub know that it has missed something.
    pub(crate) fn miss(&self) {
        self.state.has_missed.store(true, Ordering::SeqCst);
        // Wakes the hub, unless there is no room: then it has yet to take something, and sees the mark then.
        let _ = self.sender.try_send(Incoming::Missed);
    }

    /// Whether the hub is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Inbox {
    /// What came in next; none when the connection is gone for good. Once something was missed all that waits is given up
    /// for one [`Incoming::Missed`], which covers it.
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        let first = self.receiver.recv().await?;
        self.state.bytes.fetch_sub(first.size(), Ordering::SeqCst);
        if !self.state.has_missed.swap(false, Ordering::SeqCst) {
            return Some(first);
        }
        while let Ok(more) = self.receiver.try_recv() {
            self.state.bytes.fetch_sub(more.size(), Ordering::SeqCst);
        }
        Some(Incoming::Missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Incoming {
        Incoming::Message { topic: "t".into(), payload: Bytes::from(vec![0; length]) }
    }

    #[tokio::test]
    async fn too_many_become_one_missed() {
        let (slot, mut inbox) = inbox();
        for _ in 0..ROOM + 10 {
            slot.put(message(1));
        }
        assert_eq!(inbox.next().await, Some(Incoming::Missed));
        slot.put(message(2));
        assert_eq!(inbox.next().await, Some(message(2)));
        assert_eq!(inbox.state.bytes.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn too_large_become_one_missed() {
        let (slot, mut inbox) = inbox();
        for _ in 0..5 {
            slot.put(message(BYTES / 4));
        }
        assert!(inbox.state.bytes.load(Ordering::SeqCst) <= BYTES);
        assert_eq!(inbox.next().await, Some(Incoming::Missed));
        slot.put(message(BYTES / 2));
        assert_eq!(inbox.next().await, Some(message(BYTES / 2)));
    }

    #[tokio::test]
    async fn a_miss_wakes_an_empty_inbox() {
        let (slot, mut inbox) = inbox();
        let (next, ()) = tokio::join!(inbox.next(), async {
            tokio::task::yield_now().await;
            slot.miss();
        });
        assert_eq!(next, Some(Incoming::Missed));
        drop(slot);
        assert_eq!(inbox.next().await, None);
    }
}
