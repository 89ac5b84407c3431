//! What a screen costs: a number of store queries that does not grow with it.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Mode, Server, User, World, both_modes};

both_modes!(
    a_page_of_messages_costs_a_constant,
    the_viewers_channels_cost_a_constant,
    presence_costs_a_constant,
);

/// The least number of store queries that `document` takes; others are of work in the background.
async fn cost(server: &Server, user: &User, document: &str, variables: &Value) -> u64 {
    let queries = || async {
        let mut total = 0.0;
        for store in ["database", "messages"] {
            total += server.metric(&format!("quikapp_store_queries_total{{store=\"{store}\"}}")).await;
        }
        total
    };
    let mut least = f64::MAX;
    for _ in 0..8 {
        let before = queries().await;
        user.query(document, variables.clone()).await.ok();
        least = least.min(queries().await - before);
    }
    assert!(least > 0.0, "a read without a query: the metric counts nothing");
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a small count
    let least = least as u64;
    least
}

async fn a_page_of_messages_costs_a_constant(mode: Mode) {
    let server = Server::own(mode).await;
    let world = World::on(&server).await;
    let members = join_all((0..10).map(|_| world.member())).await;
    let channel = world.channel(&members.iter().collect::<Vec<_>>()).await;
    let react = "mutation($id: ID!, $emoji: String!) { addReaction(messageId: $id, emoji: $emoji) { message { id } } }";
    for turn in 0..50 {
        let (author, other) = (&members[turn % 10], &members[(turn + 1) % 10]);
        let sent = author.send(&channel, &format!("<@{}> look", other.id)).await;
        for emoji in ["👍", ":party:"] {
            other.query(react, json!({ "id": sent["id"], "emoji": emoji })).await.ok();
        }
        other.reply(&channel, &sent, "a reply").await;
    }
    let document = "query($id: ID!, $last: Int!) { channel(id: $id) { id displayName messages(last: $last) {
        nodes {
            id text createdAt author { id displayName avatarUrl } mentions { id displayName }
            reactionGroups { emoji count viewerHasReacted topUsers { id displayName } }
            thread { replyCount lastReplyAt participants { id displayName } }
        }
        pageInfo { hasPreviousPage startCursor }
    } } }";
    let data = world.owner.query(document, json!({ "id": channel, "last": 50 })).await.ok();
    let nodes = data["channel"]["messages"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 50);
    assert!(
        nodes.iter().all(|node| node["thread"]["replyCount"] == 1 && node["reactionGroups"][1]["count"] == 1)
    );
    let few = cost(&server, &world.owner, document, &json!({ "id": channel, "last": 5 })).await;
    let many = cost(&server, &world.owner, document, &json!({ "id": channel, "last": 50 })).await;
    assert_eq!(few, many, "5 messages cost {few} queries, 50 cost {many}");
    assert!(many <= 4, "a page costs {many} queries");
}

async fn the_viewers_channels_cost_a_constant(mode: Mode) {
    let server = Server::own(mode).await;
    let world = World::on(&server).await;
    let member = world.member().await;
    let document = "query { viewer { channels(first: 200) { nodes {
        id role isPinned isMuted lastMessagePreview
        channel { id displayName type memberCount lastMessage { id text author { id displayName } } workspace { id name } }
    } } } }";
    let fill = async |count: usize| {
        for turn in 0..count {
            let channel = world.channel(&[&member]).await;
            // Of every kind of listing line: with a message and without one.
            if turn % 2 == 0 {
                member.send(&channel, "hello").await;
            }
        }
    };
    fill(19).await;
    let few = cost(&server, &member, document, &json!({})).await;
    fill(180).await;
    let data = member.query(document, json!({})).await.ok();
    assert_eq!(data["viewer"]["channels"]["nodes"].as_array().unwrap().len(), 200);
    let many = cost(&server, &member, document, &json!({})).await;
    assert_eq!(few, many, "20 channels cost {few} queries, 200 cost {many}");
    assert!(many <= 6, "the sidebar costs {many} queries");
}

async fn presence_costs_a_constant(mode: Mode) {
    let server = Server::own(mode).await;
    let world = World::on(&server).await;
    let mut people = Vec::new();
    let documents = [
        "query($id: ID!) { workspace(id: $id) { onlineCount
            channels(first: 100) { nodes { id onlineMemberCount } } } }",
        "query($id: ID!) { workspace(id: $id) { members(first: 100) { nodes { user { id presence { status } } } } } }",
    ];
    let variables = json!({ "id": world.workspace });
    let mut costs = Vec::new();
    for _ in 0..2 {
        for _ in 0..10 {
            let person = world.member().await;
            world.channel(&[&person]).await;
            people.push(person);
        }
        for document in documents {
            costs.push(cost(&server, &world.owner, document, &variables).await);
        }
    }
    assert_eq!(costs[..2], costs[2..], "twice as much costs more");
    assert!(costs.iter().all(|cost| *cost <= 4), "presence costs {costs:?} queries");
}
