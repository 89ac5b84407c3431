//! What waits together goes together: a queue that is emptied in groups, by no more workers than it may have. While all of
//! them are at work the next group grows, so groups are as large as the load makes them, and a lonely item waits for nobody.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The queue.
pub(crate) struct Together<T> {
    state: Mutex<State<T>>,
    workers: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    working: usize,
}

impl<T> Together<T> {
    /// An empty one, for at most so many workers at a time.
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { waiting: VecDeque::new(), working: 0 }), workers })
    }

    /// Puts an item at the end. A worker that is given has to be set to work by the caller, in a task of its own.
    #[must_use]
    pub(crate) fn put(self: &Arc<Self>, item: T) -> Option<Worker<T>> {
        let mut state = self.lock();
        state.waiting.push_back(item);
        let is_wanted = state.working < self.workers;
        state.working += usize::from(is_wanted);
        drop(state);
        is_wanted.then(|| Worker { queue: Arc::clone(self), has_ended: false })
    }

    // A poisoned lock guards a plain queue: it is as good as before.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who empties the queue, until nothing waits.
pub(crate) struct Worker<T> {
    queue: Arc<Together<T>>,
    has_ended: bool,
}

impl<T> Worker<T> {
    /// What comes next: the first item, and those behind it for as long as `fits`. None when nothing waits: then the worker
    /// has ended, and the next item starts another one.
    pub(crate) fn take(&mut self, mut fits: impl FnMut(&T) -> bool) -> Option<Vec<T>> {
        let mut state = self.queue.lock();
        let Some(first) = state.waiting.pop_front() else {
            state.working -= 1;
            self.has_ended = true;
            return None;
        };
        let mut group = vec![first];
        // Asked for the first one as well, which is taken whatever the answer: whoever counts, counts it.
        let mut goes_on = fits(&group[0]);
        while goes_on && let Some(next) = state.waiting.front() {
            goes_on = fits(next);
            if goes_on {
                group.extend(state.waiting.pop_front());
            }
        }
        Some(group)
    }

    /// Puts items that were taken back to the front, in their order.
    pub(crate) fn put_back(&self, items: Vec<T>) {
        let mut state = self.queue.lock();
        for item in items.into_iter().rev() {
            state.waiting.push_front(item);
        }
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        // One that was stopped in the middle of its work must not keep others from it.
        if !self.has_ended {
            self.queue.lock().working -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::*;

    #[test]
    fn what_waits_is_taken_in_order_and_within_bounds() {
        let queue = Together::new(1);
        let mut worker = queue.put(1).expect("the first item starts a worker");
        for item in 2..=5 {
            assert!(queue.put(item).is_none(), "one works already");
        }
        let mut room = 3;
        let taken = worker.take(|_| {
            room -= 1;
            room >= 0
        });
        assert_eq!(taken, Some(vec![1, 2, 3]));
        worker.put_back(vec![2, 3]);
        assert_eq!(worker.take(|_| false), Some(vec![2]), "one is taken even if it does not fit");
        assert_eq!(worker.take(|_| true), Some(vec![3, 4, 5]));
        assert_eq!(worker.take(|_| true), None);
        assert!(queue.put(6).is_some(), "the last one has ended");
    }

    #[test]
    fn a_worker_that_stops_gives_its_place_away() {
        let queue = Together::new(2);
        let first = queue.put(1);
        let second = queue.put(2);
        assert!(first.is_some() && second.is_some() && queue.put(3).is_none());
        drop(second);
        let mut third = queue.put(4).expect("there is a place again");
        assert_eq!(third.take(|_| true), Some(vec![1, 2, 3, 4]));
    }
}
