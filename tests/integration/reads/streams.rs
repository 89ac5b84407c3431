//! Every device of somebody is told what they have read, and nobody else is.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{read, sent, state, summary, unread};
use crate::support::{Mode, Server, Socket, Stores, Stream, User, World, both_modes, servers_only};

both_modes!(
    other_devices_are_told_and_nobody_else,
    read_state_is_told_after_a_cut,
    read_state_ends_with_the_membership,
    preferences_are_told_to_the_members_devices,
);
servers_only!(read_state_crosses_nodes_and_outlives_redis);

const EVENTS: &str = "subscription($workspace: ID, $after: EventCursor) {
    viewerEvents(workspaceId: $workspace, after: $after) { cursor seq replayed event { __typename
        ... on MessageCreated { message { text } }
        ... on MemberLeft { channelId userId }
        ... on ReadStateChanged { channelId userId unread {
            channelId unread lastReadSeq latestSeq firstUnreadMessageId lastReadMessageId lastReadAt
        } }
        ... on StreamCaughtUp { replayedCount }
        ... on StreamReset { reason }
    } }
}";

/// Follows the viewer from now on, and returns when the stream is live.
pub(super) async fn follow(socket: &Socket, user: &User) -> Stream {
    let data = user.query("{ viewer { unread { asOf } } }", json!({})).await.ok();
    let mut stream = socket.subscribe(EVENTS, json!({ "after": data["viewer"]["unread"]["asOf"] }));
    let caught_up = stream.value().await;
    assert_eq!(caught_up["event"]["__typename"], "StreamCaughtUp", "{caught_up}");
    stream
}

pub(super) fn is_read_state(item: &Value) -> bool {
    item["event"]["__typename"] == "ReadStateChanged"
}

async fn other_devices_are_told_and_nobody_else(mode: Mode) {
    let world = World::new(mode).await;
    let (reader, other) = (world.member().await, world.member().await);
    let channel = world.channel(&[&reader, &other]).await;
    let messages = sent(&world.owner, &channel, 3).await;
    let tablet = User::sign_in(&world.server, &reader.email, &reader.password).await;
    let sockets = [reader.socket().await, tablet.socket().await, tablet.socket().await];
    let mut streams = Vec::new();
    for (socket, user) in sockets.iter().zip([&reader, &tablet, &tablet]) {
        streams.push(follow(socket, user).await);
    }
    let other_socket = other.socket().await;
    let mut foreign = follow(&other_socket, &other).await;

    read(&reader, &channel, Some(&messages[1])).await;
    // None of these changes anything.
    read(&tablet, &channel, Some(&messages[0])).await;
    read(&reader, &channel, Some(&messages[1])).await;
    unread(&tablet, &channel, &messages[0]).await;
    let wanted = state(&reader, &channel).await;
    world.owner.send(&channel, "the end").await;
    for stream in &mut streams {
        let items = [stream.value().await, stream.value().await, stream.value().await];
        assert!(is_read_state(&items[0]) && is_read_state(&items[1]), "{items:#?}");
        for item in &items[..2] {
            assert_eq!(item["event"]["channelId"], json!(channel));
            assert_eq!(item["event"]["userId"], json!(reader.id));
            assert_eq!((&item["replayed"], item["cursor"].is_string()), (&json!(false), true));
        }
        let last = &items[1]["event"]["unread"];
        assert_eq!(last["lastReadSeq"], wanted["lastReadSeq"]);
        assert_eq!(last["lastReadMessageId"], wanted["lastReadMessageId"]);
        assert_eq!(items[2]["event"]["message"]["text"], "the end");
    }
    let item = foreign.value().await;
    assert_eq!(item["event"]["message"]["text"], "the end", "{item}");
}

/// Whatever comes up to the end of the replay, that left out.
async fn replay(stream: &mut Stream) -> Vec<Value> {
    let mut items = Vec::new();
    loop {
        let item = stream.value().await;
        if item["event"]["__typename"] == "StreamCaughtUp" {
            assert_eq!(item["event"]["replayedCount"], items.len());
            return items;
        }
        items.push(item);
    }
}

