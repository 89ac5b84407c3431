//! Who sends a request.

use std::{
    any::Any,
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use quikapp_chat::entities::Timestamp;
use uuid::Uuid;

/// Tells who holds an access token.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// The holder of `token`. Fails with `Unauthenticated` for a token that is malformed, expired or revoked, and with
    /// `Unavailable` where that could not be found out.
    async fn authenticate(&self, token: &str) -> quikapp_chat::Result<Identity>;
}

/// A signed-in caller, as far as transports need to know one.
#[derive(Clone)]
pub struct Identity {
    /// Whose sockets end when the account is suspended.
    pub user: Uuid,
    /// Whose sockets end when the session is revoked.
    pub session: Uuid,
    /// When the token ends, and sockets with it unless a newer one of the session is seen before.
    pub expires_at: Timestamp,
    viewer: Arc<dyn Any + Send + Sync>,
}

impl Identity {
    /// An identity that carries `viewer` to whoever makes the requests' contexts.
    pub fn new<V>(user: Uuid, session: Uuid, expires_at: Timestamp, viewer: V) -> Self
    where
        V: Send + Sync + 'static,
    {
        Self { user, session, expires_at, viewer: Arc::new(viewer) }
    }

    /// What [`Identity::new`] was given.
    #[must_use]
    pub fn viewer<V: 'static>(&self) -> Option<&V> {
        self.viewer.downcast_ref()
    }
}

/// How long it is until `end`.
pub(crate) fn remaining(end: Timestamp) -> Duration {
    let end = UNIX_EPOCH + Duration::from_millis(u64::try_from(end.0).unwrap_or(0));
    end.duration_since(SystemTime::now()).unwrap_or_default()
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user", &self.user)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// Where a request comes from.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Stands in every answer and log line of the request. On a WebSocket each operation has its own.
    pub request_id: String,
    /// The peer's address.
    pub ip: Option<IpAddr>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// None for an anonymous request.
    pub identity: Option<Identity>,
}

impl Caller {
    /// The signed-in user.
    pub(crate) fn user(&self) -> Option<Uuid> {
        self.identity.as_ref().map(|identity| identity.user)
    }

    /// The same caller with a new request id.
    #[must_use]
    pub fn next_request(&self) -> Self {
        Self { request_id: new_request_id(), ..self.clone() }
    }
}

/// A fresh request id.
#[must_use]
pub fn new_request_id() -> String {
    Uuid::now_v7().to_string()
}
