//! What somebody has read, on all of their devices.

use std::collections::BTreeMap;

use futures_util::future::{join, join_all};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::{
    consistency::random,
    support::{Mode, SOON, Server, Socket, Stores, Stream, User, World, both_modes, servers_only, unique},
};

both_modes!(
    reading_moves_the_cursor_forward_only,
    what_is_ones_own_deleted_or_aside_does_not_count,
    whoever_comes_in_has_nothing_unread,
    a_summary_counts_all_channels_at_once,
    other_devices_are_told_and_nobody_else,
    read_state_is_told_after_a_cut,
    read_state_ends_with_the_membership,
    only_members_mark_and_only_what_they_see,
    a_count_has_an_end,
    devices_that_race_never_move_it_back,
    unread_agrees_with_a_model,
);
servers_only!(read_state_crosses_nodes_and_outlives_redis);

const UNREAD: &str =
    "channelId unread lastReadSeq latestSeq firstUnreadMessageId lastReadMessageId lastReadAt";

/// The viewer's read state of all channels, by id.
pub(crate) async fn summary(user: &User) -> (i64, BTreeMap<String, Value>) {
    let document = format!("{{ viewer {{ unread {{ totalUnread channels {{ {UNREAD} }} }} }} }}");
    let data = user.query(&document, json!({})).await.ok();
    let unread = &data["viewer"]["unread"];
    let of = |channel: &Value| (channel["channelId"].as_str().unwrap().to_owned(), channel.clone());
    let channels = unread["channels"].as_array().unwrap().iter().map(of).collect();
    (unread["totalUnread"].as_i64().unwrap(), channels)
}

/// The viewer's read state of one channel. Their membership has to say the same.
pub(crate) async fn state(user: &User, channel: &str) -> Value {
    let state = summary(user).await.1.remove(channel).unwrap();
    let document = "query($id: ID!) { channel(id: $id) {
        viewerMembership { unreadCount lastReadMessageId lastReadAt }
    } }";
    let data = user.query(document, json!({ "id": channel })).await.ok();
    let membership = &data["channel"]["viewerMembership"];
    assert_eq!(membership["unreadCount"], state["unread"]);
    assert_eq!(membership["lastReadMessageId"], state["lastReadMessageId"]);
    assert_eq!(membership["lastReadAt"], state["lastReadAt"]);
    state
}

const READ: &str = "mutation($id: ID!, $message: ID) {
    markChannelRead(id: $id, upToMessageId: $message) { membership { unreadCount } unread { totalUnread } }
}";
const NOT_READ: &str = "mutation($id: ID!, $message: ID!) {
    markChannelUnread(id: $id, fromMessageId: $message) { membership { unreadCount } }
}";

/// Marks a channel as read up to a message, or to its end; gives what is left.
pub(crate) async fn read(user: &User, channel: &str, up_to: Option<&Value>) -> Value {
    let message = up_to.map_or(Value::Null, |message| message["id"].clone());
    let data = user.query(READ, json!({ "id": channel, "message": message })).await.ok();
    data["markChannelRead"]["membership"]["unreadCount"].clone()
}

/// Marks a channel as unread from a message on; gives what is unread then.
pub(crate) async fn unread(user: &User, channel: &str, from: &Value) -> Value {
    let data = user.query(NOT_READ, json!({ "id": channel, "message": from["id"] })).await.ok();
    data["markChannelUnread"]["membership"]["unreadCount"].clone()
}

async fn delete(user: &User, message: &Value) {
    let document = "mutation($id: ID!) { deleteMessage(id: $id) { message { id } } }";
    user.query(document, json!({ "id": message["id"] })).await.ok();
}

async fn sent(user: &User, channel: &str, count: usize) -> Vec<Value> {
    let mut messages = Vec::with_capacity(count);
    for turn in 0..count {
        messages.push(user.send(channel, &format!("message {turn}")).await);
    }
    messages
}

