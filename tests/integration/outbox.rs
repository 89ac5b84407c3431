//! What is committed is told, whatever happens between the two.

use serde_json::{Value, json};

use crate::{
    faulty,
    live::follow,
    support::{Mode, Program, SOON, Server, Stores, User, World, both_modes, eventually},
};

both_modes!(
    lines_come_by_themselves_when_the_store_is_back,
    lines_of_a_killed_node_are_written_by_the_next_one
);

/// The file by which the server's store refuses lines.
fn switch(stores: &Stores) -> std::path::PathBuf {
    let environment = stores.environment();
    let (_, folder) = environment.iter().find(|(name, _)| *name == "DATA_DIR").unwrap();
    std::path::Path::new(folder).join(faulty::NO_LINES)
}

async fn server_without_lines(stores: &Stores) -> Server {
    let settings = [("GRAPHIQL", "off")];
    Server::try_start(stores, &settings, Program::Faulty(faulty::WITHOUT_LINES)).await.unwrap()
}

/// The lines of a channel's timeline, oldest first: what happened, and to whom.
async fn lines(user: &User, channel: &str) -> Vec<(Value, Value)> {
    let document = "query($id: ID!) { channel(id: $id) {
        messages(first: 100) { nodes { systemEvent { type user { id } } } }
    } }";
    let data = user.query(document, json!({ "id": channel })).await.ok();
    let nodes = data["channel"]["messages"]["nodes"].as_array().unwrap();
    let events = nodes.iter().map(|node| &node["systemEvent"]).filter(|event| !event.is_null());
    events.map(|event| (event["type"].clone(), event["user"]["id"].clone())).collect()
}

async fn join(user: &User, channel: &str) {
    let document = "mutation($id: ID!) { joinChannel(id: $id) { __typename } }";
    user.query(document, json!({ "id": channel })).await.ok();
}

async fn leave(user: &User, channel: &str) {
    let document = "mutation($id: ID!) { leaveChannel(id: $id) { __typename } }";
    user.query(document, json!({ "id": channel })).await.ok();
}

async fn lines_come_by_themselves_when_the_store_is_back(mode: Mode) {
    let stores = Stores::new(mode).await;
    let world = World::on(&server_without_lines(&stores).await).await;
    let (owner, reader) = (&world.owner, world.member().await);
    let channel = world.channel(&[&reader]).await;
    let socket = owner.socket().await;
    let mut stream = follow(&socket, owner, &channel).await;

    std::fs::write(switch(&stores), "").unwrap();
    leave(&reader, &channel).await;
    join(&reader, &channel).await;
    leave(&reader, &channel).await;
    assert_eq!(lines(owner, &channel).await, []);
    std::fs::remove_file(switch(&stores)).unwrap();

    for expected in ["MemberLeft", "MemberJoined", "MemberLeft"] {
        let told = stream.find("a membership", |item| {
            let kind = item["event"]["__typename"].as_str()?;
            kind.starts_with("Member").then(|| kind.to_owned())
        });
        assert_eq!(told.await, expected);
    }
    // Later ones are behind them, and none is there twice.
    join(&reader, &channel).await;
    let of = |kind: &str| (json!(kind), json!(reader.id));
    let [left, joined] = [of("MEMBER_LEFT"), of("MEMBER_JOINED")];
    assert_eq!(lines(owner, &channel).await, [left.clone(), joined.clone(), left, joined]);
}

async fn lines_of_a_killed_node_are_written_by_the_next_one(mode: Mode) {
    let stores = Stores::new(mode).await;
    let server = server_without_lines(&stores).await;
    let world = World::on(&server).await;
    let reader = world.member().await;
    let channel = world.channel(&[&reader]).await;
    let cursor =
        world.owner.query("{ viewer { syncCursor } }", json!({})).await.ok()["viewer"]["syncCursor"].take();
    std::fs::write(switch(&stores), "").unwrap();
    leave(&reader, &channel).await;
    let rename = "mutation($id: ID!) { updateWorkspace(id: $id, input: { name: \"Ships\" }) { __typename } }";
    world.owner.query(rename, json!({ "id": world.workspace })).await.ok();
    server.kill();

    // Another program, which takes lines.
    let next = Server::start(&stores).await;
    let owner = world.owner.at(&next);
    let left = (json!("MEMBER_LEFT"), json!(reader.id));
    eventually("the line of a killed node", SOON, || async {
        let lines = lines(&owner, &channel).await;
        (!lines.is_empty()).then(|| assert_eq!(lines, std::slice::from_ref(&left)))
    })
    .await;
    join(&reader.at(&next), &channel).await;
    let joined = (json!("MEMBER_JOINED"), json!(reader.id));
    assert_eq!(lines(&owner, &channel).await, [left, joined]);
    let document =
        "subscription($after: EventCursor) { viewerEvents(after: $after) { event { __typename } } }";
    let socket = owner.socket().await;
    let mut stream = socket.subscribe(document, json!({ "after": cursor }));
    let is_told = |item: &Value| (item["event"]["__typename"] == "WorkspaceUpdated").then_some(());
    stream.find("the workspace's change", is_told).await;
}
