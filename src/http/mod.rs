//! GraphQL over HTTP: `POST /graphql` with a JSON body, `GET /graphql` for queries and for the upgrade to a WebSocket.
//! Subscriptions run over either when the client reads streams of events or of parts. With a stream of events for several
//! operations, which begins with `PUT`, see [`single`].
//!
//! Only JSON bodies are read, so a page of another origin cannot send anything without asking first, and a `GET` changes nothing.

pub mod accept;
pub(crate) mod answer;
mod batch;
pub(crate) mod body;
pub(crate) mod credentials;
pub(crate) mod head;
pub(crate) mod reservation;
pub(crate) mod single;
mod stream;
mod wire;

use std::{net::SocketAddr, sync::Arc};

use async_graphql_parser::types::OperationType;
use axum::{
    body::Body,
    extract::{FromRequestParts, Query, Request, State, WebSocketUpgrade},
    http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use data_encoding::BASE64;
use serde::Deserialize;

use tokio_util::sync::CancellationToken;

use self::{
    accept::{Accepted, Form},
    answer::Media,
    body::Asked,
};
use crate::{
    answers::keep,
    app::{App, LAST_EVENT_ID, RequestId},
    arrival::Arrival,
    failure::{ErrorCode, Failure},
    identity::{Caller, new_request_id},
    operation::{self, Outcome, Params, RawParams},
    ws,
};

/// The peer's address, among the extensions of a request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The way to end the connection of a request whose peer takes nothing any more, among its extensions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cut(CancellationToken);

impl Cut {
    pub(crate) fn make(&self) {
        self.0.cancel();
    }

    pub(crate) async fn made(&self) {
        self.0.cancelled().await;
    }
}

/// Bytes of it. A cursor of `viewerEvents` has some dozen for each channel that the viewer is in.
const LAST_EVENT_ID_BYTES: usize = 64 * 1024;

/// `POST /graphql`.
pub async fn post(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let id = request_id(&parts.extensions);
    let accepted = match accept::negotiate(&parts.headers) {
        Ok(accepted) => accepted,
        Err(failure) => {
            body::discard(&parts.headers, body).await;
            return answer::refusal(&failure, Media::Json, &id);
        }
    };
    let asked_by = async {
        body::check_type(&parts.headers)?;
        caller(&app, &parts).await
    };
    let caller = match asked_by.await {
        Ok(caller) => caller,
        Err(failure) => {
            body::discard(&parts.headers, body).await;
            return refuse(&failure, accepted, &id);
        }
    };
    let params = async {
        let limits = &app.settings.limits;
        let (bytes, _held) = body::read(&parts.headers, body, limits, &app.large_bodies).await?;
        Ok((caller, body::params(&bytes, limits.batch_operations > 0)?))
    };
    match params.await {
        Ok((caller, Asked::Many(operations))) => {
            let answer = batch::run(&app, operations, &caller, accepted).await;
            answer.unwrap_or_else(|failure| refuse(&failure, accepted, &id))
        }
        Ok((caller, Asked::One(params))) => match single::token(&parts) {
            Some(token) => single::operate(&app, &parts, params, caller, accepted, &token).await,
            None => run(&app, &parts, params, caller, accepted).await,
        },
        Err(failure) => refuse(&failure, accepted, &id),
    }
}

/// `GET /graphql`: the upgrade to a WebSocket, or a query in the address.
pub async fn get(State(app): State<Arc<App>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let id = request_id(&parts.extensions);
    if wants_socket(&parts.headers) {
        return upgrade(&app, &mut parts, &id).await;
    }
    let accepted = match accept::negotiate(&parts.headers) {
        Ok(accepted) => accepted,
        Err(failure) => return answer::refusal(&failure, Media::Json, &id),
    };
    let token = single::token(&parts);
    if let Some(token) = &token
        && accepted.is_for_events()
    {
        return single::connect(&app, &parts, token).await;
    }
    let params = async { Ok((caller(&app, &parts).await?, params_of(&parts)?)) };
    match params.await {
        Ok((caller, params)) => match &token {
            Some(token) => single::operate(&app, &parts, params, caller, accepted, token).await,
            None => run(&app, &parts, params, caller, accepted).await,
        },
        Err(failure) => refuse(&failure, accepted, &id),
    }
}

/// Any other method.
pub async fn other_method(request: Request) -> Response {
    let failure = Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::BadRequest,
        "GraphQL requests are sent with POST, queries also with GET",
    );
    let response = answer::refusal(&failure, Media::Json, &request_id(request.extensions()));
    ([(header::ALLOW, "GET, HEAD, POST, PUT, DELETE, OPTIONS")], response).into_response()
}

