//! The graphql-transport-ws protocol, as a client speaks it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use super::{Client, SOON};

/// What a stream brings.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// An item; its `data`.
    Next(Value),
    /// An item, or the end, with errors.
    Errors(Vec<Value>),
    /// The end.
    Complete,
    /// The socket's end, with its code.
    Closed(u16),
}

type Streams = Arc<Mutex<HashMap<String, mpsc::UnboundedSender<Item>>>>;

/// An open, acknowledged connection.
pub(crate) struct Socket {
    out: mpsc::UnboundedSender<Message>,
    streams: Streams,
    last_id: AtomicU64,
    closed: watch::Receiver<Option<u16>>,
    announced: watch::Receiver<Value>,
}

impl Socket {
    /// Opens one as `client`, which has to work.
    pub(crate) async fn open(client: &Client) -> Self {
        Self::try_open(client).await.unwrap_or_else(|code| panic!("the socket was closed with {code}"))
    }

    /// Opens one as `client`, or tells with which code it was closed.
    pub(crate) async fn try_open(client: &Client) -> Result<Self, u16> {
        let mut request = format!("ws://{}/graphql", client.address()).into_client_request().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
        let (socket, _) = connect_async(request).await.unwrap();
        let (mut sink, mut source) = socket.split();
        let payload =
            client.token().map_or(json!({}), |token| json!({ "Authorization": format!("Bearer {token}") }));
        let init = json!({ "type": "connection_init", "payload": payload });
        sink.send(Message::text(init.to_string())).await.unwrap();

        let (out, mut outgoing) = mpsc::unbounded_channel::<Message>();
        tokio::spawn(async move {
            while let Some(message) = outgoing.recv().await {
                if sink.send(message).await.is_err() {
                    break;
                }
            }
            let _ = sink.close().await;
        });

        let streams = Streams::default();
        let (closing, closed) = watch::channel(None);
        let (announcing, announced) = watch::channel(Value::Null);
        let (acknowledge, acknowledged) = oneshot::channel();
        let (all, pong) = (Arc::clone(&streams), out.clone());
        tokio::spawn(async move {
            let mut acknowledge = Some(acknowledge);
            // 1006 is what clients make of a connection that ends without a word.
            let mut code = 1006;
            while let Some(Ok(message)) = source.next().await {
                match message {
                    Message::Text(text) => {
                        let message: Value = serde_json::from_str(&text).unwrap();
                        match message["type"].as_str() {
                            Some("connection_ack") => {
                                let _ = acknowledge.take().map(|acknowledge| acknowledge.send(()));
                            }
                            Some("ping") => {
                                if message["payload"].is_object() {
                                    let _ = announcing.send(message["payload"].clone());
                                }
                                let _ = pong.send(Message::text(json!({ "type": "pong" }).to_string()));
                            }
                            _ => deliver(&all, message),
                        }
                    }
                    Message::Close(frame) => {
                        code = frame.map_or(1005, |frame| frame.code.into());
                        break;
                    }
                    _ => {}
                }
            }
            let _ = closing.send(Some(code));
            for (_, stream) in all.lock().unwrap().drain() {
                let _ = stream.send(Item::Closed(code));
            }
        });
        let socket = Self { out, streams, last_id: AtomicU64::new(0), closed, announced };
        match tokio::time::timeout(SOON, acknowledged).await {
            Ok(Ok(())) => Ok(socket),
            Ok(Err(_)) => Err(socket.closed().await),
            Err(_) => panic!("the socket was neither acknowledged nor closed"),
        }
    }

