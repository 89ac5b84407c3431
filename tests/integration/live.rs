//! What is told as it happens, over WebSocket.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Client, Item, Mode, SOON, Server, Socket, Stream, User, World, both_modes, client_message_id, eventually,
};

/// How long to listen before what is to be told is done once more.
const MOMENT: Duration = Duration::from_millis(400);

both_modes!(
    messages_arrive_as_they_are_written,
    every_change_of_a_message_is_told_with_what_changed,
    a_stream_goes_on_after_its_cursor,
    members_and_channel_changes_are_told,
    a_removed_members_stream_ends_with_a_word,
    the_stream_of_a_private_channel_is_for_members,
    typing_begins_ends_and_stays_in_its_place,
    who_goes_types_no_more,
    presence_follows_connections_and_choice,
    two_readers_see_the_same_in_the_same_order,
    protocol_errors_close_with_their_codes,
    queries_run_over_the_socket_too,
);

const EVENTS: &str = "subscription($channel: ID!, $after: EventCursor) { channelEvents(channelId: $channel, after: $after) {
    cursor seq replayed occurredAt event { __typename
        ... on MessageCreated { message { id seq text author { id } } }
        ... on MessageUpdated { changed message { id seq text reactionGroups { emoji count } thread { replyCount } } }
        ... on MessageDeleted { message { id seq text isDeleted } }
        ... on MemberJoined { userId membership { user { id } } }
        ... on MemberLeft { userId removedBy }
        ... on ChannelUpdated { changed channel { name topic } }
        ... on StreamCaughtUp { replayedCount }
        ... on StreamReset { reason }
    }
} }";

/// Follows a channel from its present on; returns when the stream is live.
pub(crate) async fn follow(socket: &Socket, user: &User, channel: &str) -> Stream {
    let document = "query($id: ID!) { channel(id: $id) { syncCursor } }";
    let data = user.query(document, json!({ "id": channel })).await.ok();
    let mut stream =
        socket.subscribe(EVENTS, json!({ "channel": channel, "after": data["channel"]["syncCursor"] }));
    stream.find("the end of the replay", |item| is(item, "StreamCaughtUp").then_some(())).await;
    stream
}

fn is(item: &Value, kind: &str) -> bool {
    item["event"]["__typename"] == kind
}

/// The next event of `kind`; others are skipped.
async fn next_of(stream: &mut Stream, kind: &str) -> Value {
    stream.find(kind, |item| is(item, kind).then(|| item.clone())).await
}

async fn messages_arrive_as_they_are_written(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    let socket = member.socket().await;
    let document = "subscription($channel: ID!) { messageAdded(channelId: $channel) {
        id seq text author { id displayName } channel { id }
    } }";
    let mut stream = socket.subscribe(document, json!({ "channel": channel }));
    // There is no sign that a subscription has begun; what is sent until then is not part of it.
    while stream.item_within(MOMENT).await.is_none() {
        world.owner.send(&channel, "probe").await;
    }
    let sent = world.owner.send(&channel, "the first").await;
    let reply = world.owner.reply(&channel, &sent, "a reply").await;
    let skip_probes = |item: &Value| (item["text"] != "probe").then(|| item.clone());
    let first = stream.find("the message", skip_probes).await;
    assert_eq!(first["id"], sent["id"]);
    assert_eq!(first["seq"], sent["seq"]);
    assert_eq!(first["author"], json!({ "id": world.owner.id, "displayName": world.owner.name }));
    assert_eq!(first["channel"]["id"], channel);
    assert_eq!(stream.value().await["id"], reply["id"], "thread replies are messages too");
    // Changes are none of its business.
    delete(&world.owner, &reply["id"]).await;
    let last = world.owner.send(&channel, "the last").await;
    assert_eq!(stream.value().await["id"], last["id"]);
}

async fn delete(user: &User, id: &Value) {
    let document = "mutation($id: ID!) { deleteMessage(id: $id) { message { id } } }";
    user.query(document, json!({ "id": id })).await.ok();
}

