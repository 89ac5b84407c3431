//! The bare WebSocket server: what comes in on a connection to [`PUBLISH`] goes out on all others.

use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast,
};
use tokio_tungstenite::{
    accept_hdr_async_with_config,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::server::{ErrorResponse, Request, Response},
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

use futures_util::{SinkExt, StreamExt};

use crate::failure::Result;

/// Where messages come in.
pub(crate) const PUBLISH: &str = "/publish";

/// Serves on a free port, which it prints, until it is killed.
pub(crate) async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    let (messages, _) = broadcast::channel(1_024);
    loop {
        let (stream, _) = listener.accept().await?;
        let messages = messages.clone();
        tokio::spawn(async move {
            // A client that goes away is no news.
            let _ = connection(stream, messages).await;
        });
    }
}

async fn connection(stream: TcpStream, messages: broadcast::Sender<Utf8Bytes>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut publishes = false;
    #[allow(clippy::result_large_err, reason = "the library's signature")]
    let answer =
        |request: &Request, mut response: Response| -> std::result::Result<Response, ErrorResponse> {
            publishes = request.uri().path() == PUBLISH;
            let protocol = HeaderValue::from_static("graphql-transport-ws");
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
            Ok(response)
        };
    // Small buffers: what it costs to be connected should be what a socket costs.
    let config = WebSocketConfig::default().read_buffer_size(4 * 1024).write_buffer_size(0);
    let socket = accept_hdr_async_with_config(stream, answer, Some(config)).await?;
    let (mut sink, mut frames) = socket.split();
    if publishes {
        while let Some(Ok(frame)) = frames.next().await {
            if let Message::Text(text) = frame {
                let _ = messages.send(text);
            }
        }
        return Ok(());
    }
    let mut listener = messages.subscribe();
    drop(messages);
    loop {
        tokio::select! {
            message = listener.recv() => sink.send(Message::Text(message?)).await?,
            frame = frames.next() => if !matches!(frame, Some(Ok(_))) { return Ok(()) },
        }
    }
}
