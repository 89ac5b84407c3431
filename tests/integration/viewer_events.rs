//! Everything that a viewer is a member of, in one stream.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Mode, Socket, Stream, User, World, both_modes, unique};

both_modes!(
    every_channel_of_the_viewer_is_told_in_one_stream,
    a_viewers_stream_goes_on_after_its_cursor,
    a_viewers_stream_follows_joins_and_leaves,
    what_happened_while_away_in_channels_joined_and_left_is_told,
    a_channel_joined_and_left_since_the_cursor_is_told_as_left,
    that_a_channel_was_left_is_told_once,
    whoever_comes_back_to_a_workspace_is_not_told_of_what_they_left,
    workspaces_profiles_and_new_channels_are_told,
    what_happened_to_a_workspace_since_it_was_joined_is_told,
    a_workspace_that_two_admins_rename_is_told_twice,
    cursors_of_others_are_refused,
    who_removed_the_viewer_is_told,
);

const EVENTS: &str = "subscription($workspace: ID, $after: EventCursor) {
    viewerEvents(workspaceId: $workspace, after: $after) { cursor seq replayed occurredAt event { __typename
        ... on MessageCreated { message { id channelId text kind } }
        ... on MessageUpdated { changed message { id channelId text } }
        ... on MessageDeleted { message { id channelId } }
        ... on MemberJoined { channelId userId membership { user { id } } }
        ... on MemberLeft { channelId userId removedBy }
        ... on ChannelCreated { channelId channel { name } }
        ... on ChannelUpdated { channelId changed channel { topic } }
        ... on WorkspaceUpdated { workspaceId workspace { name } }
        ... on UserUpdated { userId user { displayName } }
        ... on StreamCaughtUp { replayedCount }
        ... on StreamReset { reason }
    } }
}";

async fn sync_cursor(user: &User) -> Value {
    user.query("{ viewer { syncCursor } }", json!({})).await.ok()["viewer"]["syncCursor"].clone()
}

/// Follows the viewer from now on; returns when the stream is live.
async fn follow(socket: &Socket, user: &User) -> Stream {
    let after = sync_cursor(user).await;
    let mut stream = socket.subscribe(EVENTS, json!({ "after": after }));
    let caught_up = stream.value().await;
    assert_eq!(caught_up["event"]["__typename"], "StreamCaughtUp", "{caught_up}");
    stream
}

fn is(item: &Value, kind: &str) -> bool {
    item["event"]["__typename"] == kind
}

async fn next_of(stream: &mut Stream, kind: &str) -> Value {
    stream.find(kind, |item| is(item, kind).then(|| item.clone())).await
}

/// Whatever comes before the end of the replay, and that.
async fn replay(stream: &mut Stream) -> Vec<Value> {
    let mut items = Vec::new();
    loop {
        let item = stream.value().await;
        let is_last = is(&item, "StreamCaughtUp");
        assert!(item["replayed"] == true, "{item}");
        items.push(item);
        if is_last {
            return items;
        }
    }
}

async fn every_channel_of_the_viewer_is_told_in_one_stream(mode: Mode) {
    let world = World::new(mode).await;
    let (reader, stranger) = (world.member().await, world.member().await);
    let first = world.channel(&[&reader]).await;
    let second = world.channel_of("PRIVATE", &[&reader]).await;
    let foreign = world.channel(&[&stranger]).await;
    let socket = reader.socket().await;
    let mut stream = follow(&socket, &reader).await;
    for (channel, text) in [(&first, "one"), (&foreign, "hidden"), (&second, "two"), (&first, "three")] {
        world.owner.send(channel, text).await;
    }
    let mut told = Vec::new();
    for _ in 0..3 {
        let item = stream.value().await;
        assert_eq!(item["replayed"], false);
        told.push((item["event"]["message"]["channelId"].clone(), item["event"]["message"]["text"].clone()));
    }
    let of = |channel: &str| -> Vec<&Value> {
        told.iter().filter(|(of, _)| of == channel).map(|(_, text)| text).collect()
    };
    assert_eq!(of(&first), [&json!("one"), &json!("three")]);
    assert_eq!(of(&second), [&json!("two")]);
}

