//! GraphQL over SSE in its mode of a single connection: `PUT` reserves a stream of events, `GET` connects to it, `POST` starts
//! operations on it, `DELETE` stops them. For browsers over HTTP/1.1, which hold six connections to a host.
//!
//! <https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md>

use std::sync::Arc;

use async_graphql_parser::types::OperationType;
use axum::{
    extract::{Query, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use hyper::body::Body as _;
use serde::Deserialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    Cut,
    accept::{self, Accepted, Form},
    answer::{self, Media},
    caller, only_by_post, other_method, request_id,
    reservation::{Connected, Item, Reservation, conflict, reserve},
    stream::{body, respond},
    wire::{Format, named_end, named_item},
};
use crate::{
    answers::keep,
    app::App,
    failure::{ErrorCode, Failure},
    identity::Caller,
    operation::{self, Outcome, Params},
    ws::operations::{Refused, Ticket},
};

/// The header that names a reserved stream; so does `token` in the address.
pub(crate) const STREAM_TOKEN: HeaderName = HeaderName::from_static("x-graphql-event-stream-token");

/// Of the id of an operation.
const ID_BYTES: usize = 256;

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

/// `PUT /graphql`: reserves a stream for the caller's session. One with a body means something else, which there is not; a type
/// without one is what some clients send with every request.
pub(crate) async fn put(State(app): State<Arc<App>>, request: Request) -> Response {
    if !request.body().is_end_stream() {
        return other_method(request).await;
    }
    let (parts, _) = request.into_parts();
    let reserved = async {
        accept::check_plain_text(&parts.headers)?;
        reserve(&app, caller(&app, &parts).await?)
    };
    match reserved.await {
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

/// `GET /graphql` for events, with the token of a stream. That is a secret for one use, so it is enough by itself: an
/// `EventSource` can send no other credentials. Those of somebody else are refused.
pub(super) async fn connect(app: &Arc<App>, parts: &Parts, token: &str) -> Response {
    let connected = async {
        let caller = caller(app, parts).await?;
        let reservation = match &caller.identity {
            Some(_) => app.reservations.of(token, &caller)?,
            None => app.reservations.get(token)?,
        };
        let (sender, body) = body();
        let cut = parts.extensions.get::<Cut>().cloned().unwrap_or_default();
        reservation.connect(Connected { sender, cut })?;
        Ok(body)
    };
    match connected.await {
        Ok(body) => respond(Format::Events, body),
        Err(failure) => answer::refusal(&failure, Media::Json, &request_id(&parts.extensions)),
    }
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
    let (user, request_id) = (caller.user(), caller.request_id.clone());
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
    let teller = Teller { app: Arc::clone(app), user, request_id, items: reservation.items.clone() };
    let work = teller.tell(ticket, outcomes);
    tokio::spawn(app.tasks.track_future(work));
    Ok(Started::Running)
}

/// Who tells an operation on its stream.
struct Teller {
    app: Arc<App>,
    user: Option<Uuid>,
    request_id: String,
    items: mpsc::Sender<Item>,
}

impl Teller {
    /// Until the operation is stopped, or its stream has ended.
    async fn tell(self, ticket: Ticket, outcomes: impl Stream<Item = Outcome> + Send) {
        let items = &self.items;
        let telling = async {
            futures_util::pin_mut!(outcomes);
            while let Some(outcome) = outcomes.next().await {
                let (bytes, is_last) = self.item(&ticket, &outcome);
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
            // It may have ended before the operation was on it.
            () = items.closed() => {}
            () = telling => {}
        }
    }

    /// One item, and whether none follows it.
    fn item(&self, ticket: &Ticket, outcome: &Outcome) -> (Bytes, bool) {
        let bytes = named_item(ticket.id(), outcome);
        match self.app.answers.hold(self.user, bytes.len()) {
            Ok(held) => (keep(bytes, held), outcome.is_request_error || outcome.is_lost()),
            Err(failure) => (named_item(ticket.id(), &Outcome::refused(&failure, &self.request_id)), true),
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;
    use crate::{tests::toy::Server, ws::operations::Operations};

    #[tokio::test]
    async fn an_operation_that_comes_after_the_end_of_its_stream_ends() {
        let server = Server::start().await;
        let (items, stream) = mpsc::channel(1);
        drop(stream);
        let ticket = Operations::default().start("1", 1).unwrap();
        let teller = Teller { app: Arc::clone(&server.app), user: None, request_id: String::new(), items };
        let telling = teller.tell(ticket, stream::pending());
        tokio::time::timeout(Duration::from_secs(5), telling).await.unwrap();
    }
}
