//! The events of one thread.

use serde_json::{Value, json};

use crate::support::{Mode, World, both_modes};

both_modes!(a_thread_is_followed_without_its_channel);

const EVENTS: &str =
    "subscription($root: ID!, $after: EventCursor) { threadEvents(rootId: $root, after: $after) {
    cursor seq event { __typename
        ... on MessageCreated { message { id text } }
        ... on MessageUpdated { changed message { id thread { replyCount } } }
        ... on MessageDeleted { message { id } }
        ... on StreamCaughtUp { replayedCount }
    }
} }";

fn kind(item: &Value) -> &str {
    item["event"]["__typename"].as_str().unwrap_or("none")
}

async fn a_thread_is_followed_without_its_channel(mode: Mode) {
    let world = World::new(mode).await;
    let channel = world.channel(&[]).await;
    let owner = &world.owner;
    let root = owner.send(&channel, "root").await;
    let other = owner.send(&channel, "another root").await;
    let cursor =
        owner.query("query($id: ID!) { channel(id: $id) { syncCursor } }", json!({ "id": channel })).await;
    let cursor = cursor.ok()["channel"]["syncCursor"].clone();

    // What is missed before the stream begins, in the thread and beside it.
    let missed = owner.reply(&channel, &root, "missed").await;
    owner.reply(&channel, &other, "elsewhere").await;
    owner.send(&channel, "in the timeline").await;

    let socket = owner.socket().await;
    let mut stream = socket.subscribe(EVENTS, json!({ "root": root["id"], "after": cursor }));
    let item = stream.value().await;
    assert_eq!((kind(&item), &item["event"]["message"]["id"]), ("MessageCreated", &missed["id"]));
    let item = stream.value().await;
    assert_eq!((kind(&item), &item["event"]["changed"]), ("MessageUpdated", &json!(["THREAD"])));
    assert_eq!(item["event"]["message"]["thread"]["replyCount"], 1);
    let item = stream.value().await;
    assert_eq!((kind(&item), &item["event"]["replayedCount"]), ("StreamCaughtUp", &json!(2)));

    // Live, by the id of a reply as well as of the root.
    let mut by_reply = socket.subscribe(EVENTS, json!({ "root": missed["id"], "after": item["cursor"] }));
    assert_eq!(kind(&by_reply.value().await), "StreamCaughtUp");
    owner.send(&channel, "beside it").await;
    let live = owner.reply(&channel, &root, "live").await;
    for stream in [&mut stream, &mut by_reply] {
        let item = stream.value().await;
        assert_eq!((kind(&item), &item["event"]["message"]["id"]), ("MessageCreated", &live["id"]));
        let item = stream.value().await;
        assert_eq!(item["event"]["message"]["thread"]["replyCount"], 2);
    }

    let stranger = World::new(mode).await.owner;
    let socket = stranger.socket().await;
    let mut refused = socket.subscribe(EVENTS, json!({ "root": root["id"] }));
    assert_eq!(refused.code().await, "NOT_FOUND");
}