async fn a_viewers_stream_goes_on_after_its_cursor(mode: Mode) {
    let world = World::new(mode).await;
    let reader = world.member().await;
    let mut channels = Vec::new();
    for _ in 0..3 {
        channels.push(world.channel(&[&reader]).await);
    }
    let socket = reader.socket().await;
    let mut stream = follow(&socket, &reader).await;
    let known = world.owner.send(&channels[0], "known").await;
    let cursor = stream.value().await["cursor"].clone();
    drop(stream);

    let edit = "mutation($id: ID!) { editMessage(id: $id, text: \"edited\") { message { id } } }";
    world.owner.query(edit, json!({ "id": known["id"] })).await.ok();
    for turn in 0..6 {
        world.owner.send(&channels[turn % 3], &format!("missed {turn}")).await;
    }
    let mut stream = socket.subscribe(EVENTS, json!({ "after": cursor }));
    let items = replay(&mut stream).await;
    assert_eq!(items.len(), 8, "{items:#?}");
    assert_eq!(items[7]["event"]["replayedCount"], 7);
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in &items[..7] {
        let message = &item["event"]["message"];
        let list = told.entry(message["channelId"].as_str().unwrap().to_owned()).or_default();
        list.push(format!(
            "{} {}",
            item["event"]["__typename"].as_str().unwrap(),
            message["text"].as_str().unwrap()
        ));
    }
    assert_eq!(
        told[&channels[0]],
        ["MessageUpdated edited", "MessageCreated missed 0", "MessageCreated missed 3"]
    );
    assert_eq!(told[&channels[2]], ["MessageCreated missed 2", "MessageCreated missed 5"]);
    // From any item in the middle of the replay exactly the others come.
    let rest = items[3]["cursor"].clone();
    let mut again = socket.subscribe(EVENTS, json!({ "after": rest }));
    assert_eq!(replay(&mut again).await.len(), 4);
    // And both are live.
    world.owner.send(&channels[1], "live").await;
    for stream in [&mut stream, &mut again] {
        let item = stream.value().await;
        assert_eq!((&item["event"]["message"]["text"], &item["replayed"]), (&json!("live"), &json!(false)));
    }
}

async fn a_viewers_stream_follows_joins_and_leaves(mode: Mode) {
    let world = World::new(mode).await;
    let reader = world.member().await;
    let open = world.channel(&[]).await;
    world.owner.send(&open, "before").await;
    let socket = reader.socket().await;
    let mut stream = follow(&socket, &reader).await;
    let join = "mutation($id: ID!) { joinChannel(id: $id) { __typename } }";
    reader.query(join, json!({ "id": open })).await.ok();
    world.owner.send(&open, "after").await;
    let joined = next_of(&mut stream, "MemberJoined").await;
    assert_eq!(joined["event"]["channelId"], json!(open));
    assert_eq!(joined["event"]["membership"]["user"]["id"], json!(reader.id));
    let told = next_of(&mut stream, "MessageCreated").await;
    assert_eq!(told["event"]["message"]["text"], "after");

    let leave = "mutation($id: ID!) { leaveChannel(id: $id) { __typename } }";
    reader.query(leave, json!({ "id": open })).await.ok();
    let left = next_of(&mut stream, "MemberLeft").await;
    assert_eq!((&left["event"]["channelId"], &left["event"]["userId"]), (&json!(open), &json!(reader.id)));
    world.owner.send(&open, "unheard").await;
    // A channel that the viewer is put into is told as made; nothing of the other one comes any more.
    let new = world.channel_of("PRIVATE", &[&reader]).await;
    world.owner.send(&new, "hello").await;
    let mut kinds = Vec::new();
    loop {
        let item = stream.value().await;
        assert_ne!(item["event"]["message"]["text"], "unheard");
        kinds.push(item["event"]["__typename"].as_str().unwrap().to_owned());
        if item["event"]["message"]["text"] == "hello" {
            break;
        }
    }
    assert_eq!(kinds, ["ChannelCreated", "MessageCreated"]);
}

