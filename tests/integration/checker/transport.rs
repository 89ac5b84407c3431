//! One subscription on one connection, over each of the transports, that can be cut at any moment.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue, protocol::CloseFrame},
};

/// How a subscription travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// graphql-transport-ws.
    Socket,
    /// GraphQL over SSE, distinct connections.
    Events,
    /// Multipart subscriptions.
    Parts,
}

pub(super) const TRANSPORTS: [Transport; 3] = [Transport::Socket, Transport::Events, Transport::Parts];

/// A subscription to be.
pub(super) struct Request<'a> {
    pub(super) address: &'a str,
    pub(super) token: &'a str,
    pub(super) document: &'a str,
    pub(super) variables: Value,
    /// The id of the last event that was seen; of [`Transport::Events`] only.
    pub(super) last_event_id: Option<&'a str>,
}

/// What comes in.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Incoming {
    /// An item, with the id of the event that brought it.
    Item(Option<String>, Value),
    /// The end of the stream; why.
    End(Failure),
}

/// Why a connection was not made, or ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Failure {
    /// Nobody answered, or the connection broke off, or the stream ended without an error.
    Broken(String),
    /// The socket was closed with this code.
    Closed(u16),
    /// Errors with these codes, and their whole text.
    Refused(Vec<String>, String),
    /// What came is not as the protocol has it.
    Malformed(String),
}

impl Failure {
    fn broken(error: impl std::fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }

    /// Of the errors of a response, each of which must have a code.
    fn of_errors(errors: &Value) -> Self {
        let list = errors.as_array().map_or(std::slice::from_ref(errors), Vec::as_slice);
        let codes: Option<Vec<_>> =
            list.iter().map(|error| error["extensions"]["code"].as_str().map(str::to_owned)).collect();
        match codes {
            Some(codes) if !codes.is_empty() => Self::Refused(codes, errors.to_string()),
            _ => Self::Malformed(format!("errors without a code: {errors}")),
        }
    }

    fn closed(frame: Option<CloseFrame>) -> Self {
        frame.map_or_else(|| Self::broken("closed"), |frame| Self::Closed(frame.code.into()))
    }
}

/// A running subscription. Dropping it cuts the connection without a word.
pub(super) enum Connection {
    Socket(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
    Http(Http),
}

impl Connection {
    pub(super) async fn open(transport: Transport, request: Request<'_>) -> Result<Self, Failure> {
        match transport {
            Transport::Socket => open_socket(request).await,
            Transport::Events => Http::open(request, "text/event-stream", b"\n\n").await.map(Self::Http),
            Transport::Parts => {
                let accept = "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0,application/json";
                Http::open(request, accept, b"\r\n--graphql").await.map(Self::Http)
            }
        }
    }

    /// What comes next. May be cancelled.
    pub(super) async fn next(&mut self) -> Incoming {
        match self {
            Self::Socket(socket) => next_of_socket(socket).await,
            Self::Http(http) => http.next().await,
        }
    }
}

async fn open_socket(request: Request<'_>) -> Result<Connection, Failure> {
    let mut upgrade =
        format!("ws://{}/graphql", request.address).into_client_request().map_err(Failure::broken)?;
    let protocol = HeaderValue::from_static("graphql-transport-ws");
    upgrade.headers_mut().insert("sec-websocket-protocol", protocol);
    let (mut socket, _) = connect_async(upgrade).await.map_err(Failure::broken)?;
    let payload = json!({ "Authorization": format!("Bearer {}", request.token) });
    let init = json!({ "type": "connection_init", "payload": payload });
    socket.send(Message::text(init.to_string())).await.map_err(Failure::broken)?;
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) if text.contains("connection_ack") => break,
            Some(Ok(Message::Close(frame))) => return Err(Failure::closed(frame)),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(Failure::broken(error)),
            None => return Err(Failure::broken("the socket broke off")),
        }
    }
    let payload = json!({ "query": request.document, "variables": request.variables });
    let subscribe = json!({ "type": "subscribe", "id": "1", "payload": payload });
    socket.send(Message::text(subscribe.to_string())).await.map_err(Failure::broken)?;
    Ok(Connection::Socket(Box::new(socket)))
}

