//! One subscription on one connection, over each of the transports, that can be cut at any moment.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
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
    /// Errors.
    Errors(Vec<Value>),
    /// The end of the stream; why.
    End(String),
}

/// A running subscription. Dropping it cuts the connection without a word.
pub(super) enum Connection {
    Socket(Box<WebSocketStream<MaybeTlsStream<TcpStream>>>),
    Http(Http),
}

impl Connection {
    pub(super) async fn open(transport: Transport, request: Request<'_>) -> Result<Self, String> {
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

async fn open_socket(request: Request<'_>) -> Result<Connection, String> {
    let error = |error: &dyn std::fmt::Display| format!("socket: {error}");
    let mut upgrade =
        format!("ws://{}/graphql", request.address).into_client_request().map_err(|e| error(&e))?;
    let protocol = HeaderValue::from_static("graphql-transport-ws");
    upgrade.headers_mut().insert("sec-websocket-protocol", protocol);
    let (mut socket, _) = connect_async(upgrade).await.map_err(|e| error(&e))?;
    let payload = json!({ "Authorization": format!("Bearer {}", request.token) });
    let init = json!({ "type": "connection_init", "payload": payload });
    socket.send(Message::text(init.to_string())).await.map_err(|e| error(&e))?;
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) if text.contains("connection_ack") => break,
            Some(Ok(Message::Close(frame))) => {
                return Err(format!("closed with {:?}", frame.map(|frame| u16::from(frame.code))));
            }
            Some(Ok(_)) => {}
            Some(Err(e)) => return Err(error(&e)),
            None => return Err("socket: closed".into()),
        }
    }
    let payload = json!({ "query": request.document, "variables": request.variables });
    let subscribe = json!({ "type": "subscribe", "id": "1", "payload": payload });
    socket.send(Message::text(subscribe.to_string())).await.map_err(|e| error(&e))?;
    Ok(Connection::Socket(Box::new(socket)))
}

async fn next_of_socket(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> Incoming {
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => {
                return Incoming::End(format!("closed with {:?}", frame.map(|frame| u16::from(frame.code))));
            }
            Some(Ok(_)) => continue,
            Some(Err(error)) => return Incoming::End(error.to_string()),
            None => return Incoming::End("closed".into()),
        };
        let Ok(mut message) = serde_json::from_str::<Value>(&text) else {
            return Incoming::Errors(vec![json!({ "message": format!("no JSON: {text}") })]);
        };
        match message["type"].as_str() {
            Some("next") => return result(None, message["payload"].take()),
            Some("error") => return Incoming::Errors(list(message["payload"].take())),
            Some("complete") => return Incoming::End("complete".into()),
            Some("ping") => {
                let pong = Message::text(json!({ "type": "pong" }).to_string());
                if let Err(error) = socket.send(pong).await {
                    return Incoming::End(error.to_string());
                }
            }
            _ => {}
        }
    }
}

fn list(errors: Value) -> Vec<Value> {
    match errors {
        Value::Array(errors) => errors,
        other => vec![other],
    }
}

/// A GraphQL result with one field.
fn result(id: Option<String>, mut body: Value) -> Incoming {
    if !body["errors"].is_null() {
        return Incoming::Errors(list(body["errors"].take()));
    }
    match body["data"].take() {
        Value::Object(data) if data.len() == 1 => {
            Incoming::Item(id, data.into_iter().next().map_or(Value::Null, |(_, item)| item))
        }
        other => Incoming::Errors(vec![json!({ "message": format!("no item: {other}") })]),
    }
}

/// A response that goes on and on.
pub(super) struct Http {
    response: reqwest::Response,
    rest: Vec<u8>,
    delimiter: &'static [u8],
}

impl Http {
    async fn open(request: Request<'_>, accept: &str, delimiter: &'static [u8]) -> Result<Self, String> {
        let client = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
        let mut post = client
            .post(format!("http://{}/graphql", request.address))
            .header("accept", accept)
            .bearer_auth(request.token)
            .json(&json!({ "query": request.document, "variables": request.variables }));
        if let Some(id) = request.last_event_id {
            post = post.header("last-event-id", id);
        }
        let response = post.send().await.map_err(|error| error.to_string())?;
        if response.status() != 200 {
            let status = response.status();
            return Err(format!("{status} {}", response.text().await.unwrap_or_default()));
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
                Ok(None) if self.rest == b"--\r\n" => return Incoming::End("complete".into()),
                Ok(None) => return Incoming::End("the response broke off".into()),
                Err(error) => return Incoming::End(error.to_string()),
            }
        }
    }
}

/// An event, or the body of a part with its headers; signs of life are nothing.
fn read(block: &str) -> Option<Incoming> {
    if block.starts_with("event: complete") {
        return Some(Incoming::End("complete".into()));
    }
    let at = block.find('{')?;
    let Ok(mut body) = serde_json::from_str::<Value>(&block[at..]) else {
        return Some(Incoming::Errors(vec![json!({ "message": format!("no JSON: {block}") })]));
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