async fn run(
    app: &Arc<App>,
    parts: &Parts,
    mut params: Params,
    caller: Caller,
    accepted: Accepted,
) -> Response {
    let id = &caller.request_id;
    match last_event_id(&parts.headers) {
        Ok(cursor) => params.resume_after = cursor,
        Err(failure) => return refuse(&failure, accepted, id),
    }
    let prepared = match operation::prepare(app, params, &caller) {
        Ok(prepared) => prepared,
        Err(failure) => return refuse(&failure, accepted, id),
    };
    match prepared.kind {
        OperationType::Mutation if parts.method != Method::POST => {
            return ([(header::ALLOW, "POST")], refuse(&only_by_post(), accepted, id)).into_response();
        }
        OperationType::Subscription => {
            let Some(format) = accepted.stream() else {
                let failure = Failure::bad_document(
                    "subscriptions need a WebSocket with the subprotocol graphql-transport-ws, or an Accept of \
                     text/event-stream or multipart/mixed;subscriptionSpec=1.0",
                );
                return refuse(&failure, accepted, id);
            };
            let cut = parts.extensions.get::<Cut>().cloned().unwrap_or_default();
            return match stream::start(app, prepared, &caller, format, cut) {
                Ok(response) => response,
                Err(failure) => refuse(&failure, accepted, id),
            };
        }
        _ => {}
    }
    match operation::execute(app, prepared, id).await {
        Ok(outcome) => {
            let told = tell(app, &caller, &outcome, accepted);
            told.unwrap_or_else(|failure| refuse(&failure, accepted, id))
        }
        Err(failure) => refuse(&failure, accepted, id),
    }
}

/// What the executor gave, counted until it is taken.
fn tell(app: &App, caller: &Caller, outcome: &Outcome, accepted: Accepted) -> Result<Response, Failure> {
    let kept = |bytes: Vec<u8>| {
        let held = app.answers.hold(caller.user(), bytes.len())?;
        Ok::<_, Failure>(keep(bytes, held))
    };
    Ok(match accepted.single() {
        Form::Answer(media) => answer::outcome(outcome, kept(outcome.json().into())?, media),
        Form::Stream(format) => stream::respond(format, Body::from(kept(stream::whole(outcome, format))?)),
    })
}

fn only_by_post() -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadRequest, "mutations are sent with POST")
}

/// A refused document is told on the stream to those who read nothing else, as an `EventSource` cannot see the body of an
/// error; a refused request is not.
fn refuse(failure: &Failure, accepted: Accepted, id: &str) -> Response {
    match accepted.single() {
        Form::Answer(media) => answer::refusal(failure, media, id),
        Form::Stream(format) if failure.in_graphql => {
            let whole = stream::whole(&Outcome::refused(failure, id), format);
            stream::respond(format, Body::from(whole))
        }
        Form::Stream(_) => answer::refusal(failure, Media::Json, id),
    }
}

/// Where an `EventSource` goes on.
fn last_event_id(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) else { return Ok(None) };
    if id.len() > LAST_EVENT_ID_BYTES {
        let message = format!("Last-Event-ID has at most {LAST_EVENT_ID_BYTES} bytes");
        return Err(Failure::bad_request(message));
    }
    let id = std::str::from_utf8(id.as_bytes());
    id.map(|id| Some(id.to_owned())).map_err(|_| Failure::bad_request("Last-Event-ID must be in UTF-8"))
}

