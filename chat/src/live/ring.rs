//! A broadcast channel that takes memory only for what is still unread. Tokio's takes its whole buffer at once, which for a
//! node that follows tens of thousands of channels, most of them quiet, would be a gigabyte of nothing.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// What a busy moment may leave allocated, in values.
const KEPT: usize = 32;

/// The sending end. The channel never closes: whoever receives keeps what sends.
pub(crate) struct Sender<T>(Arc<Shared<T>>);

/// A receiving end: gets what was sent since it was made.
pub(crate) struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The number of the next value.
    next: u64,
    sent: watch::Receiver<()>,
}

/// The receiver was so slow that values were given up; it goes on behind the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lagged;

struct Shared<T> {
    ring: Mutex<Ring<T>>,
    sent: watch::Sender<()>,
}

struct Ring<T> {
    slots: VecDeque<Slot<T>>,
    /// The number of the first slot; values are numbered from 0 in the order of sending.
    first: u64,
    limit: usize,
    receivers: usize,
}

struct Slot<T> {
    value: T,
    /// How many receivers have yet to take it.
    unread: usize,
}

/// A channel that keeps at most `limit` values for slow receivers.
pub(crate) fn channel<T: Clone>(limit: usize) -> Sender<T> {
    let ring = Ring { slots: VecDeque::new(), first: 0, limit: limit.max(1), receivers: 0 };
    Sender(Arc::new(Shared { ring: Mutex::new(ring), sent: watch::Sender::new(()) }))
}

impl<T> Shared<T> {
    // Nothing in here panics half-way, so a poisoned lock guards a whole ring.
    fn lock(&self) -> MutexGuard<'_, Ring<T>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Ring<T> {
    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Marks what comes from number `next` on as read by one receiver.
    fn skip_from(&mut self, next: u64) {
        let read = usize::try_from(next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        for slot in self.slots.iter_mut().skip(read) {
            slot.unread -= 1;
        }
        self.trim();
    }

    /// Gives up what everybody has read.
    fn trim(&mut self) {
        while self.slots.front().is_some_and(|slot| slot.unread == 0) {
            self.slots.pop_front();
            self.first += 1;
        }
        if self.slots.is_empty() && self.slots.capacity() > KEPT {
            self.slots.shrink_to(KEPT);
        }
    }
}

impl<T: Clone> Sender<T> {
    /// Sends to all receivers there are; never waits.
    pub(crate) fn send(&self, value: T) {
        {
            let mut ring = self.0.lock();
            if ring.receivers == 0 {
                return;
            }
            if ring.slots.len() == ring.limit {
                ring.slots.pop_front();
                ring.first += 1;
            }
            let unread = ring.receivers;
            ring.slots.push_back(Slot { value, unread });
        }
        self.0.sent.send_replace(());
    }

    /// A receiver of what is sent from now on.
    pub(crate) fn subscribe(&self) -> Receiver<T> {
        let mut ring = self.0.lock();
        ring.receivers += 1;
        Receiver { shared: Arc::clone(&self.0), next: ring.end(), sent: self.0.sent.subscribe() }
    }

    /// How many receivers there are.
    pub(crate) fn receiver_count(&self) -> usize {
        self.0.lock().receivers
    }
}

impl<T: Clone> Receiver<T> {
    /// The next value, in the order of sending. Safe to cancel.
    pub(crate) async fn recv(&mut self) -> Result<T, Lagged> {
        loop {
            if let Some(value) = self.try_recv() {
                return value;
            }
            // Marked before the second look, so that what is sent after it wakes.
            self.sent.mark_unchanged();
            if let Some(value) = self.try_recv() {
                return value;
            }
            // It cannot close, as `shared` holds the sending end.
            let _ = self.sent.changed().await;
        }
    }

    fn try_recv(&mut self) -> Option<Result<T, Lagged>> {
        let mut ring = self.shared.lock();
        let Some(at) = self.next.checked_sub(ring.first) else {
            ring.skip_from(self.next);
            self.next = ring.end();
            return Some(Err(Lagged));
        };
        let slot = ring.slots.get_mut(usize::try_from(at).ok()?)?;
        let value = slot.value.clone();
        slot.unread -= 1;
        self.next += 1;
        if at == 0 {
            ring.trim();
        }
        Some(Ok(value))
    }
}

impl<T> Receiver<T> {
    /// Whether it has received all that was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.shared.lock().end()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut ring = self.shared.lock();
        ring.receivers -= 1;
        ring.skip_from(self.next);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_gets_everything_in_order() {
        let sender = channel(4);
        sender.send(0);
        let (mut one, mut two) = (sender.subscribe(), sender.subscribe());
        assert!(one.is_empty());
        sender.send(1);
        sender.send(2);
        assert!(!one.is_empty());
        for receiver in [&mut one, &mut two] {
            assert_eq!((receiver.recv().await, receiver.recv().await), (Ok(1), Ok(2)));
            assert!(receiver.is_empty());
        }
    }

    #[tokio::test]
    async fn a_slow_receiver_lags_and_holds_up_nobody() {
        let sender = channel(4);
        let (mut slow, mut fast) = (sender.subscribe(), sender.subscribe());
        for value in 0..10 {
            sender.send(value);
            assert_eq!(fast.recv().await, Ok(value));
        }
        assert_eq!(slow.recv().await, Err(Lagged));
        assert!(slow.is_empty());
        sender.send(10);
        assert_eq!((slow.recv().await, fast.recv().await), (Ok(10), Ok(10)));
    }

    #[tokio::test]
    async fn what_all_have_read_is_let_go() {
        let sender = channel(1_024);
        let value = Arc::new(());
        let (mut one, two) = (sender.subscribe(), sender.subscribe());
        for _ in 0..500 {
            sender.send(Arc::clone(&value));
        }
        for _ in 0..400 {
            one.recv().await.unwrap();
        }
        assert_eq!(Arc::strong_count(&value), 501);
        drop(two);
        assert_eq!(Arc::strong_count(&value), 101);
        drop(one);
        assert_eq!(Arc::strong_count(&value), 1);
        assert!(sender.0.lock().slots.capacity() <= KEPT);
        sender.send(Arc::clone(&value));
        assert_eq!((Arc::strong_count(&value), sender.receiver_count()), (1, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn waiting_receivers_are_woken() {
        const COUNT: u32 = 20_000;
        let sender = channel(COUNT as usize);
        let receivers: Vec<_> = (0..8)
            .map(|_| {
                let mut receiver = sender.subscribe();
                tokio::spawn(async move {
                    for value in 0..COUNT {
                        assert_eq!(receiver.recv().await, Ok(value));
                    }
                })
            })
            .collect();
        for value in 0..COUNT {
            sender.send(value);
            if value % 16 == 0 {
                tokio::task::yield_now().await;
            }
        }
        for receiver in receivers {
            receiver.await.unwrap();
        }
    }
}
