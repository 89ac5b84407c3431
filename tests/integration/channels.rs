//! Channels and who is in them.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Answer, Mode, SOON, User, World, both_modes, client_message_id, eventually, unique};

both_modes!(
    a_channel_reads_everything_back,
    a_name_is_taken_once_in_a_workspace,
    every_bad_field_of_a_channel_is_named,
    fifty_opened_direct_channels_are_one,
    group_channels_go_by_their_people,
    topic_channels_are_found_by_their_thing,
    joining_leaving_and_coming_back_keep_the_count,
    the_general_channel_is_for_all,
    a_silenced_member_reads_only,
    a_removed_member_has_to_be_added_again,
    private_history_begins_with_the_join,
    the_viewers_channels_come_in_order,
    message_counts_follow_what_is_visible,
    preferences_are_the_members_own,
    channels_page_in_a_stable_order,
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

async fn open_direct(world: &World, by: &User, users: &[&User]) -> Answer {
    let document = "mutation($workspace: ID!, $users: [ID!]!) {
        openDirectChannel(workspaceId: $workspace, userIds: $users) {
            created channel { id type name displayName isPrivate memberCount }
        }
    }";
    let users: Vec<_> = users.iter().map(|user| &user.id).collect();
    by.query(document, json!({ "workspace": world.workspace, "users": users })).await
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

async fn fifty_opened_direct_channels_are_one(mode: Mode) {
    let world = World::new(mode).await;
    let (one, two) = (world.member().await, world.member().await);
    let opening = (0..50).map(|turn| {
        let (world, by, with) = if turn % 2 == 0 { (&world, &one, &two) } else { (&world, &two, &one) };
        async move { open_direct(world, by, &[with]).await }
    });
    let payloads: Vec<_> =
        join_all(opening).await.into_iter().map(|answer| answer.ok()["openDirectChannel"].take()).collect();
    let ids: HashSet<_> = payloads.iter().map(|payload| payload["channel"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(payloads.iter().filter(|payload| payload["created"] == true).count(), 1);
    let channel = &payloads[0]["channel"];
    assert_eq!(
        (&channel["type"], &channel["name"], &channel["memberCount"]),
        (&json!("DIRECT"), &Value::Null, &json!(2))
    );
    assert_eq!(channel["displayName"], two.name);
    let id = channel["id"].as_str().unwrap();
    one.send(id, "hello").await;
    assert_eq!(two.texts(id).await, ["hello"]);
    assert_eq!(
        try_send(&world.owner, id).await.code(),
        "NOT_FOUND",
        "an admin reads other people's conversations"
    );
    assert_eq!(leave(&one, id).await.code(), "FORBIDDEN");
    assert_eq!(add(&one, id, &[&world.owner]).await.code(), "FORBIDDEN");
}

async fn group_channels_go_by_their_people(mode: Mode) {
    let world = World::new(mode).await;
    let (one, two) = (world.member().await, world.member().await);
    let first = open_direct(&world, &world.owner, &[&one, &two]).await.ok();
    let again = open_direct(&world, &two, &[&world.owner, &one]).await.ok();
    let (first, again) = (&first["openDirectChannel"], &again["openDirectChannel"]);
    assert_eq!(
        (&first["channel"]["type"], &first["channel"]["memberCount"]),
        (&json!("GROUP_DIRECT"), &json!(3))
    );
    assert_eq!((&first["created"], &again["created"]), (&json!(true), &json!(false)));
    assert_eq!(first["channel"]["id"], again["channel"]["id"]);
    let pair = open_direct(&world, &world.owner, &[&one]).await.ok();
    assert_ne!(pair["openDirectChannel"]["channel"]["id"], first["channel"]["id"]);
    let stranger = World::new(mode).await.owner;
    assert_eq!(open_direct(&world, &world.owner, &[&stranger]).await.code(), "NOT_FOUND");
    assert_eq!(open_direct(&world, &world.owner, &[]).await.code(), "INVALID");
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

async fn the_viewers_channels_come_in_order(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let [old, new, silent, pinned, archived] = [
        world.channel(&[&member]).await,
        world.channel(&[&member]).await,
        world.channel(&[&member]).await,
        world.channel(&[&member]).await,
        world.channel(&[&member]).await,
    ];
    world.channel(&[]).await;
    for channel in [&pinned, &old, &archived, &new] {
        world.owner.send(channel, "a message").await;
    }
    act(&world.owner, "archiveChannel", &archived, "channel { id }").await.ok();
    let document = "mutation($id: ID!) { setChannelPreferences(id: $id, input: { isPinned: true }) { membership { isPinned } } }";
    member.query(document, json!({ "id": pinned })).await.ok();
    let document = "query($workspace: ID!, $first: Int!, $after: String) { viewer {
        channels(workspaceId: $workspace, first: $first, after: $after) {
            nodes { channel { id lastMessageAt } isPinned lastMessagePreview } pageInfo { hasNextPage endCursor }
        }
    } }";
    // The general channel and the silent one have no message; of equals the order is by id.
    let expected = |ids: &[String]| ids[..3] == [pinned.clone(), new.clone(), old.clone()] && ids.len() == 5;
    let read = |first: usize, after: Value| {
        member.query(document, json!({ "workspace": world.workspace, "first": first, "after": after }))
    };
    let ids = |nodes: &Value| -> Vec<String> {
        nodes
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["channel"]["id"].as_str().unwrap().to_owned())
            .collect()
    };
    // The time of the newest message may be a second behind.
    let all = eventually("the channels in order", SOON, || async {
        let data = read(100, Value::Null).await.ok();
        let all = data["viewer"]["channels"]["nodes"].clone();
        expected(&ids(&all)).then_some(all)
    })
    .await;
    assert!(ids(&all)[3..].contains(&silent) && ids(&all)[3..].contains(&world.general));
    assert_eq!((&all[0]["isPinned"], &all[1]["isPinned"]), (&json!(true), &json!(false)));
    assert_eq!(all[1]["lastMessagePreview"], "a message");
    let mut paged = Vec::new();
    let mut after = Value::Null;
    loop {
        let data = read(2, after).await.ok();
        let page = &data["viewer"]["channels"];
        paged.extend(ids(&page["nodes"]));
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
    assert_eq!(paged, ids(&all));
}

async fn message_counts_follow_what_is_visible(mode: Mode) {
    let world = World::new(mode).await;
    let channel = world.channel(&[]).await;
    let mut sent = Vec::new();
    for index in 0..5 {
        sent.push(world.owner.send(&channel, &index.to_string()).await);
    }
    let document = "query($id: ID!) { channel(id: $id) { messageCount lastMessageAt lastMessage { id text createdAt } } }";
    let read =
        || async { world.owner.query(document, json!({ "id": channel })).await.ok()["channel"].take() };
    let counted = |wanted: i64| async move {
        eventually(&format!("{wanted} messages"), SOON, || async {
            let now = read().await;
            let agrees =
                now["messageCount"] == wanted && now["lastMessageAt"] == now["lastMessage"]["createdAt"];
            agrees.then_some(now)
        })
        .await
    };
    assert_eq!(counted(5).await["lastMessage"]["id"], sent[4]["id"]);
    let delete = "mutation($id: ID!) { deleteMessage(id: $id) { message { id } } }";
    world.owner.query(delete, json!({ "id": sent[4]["id"] })).await.ok();
    // Once more is no second one.
    let _ = world.owner.query(delete, json!({ "id": sent[4]["id"] })).await;
    assert_eq!(counted(4).await["lastMessage"]["id"], sent[3]["id"]);

    // Replies count, and are not in the timeline unless their authors want them there too.
    world.owner.reply(&channel, &sent[0], "in the thread").await;
    assert_eq!(counted(5).await["lastMessage"]["id"], sent[3]["id"]);
    let broadcast = json!({
        "channelId": channel, "clientMessageId": client_message_id(), "text": "to all",
        "threadRootId": sent[0]["id"], "broadcastToChannel": true,
    });
    let broadcast = world.owner.send_input(broadcast).await;
    assert_eq!(counted(6).await["lastMessage"]["id"], broadcast["id"]);
    // At once, so that they are committed together.
    let (last, _, _) = tokio::join!(
        world.owner.send(&channel, "last"),
        world.owner.query(delete, json!({ "id": sent[1]["id"] })),
        world.owner.query(delete, json!({ "id": sent[2]["id"] })),
    );
    assert_eq!(counted(5).await["lastMessage"]["id"], last["id"]);
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

async fn channels_page_in_a_stable_order(mode: Mode) {
    let world = World::new(mode).await;
    let outsider = world.member().await;
    for _ in 0..7 {
        world.channel(&[]).await;
    }
    let private = world.channel_of("PRIVATE", &[]).await;
    let document = "query($id: ID!, $after: String) { workspace(id: $id) {
        channels(first: 3, after: $after) { nodes { id name } pageInfo { hasNextPage endCursor } }
    } }";
    for (user, expected) in [(&world.owner, 9), (&outsider, 8)] {
        let mut seen: Vec<String> = Vec::new();
        let mut after = Value::Null;
        loop {
            let data = user.query(document, json!({ "id": world.workspace, "after": after })).await.ok();
            let page = &data["workspace"]["channels"];
            seen.extend(
                page["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap().to_owned()),
            );
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
        assert_eq!(seen.len(), expected);
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), expected, "a channel came twice");
        assert_eq!(seen.contains(&private), expected == 9);
    }
}
