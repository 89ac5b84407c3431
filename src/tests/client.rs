//! A client of `graphql-transport-ws` that does what it is told, mistakes included.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest},
};

use super::toy::Server;

pub(super) struct Socket(pub(super) WebSocketStream<MaybeTlsStream<TcpStream>>);

pub(super) type Headers<'h> = &'h [(&'static str, &'h str)];

pub(super) const OURS: Headers<'static> = &[("sec-websocket-protocol", "graphql-transport-ws")];

impl Socket {
    pub(super) async fn with(server: &Server, headers: Headers<'_>) -> Result<Self, Error> {
        let mut request = format!("ws://{}/graphql", server.address).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        Ok(Self(connect_async(request).await?.0))
    }

    pub(super) async fn silent(server: &Server) -> Self {
        Self::with(server, OURS).await.unwrap()
    }

    pub(super) async fn open(server: &Server, token: &str) -> Self {
        let mut socket = Self::silent(server).await;
        socket.say(json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {token}") } })).await;
        assert_eq!(socket.hear().await, json!({ "type": "connection_ack" }));
        socket
    }

    pub(super) async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(super) async fn subscribe(&mut self, id: &str, query: &str) {
        self.say(json!({ "type": "subscribe", "id": id, "payload": { "query": query } })).await;
    }

    pub(super) async fn frame(&mut self) -> Option<Message> {
        loop {
            let frame = timeout(Duration::from_secs(5), self.0.next()).await.expect("nothing came");
            match frame {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(frame)) => return Some(frame),
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub(super) async fn hear(&mut self) -> Value {
        match self.frame().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn next(&mut self, id: &str) -> Value {
        let message = self.hear().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("next"), &json!(id)), "{message}");
        message["payload"].clone()
    }

    pub(super) async fn complete(&mut self, id: &str) {
        assert_eq!(self.hear().await, json!({ "type": "complete", "id": id }));
    }

    pub(super) async fn closed(&mut self) -> u16 {
        self.closed_with().await.0
    }

    /// With the reason.
    pub(super) async fn closed_with(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                Some(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.to_string()),
                Some(Message::Close(None)) => return (1005, String::new()),
                Some(_) => {}
                None => return (1006, String::new()),
            }
        }
    }
}
