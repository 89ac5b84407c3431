//! The `Authorization` header.

use axum::http::{HeaderMap, StatusCode, header};

use crate::failure::{ErrorCode, Failure};

/// The bearer token; None when the request is anonymous.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(strip_scheme).filter(|token| !token.is_empty());
    token.map(Some).ok_or_else(|| {
        Failure::new(
            StatusCode::UNAUTHORIZED,
            ErrorCode::Unauthenticated,
            "the Authorization header must be `Bearer` and an access token",
        )
    })
}

/// What stands behind `Bearer`.
pub(crate) fn strip_scheme(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
