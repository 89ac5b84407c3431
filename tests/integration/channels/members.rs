//! Joining, leaving, being silenced, removed and added again.

use futures_util::future::join_all;
use serde_json::json;

use super::{act, add, join, leave, member_count, remove, try_send};
use crate::support::{Mode, User, World, both_modes, client_message_id};

both_modes!(
    joining_leaving_and_coming_back_keep_the_count,
    the_general_channel_is_for_all,
    a_silenced_member_reads_only,
    a_removed_member_has_to_be_added_again,
    private_history_begins_with_the_join,
    preferences_are_the_members_own,
);

async fn joining_leaving_and_coming_back_keep_the_count(mode: Mode) {
    let world = World::new(mode).await;
    let members = join_all((0..4).map(|_| world.member())).await;
    let channel = world.channel(&[]).await;
    assert_eq!(member_count(&world.owner, &channel).await, 1);
    // Everybody joins three times at once.
    for answer in join_all(members.iter().cycle().take(12).map(|user| join(user, &channel))).await {
        assert_eq!(answer.ok()["joinChannel"]["membership"]["status"], "ACTIVE");
    }
    assert_eq!(member_count(&world.owner, &channel).await, 5);
    for answer in join_all(members[..2].iter().cycle().take(6).map(|user| leave(user, &channel))).await {
        answer.ok();
    }
    assert_eq!(member_count(&world.owner, &channel).await, 3);
    assert_eq!(try_send(&members[0], &channel).await.code(), "FORBIDDEN", "open, but not joined");
    join(&members[0], &channel).await.ok();
    remove(&world.owner, &channel, &members[3]).await.ok();
    add(&world.owner, &channel, &[&members[1], &members[3]]).await.ok();
    assert_eq!(member_count(&world.owner, &channel).await, 5);
}

async fn the_general_channel_is_for_all(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    assert_eq!(member_count(&world.owner, &world.general).await, 2);
    assert_eq!(leave(&member, &world.general).await.code(), "FORBIDDEN");
    assert_eq!(remove(&world.owner, &world.general, &member).await.code(), "FORBIDDEN");
    assert_eq!(
        act(&world.owner, "archiveChannel", &world.general, "channel { id }").await.code(),
        "FORBIDDEN"
    );
    assert_eq!(
        act(&member, "archiveChannel", &world.channel(&[&member]).await, "channel { id }").await.code(),
        "FORBIDDEN"
    );
}

async fn a_silenced_member_reads_only(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    let document = "mutation($id: ID!, $user: ID!, $status: MembershipStatus!) {
        updateChannelMember(id: $id, userId: $user, status: $status) { membership { status } }
    }";
    let set = |by: User, user: String, status: &'static str| {
        let channel = channel.clone();
        async move { by.query(document, json!({ "id": channel, "user": user, "status": status })).await }
    };
    assert_eq!(set(member.clone(), world.owner.id.clone(), "MUTED").await.code(), "FORBIDDEN");
    let data = set(world.owner.clone(), member.id.clone(), "MUTED").await.ok();
    assert_eq!(data["updateChannelMember"]["membership"]["status"], "MUTED");
    assert_eq!(try_send(&member, &channel).await.code(), "FORBIDDEN");
    world.owner.send(&channel, "read this").await;
    assert_eq!(member.texts(&channel).await, ["read this"]);
    assert_eq!(set(world.owner.clone(), member.id.clone(), "LEFT").await.code(), "INVALID");
    set(world.owner.clone(), member.id.clone(), "ACTIVE").await.ok();
    try_send(&member, &channel).await.ok();
}

async fn a_removed_member_has_to_be_added_again(mode: Mode) {
    let world = World::new(mode).await;
    let (member, other) = (world.member().await, world.member().await);
    let channel = world.channel(&[&member, &other]).await;
    assert_eq!(remove(&other, &channel, &member).await.code(), "FORBIDDEN");
    let data = remove(&world.owner, &channel, &member).await.ok();
    let membership = json!({ "status": "REMOVED", "removedBy": { "id": world.owner.id } });
    assert_eq!(data["removeChannelMember"]["membership"], membership);
    assert_eq!(try_send(&member, &channel).await.code(), "NOT_FOUND");
    assert_eq!(join(&member, &channel).await.code(), "FORBIDDEN");
    add(&world.owner, &channel, &[&member]).await.ok();
    try_send(&member, &channel).await.ok();
}

async fn private_history_begins_with_the_join(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let (private, public) = (world.channel_of("PRIVATE", &[]).await, world.channel(&[]).await);
    let mut early = Vec::new();
    for channel in [&private, &public] {
        early.push(world.owner.send(channel, "before").await);
        add(&world.owner, channel, &[&member]).await.ok();
        world.owner.send(channel, "after").await;
    }
    assert_eq!(member.texts(&public).await, ["before", "after"]);
    assert_eq!(member.texts(&private).await, ["after"]);
    let document = "query($id: ID!) { message(id: $id) { text } }";
    assert_eq!(member.query(document, json!({ "id": early[0]["id"] })).await.code(), "NOT_FOUND");
    let reply = json!({
        "channelId": private, "clientMessageId": client_message_id(), "text": "reply", "replyToId": early[0]["id"],
    });
    let document = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
    assert_eq!(member.query(document, json!({ "input": reply })).await.code(), "NOT_FOUND");
    // Somebody removed and added again sees what came after that.
    remove(&world.owner, &private, &member).await.ok();
    world.owner.send(&private, "meanwhile").await;
    add(&world.owner, &private, &[&member]).await.ok();
    world.owner.send(&private, "back").await;
    assert_eq!(member.texts(&private).await, ["back"]);
}

async fn preferences_are_the_members_own(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    let document = "mutation($id: ID!) {
        setChannelPreferences(id: $id, input: { isMuted: true, notificationLevel: MENTIONS }) {
            membership { id isMuted isPinned notificationLevel }
        }
    }";
    let data = member.query(document, json!({ "id": channel })).await.ok();
    let own = &data["setChannelPreferences"]["membership"];
    assert_eq!(
        (&own["isMuted"], &own["isPinned"], &own["notificationLevel"]),
        (&json!(true), &json!(false), &json!("MENTIONS"))
    );
    let document = "query($id: ID!) { node(id: $id) { ... on ChannelMembership {
        user { id } isMuted isPinned notificationLevel
    } } }";
    let data = world.owner.query(document, json!({ "id": own["id"] })).await.ok();
    assert_eq!(
        data["node"],
        json!({ "user": { "id": member.id }, "isMuted": null, "isPinned": null, "notificationLevel": null })
    );
}
