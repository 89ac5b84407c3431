//! Who types where: each person's state expires by itself, and a sent message ends it, as going out of the channel does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use dashmap::DashMap;
use quikapp_entities::{ChannelId, MessageId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{Result, clock::Environment, live::relay::Relay};

/// How long one call of `setTyping` lasts.
pub const LASTS: Duration = Duration::from_secs(8);
pub(crate) const TOPIC: &str = "typing";
/// Changes that wait for a listener; one that is slower looks at who types.
const WAITING: usize = 64;
/// How long Redis keeps a place where nobody goes on typing.
const KEY_SECONDS: i64 = 15;

/// Where somebody types: a channel's timeline, or one of its threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The channel.
    pub channel: ChannelId,
    /// The thread's root; none for the timeline.
    pub thread: Option<MessageId>,
}

/// Somebody began, goes on, or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypingChange {
    /// Where.
    pub place: Place,
    /// Who.
    pub user: UserId,
    /// Until when; none = ended.
    pub until: Option<Timestamp>,
}

/// Who listens where, so that typing wakes nobody elsewhere.
type Listeners = Arc<DashMap<Place, broadcast::Sender<TypingChange>>>;

/// Who types, on all nodes.
pub struct Typing {
    relay: Option<Relay>,
    env: Environment,
    listeners: Listeners,
    /// What this node knows: without a relay the truth, with one a hint that spares most sends a look.
    places: Mutex<HashMap<Place, HashMap<UserId, Timestamp>>>,
}

impl Typing {
    pub(crate) fn new(relay: Option<Relay>, env: Environment) -> Self {
        Self { relay, env, listeners: Listeners::default(), places: Mutex::default() }
    }

    /// Notes that `user` types (or ended); tells until when that holds.
    pub async fn set(&self, place: Place, user: UserId, typing: bool) -> Result<Timestamp> {
        let now = self.env.now();
        let until = now.plus(LASTS);
        let change = TypingChange { place, user, until: typing.then_some(until) };
        if let Some(relay) = &self.relay {
            let key = relay.key(&key(place));
            let mut pipeline = redis::pipe();
            if typing {
                pipeline.zadd(&key, user.0.simple().to_string(), until.0).ignore();
                pipeline.expire(&key, KEY_SECONDS).ignore();
            } else {
                pipeline.zrem(&key, user.0.simple().to_string()).ignore();
            }
            relay.run::<()>(&pipeline).await?;
            if let Ok(payload) = serde_json::to_vec(&change) {
                relay.publish(TOPIC, &payload);
            }
        }
        self.note(change);
        self.deliver(change);
        Ok(if typing { until } else { now })
    }

    /// Ends the typing of whoever has just sent something, or gone; a relay that is away must not fail that.
    pub(crate) fn end(&self, place: Place, user: UserId) {
        let change = TypingChange { place, user, until: None };
        if !self.note(change) {
            return;
        }
        if let Some(relay) = &self.relay {
            if let Ok(payload) = serde_json::to_vec(&change) {
                relay.publish(TOPIC, &payload);
            }
            let relay = relay.clone();
            tokio::spawn(async move {
                let mut pipeline = redis::pipe();
                pipeline.zrem(relay.key(&key(place)), user.0.simple().to_string()).ignore();
                let _ = relay.run::<()>(&pipeline).await;
            });
        }
        self.deliver(change);
    }

    /// Ends all typing of somebody who went out of a channel, in its timeline and in its threads.
    pub(crate) fn end_all(&self, channel: ChannelId, user: UserId) {
        let of_user = |(place, users): (&Place, &HashMap<UserId, Timestamp>)| {
            (place.channel == channel && users.contains_key(&user)).then_some(*place)
        };
        let places: Vec<Place> =
            self.places.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(of_user).collect();
        for place in places {
            self.end(place, user);
        }
    }

    /// Keeps what this node knows in step; tells whether the user was typing there.
    fn note(&self, change: TypingChange) -> bool {
        let now = self.env.now();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = change.until {
            places.retain(|_, users| {
                users.retain(|_, until| *until > now);
                !users.is_empty()
            });
            places.entry(change.place).or_default().insert(change.user, until).is_some()
        } else {
            places.get_mut(&change.place).is_some_and(|users| users.remove(&change.user).is_some())
        }
    }

    /// Who types there now, with the end of each.
    pub async fn current(&self, place: Place) -> Result<HashMap<UserId, Timestamp>> {
        let now = self.env.now();
        let Some(relay) = &self.relay else {
            let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            let mut users = places.get(&place).cloned().unwrap_or_default();
            users.retain(|_, until| *until > now);
            return Ok(users);
        };
        let mut pipeline = redis::pipe();
        pipeline.zrangebyscore_withscores(relay.key(&key(place)), now.0, "+inf");
        let (members,): (Vec<(String, f64)>,) = relay.run(&pipeline).await?;
        Ok(members
            .into_iter()
            .filter_map(|(user, until)| {
                let user = uuid::Uuid::parse_str(&user).ok()?;
                #[allow(clippy::cast_possible_truncation)] // milliseconds of this age fit a double exactly
                Some((UserId(user), Timestamp(until as i64)))
            })
            .collect())
    }

    /// What changes there from now on, on any node.
    #[must_use]
    pub fn changes(&self, place: Place) -> TypingFeed {
        let sender = self.listeners.entry(place).or_insert_with(|| broadcast::channel(WAITING).0);
        let changes = sender.subscribe();
        drop(sender);
        TypingFeed { place, changes: Some(changes), listeners: Arc::clone(&self.listeners) }
    }

    fn deliver(&self, change: TypingChange) {
        if let Some(listeners) = self.listeners.get(&change.place) {
            let _ = listeners.send(change);
        }
    }

    pub(crate) fn receive(&self, payload: &[u8]) {
        if let Ok(change) = serde_json::from_slice(payload) {
            self.note(change);
            self.deliver(change);
        }
    }
}

/// The changes at one place.
pub struct TypingFeed {
    place: Place,
    /// There until it is dropped.
    changes: Option<broadcast::Receiver<TypingChange>>,
    listeners: Listeners,
}

impl TypingFeed {
    /// The next one; an error tells that some were missed.
    pub async fn next(&mut self) -> std::result::Result<TypingChange, RecvError> {
        match &mut self.changes {
            Some(changes) => changes.recv().await,
            None => Err(RecvError::Closed),
        }
    }
}

impl Drop for TypingFeed {
    fn drop(&mut self) {
        self.changes = None;
        self.listeners.remove_if(&self.place, |_, listeners| listeners.receiver_count() == 0);
    }
}

fn key(place: Place) -> String {
    match place.thread {
        None => format!("typing:{}", place.channel.0.simple()),
        Some(thread) => format!("typing:{}:{}", place.channel.0.simple(), thread.0.simple()),
    }
}
