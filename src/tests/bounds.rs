//! Limits of HTTP requests, origins, request ids.

use std::{fmt::Write as _, sync::atomic::Ordering, time::Duration};

use reqwest::{Client, Method, StatusCode};
use serde_json::json;

use super::{
    client::Socket,
    http::{GRAPHQL, JSON, code, post, query, read},
    toy::{Server, eventually},
};
use crate::origins::Origins;

#[tokio::test]
async fn the_guard_stands_before_the_executor() {
    let server = Server::with(|settings| settings.introspection = false).await;
    let mut bomb = String::from("{ ...f0 }");
    for n in 0..30 {
        write!(bomb, " fragment f{n} on Query {{ ...f{0} ...f{0} }}", n + 1).unwrap();
    }
    bomb += " fragment f30 on Query { hello }";
    for document in [bomb, "{a".repeat(20_000)] {
        let (status, body) = post(&server, GRAPHQL, query(&document)).await;
        assert_eq!((status, code(&body)), (StatusCode::BAD_REQUEST, "TOO_COSTLY"));
    }
    let (_, body) = post(&server, GRAPHQL, query("{ ...a } fragment a on Query { ...a }")).await;
    assert_eq!(code(&body), "BAD_REQUEST");
    let (_, body) = post(&server, GRAPHQL, query("{ __schema { types { name } } }")).await;
    assert_eq!(body["errors"][0]["message"], "introspection is switched off");
}

