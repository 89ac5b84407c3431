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
    /// Waits for a turn, first come, first served.
    pub async fn take(&self) -> Slice {
        let mut slice = Slice::default();
        slice.hold(self).await;
        slice
    }
}

/// A turn: until it is dropped, and for 10 ms at most.
#[derive(Default)]
pub struct Slice(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Slice {
    /// Waits for a turn, unless this one has time left.
    pub(super) async fn hold(&mut self, slices: &Slices) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return;
        }
        // The semaphore is never closed.
        let permit = Arc::new(Mutex::new(Arc::clone(&slices.0).acquire_owned().await.ok()));
        self.0 = Arc::clone(&permit);
        tokio::spawn(async move {
            tokio::time::sleep(LENGTH).await;
            permit.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
    }

    /// Ends it.
    pub(super) fn end(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        self.end();
    }
}
