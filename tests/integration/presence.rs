//! Who is online: over several connections and nodes, in numbers, and after losses.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Mode, SOON, Server, Stores, Stream, User, World, both_modes, eventually};

// In seconds instead of minutes; a heartbeat is a fifth of the time to live.
pub(crate) const TTL: (&str, &str) = ("PRESENCE_TTL", "6");
pub(crate) const GRACE: (&str, &str) = ("PRESENCE_GRACE", "1");

both_modes!(
    two_devices_are_online_until_both_left,
    the_online_are_counted,
    last_seen_and_choice_outlive_the_server,
    rest_makes_away,
    who_does_something_is_not_away,
    presence_ends_with_the_last_shared_channel,
);

pub(crate) const CHANGES: &str =
    "subscription($ids: [ID!]!) { presenceChanged(userIds: $ids) { userId status } }";

/// How the asker sees somebody.
pub(crate) async fn presence(asker: &User, user: &User) -> Value {
    let document = "query($id: ID!) { user(id: $id) { presence { status lastSeenAt } } }";
    asker.query(document, json!({ "id": user.id })).await.ok()["user"]["presence"].take()
}

/// Waits until the asker sees somebody so.
pub(crate) async fn seen_as(asker: &User, user: &User, status: &str) {
    eventually(status, SOON, || async { (presence(asker, user).await["status"] == status).then_some(()) })
        .await;
}

/// Watches people; returns when the watch has begun.
pub(crate) async fn watch(socket: &crate::support::Socket, watcher: &User, users: &[&User]) -> Stream {
    let ids: Vec<_> = users.iter().map(|user| &user.id).chain([&watcher.id]).collect();
    let mut stream = socket.subscribe(CHANGES, json!({ "ids": ids }));
    // There is no sign that it has begun but a change that it tells.
    let set = "mutation($status: PresenceStatus!) { setPresence(status: $status) { presence { status } } }";
    for turn in 0.. {
        assert!(turn < 50, "no change of presence is told");
        let status = ["AWAY", "ONLINE"][turn % 2];
        watcher.query(set, json!({ "status": status })).await.ok();
        if stream.item_within(Duration::from_secs(1)).await.is_some() {
            return stream;
        }
    }
    unreachable!("the loop above is endless")
}

/// Waits until a stream tells that somebody is so; gives what it told of others until then.
pub(crate) async fn told(stream: &mut Stream, user: &User, status: &str) -> Vec<Value> {
    let mut others = Vec::new();
    stream
        .find(status, |item| {
            for one in item.as_array().unwrap() {
                if one["userId"] == user.id.as_str() && one["status"] == status {
                    return Some(());
                }
                others.push(one.clone());
            }
            None
        })
        .await;
    others
}

/// Servers on the same stores, one for the embedded mode.
pub(crate) async fn nodes(mode: Mode) -> [Server; 2] {
    let stores = Stores::new(mode).await;
    let first = Server::start_with(&stores, &[TTL, GRACE]).await;
    let second = match mode {
        Mode::Embedded => first.clone(),
        Mode::Servers => Server::start_with(&stores, &[TTL, GRACE]).await,
    };
    [first, second]
}

async fn two_devices_are_online_until_both_left(mode: Mode) {
    let [a, b] = nodes(mode).await;
    let world = World::on(&a).await;
    let (ada, bob) = (world.member().await, world.member().await);
    let watcher = world.owner.socket().await;
    let mut stream = watch(&watcher, &world.owner, &[&ada, &bob]).await;
    let (phone, desk) = (ada.socket().await, ada.at(&b).socket().await);
    told(&mut stream, &ada, "ONLINE").await;
    // Bob leaves after Ada's phone; so when his grace is over, hers is.
    let bobs = bob.socket().await;
    told(&mut stream, &bob, "ONLINE").await;
    phone.close().await;
    bobs.close().await;
    let others = told(&mut stream, &bob, "OFFLINE").await;
    assert!(others.iter().all(|one| one["userId"] != ada.id.as_str()), "told of Ada: {others:?}");
    for asker in [&world.owner, &world.owner.at(&b)] {
        assert_eq!(presence(asker, &ada).await["status"], "ONLINE");
    }
    desk.close().await;
    told(&mut stream, &ada, "OFFLINE").await;
    seen_as(&world.owner.at(&b), &ada, "OFFLINE").await;
}

pub(crate) async fn counts(asker: &User, world: &World, channel: &str) -> (i64, i64) {
    let document = "query($channel: ID!, $workspace: ID!) {
        channel(id: $channel) { onlineMemberCount } workspace(id: $workspace) { onlineCount }
    }";
    let variables = json!({ "channel": channel, "workspace": world.workspace });
    let data = asker.query(document, variables).await.ok();
    let number = |value: &Value| value.as_i64().unwrap();
    (number(&data["channel"]["onlineMemberCount"]), number(&data["workspace"]["onlineCount"]))
}

/// Waits until so many members of the channel, and people of the workspace, are online.
pub(crate) async fn counted(asker: &User, world: &World, channel: &str, expected: (i64, i64)) {
    let what = format!("{expected:?} online");
    eventually(&what, SOON, || async { (counts(asker, world, channel).await == expected).then_some(()) })
        .await;
}

