//! Frames that no client library sends, and messages that do not end.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{interval, timeout},
};

use super::toy::Server;

const TEXT: u8 = 1;
const PONG: u8 = 10;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// A frame of a client, masked with nothing.
fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let length = u64::try_from(payload.len()).unwrap();
    [&[head, MASKED | 127][..], &length.to_be_bytes(), &[0; 4], payload].concat()
}

fn pong() -> Vec<u8> {
    vec![FINAL | PONG, MASKED, 0, 0, 0, 0]
}

async fn open(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"));
    stream
}

/// The code of the close frame, after whatever else comes.
async fn close_code(stream: &mut TcpStream) -> u16 {
    let reading = async {
        loop {
            let (head, length) = (stream.read_u8().await.unwrap(), stream.read_u8().await.unwrap());
            let mut payload = vec![0; length.into()];
            stream.read_exact(&mut payload).await.unwrap();
            if head == FINAL | 8 {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    };
    timeout(Duration::from_secs(5), reading).await.expect("no close frame came")
}

#[tokio::test]
async fn broken_frames_have_close_codes() {
    let server = Server::start().await;
    for (bytes, code) in [
        // Not masked, an operation that there is not, a continuation of nothing.
        (vec![FINAL | TEXT, 1, b'a'], 1002),
        (frame(FINAL | 3, b"a"), 1002),
        (frame(FINAL, b"a"), 1002),
        (frame(FINAL | TEXT, b"\xff"), 1007),
        (frame(FINAL | TEXT, b"{\"type\":\"?\"}"), 4400),
    ] {
        let mut stream = open(&server).await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(close_code(&mut stream).await, code, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_message_that_does_not_end_is_not_waited_for() {
    let server = Server::with_limits(|limits| limits.body_timeout = Duration::from_millis(400)).await;
    let (mut stream, quick) = (open(&server).await, open(&server).await);
    stream.write_all(&frame(TEXT, b"{\"type\":")).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let (mut quick_reader, mut quick) = quick.into_split();
    let living = tokio::spawn(async move {
        let mut beats = interval(Duration::from_millis(50));
        loop {
            beats.tick().await;
            let answer = frame(FINAL | TEXT, b"{\"type\":\"pong\"}");
            let _ = writer.write_all(&pong()).await;
            if quick.write_all(&answer).await.is_err() {
                return;
            }
        }
    });
    let mut said = [0; 4];
    timeout(Duration::from_secs(5), reader.read_exact(&mut said)).await.expect("nothing came").unwrap();
    assert_eq!((said[0], u16::from_be_bytes([said[2], said[3]])), (FINAL | 8, 1008));
    // The other one said as much in the same time, in whole messages.
    let heard = timeout(Duration::from_millis(500), quick_reader.read_u8()).await;
    assert!(heard.is_err(), "{heard:?}");
    living.abort();
}

#[tokio::test]
async fn messages_have_room_together() {
    let server = Server::with_limits(|limits| limits.bodies_bytes = 1_500_000).await;
    let part = frame(TEXT, &vec![b' '; 600_000]);
    let mut first = open(&server).await;
    first.write_all(&part).await.unwrap();
    super::toy::eventually(|| server.app.large_bodies.available_permits() < 500).await;
    let mut second = open(&server).await;
    let _ = second.write_all(&part).await;
    assert_eq!(close_code(&mut second).await, 1013);
    // Room comes back with the end of the message.
    first.write_all(&frame(FINAL, b"{\"type\":\"pong\"}")).await.unwrap();
    super::toy::eventually(|| server.app.large_bodies.available_permits() > 1_400).await;
}
