//! A subscriber's WebSocket.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message, Utf8Bytes, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig,
    },
};

use crate::failure::{Failure, Result};

/// What subscribers ask for: what a client shows of a message.
pub(crate) const CHANNEL_EVENTS: &str = "subscription($channel: ID!, $after: EventCursor) { \
     channelEvents(channelId: $channel, after: $after) { cursor seq occurredAt replayed event { __typename \
     ... on MessageCreated { message { id seq ts text createdAt author { id displayName } } } \
     ... on StreamCaughtUp { replayedCount } ... on StreamReset { reason } } } }";

/// Bytes that a client reads at once; thousands of them live in one process.
const READ_BUFFER: usize = 4 * 1024;

/// An open WebSocket.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Opens one at `path`, from `source` if it is given.
    pub(crate) async fn open(address: SocketAddr, path: &str, source: Option<SocketAddr>) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(source) = source {
            socket.bind(source)?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(0);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
        Ok(Self(socket))
    }

    /// Opens one at a server and signs in.
    pub(crate) async fn sign_in(
        address: SocketAddr,
        token: &str,
        source: Option<SocketAddr>,
    ) -> Result<Self> {
        let mut socket = Self::open(address, "/graphql", source).await?;
        let payload = json!({ "Authorization": format!("Bearer {token}") });
        socket.send(json!({ "type": "connection_init", "payload": payload }).to_string()).await?;
        let answer = socket.next().await?;
        if answer.contains("connection_ack") {
            Ok(socket)
        } else {
            Err(Failure::new(format!("a socket was not acknowledged: {answer}")))
        }
    }

    /// Follows a channel after `cursor`.
    pub(crate) async fn follow(&mut self, channel: &str, cursor: &str) -> Result<()> {
        let variables = json!({ "channel": channel, "after": cursor });
        self.subscribe(CHANNEL_EVENTS, &variables).await
    }

    /// Follows a channel after `cursor`, and waits until the stream is live.
    pub(crate) async fn follow_live(&mut self, channel: &str, cursor: &str) -> Result<()> {
        self.follow(channel, cursor).await?;
        while !is_caught_up(&self.next().await?) {}
        Ok(())
    }

    async fn subscribe(&mut self, document: &str, variables: &Value) -> Result<()> {
        let payload = json!({ "query": document, "variables": variables });
        self.send(json!({ "type": "subscribe", "id": "1", "payload": payload }).to_string()).await
    }

    /// Sends a text.
    pub(crate) async fn send(&mut self, text: String) -> Result<()> {
        Ok(self.0.send(Message::text(text)).await?)
    }

    /// The next text. Pings are answered underneath.
    pub(crate) async fn next(&mut self) -> Result<Utf8Bytes> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(frame))) => {
                    return Err(Failure::new(format!("a socket was closed: {frame:?}")));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Failure::new("a socket ended")),
            }
        }
    }
}

/// Whether this says that a stream is live. Fails to tell where a message's text says the same, which none here does.
pub(crate) fn is_caught_up(frame: &str) -> bool {
    frame.contains("StreamCaughtUp")
}