async fn the_online_are_counted(mode: Mode) {
    let [a, b] = nodes(mode).await;
    let world = World::on(&a).await;
    let (ada, bob, eve) = (world.member().await, world.member().await, world.member().await);
    let channel = world.channel(&[&ada, &bob]).await;
    assert_eq!(counts(&world.owner, &world, &channel).await, (0, 0));
    let adas = [ada.socket().await, ada.at(&b).socket().await];
    let _others = [bob.at(&b).socket().await, eve.socket().await];
    for asker in [&world.owner, &eve, &world.owner.at(&b)] {
        counted(asker, &world, &channel, (2, 3)).await;
    }
    // The status is no matter, silence and absence are.
    let set = "mutation { setPresence(status: DND) { presence { status } } }";
    ada.query(set, json!({})).await.ok();
    assert_eq!(counts(&world.owner, &world, &channel).await, (2, 3));
    let mute = "mutation($id: ID!, $user: ID!) {
        updateChannelMember(id: $id, userId: $user, status: MUTED) { membership { status } }
    }";
    world.owner.query(mute, json!({ "id": channel, "user": bob.id })).await.ok();
    assert_eq!(counts(&world.owner, &world, &channel).await, (1, 3));
    let leave = "mutation($id: ID!) { leaveChannel(id: $id) { channelId } }";
    ada.query(leave, json!({ "id": channel })).await.ok();
    assert_eq!(counts(&world.owner, &world, &channel).await, (0, 3));
    for socket in adas {
        socket.close().await;
    }
    counted(&world.owner, &world, &channel, (0, 2)).await;
}

async fn last_seen_and_choice_outlive_the_server(mode: Mode) {
    let stores = Stores::new(mode).await;
    let server = Server::start_with(&stores, &[TTL, GRACE]).await;
    let world = World::on(&server).await;
    let member = world.member().await;
    let socket = member.socket().await;
    let set = "mutation { setPresence(status: DND) { presence { status } } }";
    member.query(set, json!({})).await.ok();
    let seen = eventually("a last sight", SOON, || async {
        let seen = presence(&world.owner, &member).await["lastSeenAt"].take();
        seen.is_string().then_some(seen)
    })
    .await;
    server.kill();
    drop(socket);
    stores.flush_redis().await;

    let again = Server::start_with(&stores, &[TTL, GRACE]).await;
    let owner = world.owner.at(&again);
    let later = presence(&owner, &member).await;
    assert_eq!((&later["status"], &later["lastSeenAt"]), (&json!("OFFLINE"), &seen));
    let _socket = member.at(&again).socket().await;
    seen_as(&owner, &member, "DND").await;
}

async fn rest_makes_away(mode: Mode) {
    let stores = Stores::new(mode).await;
    let server = Server::start_with(&stores, &[TTL, GRACE, ("PRESENCE_AWAY_AFTER", "3")]).await;
    let world = World::on(&server).await;
    let member = world.member().await;
    let watcher = world.owner.socket().await;
    let mut stream = watch(&watcher, &world.owner, &[&member]).await;
    let _socket = member.socket().await;
    told(&mut stream, &member, "ONLINE").await;
    told(&mut stream, &member, "AWAY").await;
    seen_as(&world.owner, &member, "AWAY").await;
    let set = "mutation { setPresence(status: ONLINE) { presence { status } } }";
    let data = member.query(set, json!({})).await.ok();
    assert_eq!(data["setPresence"]["presence"]["status"], "ONLINE");
    told(&mut stream, &member, "ONLINE").await;
}

async fn who_does_something_is_not_away(mode: Mode) {
    let stores = Stores::new(mode).await;
    let server = Server::start_with(&stores, &[TTL, GRACE, ("PRESENCE_AWAY_AFTER", "3")]).await;
    let world = World::on(&server).await;
    let member = world.member().await;
    let _socket = member.socket().await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(7) {
        member.query("{ viewer { user { id } } }", json!({})).await.ok();
        assert_eq!(presence(&world.owner, &member).await["status"], "ONLINE", "after {:?}", begun.elapsed());
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    seen_as(&world.owner, &member, "AWAY").await;
}

async fn presence_ends_with_the_last_shared_channel(mode: Mode) {
    let world = World::new(mode).await;
    let (member, other) = (world.member().await, world.member().await);
    let channel = world.channel(&[&member]).await;
    let message = member.send(&channel, "hello").await;
    let _socket = member.socket().await;
    seen_as(&world.owner, &member, "ONLINE").await;
    let document =
        "query($id: ID!) { node(id: $id) { ... on Message { author { id presence { status } } } } }";
    let author = async |asker: &User| {
        asker.query(document, json!({ "id": message["id"] })).await.ok()["node"]["author"].take()
    };
    assert_eq!(author(&other).await["presence"]["status"], "ONLINE");

    let members =
        "query($id: ID!) { workspace(id: $id) { members(first: 10) { nodes { id user { id } } } } }";
    let data = world.owner.query(members, json!({ "id": world.workspace })).await.ok();
    let rows = data["workspace"]["members"]["nodes"].as_array().unwrap();
    let row = rows.iter().find(|row| row["user"]["id"] == member.id.as_str()).unwrap();
    let remove = "mutation($id: ID!) { removeWorkspaceMember(id: $id) { memberId } }";
    world.owner.query(remove, json!({ "id": row["id"] })).await.ok();
    // The words stay, and who wrote them; whether they are online is not told any more.
    for asker in [&world.owner, &other] {
        assert_eq!(author(asker).await, json!({ "id": member.id, "presence": null }));
        let socket = asker.socket().await;
        assert_eq!(socket.subscribe(CHANGES, json!({ "ids": [member.id] })).code().await, "NOT_FOUND");
    }
}
