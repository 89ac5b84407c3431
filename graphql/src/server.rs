//! The server about itself.

use async_graphql::{Object, SimpleObject};

use crate::error::ErrorCode;

/// The server about itself.
#[derive(SimpleObject)]
pub struct ServerInfo {
    /// Its version.
    version: &'static str,
    /// Every value that `extensions.code` of an error can have, for clients that generate code.
    error_codes: Vec<ErrorCode>,
}

/// The server about itself.
#[derive(Default)]
pub struct ServerQuery;

#[Object]
impl ServerQuery {
    /// The server about itself. Needs no credentials.
    async fn server_info(&self) -> ServerInfo {
        ServerInfo { version: env!("CARGO_PKG_VERSION"), error_codes: ErrorCode::ALL.to_vec() }
    }
}
