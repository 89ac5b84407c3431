//! Connections of the only node, in memory.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quikapp_entities::{Timestamp, UserId};
use uuid::Uuid;

use super::{Connected, KEPT, Live};

#[derive(Debug, Clone, Default)]
struct Record {
    /// Connection and its end.
    connections: HashMap<Uuid, Timestamp>,
    active_at: Option<Timestamp>,
}

impl Record {
    fn until(&self, now: Timestamp) -> Option<Timestamp> {
        self.connections.values().copied().filter(|until| *until > now).max()
    }
}

#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<UserId, Record>>);

impl Memory {
    // A poisoned lock guards plain maps: they are as good as before.
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn confirm(&self, people: &[Connected], now: Timestamp, lasts: Duration) -> Vec<UserId> {
        let mut records = self.lock();
        let mut appeared = Vec::new();
        for Connected { user, connections, active_at } in people {
            let record = records.entry(*user).or_default();
            if record.until(now).is_none() {
                appeared.push(*user);
            }
            record.connections.retain(|_, until| *until > now);
            record.connections.extend(connections.iter().map(|connection| (*connection, now.plus(lasts))));
            record.active_at.get_or_insert(*active_at);
        }
        appeared
    }

    pub(super) fn release(&self, closed: &[(UserId, Uuid)], now: Timestamp, until: Timestamp) -> Vec<UserId> {
        let mut records = self.lock();
        let mut changed = Vec::new();
        for (user, connection) in closed {
            let record = records.entry(*user).or_default();
            let before = record.until(now);
            record.connections.retain(|_, until| *until > now);
            record.connections.insert(*connection, until);
            if record.until(now) != before {
                changed.push(*user);
            }
        }
        let is_of_use = |record: &Record| {
            record.until(now).is_some() || record.active_at.is_some_and(|active| active.plus(KEPT) > now)
        };
        records.retain(|_, record| is_of_use(record));
        changed
    }

    /// When each did something before.
    pub(super) fn act(&self, users: &[UserId], now: Timestamp) -> Vec<Option<Timestamp>> {
        let mut records = self.lock();
        users.iter().map(|user| records.entry(*user).or_default().active_at.replace(now)).collect()
    }

    pub(super) fn of(&self, users: &[UserId], now: Timestamp) -> Vec<Live> {
        let records = self.lock();
        let live = |record: &Record| Live { until: record.until(now), active_at: record.active_at };
        users.iter().map(|user| records.get(user).map(live).unwrap_or_default()).collect()
    }
}
