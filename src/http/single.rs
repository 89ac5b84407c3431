//! GraphQL over SSE in its mode of a single connection: `PUT` reserves a stream of events, `GET` connects to it, `POST` starts
//! operations on it, `DELETE` stops them. For browsers over HTTP/1.1, which hold six connections to a host.
//!
//! <https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_graphql_parser::types::OperationType;
use axum::{
    extract::{Query, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{
    Cut,
    accept::{self, Accepted, Form},
    answer::{self, Media},
    caller, only_by_post, other_method, request_id,
    stream::{Carrier, End, body, interruption, register, respond},
    wire::{Format, named_end, named_item},
};
use crate::{
    app::App,
    failure::{ErrorCode, Failure},
    identity::Caller,
    operation::{self, Outcome, Params},
    sessions::Registration,
    ws::operations::{Operations, Refused, Ticket},
};

/// The header that names a reserved stream; so does `token` in the address.
pub(crate) const STREAM_TOKEN: HeaderName = HeaderName::from_static("x-graphql-event-stream-token");

/// Items waiting for a client that reads slowly, or has not connected yet; operations wait beyond that.
const WAITING: usize = 32;
/// Of the id of an operation.
const ID_BYTES: usize = 256;

/// An item of an operation; not written any more once that is stopped.
struct Item {
    ticket: Ticket,
    bytes: Bytes,
    is_last: bool,
}

/// A client that has come for its stream.
struct Connected {
    sender: mpsc::Sender<Bytes>,
    cut: Cut,
}

/// One stream, reserved or open.
struct Reservation {
    user: Uuid,
    session: Uuid,
    operations: Operations,
    items: mpsc::Sender<Item>,
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

    fn get(&self, token: &str) -> Result<Arc<Reservation>, Failure> {
        self.lock().get(token).cloned().ok_or_else(not_found)
    }

    /// Whether an operation runs on a stream.
    #[cfg(test)]
    pub(crate) fn is_running(&self, token: &str, id: &str) -> bool {
        self.lock().get(token).is_some_and(|reservation| reservation.operations.is_running(id))
    }

    /// The caller's own stream. A token alone is not enough to run anything on it.
    fn of(&self, token: &str, caller: &Caller) -> Result<Arc<Reservation>, Failure> {
        let identity = caller.identity.as_ref().ok_or_else(unauthenticated)?;
        let reservation = self.get(token)?;
        if reservation.session == identity.session && reservation.user == identity.user {
            Ok(reservation)
        } else {
            Err(not_found())
        }
    }
}

fn not_found() -> Failure {
    let message = "there is no such stream: it was not connected to in time, or has ended";
    Failure::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
}

fn unauthenticated() -> Failure {
    let message = "a stream for several operations needs an access token";
    Failure::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, message)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    token: Option<String>,
    operation_id: Option<String>,
}

fn address(parts: &Parts) -> Option<Address> {
    Query::<Address>::try_from_uri(&parts.uri).ok().map(|query| query.0)
}

/// The token of the stream that a request is about.
pub(super) fn token(parts: &Parts) -> Option<String> {
    match parts.headers.get(STREAM_TOKEN) {
        Some(token) => Some(String::from_utf8_lossy(token.as_bytes()).into_owned()),
        None => address(parts)?.token,
    }
}

/// `PUT /graphql`: reserves a stream for the caller's session. One with a body means something else, which there is not.
pub(crate) async fn put(State(app): State<Arc<App>>, request: Request) -> Response {
    if request.headers().contains_key(header::CONTENT_TYPE) {
        return other_method(request).await;
    }
    let (parts, _) = request.into_parts();
    match reserve(&app, &parts).await {
        Ok(token) => {
            let head = [
                (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ];
            (StatusCode::CREATED, head, token).into_response()
        }
        Err(failure) => answer::refusal(&failure, Media::Json, &request_id(&parts.extensions)),
    }
}

async fn reserve(app: &Arc<App>, parts: &Parts) -> Result<String, Failure> {
    accept::check_plain_text(&parts.headers)?;
    let caller = caller(app, parts).await?;
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

/// `GET /graphql` for events, with the token of a stream. That is a secret for one use, so it is enough by itself: an
/// `EventSource` can send no other credentials. Those of somebody else are refused.
pub(super) async fn connect(app: &Arc<App>, parts: &Parts, token: &str) -> Response {
    let connected = async {
        let caller = caller(app, parts).await?;
        let reservation = match &caller.identity {
            Some(_) => app.reservations.of(token, &caller)?,
            None => app.reservations.get(token)?,
        };
        let connect = reservation.connect.lock().unwrap_or_else(PoisonError::into_inner).take();
        let connect = connect.ok_or_else(|| conflict("the stream is open"))?;
        let (sender, body) = body();
        let cut = parts.extensions.get::<Cut>().cloned().unwrap_or_default();
        connect.send(Connected { sender, cut }).map_err(|_| not_found())?;
        Ok(body)
    };
    match connected.await {
        Ok(body) => respond(Format::Events, body),
        Err(failure) => answer::refusal(&failure, Media::Json, &request_id(&parts.extensions)),
    }
}

fn conflict(message: &'static str) -> Failure {
    Failure::new(StatusCode::CONFLICT, ErrorCode::Conflict, message)
}

/// `POST /graphql` with the token of a stream, and `GET` with it: answered with 202, and on the stream.
pub(super) async fn operate(
    app: &Arc<App>,
    parts: &Parts,
    params: Params,
    caller: Caller,
    accepted: Accepted,
    token: &str,
) -> Response {
    let media = match accepted.single() {
        Form::Answer(media) => media,
        Form::Stream(_) => Media::Json,
    };
    let id = caller.request_id.clone();
    match start(app, parts, params, caller, token).await {
        Ok(Started::Running) => StatusCode::ACCEPTED.into_response(),
        Ok(Started::Stopped) => StatusCode::NO_CONTENT.into_response(),
        Ok(Started::Refused(outcome)) => answer::refused(&outcome, media),
        // Success has a status of its own here, so a refused document has one as well, whatever the type.
        Err(failure) => answer::refusal(&Failure { in_graphql: false, ..failure }, media, &id),
    }
}

enum Started {
    Running,
    /// It was stopped before it began.
    Stopped,
    /// The executor refused it.
    Refused(Box<Outcome>),
}

/// Frees the id of an operation whose start is given up.
struct Start<'r> {
    reservation: &'r Reservation,
    ticket: Option<Ticket>,
}

impl Drop for Start<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            self.reservation.operations.finish(ticket);
        }
    }
}

