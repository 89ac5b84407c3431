//! Slow clients and the end of the server.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Client, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::toy::Server;

/// Sends bytes as they are and reads until the other side closes.
pub(super) async fn raw(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ =
        timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("it was not closed");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_slow_head_ends_the_connection() {
    let server = Server::with_limits(|limits| limits.header_timeout = Duration::from_millis(200)).await;
    let start = Instant::now();
    raw(server.address, "POST /graphql HTTP/1.1\r\nHost: x\r\nX-Slow").await;
    raw(server.address, "").await;
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn ambiguous_heads_are_refused() {
    let server = Server::start().await;
    for (head, status) in [
        ("Connection: close", "400"),
        ("Connection: close\r\nHost: a\r\nHost: a", "400"),
        ("Connection: close\r\nHost: a b", "400"),
        ("Connection: close\r\nHost: a\r\nTransfer-Encoding: gzip, chunked", "501"),
        ("Connection: close\r\nHost: a", "200"),
    ] {
        let answer = raw(server.address, &format!("GET /healthz HTTP/1.1\r\n{head}\r\n\r\n0\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {answer}");
    }
}

#[tokio::test]
async fn handshakes_are_refused_with_what_to_do() {
    let server = Server::start().await;
    let shake = async |upgrade: &str, version: &str, key: &str| {
        let head = format!(
            "Host: x\r\nConnection: Upgrade, close\r\nUpgrade: {upgrade}\r\nSec-WebSocket-Key: {key}"
        );
        raw(
            server.address,
            &format!("GET /graphql HTTP/1.1\r\n{head}\r\nSec-WebSocket-Version: {version}\r\n\r\n"),
        )
        .await
    };
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let answer = shake("websocket", "8", key).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("sec-websocket-version: 13"), "{answer}");
    let answer = shake("websocket", "13", "abc").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    // 4406 comes on the socket.
    let answer = shake("h2c, websocket", "13", key).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let server = Server::start().await;
    let answer = raw(server.address, &format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(300_000))).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
}

#[tokio::test]
async fn running_requests_finish_and_new_ones_find_nobody() {
    let mut server = Server::start().await;
    let url = server.url("/graphql?query=%7Bslow(milliseconds:400)%7D");
    let running = tokio::spawn(Client::new().get(url.clone()).send());
    tokio::time::sleep(Duration::from_millis(150)).await;
    let task = server.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(Client::new().get(url).send().await.is_err());
    assert_eq!(running.await.unwrap().unwrap().status(), StatusCode::OK);
    timeout(Duration::from_secs(2), task).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_finish_is_not_waited_for() {
    let mut server = Server::with_limits(|limits| limits.shutdown_grace = Duration::from_millis(200)).await;
    let url = server.url("/graphql?query=%7Bslow(milliseconds:20000)%7D");
    let _running = tokio::spawn(Client::new().get(url).send());
    tokio::time::sleep(Duration::from_millis(100)).await;
    timeout(Duration::from_secs(2), server.stop()).await.unwrap().unwrap();
}
