//! The explorer, health and metrics.

use reqwest::{Client, StatusCode, header, redirect::Policy};
use serde_json::{Value, json};

use super::toy::Server;

#[tokio::test]
async fn the_explorer_is_served_with_a_strict_policy() {
    let server = Server::start().await;
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let home = client.get(server.url("/")).send().await.unwrap();
    assert!(home.status().is_redirection());
    assert_eq!(home.headers()[header::LOCATION], "/graphiql");
    let page = client.get(server.url("/graphiql")).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.headers()[header::CACHE_CONTROL], "no-cache");
    let tag = page.headers()[header::ETAG].clone();
    assert!(page.text().await.unwrap().starts_with("<!doctype html>"));
    let again = client.get(server.url("/graphiql")).header(header::IF_NONE_MATCH, tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn its_files_come_packed_or_plain() {
    let server = Server::start().await;
    let client = Client::new();
    let plain = client.get(server.url("/graphiql/main.css")).send().await.unwrap();
    assert_eq!(plain.headers()[header::CONTENT_TYPE], "text/css; charset=utf-8");
    assert_eq!(plain.headers()[header::CACHE_CONTROL], "no-cache");
    assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
    let plain_tag = plain.headers()[header::ETAG].clone();
    let plain = plain.bytes().await.unwrap();
    let packed = client.get(server.url("/graphiql/main.css?v=abc")).header("accept-encoding", "gzip, br");
    let packed = packed.send().await.unwrap();
    assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
    assert!(packed.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    assert_ne!(packed.headers()[header::ETAG], plain_tag);
    assert_eq!(packed.headers()[header::VARY], "accept-encoding");
    assert!(packed.bytes().await.unwrap().len() < plain.len());
    for name in ["missing.js", "index.html", "..%2f..%2fCargo.toml", "main.css.gz"] {
        let response = client.get(server.url(&format!("/graphiql/{name}"))).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{name}");
    }
}

#[tokio::test]
async fn the_explorer_can_be_switched_off() {
    let server = Server::with(|settings| settings.graphiql = false).await;
    for path in ["/", "/graphiql", "/graphiql/main.css"] {
        assert_eq!(Client::new().get(server.url(path)).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn health_and_metrics_tell_what_is_going_on() {
    let server = Server::start().await;
    let get = async |path: &str| Client::new().get(server.url(path)).send().await.unwrap();
    assert_eq!(get("/healthz").await.status(), StatusCode::OK);
    let ready: Value = get("/readyz").await.json().await.unwrap();
    assert_eq!(ready, json!({ "status": "ready", "stores": { "database": "ok" } }));
    get("/graphql?query=%7Bhello%7D").await;
    let text = get("/metrics").await.text().await.unwrap();
    assert!(text.contains("# TYPE quikapp_operations_total counter"), "{text}");
    assert!(text.contains("quikapp_operations_total{type=\"query\"} 1"), "{text}");
    assert!(text.contains("quikapp_http_responses_total{status=\"2xx\"} 3"), "{text}");
    assert!(text.contains("\nquikapp_sockets 0"), "{text}");
}
