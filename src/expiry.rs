//! The end of a long connection's access token: announced before, and put off by a newer token of the same session.

use std::time::Duration;

use quikapp_chat::entities::Timestamp;
use serde::Serialize;
use tokio::{sync::watch, time::sleep};

use crate::{identity::remaining, sessions::Registration};

/// A day; timers cannot reach as far as a token may live.
const FAR: Duration = Duration::from_hours(24);

/// What there is to do about a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Tell the client that it ends then.
    Announce(Timestamp),
    /// End the connection.
    End,
}

/// Follows the token of one connection.
pub(crate) struct Expiry {
    /// None for an anonymous connection.
    end: Option<watch::Receiver<Timestamp>>,
    notice: Duration,
    announced: Option<Timestamp>,
}

impl Expiry {
    /// That of a connection's session, announced `notice` before.
    pub(crate) fn new(registration: Option<&Registration>, notice: Duration) -> Self {
        Self { end: registration.map(Registration::end), notice, announced: None }
    }

    /// Waits for the next turn. Nothing is lost when the wait is given up.
    pub(crate) async fn turn(&mut self) -> Turn {
        let Some(receiver) = &mut self.end else { return std::future::pending().await };
        loop {
            let end = *receiver.borrow_and_update();
            let left = remaining(end);
            if left.is_zero() {
                return Turn::End;
            }
            let wait = if self.announced == Some(end) { left } else { left.saturating_sub(self.notice) };
            if wait.is_zero() {
                self.announced = Some(end);
                return Turn::Announce(end);
            }
            tokio::select! {
                () = sleep(wait.min(FAR)) => {}
                // Fails only when the register has forgotten the connection, which holds it open itself.
                Ok(()) = receiver.changed() => {}
            }
        }
    }
}

/// The announcement, as transports tell it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Announcement {
    r#type: &'static str,
    expires_at: String,
}

impl Announcement {
    pub(crate) fn new(end: Timestamp) -> Self {
        Self { r#type: "TOKEN_EXPIRING", expires_at: end.to_rfc3339() }
    }
}
