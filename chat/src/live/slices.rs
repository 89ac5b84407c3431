//! Those who come back take turns, so that those who are there keep their pace.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Subscriptions that are opened, or told what they missed, at once. The others wait without work to do, so that the tasks
/// of a live delivery stand in a short queue.
const AT_ONCE: usize = 8;
/// How long one takes before it is another's turn, whether its client takes what it is told or not.
const LENGTH: Duration = Duration::from_millis(10);

/// The turns of one node. Cheap to clone.
#[derive(Clone)]
pub struct Slices(Arc<Semaphore>);

impl Default for Slices {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Slices {
    /// Waits for a turn, first come, first served. Whoever waits has to be polled when it is woken: a turn that is given is
    /// nobody else's until then.
    pub async fn take(&self) -> Slice {
        // The semaphore is never closed.
        let permit = Arc::new(Mutex::new(Arc::clone(&self.0).acquire_owned().await.ok()));
        let slice = Slice(Arc::clone(&permit));
        tokio::spawn(async move {
            tokio::time::sleep(LENGTH).await;
            permit.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        slice
    }
}

/// A turn: until it is dropped, and for 10 ms at most.
#[derive(Default)]
pub struct Slice(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Slice {
    /// Waits for a turn, unless this one has time left, while its holder is coming back; ends it afterwards.
    pub(super) async fn hold_if(&mut self, is_coming_back: bool, slices: &Slices) {
        if !is_coming_back {
            self.end();
        } else if !self.is_held() {
            *self = slices.take().await;
        }
    }

    fn is_held(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_turn_ends_by_itself() {
        let slices = Slices::default();
        let mut held = Vec::new();
        // Nobody lets go, and nobody comes back for more: each further one gets a turn all the same.
        for _ in 0..3 * AT_ONCE {
            held.push(slices.take().await);
        }
        assert!(!held[0].is_held() && held[3 * AT_ONCE - 1].is_held());
    }

    #[tokio::test]
    async fn a_turn_is_given_up_by_who_has_come_back() {
        let slices = Slices::default();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(slices.take().await);
        }
        held[0].hold_if(true, &slices).await;
        assert!(held[0].is_held());
        held[0].hold_if(false, &slices).await;
        assert!(slices.take().now_or_never().is_some(), "there is a free one at once");
    }
}
