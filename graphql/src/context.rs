//! What every resolver may ask its context for.

use std::sync::Arc;

use async_graphql::{Context, Request};
use quikapp_chat::{Chat, Error, access::Viewer};

use crate::{error::Result, identity::Identity, loaders::Loaders};

/// Who sends a request, as the transport saw it.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// The address.
    pub ip: Option<std::net::IpAddr>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
}

/// Gives a request all that resolvers ask for. For the transports, on every request.
#[must_use]
pub fn prepare(request: Request, chat: &Chat, viewer: Option<Viewer>, client: Client) -> Request {
    let identity = Identity::new(viewer);
    request.data(Arc::new(Loaders::new(chat, &identity))).data(identity).data(client)
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
        Ok(self.identity()?.viewer()?)
    }

    fn loaders(&self) -> Result<&Loaders> {
        self.data_opt::<Arc<Loaders>>().map(Arc::as_ref).ok_or_else(|| Error::Internal.into())
    }

    fn client(&self) -> Client {
        self.data_opt::<Client>().cloned().unwrap_or_default()
    }
}
