//! GraphQL over WebSocket, by the protocol `graphql-transport-ws`.

mod connection;
pub(crate) mod operations;
mod outbox;
mod protocol;

use std::{borrow::Cow, sync::Arc};

use axum::{extract::WebSocketUpgrade, http::HeaderValue, response::Response};

use crate::{app::App, arrival::Arrival, identity::Caller};

/// Bytes set aside for what a socket receives. The library's own 128 KiB would be most of what an idle one costs.
const READ_BUFFER: usize = 2 * 1_024;
/// Bytes gathered before they are written between two flushes.
const WRITE_BUFFER: usize = 16 * 1_024;

/// The subprotocol.
const PROTOCOL: HeaderValue = HeaderValue::from_static("graphql-transport-ws");

/// What fits into a close frame beside the code.
const REASON_BYTES: usize = 123;

/// Why the server ends a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The WebSocket close code.
    pub code: u16,
    /// For people; at most 123 bytes.
    pub reason: Cow<'static, str>,
}

impl Close {
    pub(crate) const GOING_AWAY: Self = Self::new(1001, "The server is shutting down");
    pub(crate) const NO_ANSWER: Self = Self::new(1008, "No answer to pings");
    pub(crate) const FLOOD: Self = Self::new(1008, "Too many messages");
    pub(crate) const PROTOCOL_ERROR: Self = Self::new(1002, "WebSocket protocol error");
    pub(crate) const NOT_UTF8: Self = Self::new(1007, "Not UTF-8");
    pub(crate) const TOO_SLOW: Self = Self::new(1008, "Message takes too long");
    pub(crate) const TOO_LARGE: Self = Self::new(1009, "Message too large");
    pub(crate) const TRY_AGAIN: Self = Self::new(1013, "Try again later");
    pub(crate) const INVALID_MESSAGE: Self = Self::new(4400, "Invalid message");
    pub(crate) const UNAUTHORIZED: Self = Self::new(4401, "Unauthorized");
    pub(crate) const FORBIDDEN: Self = Self::new(4403, "Forbidden");
    // 4403 for what ends with the token as well: clients take 4401 for a mistake in their program and stay away for good, while
    // after 4403 they ask for new credentials and connect again.
    pub(crate) const TOKEN_EXPIRED: Self = Self::new(4403, "The access token has expired");
    pub(crate) const SESSION_ENDED: Self = Self::new(4403, "The session has ended");
    pub(crate) const WRONG_PROTOCOL: Self = Self::new(4406, "Subprotocol not acceptable");
    pub(crate) const INIT_TIMEOUT: Self = Self::new(4408, "Connection initialisation timeout");
    pub(crate) const TOO_MANY_SOCKETS: Self = Self::new(4429, "Too many open connections of this user");
    pub(crate) const TOO_MANY_INITS: Self = Self::new(4429, "Too many initialisation requests");

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }

    /// The id is in use. The protocol wants it in the reason, which has room for most of them.
    pub(crate) fn subscriber_exists(id: &str) -> Self {
        let reason = format!("Subscriber for {id} already exists");
        if reason.len() > REASON_BYTES {
            return Self::new(4409, "Subscriber for the given id already exists");
        }
        Self { code: 4409, reason: Cow::Owned(reason) }
    }
}

/// Answers the upgrade and runs the socket in a task of its own.
pub(crate) fn accept(
    app: Arc<App>,
    mut upgrade: WebSocketUpgrade,
    caller: Caller,
    arrival: Arrival,
) -> Response {
    let (is_ours, first) = {
        let mut offered = upgrade.requested_protocols();
        let first = offered.next().cloned();
        (first.as_ref() == Some(&PROTOCOL) || offered.any(|protocol| *protocol == PROTOCOL), first)
    };
    if is_ours {
        upgrade.set_selected_protocol(PROTOCOL);
    } else if let Some(first) = first {
        // Agreed to only so that the client lives to see the close code.
        upgrade.set_selected_protocol(first);
    }
    let limits = &app.settings.limits;
    let limit = limits.message_bytes;
    arrival.watch(limits.body_timeout, Arc::clone(&app.large_bodies));
    let tasks = app.tasks.clone();
    let upgrade = upgrade.max_message_size(limit).max_frame_size(limit);
    upgrade.read_buffer_size(READ_BUFFER).write_buffer_size(WRITE_BUFFER).on_upgrade(move |socket| {
        tasks.track_future(async move {
            if is_ours {
                connection::run(socket, app, caller, arrival).await;
            } else {
                connection::refuse(socket, Close::WRONG_PROTOCOL).await;
            }
        })
    })
}
