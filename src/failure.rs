//! What is refused before or outside the schema, in the same shape as the schema's own errors.

use std::{borrow::Cow, time::Duration};

use async_graphql::{ErrorExtensionValues, Pos, Response, ServerError, Value};
use axum::http::StatusCode;

/// The values of the published enum `ErrorCode` that transports use by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// Not a valid request: syntax, validation, parameters.
    BadRequest,
    /// No valid credentials.
    Unauthenticated,
    /// Known, and not let in.
    Forbidden,
    /// No such address.
    NotFound,
    /// Another request got there first.
    Conflict,
    /// A stated limit is reached.
    QuotaExceeded,
    /// Too many requests of this kind.
    RateLimited,
    /// The document asks for more than one request may.
    TooCostly,
    /// Try again.
    Unavailable,
    /// A bug; details are in the log only.
    Internal,
}

impl ErrorCode {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "BAD_REQUEST",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::RateLimited => "RATE_LIMITED",
            Self::TooCostly => "TOO_COSTLY",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    /// Whether the same request may succeed later without a change.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable)
    }
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status under `application/graphql-response+json`, and under `application/json` unless [`Self::in_graphql`].
    pub status: StatusCode,
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: Cow<'static, str>,
    /// Places in the document.
    pub locations: Vec<Pos>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The request was a well-formed GraphQL request and only its document was refused: legacy `application/json` clients
    /// expect status 200 then.
    pub in_graphql: bool,
}

impl Failure {
    /// A refusal of the HTTP request itself.
    pub fn new(status: StatusCode, code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self { status, code, message, locations: Vec::new(), retry_after: None, in_graphql: false }
    }

    /// Parameters that are not those of a GraphQL request.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::BadRequest, message)
    }

    /// A document that is not a valid one.
    pub fn bad_document(message: impl Into<Cow<'static, str>>) -> Self {
        Self { in_graphql: true, ..Self::bad_request(message) }
    }

    /// A document that asks for too much.
    pub fn too_costly(message: impl Into<Cow<'static, str>>) -> Self {
        let refusal = Self::new(StatusCode::BAD_REQUEST, ErrorCode::TooCostly, message);
        Self { in_graphql: true, ..refusal }
    }

    /// The operation did not end in time.
    #[must_use]
    pub fn timed_out() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Unavailable,
                "the operation did not end in time",
            )
        }
    }

    /// A bug.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal, "internal error")
    }

    /// The same with places in the document.
    #[must_use]
    pub fn at(mut self, locations: impl IntoIterator<Item = Pos>) -> Self {
        self.locations.extend(locations);
        self
    }

    /// As an entry of `errors`.
    #[must_use]
    pub fn to_error(&self, request_id: &str) -> ServerError {
        let mut error = ServerError::new(self.message.to_string(), None);
        error.locations.clone_from(&self.locations);
        let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
        set(extensions, self.code, request_id);
        if let Some(after) = self.retry_after {
            extensions.set("retryAfterMs", u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        }
        error
    }
}

impl From<quikapp_chat::Error> for Failure {
    /// Of a failed authentication; the schema maps what resolvers return.
    fn from(error: quikapp_chat::Error) -> Self {
        use quikapp_chat::Error;
        let (status, code) = match &error {
            Error::Unauthenticated(_) | Error::Invalid(_) | Error::NotFound(_) => {
                (StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated)
            }
            Error::Forbidden(_) => (StatusCode::FORBIDDEN, ErrorCode::Forbidden),
            Error::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::RateLimited),
            Error::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
            _ => return Self::internal(),
        };
        Self { retry_after: error.retry_after(), ..Self::new(status, code, error.to_string()) }
    }
}

fn set(extensions: &mut ErrorExtensionValues, code: ErrorCode, request_id: &str) {
    extensions.set("code", code.as_str());
    extensions.set("retryable", code.is_retryable());
    extensions.set("requestId", request_id);
}

/// Whether the request failed before execution, so that there is no `data` to speak of. The executor does not say; but only
/// an error of execution has a path.
#[must_use]
pub fn is_request_error(response: &Response) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// Completes the errors of `response`: each gets `code`, `retryable` and `requestId` where it has none. The text of an error
/// that no resolver has given a code is for the log.
pub fn complete_errors(response: &mut Response, request_id: &str) {
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
        if extensions.get("code").is_none() {
            // Arguments are read when their field is resolved, so some mistakes of clients have a path.
            let is_callers = error.path.is_empty() || is_about_input(&error.message);
            let code = if is_callers { ErrorCode::BadRequest } else { ErrorCode::Internal };
            set(extensions, code, request_id);
            if code == ErrorCode::Internal {
                tracing::error!(request_id, message = error.message, path = ?error.path, "a resolver failed without a code");
                error.message = "internal error".into();
            }
            continue;
        }
        if extensions.get("retryable").is_none() {
            extensions.set("retryable", false);
        }
        extensions.set("requestId", request_id);
    }
}

fn is_about_input(message: &str) -> bool {
    const STARTS: [&str; 3] = ["Failed to parse ", "Expected input type ", "Invalid value for "];
    STARTS.iter().any(|start| message.starts_with(start))
}
