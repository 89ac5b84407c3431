//! One event for many subscribers: made once for all who chose the same of it, and right for each of them.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Mode, Server, Socket, Stream, User, World, both_modes};

both_modes!(
    many_subscribers_cost_the_stores_no_more_than_one,
    each_subscriber_is_told_what_is_theirs,
    what_each_has_read_leaves_the_rest_shared,
    what_was_missed_is_looked_up_together,
);

const SHARED: &str = "subscription($channel: ID!, $after: EventCursor) {
    channelEvents(channelId: $channel, after: $after) { cursor event { __typename
        ... on MessageCreated { message { id text author { displayName } mentions { displayName } } }
    } }
}";

const OWN: &str = "subscription($channel: ID!) {
    channelEvents(channelId: $channel) { event { __typename
        ... on MessageCreated { message { text clientMessageId viewerCanEdit } }
        ... on MessageUpdated { message { reactionGroups { count viewerHasReacted } channel { viewerMembership { user { id } } } } }
    } }
}";

async fn queries(server: &Server) -> f64 {
    let database = server.metric("quikapp_store_queries_total{store=\"database\"}").await;
    database + server.metric("quikapp_store_queries_total{store=\"messages\"}").await
}

async fn follow(socket: &Socket, user: &User, channel: &str) -> Stream {
    let document = "query($id: ID!) { channel(id: $id) { syncCursor } }";
    let data = user.query(document, json!({ "id": channel })).await.ok();
    let after = &data["channel"]["syncCursor"];
    let mut stream = socket.subscribe(SHARED, json!({ "channel": channel, "after": after }));
    stream.find("live", |item| (item["event"]["__typename"] == "StreamCaughtUp").then_some(())).await;
    stream
}

/// Store queries of sending one message and telling it to all of `streams`; others are of work in the background.
async fn cost(world: &World, channel: &str, streams: &mut [Stream]) -> f64 {
    let mut least = f64::MAX;
    for _ in 0..8 {
        let before = queries(&world.server).await;
        world.owner.send(channel, &format!("hello <@{}>", world.owner.id)).await;
        let told = join_all(streams.iter_mut().map(Stream::value)).await;
        assert!(
            told.iter().all(|item| item["event"]["message"]["author"]["displayName"] == world.owner.name)
        );
        // One channel's cursors differ at most in when they were given out.
        assert!(told.iter().all(|item| item["cursor"].as_str().is_some_and(|cursor| cursor.len() > 20)));
        least = least.min(queries(&world.server).await - before);
    }
    least
}

async fn many_subscribers_cost_the_stores_no_more_than_one(mode: Mode) {
    let server = Server::own(mode).await;
    let world = World::on(&server).await;
    let members = join_all((0..3).map(|_| world.member())).await;
    let channel = world.channel(&members.iter().collect::<Vec<_>>()).await;
    let sockets = join_all(members.iter().map(User::socket)).await;
    let mut streams = vec![follow(&sockets[0], &members[0], &channel).await];
    let one = cost(&world, &channel, &mut streams).await;
    for turn in 1..24 {
        streams.push(follow(&sockets[turn % 3], &members[turn % 3], &channel).await);
    }
    let many = cost(&world, &channel, &mut streams).await;
    assert!(many <= one, "one subscriber costs {one} store queries, 24 cost {many}");
}

async fn each_subscriber_is_told_what_is_theirs(mode: Mode) {
    let world = World::new(mode).await;
    let members = join_all((0..3).map(|_| world.member())).await;
    let channel = world.channel(&members.iter().collect::<Vec<_>>()).await;
    let everybody: Vec<&User> = members.iter().chain([&world.owner]).collect();
    let mut streams = Vec::new();
    let mut sockets = Vec::new();
    for user in &everybody {
        let socket = user.socket().await;
        let mut stream = socket.subscribe(OWN, json!({ "channel": channel }));
        // Live as soon as something comes.
        loop {
            world.owner.send(&channel, "are you there?").await;
            if stream.item_within(std::time::Duration::from_secs(2)).await.is_some() {
                break;
            }
        }
        sockets.push(socket);
        streams.push(stream);
    }
    let input = json!({ "channelId": channel, "clientMessageId": "mine", "text": "whose?" });
    let sent = members[1].send_input(input).await;
    for (user, stream) in everybody.iter().zip(&mut streams) {
        let is_author = user.id == members[1].id;
        let told = stream
            .find("the message", |item| {
                let message = &item["event"]["message"];
                (message["text"] == "whose?").then(|| message.clone())
            })
            .await;
        let id = if is_author { json!("mine") } else { Value::Null };
        assert_eq!((&told["clientMessageId"], &told["viewerCanEdit"]), (&id, &json!(is_author)));
    }
    let react = "mutation($id: ID!) { addReaction(messageId: $id, emoji: \"👍\") { message { id } } }";
    members[2].query(react, json!({ "id": sent["id"] })).await.ok();
    for (user, stream) in everybody.iter().zip(&mut streams) {
        let told = stream.value().await["event"]["message"].clone();
        let group = json!([{ "count": 1, "viewerHasReacted": user.id == members[2].id }]);
        assert_eq!(told["reactionGroups"], group);
        assert_eq!(told["channel"]["viewerMembership"]["user"]["id"], json!(user.id));
    }
}

