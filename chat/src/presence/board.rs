//! Who watches whom on this node. One task looks at those who may have changed, all together and at most twice a second,
//! and puts what it finds into the watchers' mailboxes: a change costs the node one look, however many watch.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use quikapp_entities::{Timestamp, UserId};
use tokio::{
    sync::{
        Notify,
        broadcast::{Receiver, error::RecvError},
    },
    time::Instant,
};

use super::{AT_ONCE, Presence, Service};

/// Changes within this time come together.
const COALESCE: Duration = Duration::from_millis(500);
/// How long after a failure is looked again.
const RETRY: Duration = Duration::from_secs(1);

/// Changes for one watcher: the latest of each person, however slow it is to take them.
#[derive(Default)]
pub(super) struct Mailbox {
    pub(super) id: u64,
    changed: Mutex<HashMap<UserId, Presence>>,
    ready: Notify,
}

impl Mailbox {
    pub(super) fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }

    /// Waits until something is in it.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// Empties it.
    pub(super) fn take(&self) -> Vec<Presence> {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *changed).into_values().collect()
    }

    fn put(&self, presences: Vec<Presence>) {
        let presences = presences.into_iter().map(|presence| (presence.user, presence));
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).extend(presences);
        self.ready.notify_one();
    }
}

#[derive(Default)]
struct Person {
    watchers: HashMap<u64, Arc<Mailbox>>,
    /// When to look at them even if nobody tells of a change.
    due: Option<Timestamp>,
}

#[derive(Default)]
struct Watched {
    people: HashMap<UserId, Person>,
    due: BTreeSet<(Timestamp, UserId)>,
}

impl Watched {
    fn set_due(&mut self, user: UserId, at: Option<Timestamp>) {
        let Some(person) = self.people.get_mut(&user) else { return };
        if let Some(before) = std::mem::replace(&mut person.due, at) {
            self.due.remove(&(before, user));
        }
        if let Some(at) = at {
            self.due.insert((at, user));
        }
    }
}

#[derive(Default)]
pub(super) struct Board {
    watched: Mutex<Watched>,
    poked: Arc<Notify>,
}

impl Board {
    // A poisoned lock guards plain maps: they are as good as before.
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn poked(&self) -> Arc<Notify> {
        Arc::clone(&self.poked)
    }

    /// How many people are watched, and of how many the time is known when they change by themselves.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let watched = self.lock();
        (watched.people.len(), watched.due.len())
    }

    pub(super) fn watch(&self, users: &[UserId], mailbox: &Arc<Mailbox>) {
        let mut watched = self.lock();
        for user in users {
            let person = watched.people.entry(*user).or_default();
            person.watchers.insert(mailbox.id, Arc::clone(mailbox));
        }
    }

    pub(super) fn unwatch<'u>(&self, users: impl Iterator<Item = &'u UserId>, id: u64) {
        let mut watched = self.lock();
        for user in users {
            let Some(person) = watched.people.get_mut(user) else { continue };
            person.watchers.remove(&id);
            if person.watchers.is_empty() {
                watched.set_due(*user, None);
                watched.people.remove(user);
            }
        }
    }

    /// Looks at these people when their presence changes by itself, or before if that is set.
    pub(super) fn expect(&self, presences: &[Presence]) {
        let mut watched = self.lock();
        for presence in presences {
            let due = watched.people.get(&presence.user).and_then(|person| person.due);
            let due = due.into_iter().chain(presence.changes_at).min();
            watched.set_due(presence.user, due);
        }
        self.poked.notify_one();
    }

    fn deliver(&self, presences: &[Presence]) {
        // All at once into each mailbox, so that they are told together.
        let mut parcels: HashMap<u64, (Arc<Mailbox>, Vec<Presence>)> = HashMap::new();
        let mut watched = self.lock();
        for presence in presences {
            watched.set_due(presence.user, presence.changes_at);
            let Some(person) = watched.people.get(&presence.user) else { continue };
            for (id, mailbox) in &person.watchers {
                let parcel = parcels.entry(*id).or_insert_with(|| (Arc::clone(mailbox), Vec::new()));
                parcel.1.push(*presence);
            }
        }
        drop(watched);
        for (mailbox, presences) in parcels.into_values() {
            mailbox.put(presences);
        }
    }

    /// The change, as far as it concerns who is watched.
    fn mark(&self, change: &Result<Option<UserId>, RecvError>, touched: &mut HashSet<UserId>) {
        let watched = self.lock();
        match change {
            Ok(Some(user)) => touched.extend(watched.people.contains_key(user).then_some(*user)),
            Ok(None) | Err(_) => touched.extend(watched.people.keys()),
        }
    }

    /// Those whose time has come, and how long it is until the next one's.
    fn due(&self, now: Timestamp, touched: &mut HashSet<UserId>) -> Option<Duration> {
        let mut watched = self.lock();
        while let Some((at, user)) = watched.due.first().copied() {
            if at > now {
                return u64::try_from(at.0 - now.0).ok().map(|wait| Duration::from_millis(wait + 1));
            }
            watched.set_due(user, None);
            touched.insert(user);
        }
        None
    }
}

/// Serves the board, until the service is gone.
pub(super) async fn run(service: Weak<Service>, mut changes: Receiver<Option<UserId>>, poked: Arc<Notify>) {
    let mut touched = HashSet::new();
    loop {
        let Some(board) = service.upgrade() else { return };
        let wait = board.board.due(board.env.now(), &mut touched);
        drop(board);
        if touched.is_empty() {
            tokio::select! {
                change = changes.recv() => {
                    let Some(service) = service.upgrade() else { return };
                    service.board.mark(&change, &mut touched);
                }
                () = poked.notified() => {}
                () = sleep(wait) => {}
            }
            continue;
        }
        let until = Instant::now() + COALESCE;
        while let Ok(change) = tokio::time::timeout_at(until, changes.recv()).await {
            let Some(service) = service.upgrade() else { return };
            service.board.mark(&change, &mut touched);
        }
        let Some(service) = service.upgrade() else { return };
        service.board.due(service.env.now(), &mut touched);
        let users: Vec<UserId> = touched.drain().collect();
        let mut found = Vec::with_capacity(users.len());
        for some in users.chunks(AT_ONCE) {
            match service.look(None, some).await {
                Ok(presences) => found.extend(presences),
                Err(error) => {
                    tracing::debug!(%error, "changes of presence are late");
                    touched.extend(some);
                }
            }
        }
        service.board.deliver(&found);
        drop(service);
        if !touched.is_empty() {
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