async fn every_change_of_a_message_is_told_with_what_changed(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    let socket = member.socket().await;
    let mut stream = follow(&socket, &member, &channel).await;

    let sent = world.owner.send(&channel, "hello").await;
    let created = next_of(&mut stream, "MessageCreated").await;
    assert_eq!(created["event"]["message"]["id"], sent["id"]);
    assert_eq!(created["event"]["message"]["text"], "hello");
    assert_eq!((&created["seq"], &created["replayed"]), (&sent["seq"], &json!(false)));
    assert!(created["cursor"].is_string());

    let document = "mutation($id: ID!) { editMessage(id: $id, text: \"edited\") { message { seq } } }";
    let data = world.owner.query(document, json!({ "id": sent["id"] })).await.ok();
    let updated = next_of(&mut stream, "MessageUpdated").await;
    assert_eq!(updated["event"]["changed"], json!(["CONTENT"]));
    assert_eq!(updated["event"]["message"]["text"], "edited");
    assert_eq!(updated["seq"], data["editMessage"]["message"]["seq"]);

    let document = "mutation($id: ID!) { addReaction(messageId: $id, emoji: \"🎉\") { message { seq } } }";
    let data = member.query(document, json!({ "id": sent["id"] })).await.ok();
    let updated = next_of(&mut stream, "MessageUpdated").await;
    assert_eq!(updated["event"]["changed"], json!(["REACTIONS"]));
    assert_eq!(updated["event"]["message"]["reactionGroups"], json!([{ "emoji": "🎉", "count": 1 }]));
    assert_eq!(updated["seq"], data["addReaction"]["message"]["seq"]);

    let reply = member.reply(&channel, &sent, "a reply").await;
    let created = next_of(&mut stream, "MessageCreated").await;
    assert_eq!(created["event"]["message"]["id"], reply["id"]);
    let updated = next_of(&mut stream, "MessageUpdated").await;
    assert_eq!(updated["event"]["changed"], json!(["THREAD"]));
    assert_eq!(updated["event"]["message"]["thread"]["replyCount"], 1);

    delete(&world.owner, &sent["id"]).await;
    let deleted = next_of(&mut stream, "MessageDeleted").await;
    assert_eq!(deleted["event"]["message"]["id"], sent["id"]);
    assert_eq!(deleted["event"]["message"]["text"], "");
}

async fn a_stream_goes_on_after_its_cursor(mode: Mode) {
    let world = World::new(mode).await;
    let channel = world.channel(&[]).await;
    let socket = world.owner.socket().await;
    let mut stream = follow(&socket, &world.owner, &channel).await;
    let first = world.owner.send(&channel, "first").await;
    let cursor = next_of(&mut stream, "MessageCreated").await["cursor"].take();
    drop(stream);

    let document = "mutation($id: ID!) { editMessage(id: $id, text: \"edited\") { message { seq } } }";
    world.owner.query(document, json!({ "id": first["id"] })).await.ok();
    let mut missed = Vec::new();
    for index in 0..120 {
        missed.push(world.owner.send(&channel, &index.to_string()).await["id"].clone());
    }
    let mut stream = socket.subscribe(EVENTS, json!({ "channel": channel, "after": cursor }));
    let updated = stream.value().await;
    assert_eq!(
        (&updated["event"]["__typename"], &updated["replayed"]),
        (&json!("MessageUpdated"), &json!(true))
    );
    for (id, tick) in missed.iter().zip(updated["seq"].as_i64().unwrap() + 1..) {
        let item = stream.value().await;
        assert!(is(&item, "MessageCreated") && item["replayed"] == true, "{item}");
        assert_eq!(&item["event"]["message"]["id"], id);
        assert_eq!(item["seq"].as_i64(), Some(tick));
    }
    let caught_up = stream.value().await;
    assert!(is(&caught_up, "StreamCaughtUp"));
    assert_eq!(caught_up["event"]["replayedCount"], 121);
    let live = world.owner.send(&channel, "live").await;
    let item = stream.value().await;
    assert_eq!((&item["event"]["message"]["id"], &item["replayed"]), (&live["id"], &json!(false)));

    let mut foreign = socket.subscribe(EVENTS, json!({ "channel": world.general, "after": cursor }));
    assert_eq!(foreign.code().await, "INVALID");
    let mut nonsense = socket.subscribe(EVENTS, json!({ "channel": channel, "after": "nonsense" }));
    assert_eq!(nonsense.code().await, "INVALID");
}

