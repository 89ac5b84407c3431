//! Access tokens that end while their connections go on.

use std::time::{Duration, SystemTime};

use quikapp_chat::entities::Timestamp;
use reqwest::Client;
use serde_json::{Value, json};

use super::{
    client::Socket,
    http::code,
    streams::{EVENTS, Items, PARTS, TICKS},
    toy::{SESSION, Server, eventually},
};

/// Of what stands at the end of `text`.
fn json_in(text: &str) -> Value {
    let at = text.find('{').unwrap_or_else(|| panic!("no JSON in {text:?}"));
    serde_json::from_str(&text[at..]).unwrap()
}

/// When the token ends that `announcement` is about.
fn end_in(announcement: &Value) -> i64 {
    assert_eq!(announcement["type"], "TOKEN_EXPIRING");
    Timestamp::parse_rfc3339(announcement["expiresAt"].as_str().unwrap()).unwrap().0
}

fn now() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// Sends a request with `token`, as any client does now and then.
async fn show(server: &Server, token: &str) {
    let url = server.url("/graphql?query=%7Bhello%7D");
    assert_eq!(Client::new().get(url).bearer_auth(token).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_newer_token_of_the_session_lets_a_socket_go_on_without_a_gap() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server, "short").await;
    socket.subscribe("t", TICKS).await;
    // Less than a minute is left, so it is announced at once.
    let announcement = socket.hear().await;
    assert_eq!(announcement["type"], "ping");
    let end = end_in(&announcement["payload"]);
    assert!(end > now() && end < now() + 2_000);
    socket.say(json!({ "type": "pong", "payload": announcement["payload"] })).await;
    show(&server, "ada").await;
    let mut expected = 0;
    while now() < end + 300 {
        assert_eq!(socket.next("t").await, json!({ "data": { "ticks": expected } }));
        expected += 1;
    }
    // An older token that comes late shortens nothing.
    show(&server, "short").await;
    socket.say(json!({ "type": "ping" })).await;
    while socket.hear().await["type"] != "pong" {}
}

#[tokio::test]
async fn a_newer_token_of_the_session_lets_streams_go_on_without_a_gap() {
    let server = Server::start().await;
    for accept in [EVENTS, PARTS] {
        let mut items = Items::open(&server, accept, "short", TICKS).await;
        let announcement = items.next().await.unwrap();
        let end = if accept == EVENTS {
            assert!(announcement.starts_with(": {"), "{announcement}");
            end_in(&json_in(&announcement))
        } else {
            end_in(&json_in(&announcement)["extensions"])
        };
        show(&server, "ada").await;
        let mut expected = 0;
        while now() < end + 300 {
            let item = json_in(&items.next().await.unwrap());
            let ticks = if accept == EVENTS { &item["data"] } else { &item["payload"]["data"] };
            assert_eq!(*ticks, json!({ "ticks": expected }));
            expected += 1;
        }
        drop(items);
        eventually(|| server.app.sessions().sessions().is_empty()).await;
    }
}

#[tokio::test]
async fn tokens_of_others_renew_nothing() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server, "short").await;
    let mut items = Items::open(&server, EVENTS, "short", TICKS).await;
    show(&server, "bob").await;
    let forged = Client::new().get(server.url("/graphql?query=%7Bhello%7D")).bearer_auth("forged");
    assert_eq!(forged.send().await.unwrap().status(), 401);
    assert_eq!(socket.closed().await, 4403);
    assert_eq!(code(&items.last_word().await.0), "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_token_is_announced_in_time_and_once() {
    let server = Server::with_limits(|limits| limits.token_notice = Duration::from_millis(500)).await;
    let mut socket = Socket::open(&server, "short").await;
    let opened = now();
    let announcement = socket.hear().await;
    let end = end_in(&announcement["payload"]);
    assert!(now() >= end - 500 && now() > opened + 500, "too early: {} before", end - now());
    // The store tells of a refresh on another node; then that end is announced as well.
    server.app.sessions().renew(SESSION, Timestamp(end + 700));
    assert_eq!(end_in(&socket.hear().await["payload"]), end + 700);
    assert!(now() >= end + 200);
    server.app.sessions().renew(SESSION, Timestamp(end));
    assert_eq!(socket.closed().await, 4403);
    assert!(now() >= end + 700);
}