async fn what_happened_while_away_in_channels_joined_and_left_is_told(mode: Mode) {
    let world = World::new(mode).await;
    let reader = world.member().await;
    let (stays, goes) = (world.channel(&[&reader]).await, world.channel_of("PRIVATE", &[&reader]).await);
    let cursor = sync_cursor(&reader).await;
    let remove = "mutation($channel: ID!, $user: ID!) {
        removeChannelMember(id: $channel, userId: $user) { __typename }
    }";
    world.owner.send(&goes, "last words").await;
    world.owner.query(remove, json!({ "channel": goes, "user": reader.id })).await.ok();
    world.owner.send(&goes, "secret").await;
    let comes = world.channel_of("PRIVATE", &[&reader]).await;
    world.owner.send(&comes, "welcome").await;
    world.owner.send(&stays, "as ever").await;

    let socket = reader.socket().await;
    let mut stream = socket.subscribe(EVENTS, json!({ "after": cursor }));
    let items = replay(&mut stream).await;
    let left: Vec<_> = items.iter().filter(|item| is(item, "MemberLeft")).collect();
    assert_eq!(left.len(), 1, "{items:#?}");
    assert_eq!(left[0]["event"]["channelId"], json!(goes));
    let created: Vec<_> = items.iter().filter(|item| is(item, "ChannelCreated")).collect();
    assert_eq!(created.len(), 1, "{items:#?}");
    assert_eq!(created[0]["event"]["channelId"], json!(comes));
    let texts: Vec<_> = items.iter().filter_map(|item| item["event"]["message"]["text"].as_str()).collect();
    assert!(texts.contains(&"welcome") && texts.contains(&"as ever"), "{texts:?}");
    assert!(!texts.contains(&"secret") && !texts.contains(&"last words"), "{texts:?}");
    // At the time when it happened, whenever it is told.
    let mut again = socket.subscribe(EVENTS, json!({ "after": cursor }));
    let later = replay(&mut again).await;
    for told in [left[0], created[0]] {
        let same = later.iter().find(|item| item["event"] == told["event"]).unwrap();
        assert_eq!(same["occurredAt"], told["occurredAt"], "{told}");
    }
    // Told once: the cursor behind it knows.
    let mut again = socket.subscribe(EVENTS, json!({ "after": items.last().unwrap()["cursor"] }));
    assert_eq!(replay(&mut again).await.len(), 1);
}

/// A query reads the cursor before the channels. Whoever comes into a channel in between, and is out of it again before
/// they follow, has it in their list and not in their cursor.
async fn a_channel_joined_and_left_since_the_cursor_is_told_as_left(mode: Mode) {
    const ADD: &str =
        "mutation($id: ID!, $user: ID!) { addChannelMembers(id: $id, userIds: [$user]) { __typename } }";
    const REMOVE: &str =
        "mutation($id: ID!, $user: ID!) { removeChannelMember(id: $id, userId: $user) { __typename } }";
    let world = World::new(mode).await;
    let reader = world.member().await;
    let (gone, back) = (world.channel(&[]).await, world.channel(&[]).await);
    let after = sync_cursor(&reader).await;
    for channel in [&gone, &back] {
        let of = json!({ "id": channel, "user": reader.id });
        world.owner.query(ADD, of.clone()).await.ok();
        world.owner.query(REMOVE, of).await.ok();
    }
    world.owner.query(ADD, json!({ "id": back, "user": reader.id })).await.ok();

    let socket = reader.socket().await;
    let mut stream = socket.subscribe(EVENTS, json!({ "after": after }));
    let items = replay(&mut stream).await;
    let left: Vec<_> = items.iter().filter(|item| is(item, "MemberLeft")).collect();
    let of_gone: Vec<_> = left.iter().filter(|item| item["event"]["channelId"] == *gone).collect();
    assert_eq!(of_gone.len(), 1, "{items:#?}");
    assert_eq!(of_gone[0]["event"]["userId"], json!(reader.id));
    assert_eq!(of_gone[0]["event"]["removedBy"], json!(world.owner.id));
    let of_back = |item: &&Value| item["event"]["channelId"] == *back;
    let last = items.iter().rfind(|item| of_back(item) && item["event"]["userId"] == json!(reader.id));
    assert_eq!(last.unwrap()["event"]["__typename"], "MemberJoined", "{items:#?}");
    let told = items.last().unwrap()["event"]["replayedCount"].as_u64().unwrap();
    assert_eq!(told, items.len() as u64 - 1);

    // It is behind the cursor then.
    let mut stream = socket.subscribe(EVENTS, json!({ "after": items.last().unwrap()["cursor"] }));
    assert_eq!(replay(&mut stream).await.len(), 1);
}

