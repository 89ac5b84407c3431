//! Who is online, over all connections on all nodes. A connection that ends cleanly leaves a grace of 30 s; one that dies
//! with its node is forgotten after five minutes.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use quikapp_entities::{Timestamp, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::{Result, clock::Environment, live::relay::Relay};

/// How long a connection counts without a sign of life.
pub const TTL: Duration = Duration::from_mins(5);
/// How long somebody stays online after the last connection closed.
pub const GRACE: Duration = Duration::from_secs(30);
/// How often a node confirms its connections.
pub const HEARTBEAT: Duration = Duration::from_mins(1);
pub(crate) const TOPIC: &str = "presence";
/// How long a user's chosen status and last sight are kept in Redis.
const KEPT_SECONDS: i64 = 30 * 24 * 3600;

/// How somebody is to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceStatus {
    /// Has an open connection.
    Online,
    /// Has one, and said to be away.
    Away,
    /// Has one, and does not want to be disturbed.
    Dnd,
    /// Has none.
    Offline,
}

/// Somebody's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Whose.
    pub user: UserId,
    /// How.
    pub status: PresenceStatus,
    /// The last sign of life known to the live store.
    pub last_seen_at: Option<Timestamp>,
    /// When the status ends by itself unless a connection is confirmed.
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default)]
struct Record {
    /// Connection and its end.
    connections: HashMap<Uuid, Timestamp>,
    chosen: Option<PresenceStatus>,
    last_seen_at: Option<Timestamp>,
}

/// Everybody's presence, on all nodes.
pub struct Presences {
    relay: Option<Relay>,
    env: Environment,
    changes: broadcast::Sender<Option<UserId>>,
    /// Without a relay: the truth.
    records: Mutex<HashMap<UserId, Record>>,
}

impl Presences {
    pub(crate) fn new(relay: Option<Relay>, env: Environment) -> Self {
        Self { relay, env, changes: broadcast::channel(4_096).0, records: Mutex::default() }
    }

    /// Notes that a connection of `user` is open, now and for [`TTL`]. Call it again every [`HEARTBEAT`].
    pub async fn connected(&self, user: UserId, connection: Uuid) -> Result<()> {
        self.touch(user, connection, TTL).await
    }

    /// Notes that a connection closed: it counts for [`GRACE`] more.
    pub async fn disconnected(&self, user: UserId, connection: Uuid) -> Result<()> {
        self.touch(user, connection, GRACE).await
    }

    async fn touch(&self, user: UserId, connection: Uuid, lasts: Duration) -> Result<()> {
        let now = self.env.now();
        let until = now.plus(lasts);
        if let Some(relay) = &self.relay {
            let (connections, state) = keys(relay, user);
            let mut pipeline = redis::pipe();
            pipeline.zadd(&connections, connection.simple().to_string(), until.0).ignore();
            pipeline.zrembyscore(&connections, "-inf", now.0).ignore();
            pipeline.pexpire(&connections, i64::try_from(TTL.as_millis()).unwrap_or(i64::MAX)).ignore();
            pipeline.hset(&state, "last_seen", now.0).ignore();
            pipeline.expire(&state, KEPT_SECONDS).ignore();
            relay.run::<()>(&pipeline).await?;
        } else {
            let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            let record = records.entry(user).or_default();
            record.connections.retain(|_, until| *until > now);
            record.connections.insert(connection, until);
            record.last_seen_at = Some(now);
        }
        self.changed(user);
        Ok(())
    }

    /// Sets what `user` is while connected; `Online` and `Offline` take the choice back.
    pub async fn choose(&self, user: UserId, status: PresenceStatus) -> Result<()> {
        let chosen = matches!(status, PresenceStatus::Away | PresenceStatus::Dnd).then_some(status);
        if let Some(relay) = &self.relay {
            let (_, state) = keys(relay, user);
            let mut pipeline = redis::pipe();
            match chosen {
                Some(PresenceStatus::Away) => pipeline.hset(&state, "chosen", "away").ignore(),
                Some(_) => pipeline.hset(&state, "chosen", "dnd").ignore(),
                None => pipeline.hdel(&state, "chosen").ignore(),
            };
            pipeline.expire(&state, KEPT_SECONDS).ignore();
            relay.run::<()>(&pipeline).await?;
        } else {
            let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            records.entry(user).or_default().chosen = chosen;
        }
        self.changed(user);
        Ok(())
    }

    /// The presence of many at once, in the order asked for.
    pub async fn of(&self, users: &[UserId]) -> Result<Vec<Presence>> {
        let now = self.env.now();
        let Some(relay) = &self.relay else {
            let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(users
                .iter()
                .map(|user| {
                    let record = records.get(user).cloned().unwrap_or_default();
                    let end = record.connections.into_values().filter(|until| *until > now).max();
                    presence(*user, end, record.chosen, record.last_seen_at)
                })
                .collect());
        };
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for user in users {
            let (connections, state) = keys(relay, *user);
            pipeline.zrevrange_withscores(connections, 0, 0);
            pipeline.hmget(state, &["chosen", "last_seen"]);
        }
        let values: Vec<redis::Value> = relay.run(&pipeline).await?;
        Ok(users
            .iter()
            .zip(values.chunks(2))
            .map(|(user, pair)| {
                let end: Vec<(String, f64)> = redis::from_redis_value_ref(&pair[0]).unwrap_or_default();
                let (chosen, seen): (Option<String>, Option<i64>) =
                    redis::from_redis_value_ref(&pair[1]).unwrap_or_default();
                #[allow(clippy::cast_possible_truncation)] // milliseconds of this age fit a double exactly
                let end = end.first().map(|(_, until)| Timestamp(*until as i64)).filter(|until| *until > now);
                let chosen = chosen.and_then(|chosen| match chosen.as_str() {
                    "away" => Some(PresenceStatus::Away),
                    "dnd" => Some(PresenceStatus::Dnd),
                    _ => None,
                });
                presence(*user, end, chosen, seen.map(Timestamp))
            })
            .collect())
    }

    /// Whose presence may have changed, from now on, anywhere; none = anybody's.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Option<UserId>> {
        self.changes.subscribe()
    }

    fn changed(&self, user: UserId) {
        let _ = self.changes.send(Some(user));
        if let Some(relay) = &self.relay {
            relay.publish(TOPIC, user.0.as_bytes());
        }
    }

    pub(crate) fn receive(&self, payload: &[u8]) {
        if let Ok(user) = Uuid::from_slice(payload) {
            let _ = self.changes.send(Some(UserId(user)));
        }
    }

    pub(crate) fn check_all(&self) {
        let _ = self.changes.send(None);
    }
}

fn presence(
    user: UserId,
    end: Option<Timestamp>,
    chosen: Option<PresenceStatus>,
    last_seen_at: Option<Timestamp>,
) -> Presence {
    let status =
        if end.is_some() { chosen.unwrap_or(PresenceStatus::Online) } else { PresenceStatus::Offline };
    Presence { user, status, last_seen_at, expires_at: end }
}

fn keys(relay: &Relay, user: UserId) -> (String, String) {
    let user = user.0.simple();
    (relay.key(&format!("presence:{user}:sessions")), relay.key(&format!("presence:{user}")))
}
