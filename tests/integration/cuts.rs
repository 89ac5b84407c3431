//! Whoever is cut off while being told what they missed goes on as if they had not been.

use serde_json::{Value, json};

use crate::support::{Mode, Socket, User, World, both_modes};

both_modes!(
    a_message_written_while_away_is_told_as_new_behind_a_cut,
    all_changes_of_a_message_are_told_behind_a_cut,
    a_deletion_is_told_behind_a_cut,
    a_line_and_what_it_tells_come_once,
    a_cut_among_hundreds_of_changes_loses_nothing,
);

const ITEMS: &str = "{ cursor seq replayed event { __typename
    ... on MessageCreated { message { id seq text kind } }
    ... on MessageUpdated { changed message { id seq text } }
    ... on MessageDeleted { message { id seq } }
    ... on MemberJoined { userId }
    ... on MemberLeft { userId }
    ... on ChannelUpdated { changed }
    ... on StreamCaughtUp { replayedCount }
    ... on StreamReset { reason }
} }";

/// What is told of one channel, in one of the three ways.
#[derive(Clone)]
struct Told {
    document: String,
    id: Value,
    after: Value,
}

/// The three streams that tell of a thread, from now on.
async fn from_now_on(reader: &User, channel: &str, root: &Value) -> [Told; 3] {
    let document = "query($id: ID!) { channel(id: $id) { syncCursor } viewer { syncCursor } }";
    let data = reader.query(document, json!({ "id": channel })).await.ok();
    let told = |variables: &str, field: &str, id: &Value, of: &str| Told {
        document: format!(
            "subscription($after: EventCursor{variables}) {{ {field}, after: $after) {ITEMS} }}"
        ),
        id: id.clone(),
        after: data[of]["syncCursor"].clone(),
    };
    [
        told(", $id: ID!", "channelEvents(channelId: $id", &json!(channel), "channel"),
        told(", $id: ID!", "threadEvents(rootId: $id", &root["id"], "channel"),
        told(", $id: ID", "viewerEvents(workspaceId: $id", &Value::Null, "viewer"),
    ]
}

/// What was missed, and the end of that.
async fn missed(socket: &Socket, told: &Told, after: &Value) -> Vec<Value> {
    let mut stream = socket.subscribe(&told.document, json!({ "id": told.id, "after": after }));
    let mut items = Vec::new();
    loop {
        let item = stream.value().await;
        let is_last = item["event"]["__typename"] == "StreamCaughtUp";
        assert!(is_last || item["replayed"] == true, "{item}");
        items.push(item);
        if is_last {
            assert_eq!(items.last().unwrap()["event"]["replayedCount"], items.len() - 1);
            return items;
        }
    }
}

fn events(items: &[Value]) -> Vec<&Value> {
    items[..items.len() - 1].iter().map(|item| &item["event"]).collect()
}

/// What each stream told of what was missed; the same wherever it was cut, and cut again.
async fn told_over_any_cuts(reader: &User, streams: &[Told]) -> Vec<Vec<Value>> {
    let socket = reader.socket().await;
    let mut all = Vec::new();
    for told in streams {
        let uncut = missed(&socket, told, &told.after).await;
        for index in 0..uncut.len() {
            let rest = missed(&socket, told, &uncut[index]["cursor"]).await;
            if index + 1 == uncut.len() {
                assert_eq!(rest.len(), 1, "nothing is left: {rest:#?}");
                break;
            }
            assert_eq!(events(&rest), events(&uncut[index + 1..]), "cut behind {}", uncut[index]);
            for (next, item) in rest.iter().enumerate().take(rest.len() - 1) {
                let again = missed(&socket, told, &item["cursor"]).await;
                assert_eq!(events(&again), events(&rest[next + 1..]), "cut twice, behind {item}");
            }
        }
        all.push(uncut);
    }
    all
}

/// The kind of the event about a message, and what it says has changed.
fn told_of<'a>(items: &'a [Value], message: &Value) -> Vec<(&'a str, &'a Value)> {
    let of_it = items.iter().filter(|item| item["event"]["message"]["id"] == message["id"]);
    of_it.map(|item| (item["event"]["__typename"].as_str().unwrap(), &item["event"]["changed"])).collect()
}

async fn run(user: &User, document: &str, id: &Value) {
    user.query(&format!("mutation($id: ID!) {{ {document} {{ __typename }} }}"), json!({ "id": id }))
        .await
        .ok();
}

async fn react(user: &User, message: &Value) {
    run(user, "addReaction(messageId: $id, emoji: \"🎉\")", &message["id"]).await;
}

async fn a_message_written_while_away_is_told_as_new_behind_a_cut(mode: Mode) {
    let world = World::new(mode).await;
    let reader = world.member().await;
    let channel = world.channel(&[&reader]).await;
    let root = world.owner.send(&channel, "root").await;
    let streams = from_now_on(&reader, &channel, &root).await;
    let one = world.owner.reply(&channel, &root, "one").await;
    let two = world.owner.reply(&channel, &root, "two").await;
    react(&reader, &one).await;
    for items in told_over_any_cuts(&reader, &streams).await {
        for message in [&one, &two] {
            assert_eq!(told_of(&items, message), [("MessageCreated", &Value::Null)], "{items:#?}");
        }
        assert_eq!(items[items.len() - 2]["event"]["message"]["id"], one["id"], "it has moved to the end");
    }
}