/// It is told as soon as it is known, before the entry in the viewer's own log that says the same.
async fn that_a_channel_was_left_is_told_once(mode: Mode) {
    const LEAVE: &str = "mutation($id: ID!) { leaveChannel(id: $id) { __typename } }";
    let world = World::new(mode).await;
    let reader = world.member().await;
    let (live, missed) = (world.channel(&[&reader]).await, world.channel(&[&reader]).await);
    let socket = reader.socket().await;
    let mut stream = follow(&socket, &reader).await;
    reader.query(LEAVE, json!({ "id": live })).await.ok();
    let told = next_of(&mut stream, "MemberLeft").await;
    assert_eq!((&told["event"]["channelId"], &told["event"]["userId"]), (&json!(live), &json!(reader.id)));
    // Something behind it, with another cursor.
    world.owner.send(&world.general, "behind").await;
    let behind = stream
        .find("the message behind", |item| {
            assert!(!is(item, "MemberLeft"), "once more: {item}");
            (item["event"]["message"]["text"] == "behind").then(|| item["cursor"].clone())
        })
        .await;
    drop(stream);
    let left = |items: &[Value]| items.iter().filter(|item| is(item, "MemberLeft")).count();
    for after in [&told["cursor"], &behind] {
        let items = replay(&mut socket.subscribe(EVENTS, json!({ "after": after }))).await;
        assert_eq!(left(&items), 0, "{items:#?}");
    }
    reader.query(LEAVE, json!({ "id": missed })).await.ok();
    let items = replay(&mut socket.subscribe(EVENTS, json!({ "after": behind }))).await;
    assert_eq!(left(&items), 1, "{items:#?}");
    for item in &items[items.iter().position(|item| is(item, "MemberLeft")).unwrap()..] {
        let items = replay(&mut socket.subscribe(EVENTS, json!({ "after": item["cursor"] }))).await;
        assert_eq!(left(&items), 0, "after {item}: {items:#?}");
    }
}

async fn whoever_comes_back_to_a_workspace_is_not_told_of_what_they_left(mode: Mode) {
    const LEAVE: &str = "mutation($id: ID!) { leaveChannel(id: $id) { __typename } }";
    const ACCEPT: &str = "mutation($token: String!) { acceptInvitation(token: $token) { __typename } }";
    let world = World::new(mode).await;
    let reader = world.member().await;
    for channel in [world.channel(&[&reader]).await, world.channel(&[&reader]).await] {
        reader.query(LEAVE, json!({ "id": channel })).await.ok();
    }
    world.channel(&[&reader]).await;
    remove_from_workspace(&world, &reader).await;
    let after = sync_cursor(&reader).await;
    let socket = reader.socket().await;
    let mut stream = follow(&socket, &reader).await;
    reader.query(ACCEPT, json!({ "token": world.invitation("MEMBER").await })).await.ok();
    world.owner.send(&world.general, "welcome").await;
    stream
        .find("the welcome", |item| {
            assert!(!is(item, "MemberLeft"), "{item}");
            (item["event"]["message"]["text"] == "welcome").then_some(())
        })
        .await;
    let items = replay(&mut socket.subscribe(EVENTS, json!({ "after": after }))).await;
    assert!(!items.iter().any(|item| is(item, "MemberLeft")), "{items:#?}");
}

async fn remove_from_workspace(world: &World, user: &User) {
    let members =
        "query($id: ID!) { workspace(id: $id) { members(first: 10) { nodes { id user { id } } } } }";
    let data = world.owner.query(members, json!({ "id": world.workspace })).await.ok();
    let rows = data["workspace"]["members"]["nodes"].as_array().unwrap();
    let row = rows.iter().find(|row| row["user"]["id"] == user.id.as_str()).unwrap();
    let remove = "mutation($id: ID!) { removeWorkspaceMember(id: $id) { memberId } }";
    world.owner.query(remove, json!({ "id": row["id"] })).await.ok();
}

