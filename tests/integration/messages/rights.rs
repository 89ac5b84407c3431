//! Who may send, and whom a message reaches.

use serde_json::{Value, json};

use super::{delete, edit, react, try_send};
use crate::support::{Mode, User, World, both_modes, client_message_id};

both_modes!(
    mentions_reach_people_who_see_the_channel,
    everyone_is_for_moderators,
    messages_of_private_channels_are_for_members,
    archived_channels_take_no_messages,
    a_repeated_send_is_answered_although_no_other_would_be,
    a_repeated_reply_is_answered_although_its_root_is_hidden,
    what_others_sent_is_no_answer_to_a_refused_send,
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

/// Runs a mutation with these variables, all of type ID; it has to succeed.
async fn act(user: &User, mutation: &str, variables: Value) {
    let declared: Vec<_> =
        variables.as_object().unwrap().keys().map(|name| format!("${name}: ID!")).collect();
    let document = format!("mutation({}) {{ {mutation} {{ __typename }} }}", declared.join(", "));
    user.query(&document, variables).await.ok();
}

/// Sends the same again, which has to give the message of the first time.
async fn sent_again(user: &User, input: &Value, first: &Value) {
    let data = try_send(user, input.clone()).await.ok();
    assert_eq!(data["sendMessage"], json!({ "message": first, "deduplicated": true }));
    let document = "query($channel: ID!, $own: String!) {
        messageByClientId(channelId: $channel, clientMessageId: $own) { id seq ts text }
    }";
    let variables = json!({ "channel": input["channelId"], "own": input["clientMessageId"] });
    assert_eq!(user.query(document, variables).await.ok()["messageByClientId"], *first);
}

async fn a_repeated_send_is_answered_although_no_other_would_be(mode: Mode) {
    let world = World::new(mode).await;
    let author = world.member().await;
    let channel = world.channel(&[&author]).await;
    let input = json!({ "channelId": channel, "clientMessageId": client_message_id(), "text": "once" });
    let first = try_send(&author, input.clone()).await.ok()["sendMessage"]["message"].take();
    let new = || json!({ "channelId": channel, "clientMessageId": client_message_id(), "text": "more" });

    let on_author = json!({ "id": channel, "user": author.id });
    act(&world.owner, "updateChannelMember(id: $id, userId: $user, status: MUTED)", on_author.clone()).await;
    sent_again(&author, &input, &first).await;
    assert_eq!(try_send(&author, new()).await.code(), "FORBIDDEN");
    act(&world.owner, "updateChannelMember(id: $id, userId: $user, status: ACTIVE)", on_author.clone()).await;
    act(&author, "leaveChannel(id: $id)", json!({ "id": channel })).await;
    sent_again(&author, &input, &first).await;
    assert_eq!(try_send(&author, new()).await.code(), "FORBIDDEN");
    act(&author, "joinChannel(id: $id)", json!({ "id": channel })).await;
    act(&world.owner, "archiveChannel(id: $id)", json!({ "id": channel })).await;
    sent_again(&author, &input, &first).await;
    assert_eq!(try_send(&author, new()).await.code(), "ARCHIVED");
    act(&world.owner, "archiveChannel(id: $id, archived: false)", json!({ "id": channel })).await;
    assert_eq!(world.owner.texts(&channel).await, ["once"]);

    // Who may not see the channel any more learns nothing of it.
    act(&world.owner, "removeChannelMember(id: $id, userId: $user)", on_author).await;
    assert_eq!(try_send(&author, input).await.code(), "NOT_FOUND");
    let private = world.channel_of("PRIVATE", &[&author]).await;
    let input = json!({ "channelId": private, "clientMessageId": client_message_id(), "text": "secret" });
    try_send(&author, input.clone()).await.ok();
    act(&author, "leaveChannel(id: $id)", json!({ "id": private })).await;
    assert_eq!(try_send(&author, input).await.code(), "NOT_FOUND");
}

async fn a_repeated_reply_is_answered_although_its_root_is_hidden(mode: Mode) {
    let world = World::new(mode).await;
    let author = world.member().await;
    let channel = world.channel_of("PRIVATE", &[&author]).await;
    let root = world.owner.send(&channel, "root").await;
    let mut inputs = Vec::new();
    for place in ["threadRootId", "replyToId", "text"] {
        let mut input = json!({ "channelId": channel, "clientMessageId": client_message_id() });
        input[place] = root["id"].clone();
        input["text"] = json!(place);
        let first = try_send(&author, input.clone()).await.ok()["sendMessage"]["message"].take();
        inputs.push((input, first));
    }
    let on_author = json!({ "id": channel, "user": author.id });
    act(&world.owner, "removeChannelMember(id: $id, userId: $user)", on_author.clone()).await;
    act(&world.owner, "addChannelMembers(id: $id, userIds: [$user])", on_author).await;
    // Their author finds them, though the timeline begins behind them.
    for (input, first) in &inputs {
        sent_again(&author, input, first).await;
    }
    assert!(author.texts(&channel).await.is_empty());
    let mut other = inputs[0].0.clone();
    other["clientMessageId"] = json!(client_message_id());
    assert_eq!(try_send(&author, other).await.code(), "NOT_FOUND");
}

async fn what_others_sent_is_no_answer_to_a_refused_send(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let (channel, other) = (world.channel(&[&member]).await, world.channel(&[&member]).await);
    let input = json!({ "channelId": channel, "clientMessageId": client_message_id(), "text": "mine" });
    try_send(&world.owner, input.clone()).await.ok();
    let elsewhere = json!({ "channelId": other, "clientMessageId": client_message_id(), "text": "there" });
    try_send(&member, elsewhere.clone()).await.ok();
    act(&member, "leaveChannel(id: $id)", json!({ "id": channel })).await;
    assert_eq!(try_send(&member, input).await.code(), "FORBIDDEN");
    let mut here = elsewhere;
    here["channelId"] = json!(channel);
    assert_eq!(try_send(&member, here).await.code(), "FORBIDDEN");
}
