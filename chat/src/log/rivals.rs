//! Sharing a channel with the lanes of other nodes.
//!
//! A unique index decides who gets a tick, and nothing here is needed for that. But lanes that only race waste most of
//! their writes: who has just won knows the head and writes again at once, while the others have yet to read it. So a lane
//! that lost a tick asks the others for a turn, and from then on both listen to the channel: what the others commit is the
//! head that a lane goes on from, and after a commit of its own it waits a moment for one of theirs.

use std::time::Duration;

use rand::Rng;
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Result,
    clock::Environment,
    live::{Feed, Hub},
    log::HEAD_TRUST,
    messages::model::ChannelKey,
    store::Head,
};

/// How long others are waited for at least and at most.
const TURN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));
/// How long a listener waits that cannot read on.
const RETRY: Duration = Duration::from_millis(250);
/// How long a change is tried against other nodes before it is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often at least.
const ATTEMPTS: u32 = 20;

/// What the channel's newest change tells.
#[derive(Debug, Clone, Copy)]
struct Newest {
    head: Head,
    /// When it was the head.
    at: Instant,
}

/// The other nodes that write to a lane's channel.
pub(super) struct Rivals {
    newest: watch::Receiver<Newest>,
    /// The last tick committed here.
    own: i64,
    /// When another node's commit was last seen.
    seen: Option<Instant>,
    _listener: AbortOnDropHandle<()>,
}

impl Rivals {
    /// Listens to the channel.
    pub(super) async fn listen(hub: &Hub, key: ChannelKey, env: &Environment) -> Result<Self> {
        let feed = hub.follow(key).await?;
        let start = Newest { head: Head::default(), at: Instant::now() };
        let (sender, newest) = watch::channel(start);
        let listener = tokio::spawn(listen(feed, sender, env.clone()));
        Ok(Self { newest, own: 0, seen: None, _listener: AbortOnDropHandle::new(listener) })
    }

    /// Another node asks for a turn.
    pub(super) fn asked(&mut self) {
        self.seen = Some(Instant::now());
    }

    /// Notes a commit of this lane.
    pub(super) fn committed(&mut self, tick: i64) {
        self.own = tick;
    }

    /// The head as far as it was told, if it is behind `known` and was the head a moment ago, with that moment.
    pub(super) fn head_behind(&mut self, known: i64) -> Option<(Head, Instant)> {
        let Newest { head, at } = *self.newest.borrow_and_update();
        if head.seq > self.own {
            self.seen = Some(at);
        }
        (head.seq > known && at.elapsed() < HEAD_TRUST).then_some((head, at))
    }

    /// The head as far as it is told within a moment, if it is at `tick` or behind it.
    pub(super) async fn head_from(&mut self, tick: i64, write: Duration) -> Option<(Head, Instant)> {
        self.wait_for(tick, turn(write)).await;
        self.head_behind(tick - 1)
    }

    /// Lets the others have their turn, if they are busy and the last one was this lane's. `write` is how long a write
    /// takes.
    pub(super) async fn take_turns(&mut self, write: Duration) {
        let turn = turn(write);
        let is_busy = self.seen.is_some_and(|seen| seen.elapsed() < turn * 4);
        if self.head_behind(self.own).is_none() && is_busy {
            self.wait_for(self.own + 1, turn).await;
        }
    }

    async fn wait_for(&mut self, tick: i64, longest: Duration) {
        let told = self.newest.wait_for(|newest| newest.head.seq >= tick);
        let _ = tokio::time::timeout(longest, told).await;
    }
}

/// How long it may take until what another node writes is told here.
fn turn(write: Duration) -> Duration {
    (write * 3).clamp(TURN.0, TURN.1)
}

async fn listen(mut feed: Feed, newest: watch::Sender<Newest>, env: Environment) {
    loop {
        match feed.next().await {
            Ok(Some(told)) => {
                let message = told.message;
                // It may have been on its way for long, and its tick is only kept for so long.
                let age = u64::try_from(env.now().0 - message.changed_at.0).unwrap_or(0);
                let at = Instant::now().checked_sub(Duration::from_millis(age));
                let head = Head { seq: message.seq, visible_count: message.visible_count };
                if let Some(at) = at {
                    newest.send_replace(Newest { head, at });
                }
            }
            Ok(None) => {}
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// A change that tries to get its tick.
pub(super) struct Contest {
    begun: Instant,
    lost: u32,
}

impl Contest {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), lost: 0 }
    }

    /// Another node was faster. Tells whether to try again, after a moment if that happened several times: then several
    /// others are at it, and should not all try at once. No longer than they wait for this one in turn.
    pub(super) async fn lost(&mut self, write: Duration) -> bool {
        self.lost += 1;
        if self.lost > ATTEMPTS && self.begun.elapsed() > PATIENCE {
            return false;
        }
        if self.lost > 2 {
            let longest = write.clamp(TURN.0, TURN.1).as_micros();
            let wait = rand::rng().random_range(0..=u64::try_from(longest).unwrap_or(0));
            tokio::time::sleep(Duration::from_micros(wait)).await;
        }
        true
    }
}