async fn workspaces_profiles_and_new_channels_are_told(mode: Mode) {
    let world = World::new(mode).await;
    let (reader, guest) = (world.member().await, world.member_as("GUEST").await);
    let (socket, guest_socket) = (reader.socket().await, guest.socket().await);
    let mut stream = follow(&socket, &reader).await;
    let mut guest_stream = follow(&guest_socket, &guest).await;
    let cursor = sync_cursor(&reader).await;
    let profile = "mutation($name: String!) { updateProfile(input: { displayName: $name }) { user { id } } }";
    let name = unique("Ada");
    for name in ["Grace", &name] {
        world.owner.query(profile, json!({ "name": name })).await.ok();
    }
    let told = next_of(&mut stream, "UserUpdated").await;
    assert_eq!(told["event"]["userId"], json!(world.owner.id));
    stream
        .find("the last name", |item| (item["event"]["user"]["displayName"] == json!(name)).then_some(()))
        .await;
    let rename =
        "mutation($id: ID!) { updateWorkspace(id: $id, input: { name: \"Renamed\" }) { workspace { id } } }";
    world.owner.query(rename, json!({ "id": world.workspace })).await.ok();
    let told = next_of(&mut stream, "WorkspaceUpdated").await;
    assert_eq!(told["event"]["workspace"]["name"], "Renamed");
    // An open channel that the viewer is not in; guests are not told, and a private one nobody else is.
    let private = world.channel_of("PRIVATE", &[]).await;
    let open = world.channel(&[]).await;
    let told = next_of(&mut stream, "ChannelCreated").await;
    assert_eq!(told["event"]["channelId"], json!(open));
    world.owner.send(&world.general, "to all").await;
    loop {
        let item = guest_stream.value().await;
        assert!(!is(&item, "ChannelCreated"), "{item}");
        if item["event"]["message"]["text"] == "to all" {
            break;
        }
    }
    // Who was away learns of each once, as it is now.
    let mut again = socket.subscribe(EVENTS, json!({ "after": cursor }));
    let items = replay(&mut again).await;
    let count = |kind: &str| items.iter().filter(|item| is(item, kind)).count();
    assert_eq!((count("UserUpdated"), count("WorkspaceUpdated"), count("ChannelCreated")), (1, 1, 1));
    let text = serde_json::to_string(&items).unwrap();
    assert!(text.contains(&name) && !text.contains("Grace") && !text.contains(&private));
}

/// Whoever accepts an invitation sees the workspace as it is then; a cursor of before is told what came afterwards.
async fn what_happened_to_a_workspace_since_it_was_joined_is_told(mode: Mode) {
    const RENAME: &str = "mutation($id: ID!, $name: String!) { updateWorkspace(id: $id, input: { name: $name }) { __typename } }";
    const PROFILE: &str = "mutation { updateProfile(input: { displayName: \"Somebody\" }) { __typename } }";
    let (world, other) = (World::new(mode).await, World::new(mode).await);
    let reader = world.member().await;
    let after = sync_cursor(&reader).await;
    other.owner.query(PROFILE, json!({})).await.ok();
    let accept = "mutation($token: String!) { acceptInvitation(token: $token) { __typename } }";
    reader.query(accept, json!({ "token": other.invitation("MEMBER").await })).await.ok();
    let name = unique("Renamed");
    other.owner.query(RENAME, json!({ "id": other.workspace, "name": name })).await.ok();
    let open = other.channel(&[]).await;

    let socket = reader.socket().await;
    let items = replay(&mut socket.subscribe(EVENTS, json!({ "after": after }))).await;
    let of_workspace = |item: &&Value| item["event"]["workspaceId"] == json!(other.workspace);
    let renamed: Vec<_> = items.iter().filter(of_workspace).collect();
    assert_eq!(renamed.len(), 1, "{items:#?}");
    assert_eq!(renamed[0]["event"]["workspace"]["name"], json!(name));
    assert!(items.iter().any(|item| is(item, "ChannelCreated") && item["event"]["channelId"] == open));
    assert!(!items.iter().any(|item| is(item, "UserUpdated")), "of before the joining: {items:#?}");
}

