//! The open sockets and streams of each session, so that they end with it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc;
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
    /// A subscription over HTTP, not a WebSocket.
    is_stream: bool,
    closer: Closer,
}

#[derive(Default)]
struct Inner {
    sockets: Mutex<HashMap<u64, Socket>>,
    next: AtomicU64,
    listener: Mutex<Option<mpsc::UnboundedSender<SocketChange>>>,
}

/// A register of the sockets of signed-in callers, each stream over HTTP among them. Cheap to clone.
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
        self.insert(&mut self.lock(), identity, false)
    }

    /// Of a subscription over HTTP. None when the session has `limit` of them.
    pub(crate) fn register_stream(&self, identity: &Identity, limit: usize) -> Option<Registration> {
        let mut sockets = self.lock();
        let is_other = |socket: &&Socket| socket.is_stream && socket.session == identity.session;
        let others = sockets.values().filter(is_other).count();
        (others < limit).then(|| self.insert(&mut sockets, identity, true))
    }

    fn insert(
        &self,
        sockets: &mut HashMap<u64, Socket>,
        identity: &Identity,
        is_stream: bool,
    ) -> Registration {
        let key = self.0.next.fetch_add(1, Ordering::Relaxed);
        let closer = Closer::default();
        let (user, connection) = (identity.user, Uuid::now_v7());
        let session = identity.session;
        sockets.insert(key, Socket { user, session, connection, is_stream, closer: closer.clone() });
        self.tell(SocketChange { user, connection, is_open: true });
        Registration { sessions: self.clone(), key, closer }
    }

    /// Every open socket with its owner.
    #[must_use]
    pub fn connections(&self) -> Vec<(Uuid, Uuid)> {
        self.lock().values().map(|socket| (socket.user, socket.connection)).collect()
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
        let removed = self.sessions.lock().remove(&self.key);
        if let Some(Socket { user, connection, .. }) = removed {
            self.sessions.tell(SocketChange { user, connection, is_open: false });
        }
    }
}
