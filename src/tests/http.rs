//! GraphQL over HTTP.

use std::sync::atomic::Ordering;

use reqwest::{Client, Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::toy::Server;

pub(super) const GRAPHQL: &str = "application/graphql-response+json";
pub(super) const JSON: &str = "application/json";

pub(super) async fn post(
    server: &Server,
    accept: &str,
    body: impl Into<reqwest::Body>,
) -> (StatusCode, Value) {
    let request =
        Client::new().post(server.url("/graphql")).header("accept", accept).header("content-type", JSON);
    read(request.body(body).send().await.unwrap()).await
}

pub(super) async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let media = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    assert!(media.ends_with("; charset=utf-8"), "{media}");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    for error in body["errors"].as_array().into_iter().flatten() {
        assert!(error["extensions"]["code"].is_string(), "{body}");
        assert!(error["extensions"]["retryable"].is_boolean(), "{body}");
        assert_eq!(error["extensions"]["requestId"], id.as_str());
    }
    (status, body)
}

pub(super) fn code(body: &Value) -> &str {
    body["errors"][0]["extensions"]["code"].as_str().unwrap()
}

pub(super) fn query(text: &str) -> String {
    json!({ "query": text }).to_string()
}

#[tokio::test]
async fn a_query_is_answered_in_the_type_that_was_asked_for() {
    let server = Server::start().await;
    for (accept, expected) in
        [(Some(GRAPHQL), GRAPHQL), (Some(JSON), JSON), (Some("*/*"), JSON), (None, GRAPHQL)]
    {
        // The client adds `*/*` by itself, so this one is written by hand.
        let head = accept.map_or_else(String::new, |accept| format!("Accept: {accept}\r\n"));
        let answer = super::connections::raw(
            server.address,
            &format!(
                "POST /graphql HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}Content-Type: application/json; charset=UTF-8\r\n\
                 Content-Length: 19\r\n\r\n{{\"query\":\"{{hello}}\"}}"
            ),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains(&format!("content-type: {expected}; charset=utf-8")), "{answer}");
        assert!(answer.ends_with(r#"{"data":{"hello":"hello "}}"#), "{answer}");
    }
    let (status, body) = post(&server, "text/html", query("{ hello }")).await;
    assert_eq!((status, code(&body)), (StatusCode::NOT_ACCEPTABLE, "BAD_REQUEST"));
}

#[tokio::test]
async fn request_errors_have_no_data_and_a_status_by_type() {
    let server = Server::start().await;
    let documents = [
        "{ hello",
        "{ missing }",
        "query A { hello } query B { hello }",
        "query($n: Int!) { hello(times: $n) }",
        "",
    ];
    for document in documents {
        for (accept, expected) in [(GRAPHQL, StatusCode::BAD_REQUEST), (JSON, StatusCode::OK)] {
            let (status, body) = post(&server, accept, query(document)).await;
            assert_eq!(status, expected, "{document}");
            assert_eq!(code(&body), "BAD_REQUEST", "{body}");
            assert!(body.get("data").is_none(), "{body}");
        }
    }
}

#[tokio::test]
async fn variables_of_a_wrong_type_are_request_errors() {
    let server = Server::start().await;
    for variables in
        [json!({ "n": "two" }), json!({ "n": 1.5 }), json!({ "n": -1 }), json!({ "n": [1] }), json!({})]
    {
        let body =
            json!({ "query": "query($n: Int!) { hello(times: $n) }", "variables": variables }).to_string();
        let (_, body) = post(&server, GRAPHQL, body).await;
        assert_eq!(code(&body), "BAD_REQUEST", "{variables}: {body}");
    }
}

#[tokio::test]
async fn what_is_no_graphql_request_is_refused_under_either_type() {
    let server = Server::start().await;
    for body in [
        "",
        "{",
        "1",
        "null",
        "{}",
        r#"{"query":null}"#,
        r#"{"query":1}"#,
        r#"{"query":"{hello}","variables":[]}"#,
        r#"{"query":"{hello}","variables":"{}"}"#,
        r#"{"query":"{hello}","operationName":1}"#,
        r#"{"query":"{hello}","extensions":[]}"#,
        r#"[{"query":"{hello}"}]"#,
    ] {
        for accept in [GRAPHQL, JSON] {
            let (status, answer) = post(&server, accept, body).await;
            assert_eq!((status, code(&answer)), (StatusCode::BAD_REQUEST, "BAD_REQUEST"), "{body}");
        }
    }
    let all_null = r#"{"query":"{hello}","variables":null,"operationName":null,"extensions":null}"#;
    assert_eq!(post(&server, GRAPHQL, all_null).await.0, StatusCode::OK);
    let (_, body) =
        post(&server, GRAPHQL, r#"{"query":"query A{hello} query B{viewer}","operationName":"B"}"#).await;
    assert_eq!(body, json!({ "data": { "viewer": null } }));
}

#[tokio::test]
async fn field_errors_keep_the_data_and_hide_what_has_no_code() {
    let server = Server::start().await;
    let (status, body) = post(&server, GRAPHQL, query("{ hello secret busy }")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["data"], json!({ "hello": "hello ", "secret": null, "busy": null }));
    let errors = body["errors"].as_array().unwrap();
    let of = |field: &str| errors.iter().find(|error| error["path"] == json!([field])).unwrap();
    assert_eq!(of("secret")["message"], "internal error");
    assert_eq!(of("secret")["extensions"]["code"], "INTERNAL");
    assert_eq!(of("busy")["extensions"]["code"], "UNAVAILABLE");
    assert_eq!(of("busy")["extensions"]["retryable"], true);
    // An executed operation whose data came to nothing still says so.
    let (status, body) = post(&server, GRAPHQL, query("{ nothing }")).await;
    assert_eq!((status, code(&body)), (StatusCode::OK, "NOT_FOUND"));
    assert_eq!(body.get("data"), Some(&Value::Null));
}

/// Clients that name documents by their hashes send them whole after this, and no hashes any more.
#[tokio::test]
async fn persisted_queries_are_declined_in_the_words_that_clients_know() {
    let server = Server::start().await;
    let extensions = json!({ "persistedQuery": { "version": 1, "sha256Hash": "a" } });
    let hash = json!({ "extensions": extensions }).to_string();
    for (media, expected) in [(JSON, StatusCode::OK), (GRAPHQL, StatusCode::BAD_REQUEST)] {
        let (status, body) = post(&server, media, hash.clone()).await;
        assert_eq!((status, &body["errors"][0]["message"]), (expected, &json!("PersistedQueryNotSupported")));
    }
    let both = json!({ "query": "{ hello }", "extensions": extensions }).to_string();
    let (_, body) = post(&server, JSON, both).await;
    assert_eq!(body["data"]["hello"], "hello ");
}

#[tokio::test]
async fn only_json_bodies_are_read() {
    let server = Server::start().await;
    let types = [
        None,
        Some("text/plain"),
        Some("application/graphql"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/json; charset=utf-16"),
    ];
    for media in types {
        let mut request = Client::new().post(server.url("/graphql")).body(query("mutation { write }"));
        if let Some(media) = media {
            request = request.header("content-type", media);
        }
        let (status, _) = read(request.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{media:?}");
    }
    assert_eq!(server.seen.done.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn get_runs_queries_only() {
    let server = Server::start().await;
    let get = async |params: &[(&str, &str)]| {
        let url = url::Url::parse_with_params(&server.url("/graphql"), params).unwrap();
        Client::new().get(url).header("accept", GRAPHQL).send().await.unwrap()
    };
    let (status, body) = read(
        get(&[
            ("query", "query A($n: Int!) { hello(times: $n) } query B { viewer }"),
            ("variables", r#"{"n":2}"#),
            ("operationName", "A"),
            ("extensions", "{}"),
        ])
        .await,
    )
    .await;
    assert_eq!((status, body), (StatusCode::OK, json!({ "data": { "hello": "hello hello " } })));
    let response = get(&[("query", "mutation { write }")]).await;
    assert_eq!(response.headers()["allow"], "POST");
    assert_eq!(read(response).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(server.seen.done.load(Ordering::SeqCst), 0);
    for params in
        [&[("query", "{hello}"), ("variables", "{")][..], &[("query", "{hello}"), ("variables", "[]")], &[]]
    {
        assert_eq!(read(get(params).await).await.0, StatusCode::BAD_REQUEST, "{params:?}");
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let request = Client::new().request(method, server.url("/graphql")).header("content-type", JSON);
        let response = request.body(query("{ hello }")).send().await.unwrap();
        assert_eq!(response.headers()["allow"], "GET, HEAD, POST, PUT, DELETE, OPTIONS");
        assert_eq!(read(response).await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn a_wrong_token_is_401_and_none_is_anonymous() {
    let server = Server::start().await;
    let send = async |authorization: &str| {
        let request = Client::new().post(server.url("/graphql")).header("content-type", JSON);
        request.header("authorization", authorization).body(query("{ viewer }")).send().await.unwrap()
    };
    let (status, body) = read(send("Bearer ada").await).await;
    assert_eq!((status, body), (StatusCode::OK, json!({ "data": { "viewer": "ada" } })));
    assert_eq!(post(&server, JSON, query("{ viewer }")).await.1, json!({ "data": { "viewer": null } }));
    for authorization in ["Bearer forged", "Bearer ", "Basic YTpi", "ada"] {
        let response = send(authorization).await;
        assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        let (status, body) = read(response).await;
        assert_eq!((status, code(&body)), (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"), "{authorization}");
    }
    let (status, body) = read(send("Bearer suspended").await).await;
    assert_eq!((status, code(&body)), (StatusCode::FORBIDDEN, "FORBIDDEN"));
    let response = send("Bearer down").await;
    assert_eq!(response.headers()["retry-after"], "1");
    let (status, body) = read(response).await;
    assert_eq!((status, code(&body)), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"));
    assert_eq!(body["errors"][0]["extensions"]["retryable"], true);
}
