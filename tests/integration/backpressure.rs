//! A subscriber that stops reading: it is reset at the stated bound with a cursor to go on from, and nobody waits for it.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt, future::join_all};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::support::{Mode, SOON, Server, Stream, User, World, both_modes};

both_modes!(
    a_reader_that_stops_is_reset_and_misses_nothing,
    one_that_comes_back_and_does_not_read_keeps_nobody_waiting,
);

/// Long enough that so many fill what the system keeps for a connection.
const LONG: usize = 150;
/// More than a subscriber may be behind that left an item untaken.
const SHORT: usize = 1_100;
/// For which it may leave an item untaken, and a little.
const UNTAKEN: Duration = Duration::from_secs(6);

const EVENTS: &str = "subscription($channel: ID!, $after: EventCursor) { channelEvents(channelId: $channel, after: $after) {
    cursor event { __typename
        ... on MessageCreated { message { id a: text b: text c: text d: text e: text f: text g: text h: text } }
        ... on StreamReset { reason }
    }
} }";

const ALL_EVENTS: &str =
    "subscription($after: EventCursor) { viewerEvents(after: $after) { cursor event { __typename
    ... on MessageCreated { message { id a: text b: text c: text d: text e: text f: text g: text h: text } }
} } }";

/// A subscription whose client reads when it likes.
struct Idler(WebSocketStream<tokio::net::TcpStream>);

impl Idler {
    async fn open(user: &User) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let stream = socket.connect(user.address().parse().unwrap()).await.unwrap();
        let mut request = format!("ws://{}/graphql", user.address()).into_client_request().unwrap();
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let mut idler = Self(client_async(request, stream).await.unwrap().0);
        let token = user.token().unwrap();
        idler.say(json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {token}") } })).await;
        assert_eq!(idler.hear().await["type"], "connection_ack");
        idler
    }

    async fn follow(&mut self, document: &str, variables: Value) {
        let payload = json!({ "query": document, "variables": variables });
        self.say(json!({ "id": "1", "type": "subscribe", "payload": payload })).await;
    }

    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// What the server says next, other than its pings.
    async fn hear(&mut self) -> Value {
        let hearing = async {
            loop {
                match self.0.next().await.expect("the connection is open").expect("it is not broken") {
                    Message::Text(text) => return serde_json::from_str::<Value>(&text).unwrap(),
                    Message::Ping(_) | Message::Pong(_) => {}
                    other => panic!("a message was expected, not {other:?}"),
                }
            }
        };
        tokio::time::timeout(SOON, hearing).await.expect("the server says something")
    }

    async fn item(&mut self) -> Value {
        let mut message = self.hear().await;
        assert_eq!(message["type"], "next", "{message}");
        message["payload"]["data"]["channelEvents"].take()
    }
}

async fn sync_cursor(user: &User, channel: &str) -> Value {
    let document = "query($id: ID!) { channel(id: $id) { syncCursor } }";
    user.query(document, json!({ "id": channel })).await.ok()["channel"]["syncCursor"].take()
}

/// Sends so many, and gives their ids.
async fn send(user: &User, channel: &str, count: usize, text: &str) -> HashSet<String> {
    let mut ids = HashSet::new();
    for start in (0..count).step_by(50) {
        let sent = join_all((start..count.min(start + 50)).map(|_| user.send(channel, text))).await;
        ids.extend(sent.iter().map(|message| message["id"].as_str().unwrap().to_owned()));
    }
    ids
}

/// The ids of messages that a stream brings, until there are `count` or it has nothing more to say.
async fn messages(stream: &mut Stream, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.len() < count {
        let item = stream.value().await;
        if let Some(id) = item["event"]["message"]["id"].as_str() {
            ids.push(id.to_owned());
        }
    }
    ids
}

async fn a_reader_that_stops_is_reset_and_misses_nothing(mode: Mode) {
    let world = World::new(mode).await;
    let (idle, busy) = (world.member().await, world.member().await);
    let channel = world.channel(&[&idle, &busy]).await;
    let after = sync_cursor(&idle, &channel).await;
    let mut idler = Idler::open(&idle).await;
    idler.follow(EVENTS, json!({ "channel": channel, "after": after })).await;
    assert_eq!(idler.item().await["event"]["__typename"], "StreamCaughtUp");
    let socket = busy.socket().await;
    let mut other = socket.subscribe(EVENTS, json!({ "channel": channel, "after": after }));

    // It reads nothing from here on.
    let mut sent = send(&world.owner, &channel, LONG, &"long ".repeat(1_500)).await;
    let stopped = Instant::now();
    sent.extend(send(&world.owner, &channel, SHORT, "short").await);
    let told = messages(&mut other, sent.len()).await;
    assert_eq!(told.iter().cloned().collect::<HashSet<_>>(), sent, "the other subscriber is told everything");
    tokio::time::sleep_until((stopped + UNTAKEN).into()).await;

    let mut heard = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let mut item = idler.item().await;
        if item["event"]["__typename"] == "StreamReset" {
            assert_eq!(item["event"]["reason"], "SLOW_CONSUMER");
            break;
        }
        heard.push(item["event"]["message"]["id"].as_str().unwrap().to_owned());
        cursor = item["cursor"].take();
    }
    assert_eq!(idler.hear().await["type"], "complete");
    assert!(heard.len() < told.len() - 1_000, "it was told {} before it was reset", heard.len());

    let mut resumed = socket.subscribe(EVENTS, json!({ "channel": channel, "after": cursor }));
    heard.extend(messages(&mut resumed, told.len() - heard.len()).await);
    assert_eq!(heard, told, "what it was told before and after is everything, once and in order");
}

async fn one_that_comes_back_and_does_not_read_keeps_nobody_waiting(mode: Mode) {
    // More channels than subscriptions that are told at once what they missed.
    const CHANNELS: usize = 12;
    let server = Server::own(mode).await;
    let world = World::on(&server).await;
    let (idle, other) = (world.member().await, world.member().await);
    let mut channels = Vec::new();
    for _ in 0..CHANNELS {
        channels.push(world.channel(&[&idle, &other]).await);
    }
    let cursor = async |user: &User| {
        user.query("{ viewer { syncCursor } }", json!({})).await.ok()["viewer"]["syncCursor"].take()
    };
    let (idle_cursor, other_cursor) = (cursor(&idle).await, cursor(&other).await);
    let mut sent = HashSet::new();
    for channel in &channels {
        sent.extend(send(&world.owner, channel, LONG / 8, &"long ".repeat(1_500)).await);
    }

    // These take nothing of what they missed.
    let mut idlers = Vec::new();
    for _ in 0..3 {
        let mut idler = Idler::open(&idle).await;
        idler.follow(ALL_EVENTS, json!({ "after": idle_cursor })).await;
        idlers.push(idler);
    }
    for _ in 0..3 {
        let socket = other.socket().await;
        let mut back = socket.subscribe(ALL_EVENTS, json!({ "after": other_cursor }));
        let told = messages(&mut back, sent.len()).await;
        assert_eq!(told.into_iter().collect::<HashSet<_>>(), sent);
    }
}
