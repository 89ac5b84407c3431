//! Answers.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use bytes::Bytes;

use crate::{failure::Failure, operation::Outcome};

/// The two types of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/graphql-response+json`: the status tells whether the operation was executed.
    GraphqlResponse,
    /// `application/json`: the status tells whether it was a GraphQL request.
    Json,
}

impl Media {
    pub(crate) fn essence(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json",
            Self::Json => "application/json",
        }
    }

    fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        })
    }
}

/// What the executor gave, which is written in `json`.
pub(crate) fn outcome(outcome: &Outcome, json: Bytes, media: Media) -> Response {
    let status = match media {
        Media::GraphqlResponse => outcome.status(),
        Media::Json => StatusCode::OK,
    };
    write(status, json, media)
}

/// What the executor refused, with the status of that whatever the type.
pub(crate) fn refused(outcome: &Outcome, media: Media) -> Response {
    write(outcome.status(), outcome.json(), media)
}

/// What was refused before.
pub(crate) fn refusal(failure: &Failure, media: Media, request_id: &str) -> Response {
    let status = if failure.in_graphql && media == Media::Json { StatusCode::OK } else { failure.status };
    let mut response = write(status, Outcome::refused(failure, request_id).json(), media);
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"quikapp\", error=\"invalid_token\""),
        );
    }
    if let Some(after) = failure.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    if status == StatusCode::REQUEST_TIMEOUT || status == StatusCode::PAYLOAD_TOO_LARGE {
        // What is left of the body is not read.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

pub(super) fn write(status: StatusCode, json: impl Into<Bytes>, media: Media) -> Response {
    let head = [
        (header::CONTENT_TYPE, media.header()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::VARY, HeaderValue::from_static("accept, authorization")),
    ];
    (status, head, json.into()).into_response()
}
