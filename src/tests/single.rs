//! GraphQL over SSE with a single connection.

#![allow(clippy::needless_pass_by_value, reason = "JSON is written where it is expected")]

use std::{sync::atomic::Ordering, time::Duration};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    http::{JSON, code, read},
    streams::{EVENTS, Items, TICKS},
    toy::{SESSION, Server, eventually},
};

const TOKEN: &str = "x-graphql-event-stream-token";

fn request(server: &Server, method: Method, path: &str, stream: &str) -> RequestBuilder {
    Client::new().request(method, server.url(path)).header(TOKEN, stream).bearer_auth("ada")
}

fn operation(id: &Value, document: &str) -> String {
    json!({ "query": document, "extensions": { "operationId": id } }).to_string()
}

fn start(server: &Server, stream: &str, id: &str, document: &str) -> RequestBuilder {
    let request = request(server, Method::POST, "/graphql", stream).header("content-type", JSON);
    request.body(operation(&json!(id), document))
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.unwrap().status()
}

async fn reserve(server: &Server) -> String {
    let response = Client::new().put(server.url("/graphql")).bearer_auth("ada").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(response.headers()["cache-control"], "no-store");
    response.text().await.unwrap()
}

fn connect(server: &Server, stream: &str) -> RequestBuilder {
    Client::new().get(server.url("/graphql")).header(TOKEN, stream).header("accept", EVENTS)
}

