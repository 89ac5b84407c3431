//! When people were last seen, kept in the database: many people to a statement, each at most once a minute. So it is at
//! most a minute behind, and survives the loss of the live store.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use quikapp_entities::{Timestamp, UserId, users};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, Set};
use tokio::sync::Notify;

use super::{AT_ONCE, Service};
use crate::Result;

/// How far apart two notes of the same user are. A heartbeat is a minute, and clocks are not exact to the millisecond.
pub(super) const GRAIN: Duration = Duration::from_secs(59);
/// How long is gathered before it is written.
const GATHERED: Duration = Duration::from_millis(250);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Notes {
    /// To be written to the database.
    sightings: HashMap<UserId, Timestamp>,
    /// To be told to the live store.
    acts: HashSet<UserId>,
    /// What this node wrote within the last minute.
    written: HashMap<UserId, Timestamp>,
}

#[derive(Default)]
pub(super) struct Seen {
    notes: Mutex<Notes>,
    poked: Arc<Notify>,
}

impl Seen {
    // A poisoned lock guards plain maps: they are as good as before.
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn poked(&self) -> Arc<Notify> {
        Arc::clone(&self.poked)
    }

    /// Whether nothing waits to be written.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        let notes = self.lock();
        notes.sightings.is_empty() && notes.acts.is_empty()
    }

    /// Notes that people gave a sign of life.
    pub(super) fn note(&self, users: &[UserId], now: Timestamp) {
        let mut notes = self.lock();
        for user in users {
            if notes.written.get(user).is_none_or(|at| at.plus(GRAIN) <= now) {
                notes.sightings.insert(*user, now);
            }
        }
        if !notes.sightings.is_empty() {
            self.poked.notify_one();
        }
    }

    /// Notes that somebody did something, which is a sign of life too.
    pub(super) fn note_act(&self, user: UserId, now: Timestamp) {
        self.lock().acts.insert(user);
        self.note(&[user], now);
        self.poked.notify_one();
    }
}

impl Service {
    /// Writes what was noted; what cannot be written is kept.
    pub(super) async fn flush(&self) -> Result<()> {
        let (written, told) = tokio::join!(self.write_sightings(), self.tell_acts());
        written.and(told)
    }

    async fn write_sightings(&self) -> Result<()> {
        let mut sightings = std::mem::take(&mut self.seen.lock().sightings);
        // All of a second share a statement and a time.
        let mut groups: BTreeMap<i64, Vec<UserId>> = BTreeMap::new();
        for (user, at) in &sightings {
            groups.entry(at.0.div_euclid(1_000)).or_default().push(*user);
        }
        for (_, users) in groups {
            for some in users.chunks(AT_ONCE) {
                let at =
                    some.iter().filter_map(|user| sightings.get(user)).max().copied().unwrap_or_default();
                let result = self.write_seen(some, at).await;
                let mut notes = self.seen.lock();
                let is_all = match result {
                    Ok(count) => count == some.len() as u64,
                    Err(error) => {
                        for (user, at) in sightings {
                            notes.sightings.entry(user).or_insert(at);
                        }
                        return Err(error);
                    }
                };
                for user in some {
                    sightings.remove(user);
                    // Else it is not known whose minute begins now.
                    if is_all {
                        notes.written.insert(*user, at);
                    }
                }
            }
        }
        let now = self.env.now();
        self.seen.lock().written.retain(|_, at| at.plus(GRAIN) > now);
        Ok(())
    }

    /// One statement; gives for how many it was due. Another node may have written the others within the minute.
    async fn write_seen(&self, users: &[UserId], at: Timestamp) -> Result<u64> {
        let mut users = users.to_vec();
        // In one order on all nodes, so that two of them do not wait for each other.
        users.sort_unstable();
        let users: Arc<[UserId]> = users.into();
        let grain = i64::try_from(GRAIN.as_millis()).unwrap_or(i64::MAX);
        let written = self
            .db
            .write(move |tx| {
                let users = Arc::clone(&users);
                Box::pin(async move {
                    let is_due = Condition::any()
                        .add(users::Column::LastSeenAt.is_null())
                        .add(users::Column::LastSeenAt.lte(Timestamp(at.0.saturating_sub(grain))));
                    let result = users::Entity::update_many()
                        .set(users::ActiveModel { last_seen_at: Set(Some(at)), ..Default::default() })
                        .filter(users::Column::Id.is_in(users.iter().copied()))
                        .filter(is_due)
                        .exec(tx)
                        .await?;
                    Ok(result.rows_affected)
                })
            })
            .await?;
        Ok(written)
    }

    async fn tell_acts(&self) -> Result<()> {
        let acts: Vec<UserId> = std::mem::take(&mut self.seen.lock().acts).into_iter().collect();
        if acts.is_empty() {
            return Ok(());
        }
        let result = self.hub.presence().act(&acts, self.timing.away_after).await;
        if result.is_err() {
            self.seen.lock().acts.extend(acts);
        }
        result
    }
}

/// Writes what is noted, until the service is gone.
pub(super) async fn run(service: Weak<Service>, poked: Arc<Notify>) {
    loop {
        poked.notified().await;
        tokio::time::sleep(GATHERED).await;
        loop {
            let Some(service) = service.upgrade() else { return };
            let Err(error) = service.flush().await else { break };
            drop(service);
            tracing::debug!(%error, "who was seen when is written late");
            tokio::time::sleep(RETRY).await;
        }
    }
}
