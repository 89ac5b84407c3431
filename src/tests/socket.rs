//! Operations over WebSocket.

use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

use futures_util::StreamExt;
use serde_json::json;
use tokio::time::timeout;

use super::{
    client::Socket,
    toy::{Server, eventually},
};

#[tokio::test]
async fn operations_of_all_kinds_run_side_by_side() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server, "ada").await;
    socket.subscribe("s", "subscription { count(to: 3) }").await;
    for n in 1..=3 {
        assert_eq!(socket.next("s").await, json!({ "data": { "count": n } }));
    }
    socket.complete("s").await;
    // The root field may stand in fragments.
    for document in [
        "subscription { ...F } fragment F on Live { count(to: 1) }",
        "subscription { ... on Live { ... { count(to: 1) } } count(to: 1) }",
    ] {
        socket.subscribe("s", document).await;
        assert_eq!(socket.next("s").await, json!({ "data": { "count": 1 } }));
        socket.complete("s").await;
    }
    // The id is free again.
    socket.subscribe("s", "{ viewer }").await;
    assert_eq!(socket.next("s").await, json!({ "data": { "viewer": "ada" } }));
    socket.complete("s").await;
    socket.subscribe("m", "mutation { write }").await;
    assert_eq!(socket.next("m").await, json!({ "data": { "write": true } }));
    socket.complete("m").await;
    socket.subscribe("v", "subscription { viewer }").await;
    assert_eq!(socket.next("v").await, json!({ "data": { "viewer": "ada" } }));
    socket.complete("v").await;
    // A failing field is a result.
    socket.subscribe("f", "{ secret }").await;
    let payload = socket.next("f").await;
    assert_eq!(payload["data"], json!({ "secret": null }));
    assert_eq!(payload["errors"][0]["message"], "internal error");
    socket.complete("f").await;
}

#[tokio::test]
async fn what_is_not_executed_is_an_error_message_and_the_last_one() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server, "ada").await;
    for (query, code) in [
        ("{ missing }", "BAD_REQUEST"),
        ("subscription { missing }", "BAD_REQUEST"),
        ("{", "BAD_REQUEST"),
        ("subscription { count(to: 1) viewer }", "BAD_REQUEST"),
        ("subscription { ...F } fragment F on Live { count(to: 1) viewer }", "BAD_REQUEST"),
        ("subscription { ...F } fragment F on Query { hello }", "BAD_REQUEST"),
        ("subscription { count(to: 1) @skip(if: true) }", "BAD_REQUEST"),
        ("subscription($n: Int!) { count(to: $n) }", "BAD_REQUEST"),
        ("{ ...a } fragment a on Query { ...a }", "BAD_REQUEST"),
        ("subscription { refused }", "NOT_FOUND"),
        ("{ panic }", "INTERNAL"),
    ] {
        socket.subscribe("1", query).await;
        let message = socket.hear().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!("1")), "{query}: {message}");
        assert_eq!(message["payload"][0]["extensions"]["code"], code, "{query}: {message}");
        assert!(message["payload"][0]["extensions"]["requestId"].is_string());
    }
    socket.subscribe("1", "{ hello }").await;
    assert_eq!(socket.next("1").await, json!({ "data": { "hello": "hello " } }));
}

#[tokio::test]
async fn nothing_follows_a_complete_of_the_client() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server, "ada").await;
    socket.subscribe("t", "subscription { ticks }").await;
    socket.next("t").await;
    assert_eq!(server.seen.open.load(Ordering::SeqCst), 1);
    socket.say(json!({ "type": "complete", "id": "t" })).await;
    socket.say(json!({ "type": "complete", "id": "unknown" })).await;
    // What was written before the server read it may still come, nothing behind the pong.
    socket.say(json!({ "type": "ping", "payload": { "n": 1 } })).await;
    loop {
        let message = socket.hear().await;
        if message["type"] == "pong" {
            assert_eq!(message["payload"], json!({ "n": 1 }));
            break;
        }
        assert_eq!(message["type"], "next");
    }
    assert!(timeout(Duration::from_millis(100), socket.0.next()).await.is_err());
    eventually(|| server.seen.open.load(Ordering::SeqCst) == 0).await;
    socket.subscribe("t", "subscription { ticks }").await;
    assert_eq!(socket.next("t").await, json!({ "data": { "ticks": 0 } }));
}

#[tokio::test]
async fn a_closed_socket_ends_its_streams_and_not_its_mutations() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server, "ada").await;
    socket.subscribe("t", "subscription { ticks }").await;
    socket.next("t").await;
    socket.subscribe("m", "mutation { write(milliseconds: 200) }").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(socket);
    eventually(|| server.seen.open.load(Ordering::SeqCst) == 0).await;
    eventually(|| server.seen.done.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_busy_stream_starves_no_other() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server, "ada").await;
    socket.subscribe("flood", "subscription { flood }").await;
    socket.next("flood").await;
    for n in 0..3 {
        socket.subscribe(&format!("q{n}"), "{ hello }").await;
    }
    let mut counts: HashMap<String, usize> = HashMap::new();
    while counts.len() < 4 && counts.values().sum::<usize>() < 5_000 {
        let message = socket.hear().await;
        *counts.entry(message["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(counts.len(), 4, "{counts:?}");
}

#[tokio::test]
async fn messages_and_operations_have_limits() {
    let server = Server::with_limits(|limits| {
        limits.message_bytes = 2_000;
        limits.operations_per_socket = 2;
    })
    .await;
    let mut socket = Socket::open(&server, "ada").await;
    for id in ["1", "2"] {
        socket.subscribe(id, "{ slow(milliseconds: 300) }").await;
    }
    socket.subscribe("3", "{ hello }").await;
    let message = socket.hear().await;
    assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!("3")));
    assert_eq!(message["payload"][0]["extensions"]["code"], "QUOTA_EXCEEDED");
    for _ in 0..4 {
        socket.hear().await;
    }
    socket.subscribe("3", "{ hello }").await;
    socket.next("3").await;
    socket.complete("3").await;
    socket.subscribe("4", &"#".repeat(3_000)).await;
    assert_eq!(socket.closed().await, 1009);
}

#[tokio::test]
async fn living_peers_are_pinged_and_dead_ones_dropped() {
    let server = Server::with_limits(|limits| limits.ping_interval = Duration::from_millis(50)).await;
    let mut living = Socket::open(&server, "ada").await;
    // Reading answers pings.
    assert!(timeout(Duration::from_millis(400), living.frame()).await.is_err());
    living.subscribe("1", "{ hello }").await;
    living.next("1").await;
    let mut dead = Socket::open(&server, "ada").await;
    // Nobody reads, so nobody answers.
    eventually(|| server.app.sessions().sessions().is_empty()).await;
    assert_eq!(dead.closed().await, 1008);
}