async fn read_state_is_told_after_a_cut(mode: Mode) {
    let world = World::new(mode).await;
    let reader = world.member().await;
    let (channel, other) = (world.channel(&[&reader]).await, world.channel(&[&reader]).await);
    let messages = sent(&world.owner, &channel, 4).await;
    sent(&world.owner, &other, 1).await;
    let socket = reader.socket().await;
    let mut stream = follow(&socket, &reader).await;
    read(&reader, &channel, Some(&messages[0])).await;
    let cursor = stream.value().await["cursor"].clone();
    drop(stream);
    for message in &messages {
        read(&reader, &channel, Some(message)).await;
    }
    unread(&reader, &channel, &messages[3]).await;
    read(&reader, &other, None).await;

    let mut stream = socket.subscribe(EVENTS, json!({ "after": cursor }));
    let items = replay(&mut stream).await;
    // Each channel once, as it is now.
    assert_eq!(items.len(), 2, "{items:#?}");
    let (_, states) = summary(&reader).await;
    for (item, channel) in items.iter().zip([&channel, &other]) {
        assert!(is_read_state(item) && item["replayed"] == true, "{item}");
        assert_eq!(item["event"]["unread"], states[channel]);
    }
    let mut again = socket.subscribe(EVENTS, json!({ "after": items[1]["cursor"] }));
    assert_eq!(replay(&mut again).await.len(), 0);
    // One of before the first cut brings it again, as any other event.
    let mut again =
        socket.subscribe(EVENTS, json!({ "after": items[0]["cursor"], "workspace": world.workspace }));
    assert_eq!(replay(&mut again).await.len(), 1);
    // And from there on it is live.
    read(&reader, &channel, None).await;
    for stream in [&mut stream, &mut again] {
        let item = stream.value().await;
        assert!(is_read_state(&item) && item["event"]["unread"]["unread"] == 0, "{item}");
    }
}

async fn read_state_ends_with_the_membership(mode: Mode) {
    let world = World::new(mode).await;
    let other_world = World::on(&world.server).await;
    let reader = world.member().await;
    let accept = "mutation($token: String!) { acceptInvitation(token: $token) { workspace { id } } }";
    reader.query(accept, json!({ "token": other_world.invitation("MEMBER").await })).await.ok();
    let channel = world.channel_of("PRIVATE", &[&reader]).await;
    sent(&world.owner, &channel, 1).await;
    let cursor = reader.query("{ viewer { syncCursor } }", json!({})).await.ok();
    let cursor = &cursor["viewer"]["syncCursor"];
    read(&reader, &channel, None).await;
    let remove =
        "mutation($id: ID!, $user: ID!) { removeChannelMember(id: $id, userId: $user) { __typename } }";
    world.owner.query(remove, json!({ "id": channel, "user": reader.id })).await.ok();
    let socket = reader.socket().await;
    let mut stream = socket.subscribe(EVENTS, json!({ "after": cursor }));
    let items = replay(&mut stream).await;
    let told: Vec<_> = items.iter().filter(|item| is_read_state(item)).collect();
    assert_eq!(told.len(), 1, "{items:#?}");
    assert_eq!(told[0]["event"]["unread"], Value::Null);

    // Leaving a workspace is told of its channels, and of nothing else that was followed for it.
    let document = "query($id: ID!) { workspace(id: $id) { members { nodes { id user { id } } } } }";
    let data = world.owner.query(document, json!({ "id": world.workspace })).await.ok();
    let members = data["workspace"]["members"]["nodes"].as_array().unwrap();
    let own = members.iter().find(|member| member["user"]["id"] == json!(reader.id)).unwrap();
    let remove = "mutation($id: ID!) { removeWorkspaceMember(id: $id) { memberId } }";
    world.owner.query(remove, json!({ "id": own["id"] })).await.ok();
    other_world.owner.send(&other_world.general, "still here").await;
    let mut left = Vec::new();
    loop {
        let item = stream.value().await;
        match item["event"]["__typename"].as_str().unwrap() {
            "MemberLeft" if item["event"]["userId"] == json!(reader.id) => {
                left.push(item["event"]["channelId"].clone());
            }
            "MessageCreated" if item["event"]["message"]["text"] == "still here" => break,
            _ => {}
        }
    }
    assert_eq!(left, [json!(world.general)]);
}

