//! Streams for several operations: from their reservation to their end.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{
    Cut,
    stream::{Carrier, End, interruption, register},
    wire::{Format, named_end, named_item},
};
use crate::{
    app::App,
    failure::{ErrorCode, Failure},
    identity::Caller,
    operation::Outcome,
    sessions::Registration,
    ws::operations::{Operations, Ticket},
};

/// Items waiting for a client that reads slowly, or has not connected yet; operations wait beyond that.
const WAITING: usize = 32;

/// An item of an operation; not written any more once that is stopped.
pub(super) struct Item {
    pub(super) ticket: Ticket,
    pub(super) bytes: Bytes,
    pub(super) is_last: bool,
}

/// A client that has come for its stream.
pub(super) struct Connected {
    pub(super) sender: mpsc::Sender<Bytes>,
    pub(super) cut: Cut,
}

/// One stream, reserved or open.
pub(super) struct Reservation {
    user: Uuid,
    session: Uuid,
    pub(super) operations: Operations,
    pub(super) items: mpsc::Sender<Item>,
    /// None once somebody has connected.
    connect: Mutex<Option<oneshot::Sender<Connected>>>,
}

/// The streams for several operations, by their tokens.
#[derive(Default)]
pub(crate) struct Reservations(Mutex<HashMap<String, Arc<Reservation>>>);

impl Reservations {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Reservation>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that the caller has only the token of.
    pub(super) fn get(&self, token: &str) -> Result<Arc<Reservation>, Failure> {
        self.lock().get(token).cloned().ok_or_else(not_found)
    }

    /// Whether an operation runs on a stream.
    #[cfg(test)]
    pub(crate) fn is_running(&self, token: &str, id: &str) -> bool {
        self.lock().get(token).is_some_and(|reservation| reservation.operations.is_running(id))
    }

    /// The caller's own stream. A token alone is not enough to run anything on it.
    pub(super) fn of(&self, token: &str, caller: &Caller) -> Result<Arc<Reservation>, Failure> {
        let identity = caller.identity.as_ref().ok_or_else(unauthenticated)?;
        let reservation = self.get(token)?;
        if reservation.session == identity.session && reservation.user == identity.user {
            Ok(reservation)
        } else {
            Err(not_found())
        }
    }
}

impl Reservation {
    /// Hands the stream over to who has come for it.
    pub(super) fn connect(&self, connected: Connected) -> Result<(), Failure> {
        let connect = self.connect.lock().unwrap_or_else(PoisonError::into_inner).take();
        let connect = connect.ok_or_else(|| conflict("the stream is open"))?;
        connect.send(connected).map_err(|_| not_found())
    }
}

/// Reserves a stream for the caller's session; gives its token. It is let go when nobody connects in time.
///
/// # Errors
/// For an anonymous caller, and for one with too many connections.
pub(super) fn reserve(app: &Arc<App>, caller: Caller) -> Result<String, Failure> {
    let identity = caller.identity.ok_or_else(unauthenticated)?;
    let registration = register(app, &identity)?;
    let token = rand::random::<[u8; 16]>().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    let (connect, connected) = oneshot::channel();
    let (items, receiver) = mpsc::channel(WAITING);
    let reservation = Arc::new(Reservation {
        user: identity.user,
        session: identity.session,
        operations: Operations::default(),
        items,
        connect: Mutex::new(Some(connect)),
    });
    app.reservations.lock().insert(token.clone(), Arc::clone(&reservation));
    let entry = Entry { app: Arc::clone(app), token: token.clone(), reservation };
    let run = entry.run(registration, connected, receiver, caller.request_id);
    tokio::spawn(app.tasks.track_future(run));
    Ok(token)
}

/// Keeps a stream reserved while it is held. Its operations end with it.
struct Entry {
    app: Arc<App>,
    token: String,
    reservation: Arc<Reservation>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.app.reservations.lock().remove(&self.token);
        self.reservation.operations.stop_all();
    }
}

impl Entry {
    async fn run(
        self,
        registration: Registration,
        connected: oneshot::Receiver<Connected>,
        items: mpsc::Receiver<Item>,
        request_id: String,
    ) {
        let app = &self.app;
        let connected = tokio::select! {
            biased;
            _ = interruption(app, Some(&registration)) => return,
            connected = timeout(app.settings.limits.init_timeout, connected) => connected,
        };
        let Ok(Ok(Connected { sender, cut })) = connected else { return };
        let (app, registration) = (Arc::clone(app), Some(registration));
        let carrier = Carrier { app, registration, format: Format::Events, sender, cut };
        let operations = &self.reservation.operations;
        // The id of an operation is free as soon as its last item is on its way, and not before, as on a WebSocket.
        let items = ReceiverStream::new(items).filter_map(|Item { ticket, bytes, is_last }| {
            let is_running = if is_last { operations.finish(&ticket) } else { ticket.is_running() };
            std::future::ready(is_running.then_some(bytes))
        });
        if let End::Interrupted(failure) = carrier.carry(items).await {
            let refusal = Outcome::refused(&failure, &request_id);
            let last = operations.stop_all().iter().fold(Vec::new(), |mut last, id| {
                last.extend_from_slice(&named_item(id, &refusal));
                last.extend_from_slice(&named_end(id));
                last
            });
            carrier.close(last.into()).await;
        }
    }
}

pub(super) fn not_found() -> Failure {
    let message = "there is no such stream: it was not connected to in time, or has ended";
    Failure::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
}

fn unauthenticated() -> Failure {
    let message = "a stream for several operations needs an access token";
    Failure::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, message)
}

pub(super) fn conflict(message: &'static str) -> Failure {
    Failure::new(StatusCode::CONFLICT, ErrorCode::Conflict, message)
}
