//! GraphQL over SSE with one stream for several operations.

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    streams::{EVENTS, FOLLOW, sync_cursor},
    support::{Client, Mode, SOON, User, World, both_modes, client_message_id, eventually},
};

both_modes!(
    operations_share_one_stream,
    a_stream_is_only_for_its_session,
    each_operation_is_told_of_the_end_of_the_session,
);

const TOKEN: &str = "x-graphql-event-stream-token";

fn request(client: &Client, method: Method, stream: Option<&str>, path: &str) -> RequestBuilder {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http.request(method, format!("http://{}/graphql{path}", client.address()));
    if let Some(token) = client.token() {
        request = request.bearer_auth(token);
    }
    match stream {
        Some(stream) => request.header(TOKEN, stream),
        None => request,
    }
}

async fn start(client: &Client, stream: &str, id: &str, document: &str, variables: Value) -> Response {
    let body = json!({ "query": document, "variables": variables, "extensions": { "operationId": id } });
    request(client, Method::POST, Some(stream), "").json(&body).send().await.unwrap()
}

async fn stop(client: &Client, stream: &str, id: &str) -> StatusCode {
    let path = format!("?operationId={id}");
    request(client, Method::DELETE, Some(stream), &path).send().await.unwrap().status()
}

/// A stream that its client reads.
struct Events {
    token: String,
    response: Response,
    rest: String,
}

impl Events {
    async fn open(user: &User) -> Self {
        let reserved = request(user, Method::PUT, None, "").send().await.unwrap();
        assert_eq!(reserved.status(), StatusCode::CREATED);
        let token = reserved.text().await.unwrap();
        let response = connect(user, &token).await;
        assert_eq!(response.status(), StatusCode::OK);
        Self { token, response, rest: String::new() }
    }

    /// The next event's kind and data; None at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        tokio::time::timeout(SOON, self.read()).await.expect("the stream brings nothing")
    }

    async fn read(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((block, rest)) = self.rest.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.rest = rest;
                if let Some((kind, data)) =
                    block.strip_prefix("event: ").and_then(|it| it.split_once("\ndata: "))
                {
                    return Some((kind.to_owned(), serde_json::from_str(data).unwrap()));
                }
                assert!(block.starts_with(':'), "{block:?}");
            }
            self.rest += std::str::from_utf8(&self.response.chunk().await.unwrap()?).unwrap();
        }
    }

    /// The operation of the next item, and the first field of its data.
    async fn item(&mut self) -> (String, Value) {
        let (kind, mut data) = self.next().await.expect("the stream has ended");
        assert_eq!(kind, "next", "{data}");
        let value = data["payload"]["data"].as_object_mut().and_then(|fields| fields.values_mut().next());
        let value = value.map_or_else(|| panic!("no data"), Value::take);
        (data["id"].as_str().unwrap().to_owned(), value)
    }
}

async fn connect(client: &Client, token: &str) -> Response {
    request(client, Method::GET, Some(token), "").header("accept", EVENTS).send().await.unwrap()
}