async fn reading_moves_the_cursor_forward_only(mode: Mode) {
    let world = World::new(mode).await;
    let reader = world.member().await;
    let channel = world.channel(&[&reader]).await;
    let messages = sent(&world.owner, &channel, 4).await;
    let before = state(&reader, &channel).await;
    assert_eq!((&before["unread"], &before["firstUnreadMessageId"]), (&json!(4), &messages[0]["id"]));
    assert_eq!((&before["lastReadMessageId"], &before["lastReadAt"]), (&Value::Null, &Value::Null));
    assert_eq!(before["latestSeq"], messages[3]["seq"]);

    assert_eq!(read(&reader, &channel, Some(&messages[2])).await, 1);
    let there = state(&reader, &channel).await;
    assert_eq!(there["lastReadMessageId"], messages[2]["id"]);
    assert_eq!(there["lastReadSeq"], messages[2]["seq"]);
    assert_eq!(there["firstUnreadMessageId"], messages[3]["id"]);
    assert!(there["lastReadAt"].is_string());
    for message in &messages[..3] {
        assert_eq!(read(&reader, &channel, Some(message)).await, 1);
        assert_eq!(state(&reader, &channel).await, there, "nothing was to change");
    }
    assert_eq!(read(&reader, &channel, None).await, 0);
    let end = state(&reader, &channel).await;
    assert_eq!(end["lastReadMessageId"], messages[3]["id"]);
    assert_eq!(end["firstUnreadMessageId"], Value::Null);
    assert_eq!(read(&reader, &channel, None).await, 0);
    assert_eq!(state(&reader, &channel).await, end);

    assert_eq!(unread(&reader, &channel, &messages[1]).await, 3);
    let back = state(&reader, &channel).await;
    assert_eq!(back["lastReadMessageId"], messages[0]["id"]);
    assert_eq!(back["firstUnreadMessageId"], messages[1]["id"]);
    assert_eq!(unread(&reader, &channel, &messages[1]).await, 3);
    assert_eq!(state(&reader, &channel).await, back);
    // From there it goes forward again.
    assert_eq!(read(&reader, &channel, Some(&messages[0])).await, 3);
    assert_eq!(state(&reader, &channel).await, back);
    assert_eq!(read(&reader, &channel, Some(&messages[1])).await, 2);
    assert_eq!(unread(&reader, &channel, &messages[3]).await, 1);
}

async fn what_is_ones_own_deleted_or_aside_does_not_count(mode: Mode) {
    let world = World::new(mode).await;
    let (reader, other) = (world.member().await, world.member().await);
    let channel = world.channel(&[&reader, &other]).await;
    let root = world.owner.send(&channel, "root").await;
    assert_eq!(read(&reader, &channel, None).await, 0);
    let own = reader.send(&channel, "mine").await;
    let now = state(&reader, &channel).await;
    assert_eq!((&now["unread"], &now["lastReadMessageId"]), (&json!(0), &root["id"]));
    // A reply stands aside, unless it is broadcast; lines of the server are not written by anybody.
    world.owner.reply(&channel, &root, "aside").await;
    world
        .owner
        .query(
            "mutation($id: ID!) { updateChannel(id: $id, input: { topic: \"new\" }) { channel { id } } }",
            json!({ "id": channel }),
        )
        .await
        .ok();
    assert_eq!(state(&reader, &channel).await["unread"], 0);
    let told = world.owner.send_input(json!({
        "channelId": channel, "clientMessageId": unique("own"), "text": "to all", "threadRootId": root["id"],
        "broadcastToChannel": true,
    })).await;
    let plain = other.send(&channel, "plain").await;
    let now = state(&reader, &channel).await;
    assert_eq!((&now["unread"], &now["firstUnreadMessageId"]), (&json!(2), &told["id"]));
    // Edits and reactions move messages in the log, not in the timeline.
    for (user, document) in [
        (&world.owner, "mutation($id: ID!) { editMessage(id: $id, text: \"edited\") { message { id } } }"),
        (&reader, "mutation($id: ID!) { addReaction(messageId: $id, emoji: \"👍\") { message { id } } }"),
    ] {
        user.query(document, json!({ "id": root["id"] })).await.ok();
    }
    assert_eq!(state(&reader, &channel).await["unread"], 2);
    delete(&world.owner, &told).await;
    let now = state(&reader, &channel).await;
    assert_eq!((&now["unread"], &now["firstUnreadMessageId"]), (&json!(1), &plain["id"]));
    // Deleting what was read changes nothing, and one may be read up to a tombstone.
    delete(&world.owner, &root).await;
    assert_eq!(state(&reader, &channel).await["unread"], 1);
    assert_eq!(read(&reader, &channel, Some(&told)).await, 1);
    assert_eq!(state(&reader, &channel).await["lastReadMessageId"], told["id"]);
    // From one's own message on, what others wrote behind it is unread.
    assert_eq!(unread(&reader, &channel, &own).await, 1);
    // Each has their own.
    assert_eq!(state(&other, &channel).await["unread"], 1);
}

