//! Many subscribers of the same messages, and who got what.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinHandle;

use crate::{
    failure::Result,
    marker::{Marker, now},
    report::Account,
    socket::Socket,
};

/// Sockets that are opened at a time.
const AT_ONCE: usize = 64;
/// How long the last messages of a round are waited for.
const PATIENCE: Duration = Duration::from_mins(2);

/// What one subscriber got of the messages that are numbered from `first` on.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    first: u64,
    seen: Vec<bool>,
    other: u64,
    repeated: u64,
    /// When each was sent and how long it took to get here, in microseconds.
    deliveries: Vec<(u64, u32)>,
}

impl Receipts {
    /// Expects messages that are numbered from `first` on.
    pub(crate) fn from(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Notes one; whether it is new.
    pub(crate) fn note(&mut self, marker: Marker) -> bool {
        let Some(index) = marker.number.checked_sub(self.first).map(|index| index as usize) else {
            self.other += 1;
            return false;
        };
        if self.seen.len() <= index {
            self.seen.resize(index + 1, false);
        }
        if std::mem::replace(&mut self.seen[index], true) {
            self.repeated += 1;
            return false;
        }
        self.deliveries.push((marker.sent, now().saturating_sub(marker.sent) as u32));
        true
    }

    /// How it stands if `expected` were sent. What was not asked for counts as repeated.
    pub(crate) fn account(&self, expected: u64) -> Account {
        let seen = self.seen.iter().take(expected as usize).filter(|seen| **seen).count() as u64;
        let beyond = self.seen.iter().skip(expected as usize).filter(|seen| **seen).count() as u64;
        Account { expected, lost: expected - seen, repeated: self.repeated + self.other + beyond }
    }
}

/// Subscribers that read for as long as this lives.
pub(crate) struct Crowd {
    members: Vec<Arc<Mutex<Receipts>>>,
    received: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Crowd {
    /// Opens so many sockets with `open` and reads them.
    pub(crate) async fn open(count: usize, open: impl AsyncFn(usize) -> Result<Socket>) -> Result<Self> {
        let received = Arc::new(AtomicU64::new(0));
        let mut crowd = Self { members: Vec::new(), received: Arc::clone(&received), tasks: Vec::new() };
        let mut sockets = pin!(stream::iter(0..count).map(|index| open(index)).buffered(AT_ONCE));
        // Each is read from its opening on, or pings would stay unanswered until the last is open.
        while let Some(mut socket) = sockets.try_next().await? {
            let (member, received) = (Arc::new(Mutex::new(Receipts::default())), Arc::clone(&received));
            crowd.members.push(Arc::clone(&member));
            crowd.tasks.push(tokio::spawn(async move {
                loop {
                    match socket.next().await {
                        Ok(frame) => {
                            if let Some((marker, _)) = Marker::find(frame.as_bytes())
                                && lock(&member).note(marker)
                            {
                                received.fetch_add(1, Relaxed);
                            }
                        }
                        // What it misses from here on shows as lost.
                        Err(failure) => return eprintln!("a subscriber was cut off: {failure}"),
                    }
                }
            }));
        }
        Ok(crowd)
    }

    /// Forgets what was, and expects messages from `first` on.
    pub(crate) fn expect(&self, first: u64) {
        self.received.store(0, Relaxed);
        for member in &self.members {
            *lock(member) = Receipts::from(first);
        }
    }

    /// Waits until everybody has got `count`, or it takes too long.
    pub(crate) async fn wait(&self, count: u64) {
        let all = count * self.members.len() as u64;
        let since = Instant::now();
        while self.received.load(Relaxed) < all && since.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Who got what of `count` messages.
    pub(crate) fn account(&self, count: u64) -> Account {
        let mut account = Account::default();
        for member in &self.members {
            account += lock(member).account(count);
        }
        account
    }

    /// How long the deliveries of messages took that were sent from `from` to `to`, in microseconds since 1970.
    pub(crate) fn latencies(&self, from: u64, to: u64) -> Vec<u32> {
        let within = |receipts: &Receipts| {
            let deliveries = receipts.deliveries.iter().filter(|(sent, _)| (from..=to).contains(sent));
            deliveries.map(|(_, latency)| *latency).collect::<Vec<_>>()
        };
        self.members.iter().flat_map(|member| within(&lock(member))).collect()
    }
}

fn lock(member: &Mutex<Receipts>) -> MutexGuard<'_, Receipts> {
    member.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_repeated_messages_are_told_apart() {
        let mut receipts = Receipts::from(10);
        let mut note = |number| receipts.note(Marker { number, sent: 0 });
        assert!(note(10));
        assert!(note(12));
        assert!(!note(12));
        assert_eq!(receipts.account(4), Account { expected: 4, lost: 2, repeated: 1 });
        assert_eq!(receipts.account(2), Account { expected: 2, lost: 1, repeated: 2 });
        assert!(!receipts.note(Marker { number: 9, sent: 0 }));
        assert_eq!(receipts.account(3), Account { expected: 3, lost: 1, repeated: 2 });
    }
}
