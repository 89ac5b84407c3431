//! Channels in lists, and their counters.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::act;
use crate::support::{Mode, SOON, World, both_modes, client_message_id, eventually};

both_modes!(
    the_viewers_channels_come_in_order,
    message_counts_follow_what_is_visible,
    channels_page_in_a_stable_order,
);

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
