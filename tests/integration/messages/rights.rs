//! Who may send, and whom a message reaches.

use serde_json::json;

use super::{delete, edit, react, try_send};
use crate::support::{Mode, World, both_modes, client_message_id};

both_modes!(
    mentions_reach_people_who_see_the_channel,
    everyone_is_for_moderators,
    messages_of_private_channels_are_for_members,
    archived_channels_take_no_messages,
);

async fn mentions_reach_people_who_see_the_channel(mode: Mode) {
    let world = World::new(mode).await;
    let (inside, outside) = (world.member().await, world.member().await);
    let stranger = World::new(mode).await.owner;
    let channel = world.channel_of("PRIVATE", &[&inside]).await;
    let text = format!("<@{0}> <@{1}> <@{2}> and <@{0}> again", inside.id, outside.id, stranger.id);
    let sent = world.owner.send(&channel, &text).await;
    let document = "query($id: ID!) { message(id: $id) { mentions { id } mentionsEveryone text } }";
    let data = world.owner.query(document, json!({ "id": sent["id"] })).await.ok();
    assert_eq!(
        data["message"],
        json!({ "mentions": [{ "id": inside.id }], "mentionsEveryone": false, "text": text })
    );
}

async fn everyone_is_for_moderators(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    for (user, counts) in [(&world.owner, true), (&member, false)] {
        let sent = user.send(&channel, "hey @everyone, look").await;
        let document = "query($id: ID!) { message(id: $id) { mentionsEveryone } }";
        let data = user.query(document, json!({ "id": sent["id"] })).await.ok();
        assert_eq!(data["message"]["mentionsEveryone"], counts);
    }
}

async fn messages_of_private_channels_are_for_members(mode: Mode) {
    let world = World::new(mode).await;
    let outsider = world.member().await;
    let channel = world.channel_of("PRIVATE", &[]).await;
    let sent = world.owner.send(&channel, "secret").await;
    let document = "query($id: ID!) { message(id: $id) { text } }";
    assert_eq!(outsider.query(document, json!({ "id": sent["id"] })).await.code(), "NOT_FOUND");
    let input = json!({ "channelId": channel, "clientMessageId": client_message_id(), "text": "let me in" });
    assert_eq!(try_send(&outsider, input).await.code(), "NOT_FOUND");
    assert_eq!(edit(&outsider, json!({ "id": sent["id"], "text": "x" })).await.code(), "NOT_FOUND");
    assert_eq!(delete(&outsider, &sent["id"]).await.code(), "NOT_FOUND");
    assert_eq!(react(&outsider, &sent["id"], "👍", "addReaction").await.code(), "NOT_FOUND");
    let document = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
    let seen = world.owner.send(&world.general, "open").await;
    let answer = outsider.query(document, json!({ "ids": [sent["id"], seen["id"]] })).await;
    assert_eq!(answer.data["nodes"], json!([null, { "id": seen["id"] }]));
}

async fn archived_channels_take_no_messages(mode: Mode) {
    let world = World::new(mode).await;
    let channel = world.channel(&[]).await;
    let sent = world.owner.send(&channel, "before").await;
    let document = "mutation($id: ID!, $archived: Boolean!) {
        archiveChannel(id: $id, archived: $archived) { channel { isArchived } }
    }";
    let archive =
        |archived: bool| world.owner.query(document, json!({ "id": channel, "archived": archived }));
    assert_eq!(archive(true).await.ok()["archiveChannel"]["channel"]["isArchived"], true);
    let input = json!({ "channelId": channel, "clientMessageId": client_message_id(), "text": "after" });
    assert_eq!(try_send(&world.owner, input.clone()).await.code(), "ARCHIVED");
    assert_eq!(edit(&world.owner, json!({ "id": sent["id"], "text": "x" })).await.code(), "ARCHIVED");
    assert_eq!(react(&world.owner, &sent["id"], "👍", "addReaction").await.code(), "ARCHIVED");
    assert_eq!(world.owner.texts(&channel).await, ["before"]);
    archive(false).await.ok();
    try_send(&world.owner, input).await.ok();
}
