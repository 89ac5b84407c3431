//! How a WebSocket begins and ends: tokens, subprotocols, close codes.

use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message, http::StatusCode, protocol::CloseFrame};

use super::{
    client::{OURS, Socket},
    connections::raw,
    toy::{SESSION, Server, USER, eventually},
};

#[tokio::test]
async fn subscribing_before_the_acknowledgement_is_4401() {
    let server = Server::start().await;
    let mut socket = Socket::silent(&server).await;
    socket.subscribe("1", "{ hello }").await;
    assert_eq!(socket.closed().await, 4401);
    // Also while the token is being checked.
    let mut socket = Socket::silent(&server).await;
    socket.say(json!({ "type": "connection_init", "payload": { "token": "slow" } })).await;
    socket.subscribe("1", "{ hello }").await;
    assert_eq!(socket.closed().await, 4401);
}

#[tokio::test]
async fn tokens_are_checked_at_the_start() {
    let server = Server::start().await;
    for (token, code) in [("forged", 4403), ("suspended", 4403), ("down", 1013)] {
        let mut socket = Socket::silent(&server).await;
        socket.say(json!({ "type": "connection_init", "payload": { "authorization": token } })).await;
        assert_eq!(socket.closed().await, code, "{token}");
    }
    let mut socket = Socket::silent(&server).await;
    socket.say(json!({ "type": "connection_init" })).await;
    assert_eq!(socket.hear().await["type"], "connection_ack");
    socket.subscribe("1", "{ viewer }").await;
    assert_eq!(socket.next("1").await, json!({ "data": { "viewer": null } }));
    // In the upgrade, for programs.
    let headers = |token: &'static str| [OURS[0], ("authorization", token)];
    let mut socket = Socket::with(&server, &headers("Bearer ada")).await.unwrap();
    socket.say(json!({ "type": "connection_init" })).await;
    socket.hear().await;
    socket.subscribe("1", "{ viewer }").await;
    assert_eq!(socket.next("1").await, json!({ "data": { "viewer": "ada" } }));
    match Socket::with(&server, &headers("Bearer forged")).await.err() {
        Some(Error::Http(response)) => assert_eq!(response.status(), StatusCode::UNAUTHORIZED),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn breaches_of_the_protocol_have_their_codes() {
    let server = Server::with_limits(|limits| limits.init_timeout = Duration::from_millis(150)).await;
    assert_eq!(Socket::silent(&server).await.closed().await, 4408);
    for message in [json!({ "type": "start" }), json!([]), json!({ "type": "subscribe", "id": "1" })] {
        let mut socket = Socket::open(&server, "ada").await;
        socket.say(message).await;
        assert_eq!(socket.closed().await, 4400);
    }
    let mut socket = Socket::open(&server, "ada").await;
    socket.0.send(Message::binary(b"{}".to_vec())).await.unwrap();
    assert_eq!(socket.closed().await, 4400);
    let mut socket = Socket::open(&server, "ada").await;
    socket.say(json!({ "type": "connection_init" })).await;
    assert_eq!(socket.closed().await, 4429);
    let mut socket = Socket::open(&server, "ada").await;
    socket.subscribe("1", "subscription { ticks }").await;
    socket.subscribe("1", "subscription { ticks }").await;
    assert_eq!(socket.closed_with().await, (4409, "Subscriber for 1 already exists".to_owned()));
    let mut socket = Socket::open(&server, "ada").await;
    let long = "a".repeat(200);
    socket.subscribe(&long, "subscription { ticks }").await;
    socket.subscribe(&long, "subscription { ticks }").await;
    assert_eq!(socket.closed().await, 4409);
}

#[tokio::test]
async fn other_subprotocols_are_4406_and_other_origins_are_refused() {
    let server = Server::start().await;
    for headers in [&[][..], &[("sec-websocket-protocol", "graphql-ws")]] {
        assert_eq!(Socket::with(&server, headers).await.unwrap().closed().await, 4406);
    }
    let both = [("sec-websocket-protocol", "graphql-ws, graphql-transport-ws")];
    let mut socket = Socket::with(&server, &both).await.unwrap();
    socket.say(json!({ "type": "connection_init" })).await;
    assert_eq!(socket.hear().await["type"], "connection_ack");
    match Socket::with(&server, &[OURS[0], ("origin", "https://evil.example")]).await.err() {
        Some(Error::Http(response)) => assert_eq!(response.status(), StatusCode::FORBIDDEN),
        other => panic!("{other:?}"),
    }
    let own = format!("http://{}", server.address);
    assert!(Socket::with(&server, &[OURS[0], ("origin", &own)]).await.is_ok());
}

#[tokio::test]
async fn a_socket_ends_with_its_token_and_its_session() {
    let server = Server::start().await;
    let mut socket = Socket::open(&server, "brief").await;
    assert_eq!(socket.closed().await, 4403);
    let mut socket = Socket::open(&server, "ada").await;
    assert_eq!(server.app.sessions().sessions(), [SESSION]);
    server.app.sessions().close_session(USER);
    server.app.sessions().close_session(SESSION);
    assert_eq!(socket.closed().await, 4403);
    let mut socket = Socket::open(&server, "ada").await;
    server.app.sessions().close_user(USER);
    assert_eq!(socket.closed().await, 4403);
    eventually(|| server.app.sessions().sessions().is_empty()).await;
}

#[tokio::test]
async fn the_subprotocol_is_told_under_the_name_that_the_client_wrote() {
    let server = Server::with_limits(|limits| limits.init_timeout = Duration::from_millis(50)).await;
    for name in ["Sec-WebSocket-Protocol", "sec-websocket-protocol"] {
        let request = format!(
            "GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{name}: graphql-ws, graphql-transport-ws\r\n\r\n"
        );
        let answer = raw(server.address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        assert!(answer.contains(&format!("\r\n{name}: graphql-transport-ws\r\n")), "{answer}");
    }
}

#[tokio::test]
async fn a_close_frame_of_the_client_is_answered() {
    let server = Server::start().await;
    for (code, answer) in [(None, 1005), (Some(1000), 1000), (Some(4499), 4499)] {
        let mut socket = Socket::open(&server, "ada").await;
        socket.subscribe("t", "subscription { ticks }").await;
        let frame = code.map(|code: u16| CloseFrame { code: code.into(), reason: "bye".into() });
        socket.0.send(Message::Close(frame)).await.unwrap();
        assert_eq!(socket.closed().await, answer);
    }
}

#[tokio::test]
async fn a_shutdown_closes_sockets_with_1001() {
    let mut server = Server::start().await;
    let mut socket = Socket::open(&server, "ada").await;
    socket.subscribe("t", "subscription { ticks }").await;
    let task = server.stop();
    assert_eq!(socket.closed().await, 1001);
    drop(socket);
    timeout(Duration::from_secs(3), task).await.unwrap().unwrap();
}
