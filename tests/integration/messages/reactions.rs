//! Reactions: each user once for each emoji, whatever comes at the same time.

use futures_util::future::join_all;
use serde_json::json;

use super::{message, react};
use crate::support::{Mode, World, both_modes};

both_modes!(reactions_count_each_user_once, concurrent_reactions_all_count);

async fn reactions_count_each_user_once(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    let sent = world.owner.send(&channel, "react!").await;
    react(&world.owner, &sent["id"], "👍", "addReaction").await.ok();
    react(&member, &sent["id"], "👍", "addReaction").await.ok();
    react(&member, &sent["id"], "👍", "addReaction").await.ok();
    let data = react(&member, &sent["id"], ":party:", "addReaction").await.ok();
    let thumb = json!({
        "emoji": "👍", "count": 2, "viewerHasReacted": true, "topUsers": [{ "id": world.owner.id }, { "id": member.id }],
    });
    let party = json!({ "emoji": ":party:", "count": 1, "viewerHasReacted": true, "topUsers": [{ "id": member.id }] });
    assert_eq!(data["addReaction"]["message"]["reactionGroups"], json!([thumb, party]));
    let others = message(&world.owner, &sent["id"]).await;
    assert_eq!(
        others["reactionGroups"][1],
        json!({ "emoji": ":party:", "count": 1, "viewerHasReacted": false })
    );

    react(&member, &sent["id"], ":party:", "removeReaction").await.ok();
    let data = react(&member, &sent["id"], ":party:", "removeReaction").await.ok();
    assert_eq!(data["removeReaction"]["message"]["reactionGroups"], json!([thumb]));
    let document = "query($id: ID!) { message(id: $id) { reactions(emoji: \"👍\", first: 1) {
        nodes { emoji user { id } createdAt } pageInfo { hasNextPage }
    } } }";
    let data = world.owner.query(document, json!({ "id": sent["id"] })).await.ok();
    let page = &data["message"]["reactions"];
    assert_eq!(page["nodes"][0]["user"]["id"], world.owner.id);
    assert_eq!(page["pageInfo"]["hasNextPage"], true);
    assert_eq!(react(&member, &sent["id"], "no emoji", "addReaction").await.code(), "INVALID");
}

async fn concurrent_reactions_all_count(mode: Mode) {
    let world = World::new(mode).await;
    let members = join_all((0..5).map(|_| world.member())).await;
    let channel = world.channel(&members.iter().collect::<Vec<_>>()).await;
    let sent = world.owner.send(&channel, "react!").await;
    let emojis: Vec<String> = (0..20).map(|index| format!(":emoji{index}:")).collect();
    let adding = members.iter().flat_map(|user| emojis.iter().map(move |emoji| (user, emoji)));
    let adding = adding.map(|(user, emoji)| react(user, &sent["id"], emoji, "addReaction"));
    for answer in join_all(adding).await {
        answer.ok();
    }
    // The even ones go again, all at once.
    let removing = members.iter().flat_map(|user| emojis.iter().step_by(2).map(move |emoji| (user, emoji)));
    let removing = removing.map(|(user, emoji)| react(user, &sent["id"], emoji, "removeReaction"));
    for answer in join_all(removing).await {
        answer.ok();
    }
    let groups = message(&world.owner, &sent["id"]).await["reactionGroups"].take();
    let groups = groups.as_array().unwrap();
    assert_eq!(groups.len(), 10);
    assert!(groups.iter().all(|group| group["count"] == 5), "{groups:?}");
}