async fn whoever_comes_in_has_nothing_unread(mode: Mode) {
    let world = World::new(mode).await;
    let (first, late) = (world.member().await, world.member().await);
    let channel = world.channel(&[&first]).await;
    let early = sent(&world.owner, &channel, 3).await;
    let join = "mutation($id: ID!) { joinChannel(id: $id) { membership { unreadCount lastReadMessageId } } }";
    let data = late.query(join, json!({ "id": channel })).await.ok();
    assert_eq!(data["joinChannel"]["membership"], json!({ "unreadCount": 0, "lastReadMessageId": null }));
    world.owner.send(&channel, "welcome").await;
    assert_eq!(state(&late, &channel).await["unread"], 1);
    assert_eq!(state(&first, &channel).await["unread"], 4);
    // What was there before can be marked, where it is shown.
    assert_eq!(unread(&late, &channel, &early[1]).await, 3);
    // A second coming is like the first one.
    let leave = "mutation($id: ID!) { leaveChannel(id: $id) { channelId } }";
    late.query(leave, json!({ "id": channel })).await.ok();
    assert!(!summary(&late).await.1.contains_key(&channel));
    world.owner.send(&channel, "missed").await;
    let data = late.query(join, json!({ "id": channel })).await.ok();
    assert_eq!(data["joinChannel"]["membership"], json!({ "unreadCount": 0, "lastReadMessageId": null }));
    assert_eq!(state(&late, &channel).await["lastReadAt"], Value::Null);
    assert_eq!(read(&late, &channel, Some(&early[2])).await, 0);
    assert_eq!(state(&late, &channel).await["lastReadAt"], Value::Null);
}