async fn operations_share_one_stream(mode: Mode) {
    let world = World::new(mode).await;
    let (first, second) = (world.channel(&[]).await, world.channel(&[]).await);
    let owner = &world.owner;
    let mut events = Events::open(owner).await;
    for (id, channel) in [("first", &first), ("second", &second)] {
        let variables = json!({ "channel": channel, "after": sync_cursor(owner, channel).await });
        assert_eq!(start(owner, &events.token, id, FOLLOW, variables).await.status(), StatusCode::ACCEPTED);
        let (of, item) = events.item().await;
        assert_eq!((of.as_str(), &item["event"]["__typename"]), (id, &json!("StreamCaughtUp")));
    }
    let send = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { text } } }";
    let (mut told, mut answered) = (Vec::new(), 0);
    for n in 0..6 {
        let channel = if n % 2 == 0 { &first } else { &second };
        let input =
            json!({ "channelId": channel, "clientMessageId": client_message_id(), "text": n.to_string() });
        let started = start(owner, &events.token, "send", send, json!({ "input": input })).await;
        assert_eq!(started.status(), StatusCode::ACCEPTED);
        // The item, the answer, and the end of the mutation, whichever way they are mixed.
        while told.len() <= n || answered <= n {
            let (kind, data) = events.next().await.unwrap();
            match (kind.as_str(), data["id"].as_str().unwrap()) {
                ("next", "send") => {
                    assert_eq!(data["payload"]["data"]["sendMessage"]["message"]["text"], n.to_string());
                }
                ("complete", "send") => answered += 1,
                ("next", of) => {
                    let text = &data["payload"]["data"]["channelEvents"]["event"]["message"]["text"];
                    told.push((of.to_owned(), text.as_str().unwrap().to_owned()));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let expected = (0..6).map(|n| (if n % 2 == 0 { "first" } else { "second" }.to_owned(), n.to_string()));
    assert_eq!(told, expected.collect::<Vec<_>>());

    assert_eq!(stop(owner, &events.token, "first").await, StatusCode::OK);
    owner.send(&first, "to nobody").await;
    owner.send(&second, "to one").await;
    let (of, item) = events.item().await;
    assert_eq!((of.as_str(), &item["event"]["message"]["text"]), ("second", &json!("to one")));

    // What the schema refuses is refused by the request; what only the stores know, on the stream.
    let refused = start(owner, &events.token, "x", "{ missing }", json!({})).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let unknown = json!({ "channel": "channel_00000000000000000000000000" });
    let refused = start(owner, &events.token, "x", FOLLOW, unknown).await;
    if refused.status() == StatusCode::ACCEPTED {
        let (kind, data) = events.next().await.unwrap();
        assert_eq!(
            (kind.as_str(), &data["payload"]["errors"][0]["extensions"]["code"]),
            ("next", &json!("NOT_FOUND"))
        );
        assert_eq!(events.next().await, Some(("complete".into(), json!({ "id": "x" }))));
    } else {
        let body: Value = refused.json().await.unwrap();
        assert_eq!(body["errors"][0]["extensions"]["code"], "NOT_FOUND");
    }
}

async fn a_stream_is_only_for_its_session(mode: Mode) {
    let world = World::new(mode).await;
    let owner = &world.owner;
    let member = world.member().await;
    let again = User::sign_in(&world.server, &owner.email, &owner.password).await;
    let anonymous = world.server.anonymous();
    let reserved = request(owner, Method::PUT, None, "").send().await.unwrap().text().await.unwrap();
    let query = "{ viewer { user { id } } }";
    for other in [&*member, &*again] {
        assert_eq!(connect(other, &reserved).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(start(other, &reserved, "1", query, json!({})).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(stop(other, &reserved, "1").await, StatusCode::NOT_FOUND);
    }
    assert_eq!(start(&anonymous, &reserved, "1", query, json!({})).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(stop(&anonymous, &reserved, "1").await, StatusCode::UNAUTHORIZED);
    let reserving = request(&anonymous, Method::PUT, None, "").send().await.unwrap();
    assert_eq!(reserving.status(), StatusCode::UNAUTHORIZED);
    let open = connect(owner, &reserved).await;
    assert_eq!(open.status(), StatusCode::OK);
    assert_eq!(connect(owner, &reserved).await.status(), StatusCode::CONFLICT);
    drop(open);
    eventually("the end of the stream", SOON, || async {
        (connect(owner, &reserved).await.status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}

async fn each_operation_is_told_of_the_end_of_the_session(mode: Mode) {
    let world = World::new(mode).await;
    let again = User::sign_in(&world.server, &world.owner.email, &world.owner.password).await;
    let mut events = Events::open(&again).await;
    for id in ["1", "2"] {
        let variables =
            json!({ "channel": world.general, "after": sync_cursor(&again, &world.general).await });
        assert_eq!(start(&again, &events.token, id, FOLLOW, variables).await.status(), StatusCode::ACCEPTED);
        events.item().await;
    }
    let document = "mutation($id: ID!) { revokeSession(id: $id) { __typename } }";
    world.owner.query(document, json!({ "id": again.session })).await.ok();
    // The transport and the streams themselves both notice; whoever is first says why it ends.
    let (mut said, mut ended) = (BTreeSet::new(), BTreeSet::new());
    while let Some((kind, data)) = events.next().await {
        let id = data["id"].as_str().unwrap().to_owned();
        if kind == "complete" {
            assert!(ended.insert(id), "told of its end twice");
        } else {
            let is_refused = data["payload"]["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED";
            let is_reset = data["payload"]["data"]["channelEvents"]["event"]["reason"] == "ACCESS_CHANGED";
            assert!(is_refused || is_reset, "{data}");
            said.insert(id);
        }
    }
    let both = BTreeSet::from(["1".to_owned(), "2".to_owned()]);
    assert_eq!((&said, &ended), (&both, &both));
    assert_eq!(connect(&again, &events.token).await.status(), StatusCode::UNAUTHORIZED);
}