async fn members_and_channel_changes_are_told(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[]).await;
    let socket = world.owner.socket().await;
    let mut stream = follow(&socket, &world.owner, &channel).await;

    member
        .query("mutation($id: ID!) { joinChannel(id: $id) { membership { id } } }", json!({ "id": channel }))
        .await
        .ok();
    let joined = next_of(&mut stream, "MemberJoined").await;
    assert_eq!(joined["event"]["userId"], member.id);
    assert_eq!(joined["event"]["membership"]["user"]["id"], member.id);

    let document = "mutation($id: ID!, $topic: String!) {
        updateChannel(id: $id, input: { topic: $topic }) { channel { topic } }
    }";
    let data = world.owner.query(document, json!({ "id": channel, "topic": "news" })).await.ok();
    assert_eq!(data["updateChannel"]["channel"]["topic"], "news");
    let updated = next_of(&mut stream, "ChannelUpdated").await;
    assert_eq!(updated["event"]["changed"], json!(["topic"]));
    assert_eq!(updated["event"]["channel"]["topic"], "news");

    member
        .query("mutation($id: ID!) { leaveChannel(id: $id) { channelId } }", json!({ "id": channel }))
        .await
        .ok();
    let left = next_of(&mut stream, "MemberLeft").await;
    assert_eq!((&left["event"]["userId"], &left["event"]["removedBy"]), (&json!(member.id), &Value::Null));
}

async fn a_removed_members_stream_ends_with_a_word(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel_of("PRIVATE", &[&member]).await;
    let socket = member.socket().await;
    let mut stream = follow(&socket, &member, &channel).await;
    let other = world.owner.socket().await;
    let mut owners = follow(&other, &world.owner, &channel).await;

    let document = "mutation($id: ID!, $user: ID!) { removeChannelMember(id: $id, userId: $user) { membership { status } } }";
    world.owner.query(document, json!({ "id": channel, "user": member.id })).await.ok();
    let left = next_of(&mut owners, "MemberLeft").await;
    assert_eq!(left["event"]["userId"], member.id);
    assert_eq!(left["event"]["removedBy"], world.owner.id);
    world.owner.send(&channel, "behind closed doors").await;

    loop {
        let item = stream.value().await;
        assert!(!item.to_string().contains("behind closed doors"), "told after the removal: {item}");
        if is(&item, "StreamReset") {
            assert_eq!((&item["event"]["reason"], &item["cursor"]), (&json!("ACCESS_CHANGED"), &Value::Null));
            break;
        }
    }
    assert_eq!(stream.item().await, Item::Complete);
    let mut again = socket.subscribe(EVENTS, json!({ "channel": channel }));
    assert_eq!(again.code().await, "NOT_FOUND");
}

async fn the_stream_of_a_private_channel_is_for_members(mode: Mode) {
    let world = World::new(mode).await;
    let outsider = world.member().await;
    let stranger = World::new(mode).await.owner;
    let channel = world.channel_of("PRIVATE", &[]).await;
    for user in [&outsider, &stranger] {
        let socket = user.socket().await;
        for document in [
            "subscription($id: ID!) { channelEvents(channelId: $id) { seq } }",
            "subscription($id: ID!) { messageAdded(channelId: $id) { id } }",
            "subscription($id: ID!) { typingChanged(channelId: $id) { expiresAt } }",
        ] {
            assert_eq!(
                socket.subscribe(document, json!({ "id": channel })).code().await,
                "NOT_FOUND",
                "{document}"
            );
        }
    }
}

const TYPING: &str =
    "subscription($channel: ID!, $root: ID) { typingChanged(channelId: $channel, threadRootId: $root) {
    channelId users { id } expiresAt
} }";

async fn set_typing(user: &User, channel: &str, root: &Value, is_typing: bool) -> Value {
    let document = "mutation($channel: ID!, $root: ID, $typing: Boolean!) {
        setTyping(channelId: $channel, threadRootId: $root, isTyping: $typing) { expiresAt }
    }";
    user.query(document, json!({ "channel": channel, "root": root, "typing": is_typing })).await.ok()
}