async fn a_summary_counts_all_channels_at_once(mode: Mode) {
    let world = World::new(mode).await;
    let other_world = World::on(&world.server).await;
    let reader = world.member().await;
    let accept = "mutation($token: String!) { acceptInvitation(token: $token) { workspace { id } } }";
    reader.query(accept, json!({ "token": other_world.invitation("MEMBER").await })).await.ok();
    let channels = [
        world.channel(&[&reader]).await,
        world.channel_of("PRIVATE", &[&reader]).await,
        world.general.clone(),
    ];
    let elsewhere = other_world.channel(&[&reader]).await;
    world.owner.send(&world.channel(&[]).await, "not in it").await;
    for (channel, count) in channels.iter().zip(1..) {
        sent(&world.owner, channel, count).await;
    }
    sent(&other_world.owner, &elsewhere, 5).await;
    let (total, states) = summary(&reader).await;
    assert_eq!(total, 1 + 2 + 3 + 5);
    let counts: Vec<_> = channels.iter().map(|channel| states[channel]["unread"].clone()).collect();
    assert_eq!(counts, [1, 2, 3]);
    assert_eq!(states[&elsewhere]["unread"], 5);
    // The three, the other one and the other general one.
    assert_eq!(states.len(), 5);

    let document =
        "query($id: ID!) { viewer { unread(workspaceId: $id) { totalUnread channels { unread } } } }";
    let data = reader.query(document, json!({ "id": other_world.workspace })).await.ok();
    assert_eq!(data["viewer"]["unread"]["totalUnread"], 5);
    assert_eq!(data["viewer"]["unread"]["channels"].as_array().unwrap().len(), 2);
    let foreign = World::on(&world.server).await.workspace;
    assert_eq!(reader.query(document, json!({ "id": foreign })).await.code(), "NOT_FOUND");

    // A muted channel is counted, but not in the total; an archived one is left out.
    let mute = "mutation($id: ID!) {
        setChannelPreferences(id: $id, input: { isMuted: true }) { membership { unreadCount } }
    }";
    reader.query(mute, json!({ "id": channels[1] })).await.ok();
    let (total, states) = summary(&reader).await;
    assert_eq!((total, &states[&channels[1]]["unread"]), (9, &json!(2)));
    let archive = "mutation($id: ID!) { archiveChannel(id: $id) { channel { id } } }";
    other_world.owner.query(archive, json!({ "id": elsewhere })).await.ok();
    let (total, states) = summary(&reader).await;
    assert_eq!((total, states.len()), (4, 4));
    // It can still be read to its end.
    assert_eq!(read(&reader, &elsewhere, None).await, 0);
    let data = reader.query(READ, json!({ "id": channels[2] })).await.ok();
    assert_eq!(data["markChannelRead"]["unread"]["totalUnread"], 1);
}

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
async fn follow(socket: &Socket, user: &User) -> Stream {
    let data = user.query("{ viewer { unread { asOf } } }", json!({})).await.ok();
    let mut stream = socket.subscribe(EVENTS, json!({ "after": data["viewer"]["unread"]["asOf"] }));
    let caught_up = stream.value().await;
    assert_eq!(caught_up["event"]["__typename"], "StreamCaughtUp", "{caught_up}");
    stream
}

fn is_read_state(item: &Value) -> bool {
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

async fn only_members_mark_and_only_what_they_see(mode: Mode) {
    let world = World::new(mode).await;
    let (reader, stranger) = (world.member().await, world.member().await);
    let (open, hidden) = (world.channel(&[&reader]).await, world.channel_of("PRIVATE", &[&reader]).await);
    let early = world.owner.send(&hidden, "early").await;
    let message = world.owner.send(&open, "hello").await;
    let refused = async |user: &User, channel: &str, message: &Value| {
        let variables = json!({ "id": channel, "message": message });
        let answers = [user.query(READ, variables.clone()).await, user.query(NOT_READ, variables).await];
        assert_eq!(answers[0].code(), answers[1].code());
        answers[0].code()
    };
    assert_eq!(refused(&stranger, &open, &message["id"]).await, "FORBIDDEN");
    assert_eq!(refused(&stranger, &hidden, &early["id"]).await, "NOT_FOUND");
    assert_eq!(refused(&reader, &hidden, &message["id"]).await, "NOT_FOUND");
    assert_eq!(refused(&reader, &open, &json!(reader.id)).await, "INVALID");
    assert_eq!(refused(&reader, &reader.id, &message["id"]).await, "INVALID");
    let anonymous = world.server.anonymous();
    let variables = json!({ "id": open, "message": "nonsense" });
    assert_eq!(anonymous.query(READ, variables).await.code(), "UNAUTHENTICATED");
    // A private channel shows nothing of before one's coming.
    let add =
        "mutation($id: ID!, $user: ID!) { addChannelMembers(id: $id, userIds: [$user]) { __typename } }";
    world.owner.query(add, json!({ "id": hidden, "user": stranger.id })).await.ok();
    assert_eq!(refused(&stranger, &hidden, &early["id"]).await, "NOT_FOUND");
    assert_eq!(read(&stranger, &hidden, None).await, 0);

    // Nobody sees what others have read.
    let document = "query($id: ID!) { channel(id: $id) { viewerMembership { id } members { nodes {
        user { id } unreadCount lastReadMessageId lastReadAt
    } } } }";
    read(&reader, &open, None).await;
    let data = world.owner.query(document, json!({ "id": open })).await.ok();
    for member in data["channel"]["members"]["nodes"].as_array().unwrap() {
        let is_own = member["user"]["id"] == json!(world.owner.id);
        assert_eq!(member["unreadCount"].is_null(), !is_own, "{member}");
        assert!(member["lastReadMessageId"].is_null() && member["lastReadAt"].is_null(), "{member}");
    }
}