fn wants_socket(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case("websocket")))
}

async fn upgrade(app: &Arc<App>, parts: &mut Parts, id: &str) -> Response {
    if !app.settings.origins.admits(&parts.headers) {
        let failure = Failure::new(
            StatusCode::FORBIDDEN,
            ErrorCode::Forbidden,
            "pages of this origin may not connect; see ALLOWED_ORIGINS",
        );
        return answer::refusal(&failure, Media::Json, id);
    }
    // Programs may send the token here instead of in `connection_init`.
    let caller = match caller(app, parts).await {
        Ok(caller) => caller,
        Err(failure) => return answer::refusal(&failure, Media::Json, id),
    };
    let arrival = parts.extensions.get::<Arrival>().cloned().unwrap_or_default();
    if let Some(failure) = has_bad_key(&parts.headers) {
        return answer::refusal(&failure, Media::Json, id);
    }
    // One of several that the client would upgrade to; the library reads the header as a whole.
    parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    match WebSocketUpgrade::from_request_parts(parts, app).await {
        Ok(upgrade) => {
            let mut response = ws::accept(Arc::clone(app), upgrade, caller, arrival);
            // Among them is how the client writes the names of headers. Some, such as Python's gql, find the subprotocol only
            // under the name as they wrote it, and take it for another one otherwise.
            response.extensions_mut().extend(parts.extensions.clone());
            response
        }
        Err(rejection) => {
            let failure = Failure::new(rejection.status(), ErrorCode::BadRequest, rejection.body_text());
            let mut response = answer::refusal(&failure, Media::Json, id);
            // What the client may try instead: RFC 6455, section 4.2.2, and RFC 9110, section 15.5.22.
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            if response.status() == StatusCode::UPGRADE_REQUIRED {
                response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            }
            response
        }
    }
}

/// Whether the key of the handshake is not 16 bytes in base64 (RFC 6455, section 4.2.1).
fn has_bad_key(headers: &HeaderMap) -> Option<Failure> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let is_good = BASE64.decode(key.as_bytes()).is_ok_and(|key| key.len() == 16);
    (!is_good).then(|| Failure::bad_request("Sec-WebSocket-Key must be 16 bytes in base64"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AddressParams {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}

fn params_of(parts: &Parts) -> Result<Params, Failure> {
    let Query(raw) = Query::<AddressParams>::try_from_uri(&parts.uri)
        .map_err(|_| Failure::bad_request("the query string cannot be read"))?;
    let json = |text: Option<String>, name: &str| match text.filter(|text| !text.is_empty()) {
        Some(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|_| Failure::bad_request(format!("`{name}` must be JSON"))),
        None => Ok(None),
    };
    let text = |text: Option<String>| text.map(async_graphql::Value::String);
    RawParams {
        query: text(raw.query),
        operation_name: text(raw.operation_name.filter(|name| !name.is_empty())),
        variables: json(raw.variables, "variables")?,
        extensions: json(raw.extensions, "extensions")?,
    }
    .try_into()
}

/// The id given to a request by the outermost layer.
pub(crate) fn request_id(extensions: &Extensions) -> String {
    extensions.get::<RequestId>().map_or_else(new_request_id, |id| id.0.clone())
}

async fn caller(app: &App, parts: &Parts) -> Result<Caller, Failure> {
    let identity = match credentials::bearer(&parts.headers)? {
        Some(token) => Some(app.authenticate(token).await?),
        None => None,
    };
    let agent = parts.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
    Ok(Caller {
        request_id: request_id(&parts.extensions),
        ip: parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical()),
        user_agent: agent.map(|agent| String::from_utf8_lossy(agent).chars().take(255).collect()),
        identity,
    })
}

impl Outcome {
    pub(crate) fn status(&self) -> StatusCode {
        if self.is_request_error { StatusCode::BAD_REQUEST } else { StatusCode::OK }
    }
}
