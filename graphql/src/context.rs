//! What every resolver may ask its context for.

use std::sync::{Arc, PoisonError, RwLock};

use async_graphql::{Context, Request};
use quikapp_chat::{Chat, Error, access::Viewer};

use crate::{error::Result, loaders::Loaders};

/// Who sends a request, as the transport saw it.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The address.
    pub ip: Option<std::net::IpAddr>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
}

/// Whom a request acts for. Signing in changes it in the middle of a request, so that the payload can be read.
#[derive(Clone, Default)]
pub(crate) struct Identity(Arc<RwLock<Option<Viewer>>>);

impl Identity {
    pub(crate) fn new(viewer: Option<Viewer>) -> Self {
        Self(Arc::new(RwLock::new(viewer)))
    }

    pub(crate) fn get(&self) -> Option<Viewer> {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, viewer: Viewer) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(viewer);
    }
}

/// Gives a request all that resolvers ask for. For the transports, on every request.
#[must_use]
pub fn prepare(request: Request, chat: &Chat, viewer: Option<Viewer>, client: Client) -> Request {
    let identity = Identity::new(viewer);
    request.data(Loaders::new(chat, &identity)).data(identity).data(client)
}

/// Shortcuts into the context.
pub(crate) trait ContextExt {
    /// The domain.
    fn chat(&self) -> Result<&Chat>;
    /// Whom the request acts for.
    fn identity(&self) -> Result<&Identity>;
    /// Who asks; UNAUTHENTICATED for nobody.
    fn viewer(&self) -> Result<Viewer>;
    /// The request's loaders.
    fn loaders(&self) -> Result<&Loaders>;
    /// Where the request came from.
    fn client(&self) -> Client;
}

impl ContextExt for Context<'_> {
    fn chat(&self) -> Result<&Chat> {
        self.data_opt::<Chat>().ok_or_else(|| Error::Internal.into())
    }

    fn identity(&self) -> Result<&Identity> {
        self.data_opt::<Identity>().ok_or_else(|| Error::Internal.into())
    }

    fn viewer(&self) -> Result<Viewer> {
        self.identity()?.get().ok_or_else(|| Error::Unauthenticated("sign in first").into())
    }

    fn loaders(&self) -> Result<&Loaders> {
        self.data_opt::<Loaders>().ok_or_else(|| Error::Internal.into())
    }

    fn client(&self) -> Client {
        self.data_opt::<Client>().cloned().unwrap_or_default()
    }
}
