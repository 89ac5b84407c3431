//! Access tokens that end while connections go on, and how many connections a user has.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    streams::{EVENTS, FOLLOW, Item, PARTS, Stream, sync_cursor},
    support::{self, Client, Mode, Server, Socket, Stores, User, World, both_modes},
};

both_modes!(
    connections_outlive_their_token_once_their_session_is_refreshed,
    connections_end_with_a_token_that_is_not_renewed,
    a_user_has_so_many_connections,
);

/// The shortest life that can be set, so half of it is the notice.
const BRIEF: [(&str, &str); 1] = [("ACCESS_TOKEN_LIFE", "10")];

fn text(item: &Value) -> Option<String> {
    item["event"]["message"]["text"].as_str().map(str::to_owned)
}

/// A stream on a socket that is live.
async fn follow(user: &User, socket: &Socket, channel: &str) -> support::Stream {
    let variables = json!({ "channel": channel, "after": sync_cursor(user, channel).await });
    let mut stream = socket.subscribe(FOLLOW, variables);
    stream
        .find("the end of the replay", |item| (item["event"]["__typename"] == "StreamCaughtUp").then_some(()))
        .await;
    stream
}

async fn connections_outlive_their_token_once_their_session_is_refreshed(mode: Mode) {
    let stores = Stores::new(mode).await;
    let server = Server::start_with(&stores, &BRIEF).await;
    // On another node where there are several.
    let other = match mode {
        Mode::Embedded => server.clone(),
        Mode::Servers => Server::start_with(&stores, &BRIEF).await,
    };
    let world = World::on(&server).await;
    let user = User::register(&server).await;
    let channel = world.general.clone();
    user.query(
        "mutation($token: String!) { acceptInvitation(token: $token) { workspace { id } } }",
        json!({ "token": world.invitation("MEMBER").await }),
    )
    .await
    .ok();
    let socket = user.socket().await;
    let mut on_socket = follow(&user, &socket, &channel).await;
    let mut events = Stream::follow(&user, EVENTS, &channel).await;
    let mut parts = Stream::follow(&user, PARTS, &channel).await;

    let announcement = socket.announced().await;
    assert_eq!(announcement["type"], "TOKEN_EXPIRING");
    let end = time(&announcement["expiresAt"]);
    assert!(end > now(), "announced too late");

    let refresh =
        "mutation($token: String!) { refreshSession(refreshToken: $token) { accessToken expiresAt } }";
    let refreshed = other.anonymous().query(refresh, json!({ "token": user.refresh_token })).await.ok();
    let refreshed = &refreshed["refreshSession"];
    let user_again = Client::new(&other, Some(refreshed["accessToken"].as_str().unwrap().to_owned()));
    assert!(time(&refreshed["expiresAt"]) > end);

    let document = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
    let mut sent = Vec::new();
    while now() < end + 1_500 {
        let one = sent.len().to_string();
        let input =
            json!({ "channelId": channel, "clientMessageId": support::client_message_id(), "text": one });
        user_again.query(document, json!({ "input": input })).await.ok();
        sent.push(one);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for expected in &sent {
        assert_eq!(on_socket.find("a message", text).await, *expected);
        for stream in [&mut events, &mut parts] {
            assert_eq!(text(&stream.next_of("MessageCreated").await.1).as_ref(), Some(expected));
        }
    }
    let mut query = socket.subscribe("{ viewer { user { id } } }", json!({}));
    assert_eq!(query.value().await["user"]["id"], user.id.as_str());
}

async fn connections_end_with_a_token_that_is_not_renewed(mode: Mode) {
    let server = Server::start_with(&Stores::new(mode).await, &BRIEF).await;
    let world = World::on(&server).await;
    let socket = world.owner.socket().await;
    let mut events = Stream::follow(&world.owner, EVENTS, &world.general).await;
    // What is no token of theirs neither helps nor harms.
    let document = "mutation($token: String!) { refreshSession(refreshToken: $token) { expiresAt } }";
    let mut refused = socket.subscribe(document, json!({ "token": "made up" }));
    assert!(matches!(refused.item().await, support::Item::Errors(errors)
        if errors[0]["extensions"]["code"] == "UNAUTHENTICATED"));
    let stranger = User::register(&server).await;
    let mut strange = socket.subscribe(document, json!({ "token": stranger.refresh_token }));
    strange.value().await;
    assert_eq!(socket.closed().await, 4403);
    assert_eq!(events.item().await, Item::Errors("UNAUTHENTICATED".into()));
    assert_eq!(events.item().await, Item::Complete);
}

async fn a_user_has_so_many_connections(mode: Mode) {
    let server = Server::start_with(&Stores::new(mode).await, &[("MAX_USER_CONNECTIONS", "3")]).await;
    let world = World::on(&server).await;
    let owner = &world.owner;
    let _first = owner.socket().await;
    // Another session of the same user counts with it.
    let again = User::sign_in(&server, &owner.email, &owner.password).await;
    let _second = again.socket().await;
    let third = Stream::follow(owner, PARTS, &world.general).await;
    assert_eq!(Socket::try_open(owner).await.err(), Some(4429));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/graphql", server.address());
    let stream = http.post(&url).bearer_auth(again.token().unwrap()).header("accept", EVENTS);
    let body = json!({ "query": FOLLOW, "variables": { "channel": world.general } });
    let response = stream.json(&body).send().await.unwrap();
    assert_eq!(response.status(), 429);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["errors"][0]["extensions"]["code"], "QUOTA_EXCEEDED");
    let reserving = http.put(&url).bearer_auth(owner.token().unwrap());
    assert_eq!(reserving.send().await.unwrap().status(), 429);
    // Requests are no connections, and others have their own.
    owner.send(&world.general, "still here").await;
    let _others = world.member().await.socket().await;
    drop(third);
    support::eventually("room for one more", support::SOON, || async { Socket::try_open(owner).await.ok() })
        .await;
}

fn time(text: &Value) -> i64 {
    quikapp_chat::entities::Timestamp::parse_rfc3339(text.as_str().unwrap()).unwrap().0
}

fn now() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}
