//! Reading back: pages both ways, around a message, in one order for all.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::react;
use crate::support::{Mode, World, both_modes};

both_modes!(history_pages_both_ways, history_around_a_message, ticks_are_dense_under_concurrent_changes);

async fn history_pages_both_ways(mode: Mode) {
    let world = World::new(mode).await;
    let channel = world.channel(&[]).await;
    for index in 0..25 {
        world.owner.send(&channel, &index.to_string()).await;
    }
    let all = world.owner.history(&channel).await;
    let document =
        "query($id: ID!, $first: Int, $after: String, $last: Int, $before: String) { channel(id: $id) {
        messages(first: $first, after: $after, last: $last, before: $before) {
            nodes { id } edges { cursor node { id } }
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
        }
    } }";
    let page = |variables: Value| async {
        let mut variables = variables;
        variables["id"] = json!(channel);
        world.owner.query(document, variables).await.ok()["channel"]["messages"].take()
    };
    let mut backwards = Vec::new();
    let mut before = Value::Null;
    loop {
        let page = page(json!({ "last": 7, "before": before })).await;
        let nodes = page["nodes"].as_array().unwrap();
        assert!(nodes.len() <= 7);
        assert_eq!(page["edges"][0]["cursor"], page["pageInfo"]["startCursor"]);
        assert_eq!(page["pageInfo"]["hasNextPage"], !before.is_null());
        backwards.splice(0..0, nodes.iter().map(|node| node["id"].clone()));
        if page["pageInfo"]["hasPreviousPage"] == false {
            break;
        }
        before = page["pageInfo"]["startCursor"].clone();
    }
    let ids: Vec<_> = all.iter().map(|message| message["id"].clone()).collect();
    assert_eq!(backwards, ids);

    let first = page(json!({ "first": 10 })).await;
    assert_eq!(
        (&first["pageInfo"]["hasPreviousPage"], &first["pageInfo"]["hasNextPage"]),
        (&json!(false), &json!(true))
    );
    let second = page(json!({ "first": 10, "after": first["pageInfo"]["endCursor"] })).await;
    let forwards: Vec<_> = [&first, &second]
        .iter()
        .flat_map(|page| page["nodes"].as_array().unwrap().iter().map(|node| node["id"].clone()))
        .collect();
    assert_eq!(forwards, ids[..20]);
    assert_eq!(second["pageInfo"]["hasPreviousPage"], true);

    for bad in [
        json!({ "first": 0 }),
        json!({ "first": 101 }),
        json!({ "last": -1 }),
        json!({ "first": 1, "after": "?" }),
    ] {
        let mut variables = bad;
        variables["id"] = json!(channel);
        assert_eq!(world.owner.query(document, variables.clone()).await.code(), "INVALID", "{variables}");
    }
}

async fn history_around_a_message(mode: Mode) {
    let world = World::new(mode).await;
    let channel = world.channel(&[]).await;
    let mut sent = Vec::new();
    for index in 0..21 {
        sent.push(world.owner.send(&channel, &index.to_string()).await);
    }
    let document = "query($id: ID!, $around: ID!) { channel(id: $id) {
        messages(first: 5, around: $around) { nodes { id text } pageInfo { hasNextPage hasPreviousPage } }
    } }";
    let around = |id: Value| world.owner.query(document, json!({ "id": channel, "around": id }));
    let data = around(sent[10]["id"].clone()).await.ok();
    let page = &data["channel"]["messages"];
    let texts: Vec<_> =
        page["nodes"].as_array().unwrap().iter().map(|node| node["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["8", "9", "10", "11", "12"]);
    assert_eq!(page["pageInfo"], json!({ "hasNextPage": true, "hasPreviousPage": true }));
    let data = around(sent[20]["id"].clone()).await.ok();
    let page = &data["channel"]["messages"];
    assert_eq!(page["nodes"].as_array().unwrap().last().unwrap()["text"], "20");
    assert_eq!(page["pageInfo"]["hasNextPage"], false);

    // Of another channel, whether the viewer may see it or not.
    let elsewhere = world.owner.send(&world.general, "elsewhere").await;
    assert_eq!(around(elsewhere["id"].clone()).await.code(), "NOT_FOUND");
}

async fn ticks_are_dense_under_concurrent_changes(mode: Mode) {
    let world = World::new(mode).await;
    let members = join_all((0..4).map(|_| world.member())).await;
    let channel = world.channel(&members.iter().collect::<Vec<_>>()).await;
    let target = world.owner.send(&channel, "target").await;
    let start =
        world.owner.history(&channel).await.iter().map(|message| message["seq"].as_i64().unwrap()).max();
    let (channel, target) = (&channel, &target);
    let work = members.iter().enumerate().map(|(index, user)| async move {
        let (mut sent, mut reacted) = (Vec::new(), Vec::new());
        for turn in 0..15 {
            sent.push(user.send(channel, &format!("{index} {turn}")).await["seq"].as_i64().unwrap());
            let data = react(user, &target["id"], &format!(":e{turn}:"), "addReaction").await.ok();
            reacted.push(data["addReaction"]["message"]["seq"].as_i64().unwrap());
        }
        (sent, reacted)
    });
    let (sent, reacted): (Vec<_>, Vec<_>) = join_all(work).await.into_iter().unzip();
    // Changes of one message that come together are one change with one tick; all others have their own.
    let (sent, reacted) = (sent.concat(), reacted.concat().into_iter().collect::<HashSet<_>>());
    let mut ticks: Vec<_> = sent.iter().copied().chain(reacted).collect();
    ticks.sort_unstable();
    let first = start.unwrap() + 1;
    let last = first + i64::try_from(ticks.len()).unwrap();
    assert_eq!(ticks, (first..last).collect::<Vec<_>>());
}
