//! Subscriptions over HTTP: events and parts.

use std::{sync::atomic::Ordering, time::Duration};

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    client::Socket,
    http::{JSON, code, query, read},
    toy::{SESSION, Server, USER, eventually},
};

pub(super) const EVENTS: &str = "text/event-stream";
pub(super) const PARTS: &str = "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0,application/json";
pub(super) const TICKS: &str = "subscription { ticks }";

fn request(server: &Server, accept: &str, document: &str) -> RequestBuilder {
    let request = Client::new().post(server.url("/graphql")).header("content-type", JSON);
    request.header("accept", accept).body(query(document))
}

async fn text(request: RequestBuilder) -> String {
    timeout(Duration::from_secs(5), request.send().await.unwrap().text()).await.unwrap().unwrap()
}

/// An open stream that is cut into its items.
pub(super) struct Items {
    response: Response,
    rest: String,
    delimiter: &'static str,
}

impl Items {
    pub(super) async fn open(server: &Server, accept: &str, token: &str, document: &str) -> Self {
        let response = request(server, accept, document).bearer_auth(token).send().await.unwrap();
        Self::of(response, accept).await
    }

    pub(super) async fn of(response: Response, accept: &str) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        let delimiter = if accept == EVENTS { "\n\n" } else { "\r\n--graphql" };
        let mut items = Self { response, rest: String::new(), delimiter };
        assert_eq!(items.next().await.as_deref(), Some(if accept == EVENTS { ":" } else { "" }));
        items
    }

    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((item, rest)) = self.rest.split_once(self.delimiter) {
                let (item, rest) = (item.to_owned(), rest.to_owned());
                self.rest = rest;
                return Some(item);
            }
            let chunk = timeout(Duration::from_secs(5), self.response.chunk()).await.expect("nothing came");
            self.rest += std::str::from_utf8(&chunk.unwrap()?).unwrap();
        }
    }

    /// Skips what is before the server's last word; gives its errors, and how the stream ended.
    pub(super) async fn last_word(&mut self) -> (Value, String) {
        loop {
            let item = self.next().await.expect("the end came without a word");
            let body: Value = match item.split_once(['{']) {
                Some((_, body)) => serde_json::from_str(&format!("{{{body}")).unwrap(),
                None => continue,
            };
            if body["errors"].is_array() {
                let mut end = String::new();
                while let Some(item) = self.next().await {
                    end += &item;
                }
                return (body, end + &self.rest);
            }
        }
    }
}

#[tokio::test]
async fn events_are_told_one_by_one() {
    let server = Server::start().await;
    let response = request(&server, EVENTS, "subscription { count(to: 2) }")
        .header("accept-encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(
        (&headers["cache-control"], &headers["x-accel-buffering"]),
        (&"no-cache".parse().unwrap(), &"no".parse().unwrap())
    );
    assert!(!headers.contains_key("content-encoding") && headers.contains_key("x-request-id"));
    assert_eq!(
        response.text().await.unwrap(),
        ":\n\nevent: next\ndata: {\"data\":{\"count\":1}}\n\nevent: next\ndata: {\"data\":{\"count\":2}}\n\n\
         event: complete\ndata: \n\n"
    );
}

#[tokio::test]
async fn parts_are_whole_when_they_come() {
    let server = Server::start().await;
    let response = request(&server, PARTS, "subscription { count(to: 2) }").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["content-type"],
        "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0"
    );
    assert_eq!(
        response.text().await.unwrap(),
        "\r\n--graphql\r\nContent-Type: application/json\r\n\r\n{\"payload\":{\"data\":{\"count\":1}}}\
         \r\n--graphql\r\nContent-Type: application/json\r\n\r\n{\"payload\":{\"data\":{\"count\":2}}}\
         \r\n--graphql--\r\n"
    );
    let mut ticks = Items::open(&server, PARTS, "ada", TICKS).await;
    let part = |n| {
        format!("\r\nContent-Type: application/json\r\n\r\n{{\"payload\":{{\"data\":{{\"ticks\":{n}}}}}}}")
    };
    for n in 0..3 {
        assert_eq!(ticks.next().await, Some(part(n)));
    }
}