#[tokio::test]
async fn a_type_without_a_body_does_not_matter_to_a_reservation() {
    let server = Server::start().await;
    let request = || {
        Client::new()
            .put(server.url("/graphql"))
            .bearer_auth("ada")
            .header("content-type", "application/json")
    };
    assert_eq!(request().send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(request().body("{}").send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

/// A reserved stream and its open answer.
async fn open(server: &Server) -> (String, Items) {
    let stream = reserve(server).await;
    let response = connect(server, &stream).send().await.unwrap();
    (stream, Items::of(response, EVENTS).await)
}

/// The kind of the next event and its data, signs of life left out.
async fn event(items: &mut Items) -> (String, Value) {
    loop {
        let item = items.next().await.expect("the stream has ended");
        let Some(rest) = item.strip_prefix("event: ") else { continue };
        let (kind, data) = rest.split_once("\ndata: ").unwrap_or_else(|| panic!("{item:?}"));
        return (kind.to_owned(), serde_json::from_str(data).unwrap());
    }
}

fn next(id: &str, data: Value) -> (String, Value) {
    ("next".into(), json!({ "id": id, "payload": { "data": data } }))
}

fn complete(id: &str) -> (String, Value) {
    ("complete".into(), json!({ "id": id }))
}

#[tokio::test]
async fn operations_share_a_stream() {
    let server = Server::start().await;
    let (stream, mut items) = open(&server).await;
    for (id, document, data) in [
        ("q", "{ viewer }", json!({ "viewer": "ada" })),
        ("m", "mutation { write }", json!({ "write": true })),
        ("s", "subscription { count(to: 1) }", json!({ "count": 1 })),
        // The id is free again. Items with a cursor have no event id here.
        ("s", "subscription { log(to: 1) { cursor } }", json!({ "log": { "cursor": "c1" } })),
    ] {
        let response = start(&server, &stream, id, document).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{document}");
        assert_eq!(response.text().await.unwrap(), "");
        assert_eq!(event(&mut items).await, next(id, data));
        assert_eq!(event(&mut items).await, complete(id));
    }
    let query = "/graphql?query=%7Bviewer%7D&extensions=%7B%22operationId%22:%22g%22%7D";
    assert_eq!(status(request(&server, Method::GET, query, &stream)).await, StatusCode::ACCEPTED);
    assert_eq!(event(&mut items).await, next("g", json!({ "viewer": "ada" })));
    assert_eq!(event(&mut items).await, complete("g"));
    for id in ["a", "b"] {
        assert_eq!(status(start(&server, &stream, id, TICKS)).await, StatusCode::ACCEPTED);
    }
    let mut seen = [0, 0];
    while seen.iter().any(|seen| *seen < 5) {
        let (kind, data) = event(&mut items).await;
        let of = usize::from(data["id"] == "b");
        assert_eq!((kind.as_str(), &data["payload"]["data"]["ticks"]), ("next", &json!(seen[of])));
        seen[of] += 1;
    }
    assert_eq!(server.seen.open.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn nothing_follows_a_delete() {
    let server = Server::start().await;
    let (stream, mut items) = open(&server).await;
    start(&server, &stream, "t", TICKS).send().await.unwrap();
    event(&mut items).await;
    for _ in 0..2 {
        let response =
            request(&server, Method::DELETE, "/graphql?operationId=t", &stream).send().await.unwrap();
        assert_eq!((response.status(), response.text().await.unwrap().as_str()), (StatusCode::OK, ""));
    }
    eventually(|| server.seen.open.load(Ordering::SeqCst) == 0).await;
    // What was on its way may still come, nothing behind the answer to a later operation.
    start(&server, &stream, "q", "{ hello }").send().await.unwrap();
    while event(&mut items).await != complete("q") {}
    start(&server, &stream, "t", "{ hello }").send().await.unwrap();
    assert_eq!(event(&mut items).await, next("t", json!({ "hello": "hello " })));
    assert_eq!(event(&mut items).await, complete("t"));
    // One that is stopped while it is executed is not told at all.
    let slow = start(&server, &stream, "slow", "{ slow(milliseconds: 300) }").send();
    let slow = tokio::spawn(slow);
    eventually(|| server.app.reservations.is_running(&stream, "slow")).await;
    request(&server, Method::DELETE, "/graphql?operationId=slow", &stream).send().await.unwrap();
    assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::NO_CONTENT);
    start(&server, &stream, "last", "{ hello }").send().await.unwrap();
    assert_eq!(event(&mut items).await.1["id"], "last");
}

#[tokio::test]
async fn what_is_refused_has_a_status_and_leaves_the_id_free() {
    let server = Server::with_limits(|limits| limits.operations_per_socket = 2).await;
    let (stream, mut items) = open(&server).await;
    let refused = async |request: RequestBuilder, expected: StatusCode, name: &str| {
        let (status, body) = read(request.send().await.unwrap()).await;
        assert_eq!((status, code(&body)), (expected, name), "{body}");
        assert!(body.get("data").is_none());
    };
    let bad = StatusCode::BAD_REQUEST;
    for document in ["{", "{ missing }", "subscription { missing }", "query($n: Int!) { hello(times: $n) }"] {
        refused(start(&server, &stream, "1", document), bad, "BAD_REQUEST").await;
    }
    let post = request(&server, Method::POST, "/graphql", &stream).header("content-type", JSON);
    for id in [json!(null), json!(""), json!(1), json!("x".repeat(257))] {
        let post = post.try_clone().unwrap().body(operation(&id, "{ hello }"));
        refused(post, bad, "BAD_REQUEST").await;
    }
    let plain = request(&server, Method::POST, "/graphql", &stream).header("content-type", "text/plain");
    let plain = plain.body(operation(&json!("1"), "{ hello }"));
    refused(plain, StatusCode::UNSUPPORTED_MEDIA_TYPE, "BAD_REQUEST").await;
    let path = "/graphql?query=mutation%7Bwrite%7D&extensions=%7B%22operationId%22:%22g%22%7D";
    let mutation = request(&server, Method::GET, path, &stream);
    refused(mutation, StatusCode::METHOD_NOT_ALLOWED, "BAD_REQUEST").await;
    let nameless = request(&server, Method::DELETE, "/graphql", &stream);
    refused(nameless, bad, "BAD_REQUEST").await;
    let html = Client::new().put(server.url("/graphql")).bearer_auth("ada").header("accept", "text/html");
    refused(html, StatusCode::NOT_ACCEPTABLE, "BAD_REQUEST").await;

    // A source that cannot be opened is known at once here; one that takes a while is told on the stream.
    refused(start(&server, &stream, "1", "subscription { refused }"), bad, "NOT_FOUND").await;
    start(&server, &stream, "1", "{ secret }").send().await.unwrap();
    let (kind, data) = event(&mut items).await;
    assert_eq!((kind.as_str(), code(&data["payload"])), ("next", "INTERNAL"));
    assert_eq!(event(&mut items).await, complete("1"));

    for id in ["1", "2"] {
        assert_eq!(status(start(&server, &stream, id, "subscription { never }")).await, StatusCode::ACCEPTED);
    }
    refused(start(&server, &stream, "1", "{ hello }"), StatusCode::CONFLICT, "CONFLICT").await;
    let third = start(&server, &stream, "3", "{ hello }");
    refused(third, StatusCode::TOO_MANY_REQUESTS, "QUOTA_EXCEEDED").await;
    assert_eq!(server.seen.done.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_stream_belongs_to_its_session() {
    let server = Server::start().await;
    let stream = reserve(&server).await;
    let (post, delete) = ((Method::POST, "/graphql"), (Method::DELETE, "/graphql?operationId=1"));
    let of = |(method, path): &(Method, &str), stream: &str, token: Option<&str>| {
        let request = Client::new().request(method.clone(), server.url(path)).header(TOKEN, stream);
        let request = request.header("content-type", JSON).body(operation(&json!("1"), "{ hello }"));
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    };
    for request in [&post, &delete] {
        assert_eq!(status(of(request, &stream, Some("bob"))).await, StatusCode::NOT_FOUND);
        assert_eq!(status(of(request, "unknown", Some("ada"))).await, StatusCode::NOT_FOUND);
        assert_eq!(status(of(request, &stream, None)).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(of(request, &stream, Some("forged"))).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(status(Client::new().put(server.url("/graphql"))).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(connect(&server, &stream).bearer_auth("bob")).await, StatusCode::NOT_FOUND);
    assert_eq!(status(connect(&server, &stream).bearer_auth("forged")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(connect(&server, "unknown")).await, StatusCode::NOT_FOUND);
    // An `EventSource` has nothing but the address.
    let url = server.url(&format!("/graphql?token={stream}"));
    let response = Client::new().get(url).header("accept", EVENTS).send().await.unwrap();
    let mut items = Items::of(response, EVENTS).await;
    for token in [None, Some("ada")] {
        let again = connect(&server, &stream);
        let again = if let Some(token) = token { again.bearer_auth(token) } else { again };
        assert_eq!(status(again).await, StatusCode::CONFLICT);
    }
    assert_eq!(status(of(&post, &stream, Some("ada"))).await, StatusCode::ACCEPTED);
    assert_eq!(event(&mut items).await, next("1", json!({ "hello": "hello " })));
}

#[tokio::test]
async fn a_stream_waits_for_its_client_but_not_for_ever() {
    let server = Server::with_limits(|limits| limits.init_timeout = Duration::from_millis(600)).await;
    let stream = reserve(&server).await;
    for id in ["1", "2"] {
        assert_eq!(
            status(start(&server, &stream, id, "subscription { count(to: 20) }")).await,
            StatusCode::ACCEPTED
        );
    }
    let response = connect(&server, &stream).send().await.unwrap();
    let mut items = Items::of(response, EVENTS).await;
    let mut ended = 0;
    let mut seen = [0, 0];
    while ended < 2 {
        let (kind, data) = event(&mut items).await;
        let of = usize::from(data["id"] == "2");
        if kind == "complete" {
            assert_eq!(seen[of], 20);
            ended += 1;
        } else {
            seen[of] += 1;
            assert_eq!(data["payload"]["data"]["count"], seen[of]);
        }
    }
    let forgotten = reserve(&server).await;
    start(&server, &forgotten, "t", TICKS).send().await.unwrap();
    eventually(|| server.app.sessions().connections().len() == 1).await;
    eventually(|| server.seen.open.load(Ordering::SeqCst) == 0).await;
    assert_eq!(status(connect(&server, &forgotten)).await, StatusCode::NOT_FOUND);
    assert_eq!(status(start(&server, &forgotten, "1", "{ hello }")).await, StatusCode::NOT_FOUND);
    // The one that was connected to in time goes on.
    start(&server, &stream, "q", "{ hello }").send().await.unwrap();
    assert_eq!(event(&mut items).await.1["id"], "q");
}

#[tokio::test]
async fn a_stream_tells_each_operation_why_it_ends() {
    let mut server = Server::start().await;
    let told = async |items: &mut Items, expected: &str| {
        let mut ended = Vec::new();
        while ended.len() < 2 {
            let (kind, data) = event(items).await;
            if kind == "complete" {
                ended.push(data["id"].as_str().unwrap().to_owned());
            } else if data["payload"]["errors"].is_array() {
                assert_eq!(code(&data["payload"]), expected);
            }
        }
        ended.sort();
        assert_eq!(ended, ["n", "t"]);
        assert_eq!(items.next().await, None);
    };
    let (stream, mut items) = open(&server).await;
    for (id, document) in [("t", TICKS), ("n", "subscription { never }")] {
        start(&server, &stream, id, document).send().await.unwrap();
    }
    server.app.sessions().close_session(SESSION);
    told(&mut items, "UNAUTHENTICATED").await;
    assert_eq!(status(start(&server, &stream, "1", "{ hello }")).await, StatusCode::NOT_FOUND);
    eventually(|| server.seen.open.load(Ordering::SeqCst) == 0).await;

    let (stream, mut items) = open(&server).await;
    for (id, document) in [("t", TICKS), ("n", "subscription { never }")] {
        start(&server, &stream, id, document).send().await.unwrap();
    }
    let _reserved = reserve(&server).await;
    let task = server.stop();
    told(&mut items, "UNAVAILABLE").await;
    timeout(Duration::from_secs(3), task).await.unwrap().unwrap();
}

#[tokio::test]
async fn operations_end_when_the_client_of_the_stream_goes() {
    let server = Server::start().await;
    let (stream, items) = open(&server).await;
    start(&server, &stream, "t", TICKS).send().await.unwrap();
    eventually(|| server.seen.open.load(Ordering::SeqCst) == 1).await;
    drop(items);
    eventually(|| server.seen.open.load(Ordering::SeqCst) == 0).await;
    eventually(|| server.app.sessions().connections().is_empty()).await;
    assert_eq!(status(start(&server, &stream, "1", "{ hello }")).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let server = Server::with_limits(|limits| limits.write_timeout = Duration::from_millis(400)).await;
    let stream = reserve(&server).await;
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    let head = format!("GET /graphql?token={stream} HTTP/1.1\r\nHost: x\r\nAccept: {EVENTS}\r\n\r\n");
    connection.write_all(head.as_bytes()).await.unwrap();
    let response: Response = start(&server, &stream, "f", "subscription { flood }").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let gone = async {
        while !server.app.sessions().connections().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.expect("it goes on without a reader");
    let mut sent = Vec::new();
    let _ =
        timeout(Duration::from_secs(5), connection.read_to_end(&mut sent)).await.expect("it was not closed");
    assert!(!String::from_utf8_lossy(&sent).contains("event: complete"));
}