async fn start(
    app: &Arc<App>,
    parts: &Parts,
    mut params: Params,
    caller: Caller,
    token: &str,
) -> Result<Started, Failure> {
    let reservation = app.reservations.of(token, &caller)?;
    let id = params.operation_id.take().filter(|id| (1..=ID_BYTES).contains(&id.len())).ok_or_else(|| {
        Failure::bad_request(format!("`extensions.operationId` must be a text of 1 to {ID_BYTES} bytes"))
    })?;
    let prepared = operation::prepare(app, params, &caller)?;
    if prepared.kind == OperationType::Mutation && parts.method != Method::POST {
        return Err(only_by_post());
    }
    let limit = app.settings.limits.operations_per_socket;
    let ticket = reservation.operations.start(&id, limit).map_err(|refused| match refused {
        Refused::Duplicate => conflict("an operation with this id is running"),
        Refused::TooMany => {
            let message = format!("at most {limit} operations may run on one stream");
            Failure::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::QuotaExceeded, message)
        }
    })?;
    let mut starting = Start { reservation: &reservation, ticket: Some(ticket.clone()) };
    let outcomes = if prepared.kind == OperationType::Subscription {
        let mut outcomes = operation::stream(app, prepared, caller.request_id).fuse().boxed();
        // What the document alone tells is known at once, and belongs into the answer; the rest is told on the stream.
        let first = outcomes.next().now_or_never().flatten();
        if first.as_ref().is_some_and(|first| first.is_request_error) {
            return Ok(first.map_or(Started::Stopped, |first| Started::Refused(Box::new(first))));
        }
        stream::iter(first).chain(outcomes).boxed()
    } else {
        let outcome = operation::execute(app, prepared, &caller.request_id).await?;
        if outcome.is_request_error {
            return Ok(Started::Refused(Box::new(outcome)));
        }
        stream::iter([outcome]).boxed()
    };
    starting.ticket = None;
    if !ticket.is_running() {
        return Ok(Started::Stopped);
    }
    let work = tell(ticket, outcomes, reservation.items.clone());
    tokio::spawn(app.tasks.track_future(work));
    Ok(Started::Running)
}

/// Tells an operation on its stream, until it is stopped.
async fn tell(ticket: Ticket, outcomes: impl Stream<Item = Outcome> + Send, items: mpsc::Sender<Item>) {
    let telling = async {
        futures_util::pin_mut!(outcomes);
        while let Some(outcome) = outcomes.next().await {
            let bytes = named_item(ticket.id(), &outcome);
            let is_last = outcome.is_request_error || outcome.is_lost();
            if items.send(Item { ticket: ticket.clone(), bytes, is_last: false }).await.is_err() {
                return;
            }
            if is_last {
                break;
            }
        }
        let bytes = named_end(ticket.id());
        let _ = items.send(Item { ticket: ticket.clone(), bytes, is_last: true }).await;
    };
    tokio::select! {
        biased;
        () = ticket.stopped() => {}
        () = telling => {}
    }
}

/// `DELETE /graphql`: stops an operation; nothing more of it is told, and no `complete`. One that does not run is no mistake.
pub(crate) async fn delete(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(token) = token(&parts) else {
        return other_method(Request::from_parts(parts, body)).await;
    };
    let stopped = async {
        let reservation = app.reservations.of(&token, &caller(&app, &parts).await?)?;
        let id = address(&parts).and_then(|address| address.operation_id).filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| Failure::bad_request("`operationId` is missing in the address"))?;
        reservation.operations.stop(&id);
        Ok(())
    };
    match stopped.await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(failure) => answer::refusal(&failure, Media::Json, &request_id(&parts.extensions)),
    }
}