const SIDEBAR: &str =
    "subscription($after: EventCursor) { viewerEvents(after: $after) { cursor event { __typename
    ... on MessageCreated { message { id text author { displayName } mentions { displayName } } }
    ... on ReadStateChanged { userId unread { unread lastReadMessageId } }
} } }";

/// What somebody has read is told to each by themselves, and what all are told by the same document stays shared.
async fn what_each_has_read_leaves_the_rest_shared(mode: Mode) {
    let server = Server::own(mode).await;
    let world = World::on(&server).await;
    let members = join_all((0..12).map(|_| world.member())).await;
    let channel = world.channel(&members.iter().collect::<Vec<_>>()).await;
    let mut sockets = Vec::new();
    let mut streams = Vec::new();
    for member in &members {
        let data = member.query("{ viewer { syncCursor } }", json!({})).await.ok();
        let socket = member.socket().await;
        let mut stream = socket.subscribe(SIDEBAR, json!({ "after": data["viewer"]["syncCursor"] }));
        stream.find("live", |item| (item["event"]["__typename"] == "StreamCaughtUp").then_some(())).await;
        sockets.push(socket);
        streams.push(stream);
    }
    let before = cost(&world, &channel, &mut streams).await;
    let read = "mutation($id: ID!) { markChannelRead(id: $id) { membership { lastReadMessageId } } }";
    for (member, stream) in members.iter().zip(&mut streams) {
        let data = member.query(read, json!({ "id": channel })).await.ok();
        let last = &data["markChannelRead"]["membership"]["lastReadMessageId"];
        let told = stream.value().await;
        assert_eq!(told["event"]["userId"], json!(member.id), "{told}");
        assert_eq!(told["event"]["unread"], json!({ "unread": 0, "lastReadMessageId": last }));
    }
    let after = cost(&world, &channel, &mut streams).await;
    assert!(after <= before, "12 subscribers cost {before} store queries, and {after} once they have read");
}

/// Messages that were missed, by several authors.
const MISSED: usize = 96;
/// Store queries that they may take: far fewer than one for each.
const QUERIES: f64 = 48.0;

async fn what_was_missed_is_looked_up_together(mode: Mode) {
    let server = Server::own(mode).await;
    let world = World::on(&server).await;
    let members = join_all((0..4).map(|_| world.member())).await;
    let channel = world.channel(&members.iter().collect::<Vec<_>>()).await;
    let document = "query($id: ID!) { viewer { syncCursor } channel(id: $id) { syncCursor } }";
    let cursors = world.owner.query(document, json!({ "id": channel })).await.ok();
    for turn in 0..MISSED {
        members[turn % 4].send(&channel, &format!("message {turn}")).await;
    }
    let socket = world.owner.socket().await;
    let personal = "text author { displayName } channel { viewerMembership { user { displayName } } }";
    for (field, after) in [
        ("channelEvents(channelId: $channel, after: $after)", &cursors["channel"]["syncCursor"]),
        ("viewerEvents(after: $after)", &cursors["viewer"]["syncCursor"]),
    ] {
        for selection in ["text author { displayName }", personal] {
            let mut least = f64::MAX;
            // Others are of work in the background.
            for turn in 0..4 {
                // Another text each time: nobody has written anything of it yet.
                let document = format!(
                    "subscription Turn{turn}($channel: ID, $after: EventCursor) {{ {field} {{ event {{ __typename \
                     ... on MessageCreated {{ message {{ {selection} }} }} }} }} }}"
                )
                .replace("$channel: ID,", if field.contains("$channel") { "$channel: ID!," } else { "" });
                let before = queries(&server).await;
                let mut stream = socket.subscribe(&document, json!({ "channel": channel, "after": after }));
                let mut texts = Vec::new();
                loop {
                    let event = stream.value().await["event"].take();
                    if event["__typename"] == "StreamCaughtUp" {
                        break;
                    }
                    let message = &event["message"];
                    if let Some(text) = message["text"].as_str() {
                        assert_eq!(message["author"]["displayName"], members[texts.len() % 4].name);
                        texts.push(text.to_owned());
                    }
                }
                assert_eq!(texts, (0..MISSED).map(|turn| format!("message {turn}")).collect::<Vec<_>>());
                least = least.min(queries(&server).await - before);
            }
            assert!(least < QUERIES, "{field} {{ {selection} }} costs {least} store queries");
        }
    }
}
