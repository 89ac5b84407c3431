//! Stores that stop and come back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    live::follow,
    support::{Answer, Mode, Server, ServerSet, User, World, client_message_id, eventually, servers_only},
};

servers_only!(a_stopped_store_fails_what_needs_it_and_nothing_else);

/// An answer has to come in this time, whatever is stopped.
const LIMIT: Duration = Duration::from_secs(5);
/// Reconnecting takes the drivers a while.
const RECOVERY: Duration = Duration::from_mins(1);

async fn timed(user: &User, document: &str, variables: Value) -> Answer {
    let started = Instant::now();
    let answer = user.query(document, variables).await;
    assert!(started.elapsed() < LIMIT, "an answer took {:?}: {document}", started.elapsed());
    answer
}

async fn send(user: &User, channel: &str) -> Answer {
    let document = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
    let input = json!({ "channelId": channel, "clientMessageId": client_message_id(), "text": "hello" });
    timed(user, document, json!({ "input": input })).await
}

async fn history(user: &User, channel: &str) -> Answer {
    let document = "query($id: ID!) { channel(id: $id) { messages(last: 10) { nodes { id text } } } }";
    timed(user, document, json!({ "id": channel })).await
}

async fn sidebar(user: &User) -> Answer {
    timed(user, "{ viewer { email channels { nodes { channel { id displayName } } } } }", json!({})).await
}

async fn typing(user: &User, channel: &str) -> Answer {
    timed(user, "mutation($id: ID!) { setTyping(channelId: $id) { expiresAt } }", json!({ "id": channel }))
        .await
}

/// Whether the answer says to try again later, and when.
fn is_unavailable(answer: &Answer) -> bool {
    let error = answer.errors.first().map_or(&Value::Null, |error| &error["extensions"]);
    error["code"] == "UNAVAILABLE" && error["retryable"] == true && error["retryAfterMs"].is_u64()
}

async fn a_stopped_store_fails_what_needs_it_and_nothing_else(mode: Mode) {
    let servers = ServerSet::up("faults", 1).await;
    let server = Server::start(&servers.stores().await).await;
    let world = World::on(&server).await;
    assert_eq!(server.stores().mode, mode);
    let (user, channel) = (&world.owner, world.channel(&[]).await);
    let document = "{ serverInfo { version } }";
    let socket = user.socket().await;
    let mut stream = follow(&socket, user, &channel).await;
    send(user, &channel).await.ok();

    // Without MongoDB there are no messages; people and channels are there.
    servers.stop("mongo").await;
    for answer in [send(user, &channel).await, history(user, &channel).await] {
        assert!(is_unavailable(&answer), "without MongoDB: {answer:?}");
    }
    sidebar(user).await.ok();
    timed(user, document, json!({})).await.ok();
    User::register(&server).await;
    servers.start("mongo").await;
    recovered("MongoDB", || send(user, &channel)).await;
    history(user, &channel).await.ok();

    // Without Redis everything goes on but what lives in it; listeners on this node are told as ever.
    servers.stop("redis").await;
    send(user, &channel).await.ok();
    history(user, &channel).await.ok();
    sidebar(user).await.ok();
    let answer = typing(user, &channel).await;
    assert!(is_unavailable(&answer), "without Redis: {answer:?}");
    let told = async {
        let mut count = 0;
        while count < 3 {
            let item = stream.value().await;
            count += usize::from(item["event"]["__typename"] == "MessageCreated");
        }
    };
    told.await;
    servers.start("redis").await;
    recovered("Redis", || typing(user, &channel)).await;

    // Without MySQL nobody is known, and nothing can be done; the server itself answers.
    servers.stop("mysql").await;
    for answer in [send(user, &channel).await, sidebar(user).await, history(user, &channel).await] {
        assert!(is_unavailable(&answer), "without MySQL: {answer:?}");
    }
    timed(&world.owner, "{ __typename }", json!({})).await;
    let anonymous = server.anonymous();
    let started = Instant::now();
    anonymous.query(document, json!({})).await.ok();
    assert!(started.elapsed() < LIMIT);
    servers.start("mysql").await;
    recovered("MySQL", || send(user, &channel)).await;
    sidebar(user).await.ok();
    history(user, &channel).await.ok();

    // The stream that was open all the while tells what came since.
    let sent = user.send(&channel, "after all").await;
    stream
        .find("the last message", |item| (item["event"]["message"]["id"] == sent["id"]).then_some(()))
        .await;
}

/// Waits until what failed works again, by itself.
async fn recovered<F: Future<Output = Answer>>(what: &str, operation: impl Fn() -> F) {
    eventually(&format!("the recovery after {what} came back"), RECOVERY, || async {
        operation().await.errors.is_empty().then_some(())
    })
    .await;
}