#[tokio::test]
async fn queries_and_mutations_are_streams_of_one() {
    let server = Server::start().await;
    assert_eq!(
        text(request(&server, EVENTS, "{ hello }")).await,
        ":\n\nevent: next\ndata: {\"data\":{\"hello\":\"hello \"}}\n\nevent: complete\ndata: \n\n"
    );
    let answer = text(request(&server, EVENTS, "mutation { write }")).await;
    assert!(
        answer.contains("{\"data\":{\"write\":true}}") && answer.ends_with("event: complete\ndata: \n\n"),
        "{answer}"
    );
    assert_eq!(server.seen.done.load(Ordering::SeqCst), 1);
    // Apollo's clients send the same header with everything that may be a subscription, and read plain answers.
    assert_eq!(text(request(&server, PARTS, "{ hello }")).await, "{\"data\":{\"hello\":\"hello \"}}");
    let only = "multipart/mixed;subscriptionSpec=1.0";
    assert!(
        text(request(&server, only, "{ hello }"))
            .await
            .ends_with("{\"payload\":{\"data\":{\"hello\":\"hello \"}}}\r\n--graphql--\r\n")
    );
}

#[tokio::test]
async fn an_event_source_subscribes_with_get_and_changes_nothing() {
    let server = Server::start().await;
    let get = async |document: &str| {
        let url = url::Url::parse_with_params(&server.url("/graphql"), [("query", document)]).unwrap();
        Client::new().get(url).header("accept", EVENTS).send().await.unwrap()
    };
    let answer = get("subscription { count(to: 1) }").await.text().await.unwrap();
    assert_eq!(answer, ":\n\nevent: next\ndata: {\"data\":{\"count\":1}}\n\nevent: complete\ndata: \n\n");
    let response = get("mutation { write }").await;
    assert_eq!(response.headers()["allow"], "POST");
    assert_eq!(read(response).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(server.seen.done.load(Ordering::SeqCst), 0);
    // A form of another origin cannot say more than this.
    let request = Client::new().post(server.url("/graphql")).header("accept", EVENTS);
    let response = request.header("content-type", "text/plain").body(query(TICKS)).send().await.unwrap();
    assert_eq!(read(response).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn refused_requests_have_a_status_and_refused_documents_an_event() {
    let server = Server::start().await;
    for body in ["", "{", "{}", "[]", r#"{"query":1}"#] {
        let response = request(&server, EVENTS, "").body(body).send().await.unwrap();
        let (status, answer) = read(response).await;
        assert_eq!((status, code(&answer)), (StatusCode::BAD_REQUEST, "BAD_REQUEST"), "{body}");
    }
    for accept in [EVENTS, PARTS] {
        let response = request(&server, accept, TICKS).bearer_auth("forged").send().await.unwrap();
        assert!(response.headers().contains_key("www-authenticate"));
        let (status, answer) = read(response).await;
        assert_eq!((status, code(&answer)), (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"));
    }
    for (document, expected) in [
        ("subscription {", "BAD_REQUEST"),
        ("subscription { missing }", "BAD_REQUEST"),
        ("subscription { ticks again: ticks }", "BAD_REQUEST"),
        ("subscription { refused }", "NOT_FOUND"),
        (&"{a".repeat(20_000), "TOO_COSTLY"),
    ] {
        let answer = text(request(&server, EVENTS, document)).await;
        let data = answer.strip_prefix(":\n\nevent: next\ndata: ").unwrap();
        let data = data.strip_suffix("\n\nevent: complete\ndata: \n\n").unwrap();
        let body: Value = serde_json::from_str(data).unwrap();
        assert_eq!((code(&body), body.get("data")), (expected, None), "{answer}");
    }
    // A client of parts reads JSON as well, and gets what could be refused before the stream began in that.
    let (status, body) = read(request(&server, PARTS, "subscription {").send().await.unwrap()).await;
    assert_eq!((status, code(&body)), (StatusCode::OK, "BAD_REQUEST"));
    let answer = text(request(&server, PARTS, "subscription { refused }")).await;
    assert!(
        answer.contains("{\"payload\":{\"errors\":[{") && answer.ends_with("\r\n--graphql--\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event() {
    let server = Server::start().await;
    let whole = text(request(&server, EVENTS, "subscription { log(to: 2) { cursor n } }")).await;
    assert!(
        whole.starts_with(
            ":\n\nevent: next\nid: c1\ndata: {\"data\":{\"log\":{\"cursor\":\"c1\",\"n\":1}}}\n\n"
        ),
        "{whole}"
    );
    for (document, variables) in [
        ("subscription { log(to: 3) { n } }", json!({})),
        ("subscription { log(to: 3, after: \"c0\") { n } }", json!({})),
        ("subscription { log(to: 3, after: null) { n } }", json!({})),
        ("subscription($after: String) { log(to: 3, after: $after) { n } }", json!({})),
        ("subscription($from: String = \"c0\") { log(to: 3, after: $from) { n } }", json!({ "from": "c1" })),
        ("subscription { ...F } fragment F on Live { log(to: 3) { n } }", json!({})),
        ("subscription A { ticks } subscription B { log(to: 3) { n } }", json!({})),
    ] {
        let name = document.contains(" A {").then_some("B");
        let body = json!({ "query": document, "variables": variables, "operationName": name }).to_string();
        let answer = text(request(&server, EVENTS, "").header("last-event-id", "c2").body(body)).await;
        assert_eq!(
            answer, ":\n\nevent: next\ndata: {\"data\":{\"log\":{\"n\":3}}}\n\nevent: complete\ndata: \n\n",
            "{document}"
        );
    }
    // What cannot go on says so.
    let answer = text(request(&server, EVENTS, TICKS).header("last-event-id", "c2")).await;
    assert!(answer.contains("BAD_REQUEST"), "{answer}");
    let long = "c".repeat(65_537);
    let (status, _) =
        read(request(&server, EVENTS, TICKS).header("last-event-id", &long).send().await.unwrap()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let answer = text(request(&server, EVENTS, "{ hello }").header("last-event-id", &long[1..])).await;
    assert!(answer.contains("hello"), "a query has nothing to go on after: {answer}");
}

#[tokio::test]
async fn quiet_streams_show_signs_of_life() {
    let server = Server::with_limits(|limits| {
        limits.event_heartbeat = Duration::from_millis(50);
        limits.part_heartbeat = Duration::from_millis(50);
    })
    .await;
    let mut events = Items::open(&server, EVENTS, "ada", "subscription { never }").await;
    let mut parts = Items::open(&server, PARTS, "ada", "subscription { never }").await;
    for _ in 0..3 {
        assert_eq!(events.next().await.as_deref(), Some(":"));
        assert_eq!(parts.next().await.as_deref(), Some("\r\nContent-Type: application/json\r\n\r\n{}"));
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token_its_session_its_user_and_its_server() {
    let mut server = Server::start().await;
    for accept in [EVENTS, PARTS] {
        let end = if accept == EVENTS { "event: complete\ndata: " } else { "--\r\n" };
        let mut brief = Items::open(&server, accept, "brief", TICKS).await;
        let (body, last) = brief.last_word().await;
        assert_eq!((code(&body), last.as_str()), ("UNAUTHENTICATED", end));
        assert_eq!(body.get("payload").is_some(), accept == PARTS);
        let mut ended = Items::open(&server, accept, "ada", TICKS).await;
        assert_eq!(server.app.sessions().sessions(), [SESSION]);
        assert_eq!(server.app.sessions().connections().len(), 1);
        server.app.sessions().close_session(SESSION);
        let (body, last) = ended.last_word().await;
        assert_eq!((code(&body), last.as_str()), ("UNAUTHENTICATED", end));
        let mut ended = Items::open(&server, accept, "ada", TICKS).await;
        server.app.sessions().close_user(USER);
        assert_eq!(code(&ended.last_word().await.0), "UNAUTHENTICATED");
        eventually(|| server.app.sessions().sessions().is_empty()).await;
    }
    let mut events = Items::open(&server, EVENTS, "ada", TICKS).await;
    let mut parts = Items::open(&server, PARTS, "ada", TICKS).await;
    let task = server.stop();
    for items in [&mut events, &mut parts] {
        let (body, _) = items.last_word().await;
        assert_eq!(
            (code(&body), &body["errors"][0]["extensions"]["retryable"]),
            ("UNAVAILABLE", &json!(true))
        );
    }
    timeout(Duration::from_secs(3), task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_ends_when_its_client_goes() {
    let server = Server::start().await;
    let mut items = Items::open(&server, EVENTS, "ada", TICKS).await;
    items.next().await;
    assert_eq!(server.seen.open.load(Ordering::SeqCst), 1);
    let metrics = Client::new().get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("quikapp_streams 1\n"), "{metrics}");
    assert!(metrics.contains("quikapp_operations_total{type=\"subscription\"} 1\n"), "{metrics}");
    drop(items);
    eventually(|| server.seen.open.load(Ordering::SeqCst) == 0).await;
    let quiet = Items::open(&server, PARTS, "ada", "subscription { never }").await;
    drop(quiet);
    eventually(|| server.app.sessions().sessions().is_empty()).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_stream_up_and_is_cut_off() {
    let server = Server::with_limits(|limits| limits.write_timeout = Duration::from_millis(400)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let body = query("subscription { flood }");
    let head = format!(
        "POST /graphql HTTP/1.1\r\nHost: x\r\nAccept: {EVENTS}\r\nAuthorization: Bearer ada\r\nContent-Type: {JSON}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually(|| !server.app.sessions().sessions().is_empty()).await;
    let gone = async {
        while !server.app.sessions().sessions().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.expect("it goes on without a reader");
    let mut sent = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut sent)).await.expect("it was not closed");
    assert!(!String::from_utf8_lossy(&sent).contains("event: complete"));
}

#[tokio::test]
async fn a_user_has_so_many_connections() {
    let server = Server::with_limits(|limits| limits.connections_per_user = 3).await;
    let first = Items::open(&server, EVENTS, "ada", TICKS).await;
    let _second = Items::open(&server, PARTS, "ada", TICKS).await;
    let _third = Socket::open(&server, "ada").await;
    let response = request(&server, EVENTS, TICKS).bearer_auth("ada").send().await.unwrap();
    let (status, body) = read(response).await;
    assert_eq!((status, code(&body)), (StatusCode::TOO_MANY_REQUESTS, "QUOTA_EXCEEDED"));
    let response = Client::new().put(server.url("/graphql")).bearer_auth("ada").send().await.unwrap();
    assert_eq!(read(response).await.0, StatusCode::TOO_MANY_REQUESTS);
    let mut socket = Socket::silent(&server).await;
    socket.say(json!({ "type": "connection_init", "payload": { "token": "ada" } })).await;
    assert_eq!(socket.closed().await, 4429);
    // Others have their own, and a query needs none.
    Socket::open(&server, "bob").await;
    assert!(text(request(&server, EVENTS, "{ viewer }").bearer_auth("ada")).await.contains("ada"));
    drop(first);
    eventually(|| server.app.sessions().connections().len() == 2).await;
    Items::open(&server, EVENTS, "ada", TICKS).await;
}
