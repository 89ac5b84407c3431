//! Who is connected, over all connections on all nodes, and when people last did something. What it means is in
//! [`crate::presence`].

mod memory;
mod remote;

use std::time::Duration;

use quikapp_entities::{Timestamp, UserId};
use tokio::sync::broadcast;
use uuid::Uuid;

use self::memory::Memory;
use crate::{Result, clock::Environment, live::relay::Relay};

pub(crate) const TOPIC: &str = "presence";
/// Changes that wait for whoever listens; who is slower looks at everybody.
const WAITING: usize = 4_096;
/// How long it is kept when somebody last did something.
const KEPT: Duration = Duration::from_hours(24);
/// Users of one round trip.
const AT_ONCE: usize = 1_000;

/// What the live store knows of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Live {
    /// When the last connection ends unless it is confirmed; none without one.
    pub(crate) until: Option<Timestamp>,
    /// When they last did something; none if that is not known.
    pub(crate) active_at: Option<Timestamp>,
}

/// Somebody's connections on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connected {
    /// Whose.
    pub(crate) user: UserId,
    /// Which.
    pub(crate) connections: Vec<Uuid>,
    /// When they last did something, as far as this node knows.
    pub(crate) active_at: Timestamp,
}

/// Everybody's connections. With a relay they are in Redis, for each user a sorted set of connections by their ends; and
/// for all together one of users by the latest of these, and one of users by what they last did. Else they are in memory.
pub(crate) struct Presences {
    relay: Option<Relay>,
    env: Environment,
    changes: broadcast::Sender<Option<UserId>>,
    /// Without a relay: the truth.
    memory: Memory,
}

impl Presences {
    pub(crate) fn new(relay: Option<Relay>, env: Environment) -> Self {
        Self { relay, env, changes: broadcast::channel(WAITING).0, memory: Memory::default() }
    }

    /// Notes that these connections are open, now and for `lasts`, and tells of those who had none before. One round trip
    /// for each [`AT_ONCE`] users.
    pub(crate) async fn confirm(&self, people: &[Connected], lasts: Duration) -> Result<()> {
        let now = self.env.now();
        for some in people.chunks(AT_ONCE) {
            let appeared = match &self.relay {
                Some(relay) => remote::confirm(relay, some, now, lasts).await?,
                None => self.memory.confirm(some, now, lasts),
            };
            self.tell(&appeared);
        }
        Ok(())
    }

    /// Notes that connections closed: each counts for `grace` more. Tells of those whose last end came nearer by that.
    pub(crate) async fn release(&self, closed: &[(UserId, Uuid)], grace: Duration) -> Result<()> {
        let now = self.env.now();
        for some in closed.chunks(AT_ONCE) {
            let changed = match &self.relay {
                Some(relay) => remote::release(relay, some, now, now.plus(grace)).await?,
                None => self.memory.release(some, now, now.plus(grace)),
            };
            self.tell(&changed);
        }
        Ok(())
    }

    /// Notes that these people do something now. Tells of those who had done nothing for `idle`.
    pub(crate) async fn act(&self, users: &[UserId], idle: Option<Duration>) -> Result<()> {
        let now = self.env.now();
        for some in users.chunks(AT_ONCE) {
            let before = match &self.relay {
                Some(relay) => remote::act(relay, some, now).await?,
                None => self.memory.act(some, now),
            };
            let awoken =
                |(user, before): (&UserId, Option<Timestamp>)| (before?.plus(idle?) <= now).then_some(*user);
            self.tell(&some.iter().zip(before).filter_map(awoken).collect::<Vec<_>>());
        }
        Ok(())
    }

    /// What is known of many at once, in the order asked for.
    pub(crate) async fn of(&self, users: &[UserId]) -> Result<Vec<Live>> {
        let now = self.env.now();
        let mut all = Vec::with_capacity(users.len());
        for some in users.chunks(AT_ONCE) {
            all.extend(match &self.relay {
                Some(relay) => remote::of(relay, some, now).await?,
                None => self.memory.of(some, now),
            });
        }
        Ok(all)
    }

    /// Which of many have a connection, in the order asked for. One round trip.
    pub(crate) async fn are_connected(&self, users: &[UserId]) -> Result<Vec<bool>> {
        let now = self.env.now();
        match &self.relay {
            Some(relay) => remote::are_connected(relay, users, now).await,
            None => Ok(self.memory.of(users, now).into_iter().map(|live| live.until.is_some()).collect()),
        }
    }

    /// Whose presence may have changed, from now on, anywhere; none = anybody's.
    pub(crate) fn changes(&self) -> broadcast::Receiver<Option<UserId>> {
        self.changes.subscribe()
    }

    /// Tells all nodes that the presence of these people may have changed.
    pub(crate) fn tell(&self, users: &[UserId]) {
        for user in users {
            let _ = self.changes.send(Some(*user));
        }
        if let Some(relay) = &self.relay {
            for some in users.chunks(AT_ONCE) {
                let payload: Vec<u8> = some.iter().flat_map(|user| *user.0.as_bytes()).collect();
                relay.publish(TOPIC, &payload);
            }
        }
    }

    pub(crate) fn receive(&self, payload: &[u8]) {
        for user in payload.chunks_exact(16).filter_map(|bytes| Uuid::from_slice(bytes).ok()) {
            let _ = self.changes.send(Some(UserId(user)));
        }
    }

    pub(crate) fn check_all(&self) {
        let _ = self.changes.send(None);
    }
}

#[cfg(test)]
mod tests;
