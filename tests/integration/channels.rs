//! Channels and who is in them.

pub(crate) mod direct;
pub(crate) mod lists;
pub(crate) mod members;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Answer, Mode, User, World, both_modes, client_message_id, unique};

both_modes!(
    a_channel_reads_everything_back,
    a_name_is_taken_once_in_a_workspace,
    every_bad_field_of_a_channel_is_named,
    topic_channels_are_found_by_their_thing,
);

async fn create(user: &User, input: Value) -> Answer {
    let document = "mutation($input: CreateChannelInput!) { createChannel(input: $input) { channel {
        id type name displayName topic description isPrivate isArchived isGeneral historyVisibility memberCount
        createdBy { id } workspace { id } viewerMembership { role status } entity { type id }
    } } }";
    user.query(document, json!({ "input": input })).await
}

/// Runs a mutation with the argument `id` only, given by name.
async fn act(user: &User, mutation: &str, id: &str, selection: &str) -> Answer {
    user.query(
        &format!("mutation($id: ID!) {{ {mutation}(id: $id) {{ {selection} }} }}"),
        json!({ "id": id }),
    )
    .await
}

async fn join(user: &User, id: &str) -> Answer {
    act(user, "joinChannel", id, "membership { status role user { id } }").await
}

async fn leave(user: &User, id: &str) -> Answer {
    act(user, "leaveChannel", id, "channelId").await
}

async fn add(by: &User, id: &str, users: &[&User]) -> Answer {
    let document = "mutation($id: ID!, $users: [ID!]!) {
        addChannelMembers(id: $id, userIds: $users) { memberships { status user { id } } }
    }";
    let users: Vec<_> = users.iter().map(|user| &user.id).collect();
    by.query(document, json!({ "id": id, "users": users })).await
}

async fn remove(by: &User, id: &str, user: &User) -> Answer {
    let document = "mutation($id: ID!, $user: ID!) {
        removeChannelMember(id: $id, userId: $user) { membership { status removedBy { id } } }
    }";
    by.query(document, json!({ "id": id, "user": user.id })).await
}

async fn member_count(user: &User, id: &str) -> i64 {
    let document =
        "query($id: ID!) { channel(id: $id) { memberCount members(first: 100) { nodes { status } } } }";
    let data = user.query(document, json!({ "id": id })).await.ok();
    let count = data["channel"]["memberCount"].as_i64().unwrap();
    assert_eq!(
        i64::try_from(data["channel"]["members"]["nodes"].as_array().unwrap().len()),
        Ok(count),
        "the counter is off"
    );
    count
}

async fn try_send(user: &User, channel: &str) -> Answer {
    let document = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { message { id } } }";
    let input = json!({ "channelId": channel, "clientMessageId": client_message_id(), "text": "hello" });
    user.query(document, json!({ "input": input })).await
}

async fn a_channel_reads_everything_back(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let name = unique("channel");
    let data = create(
        &world.owner,
        json!({
            "workspaceId": world.workspace, "type": "PRIVATE", "name": name, "topic": "now", "description": "for what",
            "memberIds": [member.id],
        }),
    )
    .await
    .ok();
    let mut channel = data["createChannel"]["channel"].clone();
    let id = channel["id"].take();
    assert_eq!(
        channel,
        json!({
            "id": null, "type": "PRIVATE", "name": name, "displayName": name, "topic": "now", "description": "for what",
            "isPrivate": true, "isArchived": false, "isGeneral": false, "historyVisibility": "SINCE_JOIN",
            "memberCount": 2, "createdBy": { "id": world.owner.id }, "workspace": { "id": world.workspace },
            "viewerMembership": { "role": "OWNER", "status": "ACTIVE" }, "entity": null,
        })
    );
    let document = "query($id: ID!) { channel(id: $id) { name viewerMembership { role status } } }";
    let data = member.query(document, json!({ "id": id })).await.ok();
    let membership = json!({ "role": "MEMBER", "status": "ACTIVE" });
    assert_eq!(data["channel"], json!({ "name": name, "viewerMembership": membership }));
    let outsider = world.member().await;
    assert_eq!(outsider.query(document, json!({ "id": id })).await.code(), "NOT_FOUND");
}