async fn next_of_socket(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> Incoming {
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => return Incoming::End(Failure::closed(frame)),
            Some(Ok(_)) => continue,
            Some(Err(error)) => return Incoming::End(Failure::broken(error)),
            None => return Incoming::End(Failure::broken("the socket broke off")),
        };
        let Ok(mut message) = serde_json::from_str::<Value>(&text) else {
            return Incoming::End(Failure::Malformed(format!("no JSON: {text}")));
        };
        match message["type"].as_str() {
            Some("next") => return result(None, message["payload"].take()),
            Some("error") => return Incoming::End(Failure::of_errors(&message["payload"])),
            Some("complete") => return Incoming::End(Failure::broken("complete")),
            Some("ping") => {
                let pong = Message::text(json!({ "type": "pong" }).to_string());
                if let Err(error) = socket.send(pong).await {
                    return Incoming::End(Failure::broken(error));
                }
            }
            _ => {}
        }
    }
}

/// A GraphQL result with one field.
fn result(id: Option<String>, mut body: Value) -> Incoming {
    if !body["errors"].is_null() {
        return Incoming::End(Failure::of_errors(&body["errors"]));
    }
    match body["data"].take() {
        Value::Object(data) if data.len() == 1 => {
            Incoming::Item(id, data.into_iter().next().map_or(Value::Null, |(_, item)| item))
        }
        other => Incoming::End(Failure::Malformed(format!("no item: {other}"))),
    }
}

/// A response that goes on and on.
pub(super) struct Http {
    response: reqwest::Response,
    rest: Vec<u8>,
    delimiter: &'static [u8],
}

impl Http {
    async fn open(request: Request<'_>, accept: &str, delimiter: &'static [u8]) -> Result<Self, Failure> {
        let client = reqwest::Client::builder().no_proxy().build().map_err(Failure::broken)?;
        let mut post = client
            .post(format!("http://{}/graphql", request.address))
            .header("accept", accept)
            .bearer_auth(request.token)
            .json(&json!({ "query": request.document, "variables": request.variables }));
        if let Some(id) = request.last_event_id {
            post = post.header("last-event-id", id);
        }
        let response = post.send().await.map_err(Failure::broken)?;
        if response.status() != 200 {
            let body: Value = response.json().await.map_err(Failure::broken)?;
            return Err(Failure::of_errors(&body["errors"]));
        }
        Ok(Self { response, rest: Vec::new(), delimiter })
    }

    async fn next(&mut self) -> Incoming {
        loop {
            let found = self.rest.windows(self.delimiter.len()).position(|window| window == self.delimiter);
            if let Some(at) = found {
                let rest = self.rest.split_off(at + self.delimiter.len());
                let mut block = std::mem::replace(&mut self.rest, rest);
                block.truncate(at);
                if let Some(incoming) = read(&String::from_utf8_lossy(&block)) {
                    return incoming;
                }
                continue;
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.rest.extend_from_slice(&bytes),
                // The last boundary is followed by two dashes.
                Ok(None) if self.rest == b"--\r\n" => {
                    return Incoming::End(Failure::broken("complete"));
                }
                Ok(None) => return Incoming::End(Failure::broken("the response broke off")),
                Err(error) => return Incoming::End(Failure::broken(error)),
            }
        }
    }
}

/// An event, or the body of a part with its headers; signs of life are nothing.
fn read(block: &str) -> Option<Incoming> {
    if block.starts_with("event: complete") {
        return Some(Incoming::End(Failure::broken("complete")));
    }
    let at = block.find('{')?;
    let Ok(mut body) = serde_json::from_str::<Value>(&block[at..]) else {
        return Some(Incoming::End(Failure::Malformed(format!("no JSON: {block}"))));
    };
    if body.as_object().is_some_and(serde_json::Map::is_empty) {
        return None;
    }
    if body["payload"].is_object() {
        body = body["payload"].take();
    }
    let id = block.lines().find_map(|line| line.strip_prefix("id: ")).map(str::to_owned);
    Some(result(id, body))
}