async fn a_workspace_that_two_admins_rename_is_told_twice(mode: Mode) {
    let world = World::new(mode).await;
    let (reader, admin) = (world.member().await, world.member_as("ADMIN").await);
    let socket = reader.socket().await;
    let mut stream = follow(&socket, &reader).await;
    let rename = "mutation($id: ID!, $name: String!) {
        updateWorkspace(id: $id, input: { name: $name }) { workspace { id } }
    }";
    for (by, name) in [(&world.owner, "Ships"), (&admin, "Boats"), (&world.owner, "Rafts")] {
        by.query(rename, json!({ "id": world.workspace, "name": name })).await.ok();
        let told = next_of(&mut stream, "WorkspaceUpdated").await;
        assert_eq!(told["event"]["workspace"]["name"], name);
    }
}

async fn cursors_of_others_are_refused(mode: Mode) {
    let world = World::new(mode).await;
    let (reader, other) = (world.member().await, world.member().await);
    let channel = world.channel(&[&reader]).await;
    let socket = reader.socket().await;
    let data = reader
        .query("query($id: ID!) { channel(id: $id) { syncCursor } }", json!({ "id": channel }))
        .await
        .ok();
    let of_one_workspace = {
        let after = sync_cursor(&reader).await;
        let variables = json!({ "workspace": world.workspace, "after": after });
        socket.subscribe(EVENTS, variables).value().await["cursor"].clone()
    };
    let foreign = [
        data["channel"]["syncCursor"].clone(),
        sync_cursor(&other).await,
        json!("nonsense"),
        of_one_workspace,
    ];
    for after in foreign {
        let mut stream = socket.subscribe(EVENTS, json!({ "after": after }));
        assert_eq!(stream.code().await, "INVALID", "{after}");
    }
    let nowhere = json!({ "workspace": World::on(&world.server).await.workspace });
    assert_eq!(socket.subscribe(EVENTS, nowhere).code().await, "NOT_FOUND");
}

async fn who_removed_the_viewer_is_told(mode: Mode) {
    let world = World::new(mode).await;
    let reader = world.member().await;
    let (public, private) = (world.channel(&[&reader]).await, world.channel_of("PRIVATE", &[&reader]).await);
    let (by_itself, of_workspace) = (world.channel(&[&reader]).await, world.channel(&[&reader]).await);
    let socket = reader.socket().await;
    let mut stream = follow(&socket, &reader).await;
    let cursor = sync_cursor(&reader).await;
    let remove = "mutation($channel: ID!, $user: ID!) {
        removeChannelMember(id: $channel, userId: $user) { __typename }
    }";
    let leave = "mutation($id: ID!) { leaveChannel(id: $id) { __typename } }";
    for channel in [&public, &private] {
        world.owner.query(remove, json!({ "channel": channel, "user": reader.id })).await.ok();
        let told = next_of(&mut stream, "MemberLeft").await;
        let wanted = json!({ "__typename": "MemberLeft", "channelId": channel, "userId": reader.id,
            "removedBy": world.owner.id });
        assert_eq!(told["event"], wanted);
    }
    reader.query(leave, json!({ "id": by_itself })).await.ok();
    let told = next_of(&mut stream, "MemberLeft").await;
    assert_eq!((&told["event"]["channelId"], &told["event"]["removedBy"]), (&json!(by_itself), &Value::Null));

    // Whoever was away is told the same.
    let mut again = socket.subscribe(EVENTS, json!({ "after": cursor }));
    let items = replay(&mut again).await;
    let left: BTreeMap<&str, &Value> = items
        .iter()
        .filter(|item| is(item, "MemberLeft"))
        .map(|item| (item["event"]["channelId"].as_str().unwrap(), &item["event"]["removedBy"]))
        .collect();
    let (owner, nobody) = (json!(world.owner.id), Value::Null);
    let wanted = [(public.as_str(), &owner), (&private, &owner), (&by_itself, &nobody)];
    assert_eq!(left, BTreeMap::from(wanted));

    remove_from_workspace(&world, &reader).await;
    let mut channels = Vec::new();
    for _ in 0..2 {
        let told = next_of(&mut stream, "MemberLeft").await;
        assert_eq!(told["event"]["removedBy"], owner, "{told}");
        channels.push(told["event"]["channelId"].as_str().unwrap().to_owned());
    }
    channels.sort();
    let mut wanted = [of_workspace, world.general.clone()];
    wanted.sort();
    assert_eq!(channels, wanted);
}
