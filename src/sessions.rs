//! The open sockets of each session, so that they end with it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

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

struct Socket {
    user: Uuid,
    session: Uuid,
    closer: Closer,
}

#[derive(Default)]
struct Inner {
    sockets: Mutex<HashMap<u64, Socket>>,
    next: AtomicU64,
}

/// A register of the sockets of signed-in callers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Inner>);

impl Sessions {
    /// Closes every socket of a session that was revoked.
    pub fn close_session(&self, session: Uuid) {
        self.close_where(Close::SESSION_ENDED, |socket| socket.session == session);
    }

    /// Closes every socket of an account that was suspended or deleted.
    pub fn close_user(&self, user: Uuid) {
        self.close_where(Close::SESSION_ENDED, |socket| socket.user == user);
    }

    /// The sessions that have sockets open, each once; to be checked now and then against the store.
    #[must_use]
    pub fn sessions(&self) -> Vec<Uuid> {
        let mut sessions: Vec<_> = self.lock().values().map(|socket| socket.session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        sessions
    }

    pub(crate) fn register(&self, identity: &Identity) -> Registration {
        let key = self.0.next.fetch_add(1, Ordering::Relaxed);
        let closer = Closer::default();
        let socket = Socket { user: identity.user, session: identity.session, closer: closer.clone() };
        self.lock().insert(key, socket);
        Registration { sessions: self.clone(), key, closer }
    }

    fn close_where(&self, reason: Close, concerns: impl Fn(&Socket) -> bool) {
        for socket in self.lock().values().filter(|socket| concerns(socket)) {
            socket.closer.close(reason);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Socket>> {
        self.0.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a socket registered while it is held.
pub(crate) struct Registration {
    sessions: Sessions,
    key: u64,
    closer: Closer,
}

impl Registration {
    /// Waits until the socket has to be closed.
    pub(crate) async fn closed(&self) -> Close {
        self.closer.signal.cancelled().await;
        self.closer.reason.get().copied().unwrap_or(Close::SESSION_ENDED)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.key);
    }
}
