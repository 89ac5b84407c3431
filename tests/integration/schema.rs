//! The schema itself.

use std::collections::{BTreeSet, HashMap};

use serde_json::json;

use crate::support::{
    Mode, Server, Stores, World, both_modes,
    introspection::{Introspection, list},
    run, unique,
};

both_modes!(
    the_schema_is_the_one_that_is_committed,
    everything_has_a_description,
    every_node_is_found_by_its_id,
    node_refuses_what_is_no_id,
);

async fn the_schema_is_the_one_that_is_committed(mode: Mode) {
    let (printed, _) = run(&Stores::new(mode).await, &["schema"]).await;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        printed == committed,
        "schema.graphql is not what the code says; run `cargo run -- schema > schema.graphql`"
    );
}

async fn everything_has_a_description(mode: Mode) {
    let schema = Introspection::read(&Server::shared(mode).await.anonymous()).await;
    let mut missing = Vec::new();
    let is_empty = |thing: &serde_json::Value| thing["description"].as_str().is_none_or(str::is_empty);
    for (name, one) in schema.types.iter().filter(|(name, _)| !name.starts_with("__")) {
        // What GraphQL itself defines it describes too.
        if is_empty(one) && name != "ID" {
            missing.push(name.clone());
        }
        for part in ["fields", "inputFields", "enumValues"] {
            for member in list(&one[part]) {
                let path = format!("{name}.{}", member["name"].as_str().unwrap());
                for argument in list(&member["args"]) {
                    if is_empty(&argument) {
                        missing.push(format!("{path}({})", argument["name"].as_str().unwrap()));
                    }
                }
                if is_empty(&member) {
                    missing.push(path);
                }
            }
        }
    }
    missing.sort();
    assert!(missing.is_empty(), "no description: {missing:#?}");
    assert!(schema.types.len() > 50, "hardly anything was looked at");
}

async fn every_node_is_found_by_its_id(mode: Mode) {
    let world = World::new(mode).await;
    let sent = world.owner.send(&world.general, "hello").await;
    let document = "query($workspace: ID!, $channel: ID!) {
        workspace(id: $workspace) { members { nodes { id } } }
        channel(id: $channel) { viewerMembership { id } }
        viewer { sessions { id } }
    }";
    let variables = json!({ "workspace": world.workspace, "channel": world.general });
    let data = world.owner.query(document, variables).await.ok();
    let ids = HashMap::from([
        ("User", json!(world.owner.id)),
        ("Session", data["viewer"]["sessions"][0]["id"].clone()),
        ("Workspace", json!(world.workspace)),
        ("WorkspaceMember", data["workspace"]["members"]["nodes"][0]["id"].clone()),
        ("Channel", json!(world.general)),
        ("ChannelMembership", data["channel"]["viewerMembership"]["id"].clone()),
        ("Message", sent["id"].clone()),
    ]);
    let schema = Introspection::read(&world.owner).await;
    let possible: BTreeSet<_> = list(&schema.types["Node"]["possibleTypes"])
        .into_iter()
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect();
    let known: BTreeSet<_> = ids.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(possible, known, "this test has to know an id of every kind of node");
    for (name, id) in &ids {
        let document =
            "query($id: ID!) { node(id: $id) { __typename id } nodes(ids: [$id]) { __typename id } }";
        let data = world.owner.query(document, json!({ "id": id })).await.ok();
        let expected = json!({ "__typename": name, "id": id });
        assert_eq!(data, json!({ "node": expected, "nodes": [expected] }));
    }
}

async fn node_refuses_what_is_no_id(mode: Mode) {
    let world = World::new(mode).await;
    let document = "query($id: ID!) { node(id: $id) { id } }";
    for id in ["", "x", "channel_", "channel_zzz", &unique("nothing"), "channel_00000000000000000000000000"] {
        let answer = world.owner.query(document, json!({ "id": id })).await;
        assert_eq!(answer.data, json!({ "node": null }));
        assert!(matches!(answer.code().as_str(), "NOT_FOUND" | "INVALID"), "{id}: {:?}", answer.errors);
    }
    let many = vec![world.general.clone(); 101];
    let answer =
        world.owner.query("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", json!({ "ids": many })).await;
    assert_eq!(answer.code(), "INVALID");
}