    /// Starts an operation.
    pub(crate) fn subscribe(&self, document: &str, variables: Value) -> Stream {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed).to_string();
        let (sender, items) = mpsc::unbounded_channel();
        self.streams.lock().unwrap().insert(id.clone(), sender);
        let payload = json!({ "query": document, "variables": variables });
        let message = json!({ "type": "subscribe", "id": id, "payload": payload });
        let _ = self.out.send(Message::text(message.to_string()));
        Stream { id, items, out: self.out.clone() }
    }

    /// Closes the connection as a client does that is done; returns when the server has taken leave too.
    pub(crate) async fn close(self) {
        let _ = self.out.send(Message::Close(None));
        self.closed().await;
    }

    /// Waits for what the server says of its own accord.
    pub(crate) async fn announced(&self) -> Value {
        let mut announced = self.announced.clone();
        let said = tokio::time::timeout(SOON, announced.wait_for(|said| !said.is_null())).await;
        said.expect("nothing is announced").unwrap().clone()
    }

    /// Waits for the server to close the connection; gives the code.
    pub(crate) async fn closed(&self) -> u16 {
        let mut closed = self.closed.clone();
        let code = tokio::time::timeout(SOON, closed.wait_for(Option::is_some)).await;
        code.expect("the socket stays open").unwrap().unwrap()
    }
}

fn deliver(streams: &Streams, mut message: Value) {
    let id = message["id"].as_str().unwrap_or_default().to_owned();
    let mut streams = streams.lock().unwrap();
    let Some(stream) = streams.get(&id) else { return };
    let list = |errors: Value| errors.as_array().cloned().unwrap_or_default();
    match message["type"].as_str() {
        Some("next") => {
            let mut payload = message["payload"].take();
            let errors = list(payload["errors"].take());
            let item =
                if errors.is_empty() { Item::Next(payload["data"].take()) } else { Item::Errors(errors) };
            let _ = stream.send(item);
        }
        Some("error") => {
            let _ = stream.send(Item::Errors(list(message["payload"].take())));
            streams.remove(&id);
        }
        Some("complete") => {
            let _ = stream.send(Item::Complete);
            streams.remove(&id);
        }
        other => panic!("a message of type {other:?}: {message}"),
    }
}

/// A running operation; dropping it ends it.
pub(crate) struct Stream {
    id: String,
    items: mpsc::UnboundedReceiver<Item>,
    out: mpsc::UnboundedSender<Message>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.out.send(Message::text(json!({ "type": "complete", "id": self.id }).to_string()));
    }
}

impl Stream {
    /// What comes next, whatever it is.
    pub(crate) async fn item(&mut self) -> Item {
        self.item_within(SOON).await.expect("the stream brings nothing")
    }

    /// What comes within `time`, if anything.
    pub(crate) async fn item_within(&mut self, time: Duration) -> Option<Item> {
        tokio::time::timeout(time, self.items.recv())
            .await
            .ok()
            .map(|item| item.unwrap_or(Item::Closed(1006)))
    }

    /// The data of the next item, which has to be one without errors.
    pub(crate) async fn next(&mut self) -> Value {
        match self.item().await {
            Item::Next(data) => data,
            other => panic!("expected an item, got {other:#?}"),
        }
    }

    /// The first field of the data of the next item.
    pub(crate) async fn value(&mut self) -> Value {
        first_field(self.next().await)
    }

    /// Skips items until `pick` takes one.
    pub(crate) async fn find<T>(&mut self, what: &str, mut pick: impl FnMut(&Value) -> Option<T>) -> T {
        let mut seen = Vec::new();
        let searching = async {
            loop {
                match self.items.recv().await {
                    Some(Item::Next(data)) => {
                        let value = first_field(data);
                        if let Some(found) = pick(&value) {
                            return Ok(found);
                        }
                        seen.push(value);
                    }
                    other => return Err(other),
                }
            }
        };
        match tokio::time::timeout(SOON, searching).await {
            Ok(Ok(found)) => found,
            Ok(Err(other)) => panic!("awaiting {what}, got {other:#?} after {seen:#?}"),
            Err(_) => panic!("awaited {what} in vain; came: {seen:#?}"),
        }
    }

    /// The code of the error that ends the stream.
    pub(crate) async fn code(&mut self) -> String {
        match self.item().await {
            Item::Errors(errors) => errors[0]["extensions"]["code"].as_str().unwrap_or("none").to_owned(),
            other => panic!("expected an error, got {other:#?}"),
        }
    }
}

pub(crate) fn first_field(data: Value) -> Value {
    match data {
        Value::Object(fields) => fields.into_iter().next().map_or(Value::Null, |(_, value)| value),
        other => other,
    }
}