async fn a_count_has_an_end(mode: Mode) {
    let world = World::new(mode).await;
    let reader = world.member().await;
    let channel = world.channel(&[&reader]).await;
    let mut last = Value::Null;
    for _ in 0..26 {
        let group = join_all((0..40).map(|turn| world.owner.send(&channel, ["a", "b"][turn % 2]))).await;
        last = group.into_iter().max_by_key(|message| message["seq"].as_i64()).unwrap();
    }
    assert_eq!(state(&reader, &channel).await["unread"], 1_000);
    let newest = world.owner.send(&channel, "newest").await;
    assert_eq!(read(&reader, &channel, Some(&last)).await, 1);
    assert_eq!(state(&reader, &channel).await["firstUnreadMessageId"], newest["id"]);
}

async fn devices_that_race_never_move_it_back(mode: Mode) {
    let world = World::new(mode).await;
    let reader = world.member().await;
    let channel = world.channel(&[&reader]).await;
    let messages = sent(&world.owner, &channel, 20).await;
    for _ in 0..5 {
        unread(&reader, &channel, &messages[1]).await;
        // The furthest comes first, and the others on its heels.
        join_all(messages.iter().rev().map(|message| read(&reader, &channel, Some(message)))).await;
        let now = state(&reader, &channel).await;
        assert_eq!((&now["unread"], &now["lastReadMessageId"]), (&json!(0), &messages[19]["id"]));
    }
}

/// A channel as the model has it: its timeline, and how much of it is read.
#[derive(Default)]
struct Model {
    timeline: Vec<Value>,
    read: usize,
}

impl Model {
    /// The number of unread messages, the oldest of them, and the last one that is read.
    fn state(&self, reader: &User) -> (Value, Value, Value) {
        let (read, rest) = self.timeline.split_at(self.read);
        let counts = |message: &&Value| {
            let by_others = message["author"]["id"] != json!(reader.id);
            by_others && message["isDeleted"] == false && message["kind"] != "SYSTEM"
        };
        let unread: Vec<_> = rest.iter().filter(counts).collect();
        let id = |message: Option<&Value>| message.map_or(Value::Null, |message| message["id"].clone());
        (json!(unread.len()), id(unread.first().copied()), id(read.last()))
    }
}

/// Writes at random to channels, of which it knows the timelines as they were.
async fn write(author: &User, channels: &[(&String, Vec<Value>)], mut random: StdRng) {
    let mut own: Vec<Value> = Vec::new();
    for _ in 0..random.random_range(3..10) {
        let (channel, known) = channels.choose(&mut random).unwrap();
        let root = known.iter().filter(|message| message["kind"] != "SYSTEM").collect::<Vec<_>>();
        let root = root.choose(&mut random).map(|root| root["id"].clone());
        let mut input = json!({ "channelId": channel, "clientMessageId": unique("own"), "text": "words" });
        match random.random_range(0..100) {
            0..50 => {}
            50..75 if root.is_some() => {
                input["threadRootId"] = json!(root);
                input["broadcastToChannel"] = json!(random.random_bool(0.4));
            }
            75..90 if !own.is_empty() => {
                delete(author, own.choose(&mut random).unwrap()).await;
                continue;
            }
            _ => {
                let mine = known.iter().filter(|message| message["author"]["id"] == json!(author.id));
                let mine: Vec<_> = mine.filter(|message| message["kind"] != "SYSTEM").collect();
                let Some(message) = mine.choose(&mut random) else { continue };
                delete(author, message).await;
                continue;
            }
        }
        own.push(author.send_input(input).await);
    }
}

