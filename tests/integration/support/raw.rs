//! Connections that say whatever they are told to, rules or no rules.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{Server, User};

/// More than any limit of the server takes to act; a hang is a failure with a name.
const PATIENCE: Duration = Duration::from_secs(30);

/// A TCP connection.
pub(crate) struct Raw(pub(crate) TcpStream);

/// What came over one that speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// None where the connection was closed without an answer.
    pub(crate) status: Option<u16>,
    pub(crate) text: String,
}

impl Reply {
    fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        Self { status, text }
    }
}

/// A `POST` of `body` with these headers beside those that every request has.
pub(crate) fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The header of JSON bodies.
pub(crate) const JSON: &str = "content-type: application/json\r\n";

impl Raw {
    pub(crate) async fn open(server: &Server) -> Self {
        // So that it soon shows when nothing is read.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        Self(socket.connect(server.address().parse().unwrap()).await.unwrap())
    }

    /// Says all of it, or as much as is listened to, and gives what comes until the other side closes.
    pub(crate) async fn exchange(server: &Server, request: Vec<u8>) -> Reply {
        Self::open(server).await.say(request).await
    }

    pub(crate) async fn say(self, request: Vec<u8>) -> Reply {
        let (mut source, mut sink) = self.0.into_split();
        let saying = tokio::spawn(async move {
            let _ = sink.write_all(&request).await;
            // Not shut down: the server has to end it by itself.
            sink
        });
        let mut bytes = Vec::new();
        let heard = timeout(PATIENCE, source.read_to_end(&mut bytes)).await;
        assert!(heard.is_ok(), "the connection stays open after {:?}", Reply::of(&bytes));
        saying.abort();
        Reply::of(&bytes)
    }

    /// Says a part every `pause`, until the other side closes.
    pub(crate) async fn drip(server: &Server, start: &str, part: &'static [u8], pause: Duration) -> Reply {
        let (mut source, mut sink) = Self::open(server).await.0.into_split();
        sink.write_all(start.as_bytes()).await.unwrap();
        let dripping = tokio::spawn(async move {
            while sink.write_all(part).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        });
        let mut bytes = Vec::new();
        let heard = timeout(PATIENCE, source.read_to_end(&mut bytes)).await;
        assert!(heard.is_ok(), "a slow peer is kept");
        dripping.abort();
        Reply::of(&bytes)
    }

    /// Waits for the other side to close, reading nothing that it says before it has had time to.
    pub(crate) async fn ends(mut self) -> bool {
        // A reset shows in the next write, also with unread bytes before it.
        let watch = async {
            loop {
                if self.0.write_all(b"\r\n").await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, watch).await.is_ok()
    }
}

/// A WebSocket frame as clients send it, with a mask of zeros.
pub(crate) fn frame(is_last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode | if is_last { 0x80 } else { 0 }];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | u8::try_from(length).unwrap()),
        length @ 126..=0xffff => {
            frame.push(0x80 | 0x7e);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(0x80 | 0x7f);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A text message in one frame.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    frame(true, 1, payload.as_bytes())
}

/// A WebSocket whose frames are made by hand.
pub(crate) struct RawSocket {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// What comes over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Text(String),
    /// The connection ended, with the code of a close frame if there was one.
    End(Option<u16>),
}

impl RawSocket {
    /// One on which nothing was said yet.
    pub(crate) async fn silent(server: &Server) -> Self {
        let mut stream = Raw::open(server).await.0;
        let head = "GET /graphql HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
            sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\
            sec-websocket-protocol: graphql-transport-ws\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Self { stream, unread: Vec::new() }
    }

    /// An acknowledged one.
    pub(crate) async fn open(server: &Server, user: &User) -> Self {
        let mut socket = Self::silent(server).await;
        let init =
            format!(r#"{{"type":"connection_init","payload":{{"token":"{}"}}}}"#, user.token().unwrap());
        socket.say(&text(&init)).await;
        assert_eq!(socket.hear().await, Heard::Text(r#"{"type":"connection_ack"}"#.into()));
        socket
    }

    /// False when nobody listens any more.
    pub(crate) async fn say(&mut self, frames: &[u8]) -> bool {
        matches!(timeout(PATIENCE, self.stream.write_all(frames)).await, Ok(Ok(())))
    }

    /// The next text, or the end; pings and pongs are passed over.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            let Some((opcode, payload)) = self.frame().await else { return Heard::End(None) };
            match opcode {
                1 => return Heard::Text(String::from_utf8(payload).unwrap()),
                8 => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    // So that the server need not wait for it.
                    self.say(&frame(true, 8, &payload)).await;
                    return Heard::End(code);
                }
                _ => {}
            }
        }
    }

    /// The end, whatever is said before.
    pub(crate) async fn end(&mut self) -> Option<u16> {
        loop {
            if let Heard::End(code) = self.hear().await {
                return code;
            }
        }
    }

    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((used, opcode, payload)) = split(&self.unread) {
                self.unread.drain(..used);
                return Some((opcode, payload));
            }
            let mut buffer = [0; 4096];
            let read = timeout(PATIENCE, self.stream.read(&mut buffer))
                .await
                .expect("nothing comes, not even an end");
            match read {
                Ok(count @ 1..) => self.unread.extend(&buffer[..count]),
                _ => return None,
            }
        }
    }
}

/// The first whole frame: its length with its head, opcode, payload.
fn split(bytes: &[u8]) -> Option<(usize, u8, Vec<u8>)> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    let (length, start) = match head[1] {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).unwrap(), 10),
        length => (usize::from(length), 2),
    };
    let payload = bytes.get(start..start + length)?;
    Some((start + length, head[0] & 0x0f, payload.to_vec()))
}
