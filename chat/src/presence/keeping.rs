//! What a node tells of its own connections.

use std::{collections::HashMap, time::Duration};

use quikapp_entities::{Timestamp, UserId};
use uuid::Uuid;

use super::Service;
use crate::{Chat, Result, live::presence::Connected};

/// How long a node remembers when somebody last did something.
const REMEMBERED: Duration = Duration::from_hours(24);

impl Service {
    /// Groups connections by their owners.
    fn group(&self, connections: &[(UserId, Uuid)], now: Timestamp) -> Vec<Connected> {
        let mut people: HashMap<UserId, Vec<Uuid>> = HashMap::with_capacity(connections.len());
        for (user, connection) in connections {
            people.entry(*user).or_default().push(*connection);
        }
        let connected = |(user, connections)| Connected {
            active_at: self.acts.get(&user).map_or(now, |at| *at),
            user,
            connections,
        };
        people.into_iter().map(connected).collect()
    }
}

impl Chat {
    /// How often [`Chat::confirm_connections`] is to be called with all connections of this node.
    #[must_use]
    pub fn presence_heartbeat(&self) -> Duration {
        self.presence.timing.heartbeat()
    }

    /// Notes that these connections opened: their owners come online, and count as having done something.
    pub async fn connections_opened(&self, connections: &[(UserId, Uuid)]) -> Result<()> {
        let now = self.env.now();
        let people = self.presence.group(connections, now);
        let users: Vec<UserId> = people.iter().map(|person| person.user).collect();
        for user in &users {
            self.presence.acts.insert(*user, now);
        }
        self.presence.seen.note(&users, now);
        // First, so that who comes back after a long time is not AWAY for a moment.
        self.hub.presence().act(&users, self.presence.timing.away_after).await?;
        self.hub.presence().confirm(&people, self.presence.timing.ttl).await
    }

    /// Notes that these connections are still open; nothing is told unless the live store had forgotten them. One round trip
    /// for each thousand people.
    pub async fn confirm_connections(&self, connections: &[(UserId, Uuid)]) -> Result<()> {
        let now = self.env.now();
        let people = self.presence.group(connections, now);
        self.presence.acts.retain(|_, at| at.plus(REMEMBERED) > now);
        self.presence.seen.note(&people.iter().map(|person| person.user).collect::<Vec<_>>(), now);
        self.hub.presence().confirm(&people, self.presence.timing.ttl).await
    }

    /// Notes that these connections closed: each counts for the grace period more.
    pub async fn connections_closed(&self, connections: &[(UserId, Uuid)]) -> Result<()> {
        let users: Vec<UserId> = connections.iter().map(|(user, _)| *user).collect();
        self.presence.seen.note(&users, self.env.now());
        self.hub.presence().release(connections, self.presence.timing.grace).await
    }

    /// Notes that somebody does something, such as a query: nobody who does is AWAY by themselves. Cheap; call it at every
    /// operation. It reaches the stores a moment later, at most once a minute for each user; the live store more often where
    /// less than three minutes make AWAY.
    pub fn note_act(&self, user: UserId) {
        let (now, grain) = (self.env.now(), self.presence.timing.act_grain());
        if self.presence.acts.get(&user).is_some_and(|at| at.plus(grain) > now) {
            return;
        }
        self.presence.acts.insert(user, now);
        self.presence.seen.note_act(user, now);
    }

    /// Writes down at once who was last seen when, before the node stops.
    pub async fn flush_last_seen(&self) -> Result<()> {
        self.presence.flush().await
    }
}