async fn a_name_is_taken_once_in_a_workspace(mode: Mode) {
    let world = World::new(mode).await;
    let other = World::new(mode).await;
    let name = unique("channel");
    let input = |world: &World| json!({ "workspaceId": world.workspace, "type": "PUBLIC", "name": name });
    let answers = join_all((0..10).map(|_| create(&world.owner, input(&world)))).await;
    assert_eq!(answers.iter().filter(|answer| answer.errors.is_empty()).count(), 1);
    for taken in answers.iter().filter(|answer| !answer.errors.is_empty()) {
        assert_eq!(
            (taken.code().as_str(), taken.fields()),
            ("ALREADY_EXISTS", vec!["input.name".to_owned()])
        );
    }
    create(&other.owner, input(&other)).await.ok();
    let second = world.channel(&[]).await;
    let document = "mutation($id: ID!, $name: String!) { updateChannel(id: $id, input: { name: $name }) { channel { name } } }";
    let renamed = world.owner.query(document, json!({ "id": second, "name": name })).await;
    assert_eq!(renamed.code(), "ALREADY_EXISTS");
}

async fn every_bad_field_of_a_channel_is_named(mode: Mode) {
    let world = World::new(mode).await;
    let bad = json!({
        "workspaceId": world.workspace, "type": "PUBLIC", "name": "x".repeat(81), "topic": "x".repeat(251),
        "description": "x".repeat(4_001),
    });
    let refused = create(&world.owner, bad).await;
    assert_eq!(refused.code(), "INVALID");
    assert_eq!(refused.fields(), ["input.description", "input.name", "input.topic"]);
    let nameless = create(&world.owner, json!({ "workspaceId": world.workspace, "type": "PUBLIC" })).await;
    assert_eq!((nameless.code().as_str(), nameless.fields()), ("INVALID", vec!["input.name".to_owned()]));
    let direct = json!({ "workspaceId": world.workspace, "type": "DIRECT", "name": "x" });
    assert_eq!(create(&world.owner, direct).await.code(), "INVALID");
    let topic = json!({ "workspaceId": world.workspace, "type": "TOPIC", "name": unique("t") });
    let refused = create(&world.owner, topic).await;
    assert_eq!(refused.fields(), ["input.entityId", "input.entityType"]);
    let stranger = World::new(mode).await.owner;
    let input = json!({
        "workspaceId": world.workspace, "type": "PUBLIC", "name": unique("c"), "memberIds": [stranger.id],
    });
    assert_eq!(create(&world.owner, input).await.code(), "NOT_FOUND");
}

async fn topic_channels_are_found_by_their_thing(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let entity = unique("ticket");
    let input = || {
        json!({
            "workspaceId": world.workspace, "type": "TOPIC", "name": unique("t"), "entityType": "ticket",
            "entityId": entity,
        })
    };
    let data = create(&world.owner, input()).await.ok();
    let channel = &data["createChannel"]["channel"];
    assert_eq!(channel["entity"], json!({ "type": "ticket", "id": entity }));
    let document = "query($workspace: ID!, $id: String!) {
        channelByEntity(workspaceId: $workspace, type: \"ticket\", id: $id) { id }
    }";
    let find = |user: User, id: String| {
        let workspace = world.workspace.clone();
        async move { user.query(document, json!({ "workspace": workspace, "id": id })).await }
    };
    assert_eq!(find(member.clone(), entity.clone()).await.ok()["channelByEntity"]["id"], channel["id"]);
    assert_eq!(find(member.clone(), unique("ticket")).await.code(), "NOT_FOUND");
    let stranger = World::new(mode).await.owner;
    assert_eq!(find(stranger, entity.clone()).await.code(), "NOT_FOUND");
    assert_eq!(create(&world.owner, input()).await.code(), "ALREADY_EXISTS");
}