/// Reads on at random in timelines as they were; gives how far, by channel.
async fn read_on(
    device: &User,
    channels: &[(&String, Vec<Value>)],
    mut random: StdRng,
) -> BTreeMap<String, usize> {
    let mut furthest = BTreeMap::new();
    for _ in 0..random.random_range(0..6) {
        let (channel, known) = channels.choose(&mut random).unwrap();
        if known.is_empty() {
            continue;
        }
        let at = random.random_range(0..known.len());
        read(device, channel, Some(&known[at])).await;
        let furthest = furthest.entry((*channel).clone()).or_default();
        *furthest = (at + 1).max(*furthest);
    }
    furthest
}

async fn unread_agrees_with_a_model(mode: Mode) {
    let mut random = random("unread_agrees_with_a_model");
    let world = World::new(mode).await;
    let (reader, other) = (world.member().await, world.member().await);
    let tablet = User::sign_in(&world.server, &reader.email, &reader.password).await;
    let mut models = BTreeMap::new();
    for kind in ["PUBLIC", "PRIVATE", "PUBLIC"] {
        models.insert(world.channel_of(kind, &[&reader, &other]).await, Model::default());
    }
    let socket = tablet.socket().await;
    let mut stream = follow(&socket, &tablet).await;
    let mut told: BTreeMap<String, Value> = BTreeMap::new();
    for _ in 0..12 {
        // All at once: three people write, and two devices read on.
        let known: Vec<_> = models.iter().map(|(channel, model)| (channel, model.timeline.clone())).collect();
        let writers = [&world.owner, &other, &reader];
        let writing = writers.map(|author| write(author, &known, StdRng::from_rng(&mut random)));
        let devices = [&reader, &tablet];
        let reading = devices.map(|device| read_on(device, &known, StdRng::from_rng(&mut random)));
        let (_, furthest) = join(join_all(writing), join_all(reading)).await;
        for (channel, furthest) in furthest.into_iter().flatten() {
            let model = models.get_mut(&channel).unwrap();
            model.read = model.read.max(furthest);
        }
        for (channel, model) in &mut models {
            let document =
                "query($id: ID!, $after: String) { channel(id: $id) { messages(first: 100, after: $after) {
                nodes { id kind isDeleted author { id } } pageInfo { hasNextPage endCursor }
            } } }";
            model.timeline.clear();
            let mut after = Value::Null;
            while !after.is_boolean() {
                let data = world.owner.query(document, json!({ "id": channel, "after": after })).await.ok();
                let page = &data["channel"]["messages"];
                model.timeline.extend(page["nodes"].as_array().unwrap().iter().cloned());
                let has_more = page["pageInfo"]["hasNextPage"] == true;
                after = if has_more { page["pageInfo"]["endCursor"].clone() } else { json!(false) };
            }
            // Then, one after the other, back or to the end.
            let length = model.timeline.len();
            match random.random_range(0..4) {
                0 if length > 0 => {
                    model.read = random.random_range(0..length);
                    unread(&reader, channel, &model.timeline[model.read]).await;
                }
                1 if length > 0 => {
                    model.read = length;
                    read(&tablet, channel, None).await;
                }
                _ => {}
            }
        }
        let (total, states) = summary(&reader).await;
        let mut sum = 0;
        for (channel, model) in &models {
            let state = &states[channel];
            let is = ["unread", "firstUnreadMessageId", "lastReadMessageId"].map(|name| state[name].clone());
            let expected = model.state(&reader);
            sum += expected.0.as_i64().unwrap();
            assert_eq!(
                is,
                <[Value; 3]>::from(expected),
                "{channel} after {} of {}",
                model.read,
                model.timeline.len()
            );
        }
        assert_eq!(total, sum);
        // Every device's stream has told as much.
        let folding = async {
            let is_told = |told: &BTreeMap<String, Value>| {
                models.iter().all(|(channel, model)| {
                    told.get(channel).unwrap_or(&Value::Null) == &model.state(&reader).2
                })
            };
            while !is_told(&told) {
                let item = stream.value().await;
                if is_read_state(&item) {
                    let channel = item["event"]["channelId"].as_str().unwrap().to_owned();
                    told.insert(channel, item["event"]["unread"]["lastReadMessageId"].clone());
                }
            }
        };
        assert!(tokio::time::timeout(SOON, folding).await.is_ok(), "the stream never told what a query says");
    }
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
