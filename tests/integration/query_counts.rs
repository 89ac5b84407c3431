//! What a screen costs: a number of store queries that does not grow with it.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{
    Mode, Server, User, World, both_modes,
    introspection::{Introspection, inner_name, list},
};

both_modes!(
    a_page_of_messages_costs_a_constant,
    the_viewers_channels_cost_a_constant,
    presence_costs_a_constant,
    nothing_costs_more_than_the_guard_expects,
);

/// How many store queries have been made since the start.
async fn made(server: &Server) -> f64 {
    let mut total = 0.0;
    for store in ["database", "messages"] {
        total += server.metric(&format!("quikapp_store_queries_total{{store=\"{store}\"}}")).await;
    }
    total
}

/// The least number of store queries that `document` takes in a few runs, others being of work in the background; fewer runs
/// where `enough` is met.
async fn least(server: &Server, user: &User, document: &str, variables: &Value, enough: u64) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..8 {
        let before = made(server).await;
        user.query(document, variables.clone()).await.ok();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a small count
        let taken = (made(server).await - before) as u64;
        least = least.min(taken);
        if least <= enough {
            break;
        }
    }
    least
}

async fn cost(server: &Server, user: &User, document: &str, variables: &Value) -> u64 {
    let least = least(server, user, document, variables, 0).await;
    assert!(least > 0, "a read without a query: the metric counts nothing");
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
        id role isPinned isMuted lastMessagePreview unreadCount lastReadMessageId lastReadAt
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
    assert!(many <= 10, "the sidebar costs {many} queries");
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

/// Ways to many objects of a type, `%` being the selection on each of them.
const WAYS: [(&str, &str); 18] = [
    ("Viewer", "viewer { % }"),
    ("UnreadSummary", "viewer { unread { % } }"),
    ("ChannelUnread", "viewer { unread { channels { % } } }"),
    ("Session", "viewer { sessions { % } }"),
    ("Workspace", "viewer { workspaces(first: 100) { nodes { % } } }"),
    ("WorkspaceMember", "workspace(id: $workspace) { members(first: 100) { nodes { % } } }"),
    ("Channel", "workspace(id: $workspace) { channels(first: 100) { nodes { % } } }"),
    ("Channel", "nodes(ids: $channels) { ... on Channel { % } }"),
    ("ChannelMembership", "viewer { channels(first: 100) { nodes { % } } }"),
    ("ChannelMembership", "channel(id: $channel) { members(first: 100) { nodes { % } } }"),
    (
        "MessageConnection",
        "workspace(id: $workspace) { channels(first: 100) { nodes { messages(last: 1) { % } } } }",
    ),
    ("Message", "channel(id: $channel) { messages(last: 100) { nodes { % } } }"),
    ("Message", "workspace(id: $workspace) { channels(first: 100) { nodes { lastMessage { % } } } }"),
    ("User", "channel(id: $channel) { messages(last: 100) { nodes { author { % } mentions { % } } } }"),
    ("Presence", "channel(id: $channel) { members(first: 100) { nodes { user { presence { % } } } } }"),
    ("Thread", "channel(id: $channel) { messages(last: 100) { nodes { thread { % } } } }"),
    ("ReactionGroup", "channel(id: $channel) { messages(last: 100) { nodes { reactionGroups { % } } } }"),
    ("Reaction", "channel(id: $channel) { messages(last: 100) { nodes { reactions { nodes { % } } } } }"),
];

/// Every field of every type, asked for on many objects at once. When this fails for a new field: a field that is read for each
/// object by itself needs a loader, or its line in `graphql/src/costs.rs`.
async fn nothing_costs_more_than_the_guard_expects(mode: Mode) {
    let server = Server::own(mode).await;
    let world = World::on(&server).await;
    let members = join_all((0..5).map(|_| world.member())).await;
    let everybody: Vec<_> = members.iter().collect();
    let channels = join_all((0..10).map(|_| world.channel(&everybody))).await;
    let react = "mutation($id: ID!) { addReaction(messageId: $id, emoji: \"👍\") { message { id } } }";
    for (turn, channel) in channels.iter().enumerate() {
        for member in &members {
            let sent = member.send(&channels[0], &format!("<@{}> look", members[turn % 5].id)).await;
            world.owner.query(react, json!({ "id": sent["id"] })).await.ok();
            member.reply(&channels[0], &sent, "a reply").await;
        }
        members[0].send(channel, "hello").await;
    }
    let variables = json!({ "workspace": world.workspace, "channel": channels[0], "channels": channels });
    let schema = Introspection::read(&world.owner).await;
    let shape = quikapp::guard::Shape::new(&quikapp_graphql::sdl(), quikapp_graphql::FIELD_COSTS).unwrap();
    let (documents, limits) = (quikapp::guard::Documents::default(), quikapp::guard::Limits::default());
    let mut wrong = Vec::new();
    for (ty, way) in WAYS {
        for field in list(&schema.types[ty]["fields"]) {
            let is_composite = schema.types[&inner_name(&field["type"])]["fields"].is_array()
                || schema.types[&inner_name(&field["type"])]["kind"] == "UNION";
            let name = field["name"].as_str().unwrap();
            let selection = if is_composite { format!("{name} {{ __typename }}") } else { name.to_owned() };
            let selection = way.replace('%', &selection);
            let used = ["workspace", "channel", "channels"]
                .into_iter()
                .filter(|name| selection.contains(&format!("${name})")));
            let declared =
                used.map(|name| format!("${name}: {}", if name == "channels" { "[ID!]!" } else { "ID!" }));
            let declared = declared.collect::<Vec<_>>().join(", ");
            let document = match declared.as_str() {
                "" => format!("{{ {selection} }}"),
                declared => format!("query({declared}) {{ {selection} }}"),
            };
            let given = async_graphql::Variables::from_json(variables.clone());
            let expected = quikapp::guard::check(&documents, &document, None, &given, true, &shape, &limits)
                .unwrap()
                .store_queries;
            let actual = least(&server, &members[0], &document, &variables, expected).await;
            if actual > expected {
                wrong.push(format!("{ty}.{name} in {way}: {actual} queries, expected {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