async fn read_state_crosses_nodes_and_outlives_redis(mode: Mode) {
    let stores = Stores::new(mode).await;
    let first = Server::start(&stores).await;
    let second = Server::start(&stores).await;
    let world = World::on(&first).await;
    let reader = world.member().await;
    let channel = world.channel(&[&reader]).await;
    let messages = sent(&world.owner, &channel, 10).await;
    let there = reader.at(&second);
    let socket = there.socket().await;
    let mut stream = follow(&socket, &there).await;
    read(&reader, &channel, Some(&messages[3])).await;
    let item = stream.value().await;
    assert!(is_read_state(&item) && item["event"]["unread"]["unread"] == 6, "{item}");
    // Two nodes at once: the cursor ends where the furthest is, and every stream is told so in the end.
    join_all(messages.iter().enumerate().rev().map(|(turn, message)| {
        let device = if turn % 2 == 0 { &reader } else { &there };
        read(device, &channel, Some(message))
    }))
    .await;
    let wanted = state(&reader, &channel).await;
    assert_eq!((&wanted["unread"], &wanted["lastReadMessageId"]), (&json!(0), &messages[9]["id"]));
    stream.find("the furthest", |item| (item["event"]["unread"] == wanted).then_some(())).await;

    unread(&there, &channel, &messages[5]).await;
    let before = summary(&reader).await;
    assert_eq!(before.0, 5);
    stores.flush_redis().await;
    assert_eq!(summary(&reader).await, before);
    assert_eq!(summary(&there).await, before);
}

async fn preferences_are_told_to_the_members_devices(mode: Mode) {
    let events = EVENTS.replace(
        "... on StreamReset",
        "... on MemberUpdated { channelId userId membership { isMuted isPinned notificationLevel } }
        ... on StreamReset",
    );
    let world = World::new(mode).await;
    let (reader, other) = (world.member().await, world.member().await);
    let channel = world.channel(&[&reader, &other]).await;
    let tablet = User::sign_in(&world.server, &reader.email, &reader.password).await;
    let (socket, other_socket) = (tablet.socket().await, other.socket().await);
    let cursor = async |user: &User| {
        let data = user.query("{ viewer { syncCursor } }", json!({})).await.ok();
        data["viewer"]["syncCursor"].clone()
    };
    let start = cursor(&reader).await;
    let mut stream = socket.subscribe(&events, json!({ "after": start }));
    let mut foreign = other_socket.subscribe(&events, json!({ "after": cursor(&other).await }));
    for stream in [&mut stream, &mut foreign] {
        assert!(replay(stream).await.is_empty());
    }
    let set = "mutation($id: ID!, $input: ChannelPreferencesInput!) {
        setChannelPreferences(id: $id, input: $input) { membership { isMuted } }
    }";
    let told = |muted: bool, pinned: bool, level: &str| {
        json!({
            "__typename": "MemberUpdated", "channelId": channel, "userId": reader.id,
            "membership": { "isMuted": muted, "isPinned": pinned, "notificationLevel": level },
        })
    };
    // The first one makes the entry in the log, those after it move it on.
    for (input, wanted) in [
        (json!({ "isMuted": true }), told(true, false, "ALL")),
        (json!({ "isPinned": true }), told(true, true, "ALL")),
        (json!({ "isMuted": false, "notificationLevel": "MENTIONS" }), told(false, true, "MENTIONS")),
    ] {
        reader.query(set, json!({ "id": channel, "input": input })).await.ok();
        let item = stream.value().await;
        assert_eq!((&item["event"], &item["replayed"]), (&wanted, &json!(false)), "{item}");
        assert!(item["cursor"].is_string() && item["seq"].is_i64(), "{item}");
    }
    // Nothing is set, so nothing is told. Read state in the same log stays its own.
    reader.query(set, json!({ "id": channel, "input": {} })).await.ok();
    let messages = sent(&world.owner, &channel, 1).await;
    stream.value().await;
    read(&reader, &channel, Some(&messages[0])).await;
    assert!(is_read_state(&stream.value().await));
    // After a cut they are told once, as they are now.
    let mut again = socket.subscribe(&events, json!({ "after": start }));
    let items = replay(&mut again).await;
    let updated: Vec<_> =
        items.iter().filter(|item| item["event"]["__typename"] == "MemberUpdated").collect();
    assert_eq!(updated.len(), 1, "{items:#?}");
    assert_eq!(updated[0]["event"], told(false, true, "MENTIONS"));
    assert_eq!(items.iter().filter(|item| is_read_state(item)).count(), 1);
    // And nobody else is told.
    let item = foreign.value().await;
    assert!(item["event"]["message"].is_object(), "{item}");
    world.owner.send(&channel, "the end").await;
    let item = foreign.value().await;
    assert_eq!(item["event"]["message"]["text"], "the end", "{item}");
}
