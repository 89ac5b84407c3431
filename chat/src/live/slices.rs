//! Those who come back take turns, so that those who are there keep their pace.

use std::{sync::Arc, thread::available_parallelism, time::Duration};

use tokio::{
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

/// Sockets that are signed in, and subscriptions that are opened or told what they missed, at once, for each processor. The
/// others wait without work to do, so that the tasks of a live delivery stand in a short queue.
const FOR_EACH_PROCESSOR: usize = 2;
/// How long one takes before it is another's turn, whether its client takes what it is told or not.
const LENGTH: Duration = Duration::from_millis(10);
/// How long a turn stays empty before the next one. A live delivery passes several threads, each of which would wait for a
/// processor if those who come back kept all of them busy.
const REST: Duration = Duration::from_millis(1);

/// The turns of one node. Cheap to clone.
#[derive(Clone)]
pub struct Slices {
    free: Arc<Semaphore>,
    length: Duration,
}

impl Default for Slices {
    fn default() -> Self {
        Self::new(FOR_EACH_PROCESSOR * available_parallelism().map_or(1, usize::from), LENGTH)
    }
}

impl Slices {
    fn new(at_once: usize, length: Duration) -> Self {
        Self { free: Arc::new(Semaphore::new(at_once)), length }
    }

    /// Waits for a turn, first come, first served. Whoever waits has to be polled when it is woken: a turn that is given is
    /// nobody else's until then.
    pub async fn take(&self) -> Slice {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.free).acquire_owned().await;
        let (slice, end) = oneshot::channel();
        let length = self.length;
        tokio::spawn(async move {
            // Ends with the slice, if that is earlier.
            let _ = timeout(length, end).await;
            sleep(REST).await;
            drop(permit);
        });
        Slice(Some(slice))
    }
}

/// A turn: until it is dropped, and for 10 ms at most.
#[derive(Default)]
pub struct Slice(Option<oneshot::Sender<()>>);

impl Slice {
    /// Waits for a turn, unless this one has time left, while its holder is coming back; ends it afterwards.
    pub(super) async fn hold_if(&mut self, is_coming_back: bool, slices: &Slices) {
        if !is_coming_back {
            self.0 = None;
        } else if !self.is_held() {
            *self = slices.take().await;
        }
    }

    fn is_held(&self) -> bool {
        self.0.as_ref().is_some_and(|slice| !slice.is_closed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: usize = 3;

    #[tokio::test]
    async fn a_turn_ends_by_itself() {
        let slices = Slices::new(AT_ONCE, LENGTH);
        let mut held = Vec::new();
        // Nobody lets go, and nobody comes back for more: each further one gets a turn all the same.
        for _ in 0..3 * AT_ONCE {
            held.push(slices.take().await);
        }
        assert!(!held[0].is_held());
    }

    #[tokio::test]
    async fn a_turn_is_given_up_by_who_has_come_back() {
        let slices = Slices::new(AT_ONCE, Duration::MAX);
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(slices.take().await);
        }
        held[0].hold_if(true, &slices).await;
        assert!(held[0].is_held());
        held[0].hold_if(false, &slices).await;
        assert!(!held[0].is_held());
        let next = slices.take().await;
        assert!(next.is_held() && held[1].is_held());
    }
}
