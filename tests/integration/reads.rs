//! What somebody has read, on all of their devices.

pub(crate) mod model;
pub(crate) mod streams;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Mode, User, World, both_modes, unique};

both_modes!(
    reading_moves_the_cursor_forward_only,
    what_is_ones_own_deleted_or_aside_does_not_count,
    whoever_comes_in_has_nothing_unread,
    a_summary_counts_all_channels_at_once,
    only_members_mark_and_only_what_they_see,
    a_count_has_an_end,
    devices_that_race_never_move_it_back,
);

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