fn typists(item: &Value) -> Vec<String> {
    let users = item["users"].as_array().unwrap();
    users.iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect()
}

async fn typing_begins_ends_and_stays_in_its_place(mode: Mode) {
    let world = World::new(mode).await;
    let (member, watcher) = (world.member().await, world.member().await);
    let channel = world.channel(&[&member, &watcher]).await;
    let root = world.owner.send(&channel, "root").await;
    let socket = watcher.socket().await;
    let mut timeline = socket.subscribe(TYPING, json!({ "channel": channel }));
    let mut thread = socket.subscribe(TYPING, json!({ "channel": channel, "root": root["id"] }));
    let types = |item: &Value| typists(item).contains(&member.id).then(|| item.clone());

    // A subscription begins with those who type already, so it does not matter which comes first.
    set_typing(&member, &channel, &Value::Null, true).await;
    set_typing(&member, &channel, &root["id"], true).await;
    timeline.find("typing", types).await;
    thread.find("typing in the thread", types).await;

    set_typing(&member, &channel, &Value::Null, false).await;
    timeline.find("the end of typing", |item| typists(item).is_empty().then_some(())).await;
    // Sending ends it at once, in the place where it was sent.
    set_typing(&member, &channel, &Value::Null, true).await;
    timeline.find("typing", types).await;
    member.send(&channel, "done").await;
    timeline.find("the end of typing", |item| typists(item).is_empty().then_some(())).await;
    // It ends by itself for who says nothing more.
    thread.find("the end of typing", |item| typists(item).is_empty().then_some(())).await;
}

async fn who_goes_types_no_more(mode: Mode) {
    let world = World::new(mode).await;
    let (member, watcher) = (world.member().await, world.member().await);
    let channel = world.channel(&[&watcher]).await;
    let root = world.owner.send(&channel, "root").await;
    let socket = watcher.socket().await;
    let mut timeline = socket.subscribe(TYPING, json!({ "channel": channel }));
    let mut thread = socket.subscribe(TYPING, json!({ "channel": channel, "root": root["id"] }));
    let add =
        "mutation($id: ID!, $user: ID!) { addChannelMembers(id: $id, userIds: [$user]) { __typename } }";
    let leave = "mutation($id: ID!) { leaveChannel(id: $id) { __typename } }";
    let remove =
        "mutation($id: ID!, $user: ID!) { removeChannelMember(id: $id, userId: $user) { __typename } }";
    for way in [leave, remove] {
        world.owner.query(add, json!({ "id": channel, "user": member.id })).await.ok();
        let begun = Instant::now();
        for (stream, root) in [(&mut timeline, &Value::Null), (&mut thread, &root["id"])] {
            set_typing(&member, &channel, root, true).await;
            stream.find("typing", |item| typists(item).contains(&member.id).then_some(())).await;
        }
        let (by, variables) = if way == leave {
            (&member, json!({ "id": channel }))
        } else {
            (&world.owner, json!({ "id": channel, "user": member.id }))
        };
        by.query(way, variables).await.ok();
        for stream in [&mut timeline, &mut thread] {
            stream.find("the end of typing", |item| typists(item).is_empty().then_some(())).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(6), "typing ended by itself only");
    }
}

