//! How the items of a stream are written.

use async_graphql::ServerError;
use axum::http::HeaderValue;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::{expiry::Announcement, failure::Failure, operation::Outcome};

/// The two kinds of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `text/event-stream`: GraphQL over SSE in its mode of distinct connections.
    Events,
    /// `multipart/mixed;subscriptionSpec=1.0`: what Apollo's clients speak.
    Parts,
}

#[derive(Serialize)]
struct FailedPart<'e> {
    payload: Option<()>,
    errors: &'e [ServerError],
}

#[derive(Serialize)]
struct Extensions<'a> {
    extensions: &'a Announcement,
}

/// An item of the operation `id` on a stream of several. It has no event id: a client that comes back with the last one would
/// say nothing about the other operations.
pub(super) fn named_item(id: &str, outcome: &Outcome) -> Bytes {
    let mut event = String::from("event: next\ndata: {\"id\":");
    event.push_str(&Value::from(id).to_string());
    event.push_str(",\"payload\":");
    // JSON has its line ends escaped.
    outcome.write(&mut event);
    event.push_str("}\n\n");
    event.into()
}

/// The end of the operation `id`.
pub(super) fn named_end(id: &str) -> Bytes {
    format!("event: complete\ndata: {}\n\n", serde_json::json!({ "id": id })).into()
}

impl Format {
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Events => "text/event-stream; charset=utf-8",
            Self::Parts => "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0",
        })
    }

    /// What comes first, so that proxies pass the head on.
    pub(super) fn start(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Events => b":\n\n",
            Self::Parts => b"\r\n--graphql",
        })
    }

    pub(super) fn heartbeat(self) -> Bytes {
        match self {
            Self::Events => Bytes::from_static(b":\n\n"),
            Self::Parts => part("{}"),
        }
    }

    /// That the token ends. Clients of either form read over it: to them it is one more sign of life.
    pub(super) fn announcement(self, announcement: &Announcement) -> Bytes {
        match self {
            Self::Events => format!(": {}\n\n", json(announcement)).into(),
            Self::Parts => part(&json(&Extensions { extensions: announcement })),
        }
    }

    pub(super) fn item(self, outcome: &Outcome) -> Bytes {
        match self {
            Self::Events => event(outcome),
            Self::Parts => {
                let mut body = String::from(r#"{"payload":"#);
                outcome.write(&mut body);
                body.push('}');
                part(&body)
            }
        }
    }

    /// Why the server ends a stream that is not complete.
    pub(super) fn failure(self, failure: &Failure, request_id: &str) -> Bytes {
        match self {
            Self::Events => event(&Outcome::refused(failure, request_id)),
            Self::Parts => {
                part(&json(&FailedPart { payload: None, errors: &[failure.to_error(request_id)] }))
            }
        }
    }

    pub(super) fn end(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Events => b"event: complete\ndata: \n\n",
            Self::Parts => b"--\r\n",
        })
    }
}

fn event(outcome: &Outcome) -> Bytes {
    let mut event = String::from("event: next\n");
    if let Some(id) = outcome.cursor() {
        event.extend(["id: ", id, "\n"]);
    }
    event.push_str("data: ");
    // JSON has its line ends escaped.
    outcome.write(&mut event);
    event.push_str("\n\n");
    event.into()
}

/// With the boundary behind it, as clients take a part for whole when they see that.
fn part(body: &str) -> Bytes {
    format!("\r\nContent-Type: application/json\r\n\r\n{body}\r\n--graphql").into()
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_else(|error| {
        tracing::error!(%error, "an item cannot be written as JSON");
        r#"{"errors":[{"message":"internal error","extensions":{"code":"INTERNAL","retryable":false}}]}"#
            .into()
    })
}