#[tokio::test]
async fn long_and_slow_bodies_end() {
    let server = Server::with_limits(|limits| {
        limits.body_bytes = 2_000;
        limits.body_timeout = Duration::from_millis(200);
    })
    .await;
    let (status, body) = post(&server, JSON, query(&"#".repeat(3_000))).await;
    assert_eq!((status, code(&body)), (StatusCode::PAYLOAD_TOO_LARGE, "BAD_REQUEST"));
    // Without a length in the head.
    let chunks = futures_util::stream::iter((0..30).map(|_| Ok::<_, std::io::Error>(" ".repeat(100))));
    let (status, _) = post(&server, JSON, reqwest::Body::wrap_stream(chunks)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let never = futures_util::stream::pending::<Result<String, std::io::Error>>();
    let (status, _) = post(&server, JSON, reqwest::Body::wrap_stream(never)).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn who_is_refused_before_a_long_body_reads_the_answer() {
    let server = Server::start().await;
    let long = || reqwest::Body::from(vec![b' '; 5_000_000]);
    let request = || Client::new().post(server.url("/graphql"));
    let response = request().header("content-type", "text/plain").body(long()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let response =
        request().header("content-type", JSON).bearer_auth("nobody").body(long()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let response = request().header("accept", "image/png").body(long()).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn large_answers_have_room_together() {
    let server = Server::with_limits(|limits| limits.answers_bytes = 1_000_000).await;
    let hello = |times: u32| format!("{{ hello(times: {times}) }}");
    let (status, _) = post(&server, JSON, query(&hello(40_000))).await;
    assert_eq!(status, StatusCode::OK);
    for media in [JSON, GRAPHQL] {
        let (status, body) = post(&server, media, query(&hello(50_000))).await;
        assert_eq!((status, code(&body)), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"));
    }
    let mut socket = Socket::open(&server, "ada").await;
    socket.subscribe("1", &hello(50_000)).await;
    let refused = socket.hear().await;
    assert_eq!(
        (&refused["type"], &refused["payload"][0]["extensions"]["code"]),
        (&json!("error"), &json!("UNAVAILABLE"))
    );
    // Nothing is counted that was taken.
    for _ in 0..10 {
        socket.subscribe("1", &hello(40_000)).await;
        socket.next("1").await;
        socket.complete("1").await;
    }
}

#[tokio::test]
async fn lists_of_operations_run_where_configured() {
    let server = Server::start().await;
    let (status, body) = post(&server, JSON, format!(" [{}]", query("{ hello }"))).await;
    assert_eq!((status, code(&body)), (StatusCode::BAD_REQUEST, "BAD_REQUEST"));
    assert!(body["errors"][0]["message"].as_str().unwrap().starts_with("batching is switched off"));

    let server = Server::with_limits(|limits| limits.batch_operations = 4).await;
    let run = async |operations: &[String]| post(&server, JSON, format!("[{}]", operations.join(","))).await;
    let (status, body) =
        run(&[query("mutation { write(milliseconds: 50) }"), query("{ hello }"), query("{ nothing }")]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&body[0], &body[1]),
        (&json!({ "data": { "write": true } }), &json!({ "data": { "hello": "hello " } }))
    );
    assert_eq!(body[2]["errors"][0]["extensions"]["code"], "NOT_FOUND");
    // What is wrong with one does not keep the others from running.
    let wrong = ["1".into(), "[\"{ hello }\"]".into(), query("subscription { never }"), query("{ hello }")];
    let (status, body) = run(&wrong).await;
    assert_eq!(status, StatusCode::OK);
    for index in 0..3 {
        assert_eq!(body[index]["errors"][0]["extensions"]["code"], "BAD_REQUEST", "{body}");
        assert!(body[index].get("data").is_none());
    }
    assert_eq!(body[3], json!({ "data": { "hello": "hello " } }));
    let five: Vec<_> = (0..5).map(|_| query("mutation { write }")).collect();
    let (status, body) = run(&five).await;
    assert_eq!((status, code(&body)), (StatusCode::BAD_REQUEST, "TOO_COSTLY"));
    assert_eq!(run(&[]).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(server.seen.done.load(Ordering::SeqCst), 1);
    let (status, _) = post(&server, JSON, query("{ hello }")).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let server = Server::with_limits(|limits| limits.connections = 2).await;
    let (one, _other) = (Socket::open(&server, "ada").await, Socket::open(&server, "ada").await);
    let mut answer = Box::pin(post(&server, JSON, query("{ hello }")));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut answer).await.is_err());
    drop(one);
    assert_eq!(answer.await.0, StatusCode::OK);
}

#[tokio::test]
async fn slow_and_panicking_operations_end_in_an_answer() {
    let server = Server::with_limits(|limits| limits.operation_timeout = Duration::from_millis(100)).await;
    let (status, body) = post(&server, GRAPHQL, query("{ slow(milliseconds: 5000) }")).await;
    assert_eq!((status, code(&body)), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"));
    let (status, body) = post(&server, GRAPHQL, query("{ panic }")).await;
    assert_eq!((status, code(&body)), (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"));
}

#[tokio::test]
async fn a_mutation_outlives_its_caller() {
    let server = Server::start().await;
    let request = Client::new().post(server.url("/graphql")).header("content-type", JSON);
    let request =
        request.body(query("mutation { write(milliseconds: 300) }")).timeout(Duration::from_millis(100));
    assert!(request.send().await.unwrap_err().is_timeout());
    eventually(|| server.seen.done.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn subscriptions_are_sent_elsewhere() {
    let server = Server::start().await;
    let (status, body) = post(&server, GRAPHQL, query("subscription { count(to: 1) }")).await;
    assert_eq!((status, code(&body)), (StatusCode::BAD_REQUEST, "BAD_REQUEST"));
}

#[tokio::test]
async fn listed_origins_may_call_and_others_may_not() {
    let server =
        Server::with(|settings| settings.origins = Origins::parse("https://app.example").unwrap()).await;
    let preflight = async |origin: &str| {
        let request = Client::new().request(Method::OPTIONS, server.url("/graphql")).header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        request
            .header("access-control-request-headers", "content-type,authorization,traceparent")
            .send()
            .await
            .unwrap()
    };
    let response = preflight("https://app.example").await;
    assert_eq!(response.headers()["access-control-allow-origin"], "https://app.example");
    // Whatever headers it needs.
    let allowed = response.headers()["access-control-allow-headers"].to_str().unwrap();
    assert_eq!(allowed, "content-type,authorization,traceparent");
    assert!(!preflight("https://evil.example").await.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn requests_have_ids_and_tell_resolvers_who_calls() {
    let server = Server::start().await;
    let request = || Client::new().post(server.url("/graphql")).header("content-type", JSON);
    let response =
        request().header("x-request-id", "mine-1").body(query("{ missing }")).send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "mine-1");
    read(response).await;
    let response =
        request().header("x-request-id", "not decent").body(query("{ hello }")).send().await.unwrap();
    assert_ne!(response.headers()["x-request-id"], "not decent");
    let response = request().header("user-agent", "probe/1").body(query("{ agent }")).send().await.unwrap();
    assert_eq!(read(response).await.1, json!({ "data": { "agent": "probe/1" } }));
    let response = Client::new().get(server.url("/nowhere")).send().await.unwrap();
    let (status, body) = read(response).await;
    assert_eq!((status, code(&body)), (StatusCode::NOT_FOUND, "NOT_FOUND"));
}
