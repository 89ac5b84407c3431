//! The open sockets and streams of each session, so that they end with it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use quikapp_chat::entities::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{identity::Identity, ws::Close};

/// Why and when a socket is to be closed from outside.
#[derive(Debug, Clone, Default)]
struct Closer {
    reason: Arc<OnceLock<Close>>,
    signal: CancellationToken,
}

impl Closer {
    fn close(&self, reason: Close) {
        // The first reason stands.
        let _ = self.reason.set(reason);
        self.signal.cancel();
    }
}

/// A signed-in caller's socket opened or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketChange {
    /// Whose.
    pub user: Uuid,
    /// Which one.
    pub connection: Uuid,
    /// Whether it opened.
    pub is_open: bool,
}

struct Socket {
    user: Uuid,
    session: Uuid,
    connection: Uuid,
    closer: Closer,
}

/// A session with open sockets.
struct Session {
    sockets: usize,
    /// Until when its newest known access token is good.
    end: watch::Sender<Timestamp>,
}

impl Session {
    fn lengthen(&self, end: Timestamp) {
        self.end.send_if_modified(|known| {
            let is_later = end > *known;
            *known = end.max(*known);
            is_later
        });
    }
}

#[derive(Default)]
struct Register {
    sockets: HashMap<u64, Socket>,
    sessions: HashMap<Uuid, Session>,
    /// Sockets of each user.
    users: HashMap<Uuid, usize>,
    next: u64,
}

#[derive(Default)]
struct Inner {
    register: Mutex<Register>,
    listener: Mutex<Option<mpsc::UnboundedSender<SocketChange>>>,
}

/// A register of the sockets of signed-in callers, each stream over HTTP among them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Inner>);

impl Sessions {
    /// Closes every socket of a session that was revoked.
    pub fn close_session(&self, session: Uuid) {
        self.close_where(&Close::SESSION_ENDED, |socket| socket.session == session);
    }

    /// Closes every socket of an account that was suspended or deleted.
    pub fn close_user(&self, user: Uuid) {
        self.close_where(&Close::SESSION_ENDED, |socket| socket.user == user);
    }

    /// Lets the sockets of `session` go on until `end`: an access token of it was seen that is good for so long. An earlier end
    /// than they have changes nothing.
    pub fn renew(&self, session: Uuid, end: Timestamp) {
        if let Some(session) = self.lock().sessions.get(&session) {
            session.lengthen(end);
        }
    }

    /// The sessions that have sockets open, each once; to be checked now and then against the store.
    #[must_use]
    pub fn sessions(&self) -> Vec<Uuid> {
        self.lock().sessions.keys().copied().collect()
    }

    /// Counts a socket or stream in. None when its user has `limit` of them on this node.
    pub(crate) fn register(&self, identity: &Identity, limit: usize) -> Option<Registration> {
        let (user, session, connection) = (identity.user, identity.session, Uuid::now_v7());
        let closer = Closer::default();
        let mut register = self.lock();
        let of_user = register.users.entry(user).or_default();
        if *of_user >= limit {
            return None;
        }
        *of_user += 1;
        let entry = register
            .sessions
            .entry(session)
            .or_insert_with(|| Session { sockets: 0, end: watch::Sender::new(identity.expires_at) });
        entry.sockets += 1;
        entry.lengthen(identity.expires_at);
        let end = entry.end.subscribe();
        let key = register.next;
        register.next += 1;
        register.sockets.insert(key, Socket { user, session, connection, closer: closer.clone() });
        self.tell(SocketChange { user, connection, is_open: true });
        Some(Registration { sessions: self.clone(), key, closer, end })
    }

    /// Every open socket with its owner.
    #[must_use]
    pub fn connections(&self) -> Vec<(Uuid, Uuid)> {
        self.lock().sockets.values().map(|socket| (socket.user, socket.connection)).collect()
    }

    /// Sockets that open and close from now on, for one listener.
    #[must_use]
    pub fn changes(&self) -> mpsc::UnboundedReceiver<SocketChange> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.0.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    fn tell(&self, change: SocketChange) {
        if let Some(listener) = self.0.listener.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let _ = listener.send(change);
        }
    }

    fn close_where(&self, reason: &Close, concerns: impl Fn(&Socket) -> bool) {
        for socket in self.lock().sockets.values().filter(|socket| concerns(socket)) {
            socket.closer.close(reason.clone());
        }
    }

    fn remove(&self, key: u64) {
        let mut register = self.lock();
        let Some(Socket { user, session, connection, .. }) = register.sockets.remove(&key) else { return };
        if let Entry::Occupied(mut count) = register.users.entry(user) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        if let Entry::Occupied(mut entry) = register.sessions.entry(session) {
            entry.get_mut().sockets -= 1;
            if entry.get().sockets == 0 {
                entry.remove();
            }
        }
        self.tell(SocketChange { user, connection, is_open: false });
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        self.0.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a socket registered while it is held.
pub(crate) struct Registration {
    sessions: Sessions,
    key: u64,
    closer: Closer,
    end: watch::Receiver<Timestamp>,
}

impl Registration {
    /// Until when the session's newest access token is good, as it changes.
    pub(crate) fn end(&self) -> watch::Receiver<Timestamp> {
        self.end.clone()
    }

    /// Waits until the socket has to be closed.
    pub(crate) async fn closed(&self) -> Close {
        self.closer.signal.cancelled().await;
        self.closer.reason.get().cloned().unwrap_or(Close::SESSION_ENDED)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.sessions.remove(self.key);
    }
}
