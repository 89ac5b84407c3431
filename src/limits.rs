//! How much one client may take.

use std::time::Duration;

use crate::guard;

/// The limits of the transports. Each has a setting, see [`crate::config::LimitOptions`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at a time, WebSockets and streams among them; others wait to be accepted.
    pub connections: usize,
    /// Bytes of the head of an HTTP request, its address with a query in it included.
    pub head_bytes: usize,
    /// Bytes of an HTTP request body.
    pub body_bytes: usize,
    /// Bytes of all HTTP request bodies that arrive at a time, beyond the first 64 KiB of each.
    pub bodies_bytes: usize,
    /// Bytes of all answers of more than 64 KiB that wait to be taken; those of one user have a quarter of it.
    pub answers_bytes: usize,
    /// Operations of an HTTP request that is a list of them; with none lists are refused.
    pub batch_operations: usize,
    /// Bytes of one incoming WebSocket message.
    pub message_bytes: usize,
    /// Operations running on one WebSocket.
    pub operations_per_socket: usize,
    /// WebSockets and streams over HTTP that one user may have open on one node.
    pub connections_per_user: usize,
    /// From the upgrade to `connection_init`, and from the reservation of a stream of events to its connection.
    pub init_timeout: Duration,
    /// Before the end of an access token, when long connections are told of it.
    pub token_notice: Duration,
    /// For the head of an HTTP request; also how long an idle connection is kept.
    pub header_timeout: Duration,
    /// For the body of an HTTP request.
    pub body_timeout: Duration,
    /// For a query or mutation.
    pub operation_timeout: Duration,
    /// Between two pings of the server on a WebSocket.
    pub ping_interval: Duration,
    /// Between two signs of life on a quiet stream of events.
    pub event_heartbeat: Duration,
    /// Between two signs of life on a quiet stream of parts.
    pub part_heartbeat: Duration,
    /// For a peer to take what is written to it: one message of a WebSocket or stream, or 64 KiB of an answer.
    pub write_timeout: Duration,
    /// For running requests after a shutdown began.
    pub shutdown_grace: Duration,
    /// What a document may ask for.
    pub guard: guard::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            head_bytes: 128 * 1024,
            body_bytes: 1_000_000,
            bodies_bytes: 256 * 1024 * 1024,
            answers_bytes: 256 * 1024 * 1024,
            batch_operations: 0,
            message_bytes: 1_000_000,
            operations_per_socket: 100,
            connections_per_user: 100,
            init_timeout: Duration::from_secs(10),
            token_notice: Duration::from_mins(1),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(20),
            event_heartbeat: Duration::from_secs(12),
            part_heartbeat: Duration::from_secs(5),
            write_timeout: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
            guard: guard::Limits::default(),
        }
    }
}