async fn all_changes_of_a_message_are_told_behind_a_cut(mode: Mode) {
    let world = World::new(mode).await;
    let reader = world.member().await;
    let channel = world.channel(&[&reader]).await;
    let root = world.owner.send(&channel, "root").await;
    let three = world.owner.reply(&channel, &root, "three").await;
    let streams = from_now_on(&reader, &channel, &root).await;
    run(&world.owner, "editMessage(id: $id, text: \"edited\")", &three["id"]).await;
    world.owner.reply(&channel, &root, "four").await;
    react(&reader, &three).await;
    for items in told_over_any_cuts(&reader, &streams).await {
        assert_eq!(told_of(&items, &three), [("MessageUpdated", &json!(["CONTENT", "REACTIONS"]))]);
    }
}

async fn a_deletion_is_told_behind_a_cut(mode: Mode) {
    let world = World::new(mode).await;
    let reader = world.member().await;
    let channel = world.channel(&[&reader]).await;
    let root = world.owner.send(&channel, "root").await;
    let other = world.owner.reply(&channel, &root, "other").await;
    let streams = from_now_on(&reader, &channel, &root).await;
    run(&world.owner, "deleteMessage(id: $id)", &root["id"]).await;
    react(&reader, &other).await;
    world.owner.reply(&channel, &root, "a reply").await;
    for items in told_over_any_cuts(&reader, &streams).await {
        assert_eq!(told_of(&items, &root), [("MessageDeleted", &Value::Null)], "{items:#?}");
    }
}

async fn a_line_and_what_it_tells_come_once(mode: Mode) {
    let world = World::new(mode).await;
    let (reader, visitor) = (world.member().await, world.member().await);
    let channel = world.channel(&[&reader]).await;
    let root = world.owner.send(&channel, "root").await;
    let [by_channel, _, by_viewer] = from_now_on(&reader, &channel, &root).await;
    let streams = [by_channel, by_viewer];
    let socket = reader.socket().await;
    let mut live =
        socket.subscribe(&streams[0].document, json!({ "id": channel, "after": streams[0].after }));
    live.value().await;
    run(&world.owner, "updateChannel(id: $id, input: { topic: \"Ships\" })", &json!(channel)).await;
    run(&visitor, "joinChannel(id: $id)", &json!(channel)).await;
    run(&visitor, "leaveChannel(id: $id)", &json!(channel)).await;
    let mut lines = Vec::new();
    for _ in 0..6 {
        lines.push(live.value().await);
    }
    let kinds: Vec<_> = lines.iter().map(|item| item["event"]["__typename"].as_str().unwrap()).collect();
    let created = "MessageCreated";
    assert_eq!(kinds, [created, "ChannelUpdated", created, "MemberJoined", created, "MemberLeft"]);
    // Cut where it was live: exactly what comes behind the item is told.
    for (index, item) in lines.iter().enumerate() {
        let rest = missed(&socket, &streams[0], &item["cursor"]).await;
        let told: Vec<_> = lines[index + 1..].iter().map(|item| &item["event"]).collect();
        assert_eq!(events(&rest), told, "cut behind {item}");
    }
    for items in told_over_any_cuts(&reader, &streams).await {
        assert_eq!(events(&items), lines.iter().map(|item| &item["event"]).collect::<Vec<_>>());
    }
    // The line has been moved back before the client comes back to hear what it tells.
    let half = &lines[0];
    react(&reader, &half["event"]["message"]).await;
    for items in [missed(&socket, &streams[0], &half["cursor"]).await] {
        let at_end = &items[items.len() - 3..];
        assert_eq!(told_of(at_end, &half["event"]["message"]), [("MessageUpdated", &json!(["REACTIONS"]))]);
        assert_eq!(at_end[1]["event"]["__typename"], "ChannelUpdated");
        let again = missed(&socket, &streams[0], &at_end[0]["cursor"]).await;
        assert_eq!(events(&again), [&at_end[1]["event"]]);
    }
}

async fn a_cut_among_hundreds_of_changes_loses_nothing(mode: Mode) {
    let world = World::new(mode).await;
    let reader = world.member().await;
    let channel = world.channel(&[&reader]).await;
    let root = world.owner.send(&channel, "root").await;
    let streams = from_now_on(&reader, &channel, &root).await;
    let first = world.owner.send(&channel, "first").await;
    for index in 0..230 {
        world.owner.send(&channel, &index.to_string()).await;
    }
    react(&reader, &first).await;
    let socket = reader.socket().await;
    let mut kept = Vec::new();
    for told in [&streams[0], &streams[2]] {
        let uncut = missed(&socket, told, &told.after).await;
        for cut in [0, 100, 199, 200, 229] {
            let rest = missed(&socket, told, &uncut[cut]["cursor"]).await;
            assert_eq!(events(&rest), events(&uncut[cut + 1..]));
            assert_eq!(told_of(&rest, &first), [("MessageCreated", &Value::Null)]);
        }
        kept.push((told, uncut));
    }
    // What was told before the cut, and changes behind it, is known. Each change may be told, for pages are kept a while.
    for (told, uncut) in kept {
        let known = &uncut[3]["event"]["message"];
        react(&reader, known).await;
        let rest = missed(&socket, told, &uncut[100]["cursor"]).await;
        let changes = told_of(&rest, known);
        let expected = ("MessageUpdated", &json!(["REACTIONS"]));
        assert!(!changes.is_empty() && changes.iter().all(|change| *change == expected), "{changes:?}");
        run(&reader, "removeReaction(messageId: $id, emoji: \"🎉\")", &known["id"]).await;
    }
}