async fn presence_follows_connections_and_choice(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let socket = world.owner.socket().await;
    let document = "subscription($ids: [ID!]!) { presenceChanged(userIds: $ids) { userId status } }";
    let mut stream = socket.subscribe(document, json!({ "ids": [member.id] }));
    let status = |wanted: &'static str| {
        let id = member.id.clone();
        move |item: &Value| {
            let presences = item.as_array().cloned().unwrap_or_else(|| vec![item.clone()]);
            presences.iter().any(|one| one["userId"] == id.as_str() && one["status"] == wanted).then_some(())
        }
    };
    let document = "query($id: ID!) { user(id: $id) { presence { status } } }";
    let read = || async {
        let data = world.owner.query(document, json!({ "id": member.id })).await.ok();
        data["user"]["presence"]["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(read().await, "OFFLINE");
    let members = member.socket().await;
    eventually("ONLINE", SOON, || async { (read().await == "ONLINE").then_some(()) }).await;

    let set = "mutation($status: PresenceStatus!) { setPresence(status: $status) { presence { status } } }";
    // The subscription begins at some time: the change is made until it is told.
    let mut told = false;
    for turn in 0..50 {
        let status = if turn % 2 == 0 { "DND" } else { "AWAY" };
        let data = member.query(set, json!({ "status": status })).await.ok();
        assert_eq!(data["setPresence"]["presence"]["status"], status);
        if stream.item_within(MOMENT).await.is_some() {
            told = true;
            break;
        }
    }
    assert!(told, "no change of presence is told");
    member.query(set, json!({ "status": "AWAY" })).await.ok();
    member.query(set, json!({ "status": "DND" })).await.ok();
    stream.find("DND", status("DND")).await;
    assert_eq!(read().await, "DND");
    drop(members);

    let stranger = World::new(mode).await.owner;
    assert_eq!(stranger.query(document, json!({ "id": member.id })).await.code(), "NOT_FOUND");
}

async fn two_readers_see_the_same_in_the_same_order(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    let (one, two) = (world.owner.socket().await, member.socket().await);
    let mut streams = [follow(&one, &world.owner, &channel).await, follow(&two, &member, &channel).await];
    let sending = (0..60).map(|index| {
        let sender = if index % 2 == 0 { &world.owner } else { &member };
        let input = json!({ "channelId": channel, "clientMessageId": client_message_id(), "text": index.to_string() });
        sender.send_input(input)
    });
    futures_util::future::join_all(sending).await;
    let mut seen: Vec<Vec<String>> = Vec::new();
    for stream in &mut streams {
        let mut ids = Vec::new();
        while ids.len() < 60 {
            let item = next_of(stream, "MessageCreated").await;
            ids.push(item["event"]["message"]["id"].as_str().unwrap().to_owned());
        }
        seen.push(ids);
    }
    assert_eq!(seen[0], seen[1]);
    let history = world.owner.history(&channel).await;
    let places: HashMap<_, _> =
        history.iter().enumerate().map(|(place, message)| (message["id"].as_str().unwrap(), place)).collect();
    assert!(seen[0].is_sorted_by_key(|id| places[id.as_str()]), "the order told is not that of history");
}

async fn protocol_errors_close_with_their_codes(mode: Mode) {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::{
        connect_async,
        tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
    };
    let server = Server::shared(mode).await;
    let init = r#"{"type":"connection_init"}"#;
    let subscribe = r#"{"type":"subscribe","id":"1","payload":{"query":"subscription { presenceChanged(userIds: []) { status } }"}}"#;
    for (messages, code) in [
        (vec!["no json"], 4400),
        (vec![r#"{"type":"unheard_of"}"#], 4400),
        (vec![subscribe], 4401),
        (vec![init, init], 4429),
    ] {
        let mut request = format!("ws://{}/graphql", server.address()).into_client_request().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
        let (mut socket, _) = connect_async(request).await.unwrap();
        for message in &messages {
            socket.send(Message::text(*message)).await.unwrap();
        }
        let closing = async {
            loop {
                match socket.next().await {
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| u16::from(frame.code)),
                    Some(Ok(_)) => {}
                    other => panic!("{messages:?}: {other:?}"),
                }
            }
        };
        assert_eq!(tokio::time::timeout(SOON, closing).await.unwrap(), Some(code), "{messages:?}");
    }
}

async fn queries_run_over_the_socket_too(mode: Mode) {
    let world = World::new(mode).await;
    let socket = world.owner.socket().await;
    let mut query = socket.subscribe("{ viewer { user { id } } }", json!({}));
    assert_eq!(query.next().await, json!({ "viewer": { "user": { "id": world.owner.id } } }));
    assert_eq!(query.item().await, Item::Complete);
    let mut invalid = socket.subscribe("{ nothingLikeThis }", json!({}));
    assert_eq!(invalid.code().await, "BAD_REQUEST");
    let anonymous: &Client = &world.server.anonymous();
    let socket = Socket::open(anonymous).await;
    let mut refused = socket.subscribe(
        "subscription($id: ID!) { messageAdded(channelId: $id) { id } }",
        json!({ "id": world.general }),
    );
    assert_eq!(refused.code().await, "UNAUTHENTICATED");
}
