//! Messages: sending, changing, reading back.

pub(crate) mod history;
pub(crate) mod reactions;
pub(crate) mod rights;

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Answer, Mode, User, World, both_modes, client_message_id};

both_modes!(
    a_message_reads_back_the_same_everywhere,
    what_breaks_a_rule_is_refused_field_by_field,
    an_edit_sees_what_it_changes,
    a_deleted_message_stays_as_a_tombstone,
    one_client_id_is_one_message,
    fifty_sends_of_one_client_id_are_one_message,
    replies_are_counted_on_their_root,
    blocks_come_back_as_they_went,
);

const FULL: &str =
    "id ts seq kind text isEdited editedAt isDeleted deletedAt clientMessageId createdAt updatedAt
    author { id } channel { id } reactionGroups { emoji count viewerHasReacted } thread { replyCount }
    blocks { __typename ... on ParagraphBlock { text } ... on CodeBlock { language code }
             ... on OpaqueBlock { type data } ... on MentionBlock { user { id } } }";

async fn message(user: &User, id: &Value) -> Value {
    let document = format!("query($id: ID!) {{ message(id: $id) {{ {FULL} }} }}");
    user.query(&document, json!({ "id": id })).await.ok()["message"].take()
}

async fn try_send(user: &User, input: Value) -> Answer {
    let document = "mutation($input: SendMessageInput!) {
        sendMessage(input: $input) { message { id seq ts text } deduplicated }
    }";
    user.query(document, json!({ "input": input })).await
}

async fn edit(user: &User, variables: Value) -> Answer {
    let document = "mutation($id: ID!, $text: String, $seq: BigInt) {
        editMessage(id: $id, text: $text, expectedSeq: $seq) { message { seq text isEdited } }
    }";
    user.query(document, variables).await
}

async fn delete(user: &User, id: &Value) -> Answer {
    let document = "mutation($id: ID!) { deleteMessage(id: $id) { message { id text isDeleted } } }";
    user.query(document, json!({ "id": id })).await
}

async fn react(user: &User, id: &Value, emoji: &str, mutation: &str) -> Answer {
    let document = format!(
        "mutation($id: ID!, $emoji: String!) {{ {mutation}(messageId: $id, emoji: $emoji) {{
            message {{ seq reactionGroups {{ emoji count viewerHasReacted topUsers {{ id }} }} }}
        }} }}"
    );
    user.query(&document, json!({ "id": id, "emoji": emoji })).await
}

async fn a_message_reads_back_the_same_everywhere(mode: Mode) {
    let world = World::new(mode).await;
    let (channel, own_id) = (world.channel(&[]).await, client_message_id());
    let input = json!({ "channelId": channel, "clientMessageId": own_id, "text": "héllo 👋 wörld" });
    let sent = world.owner.send_input(input).await;

    let found = message(&world.owner, &sent["id"]).await;
    assert_eq!(found["text"], "héllo 👋 wörld");
    assert_eq!(found["author"]["id"], world.owner.id);
    assert_eq!(found["channel"]["id"], channel);
    assert_eq!(found["clientMessageId"], own_id);
    assert_eq!(
        (&found["isEdited"], &found["isDeleted"], &found["editedAt"]),
        (&json!(false), &json!(false), &Value::Null)
    );
    assert_eq!(found["ts"], found["seq"]);

    let document = format!(
        "query($id: ID!, $channel: ID!, $own: String!) {{
            node(id: $id) {{ ... on Message {{ {FULL} }} }}
            nodes(ids: [$id]) {{ ... on Message {{ {FULL} }} }}
            messageByClientId(channelId: $channel, clientMessageId: $own) {{ {FULL} }}
            channel(id: $channel) {{ messages(last: 1) {{ nodes {{ {FULL} }} }} lastMessage {{ {FULL} }} }}
        }}"
    );
    let variables = json!({ "id": sent["id"], "channel": channel, "own": own_id });
    let data = world.owner.query(&document, variables).await.ok();
    for place in [
        &data["node"],
        &data["nodes"][0],
        &data["messageByClientId"],
        &data["channel"]["messages"]["nodes"][0],
        &data["channel"]["lastMessage"],
    ] {
        assert_eq!(place, &found);
    }
}

async fn what_breaks_a_rule_is_refused_field_by_field(mode: Mode) {
    let world = World::new(mode).await;
    let channel = world.channel(&[]).await;
    let before = world.owner.history(&channel).await;
    let blank = json!({ "channelId": channel, "clientMessageId": client_message_id(), "text": " \n\t " });
    let refused = try_send(&world.owner, blank).await;
    assert_eq!((refused.code().as_str(), refused.fields()), ("INVALID", vec!["input.text".to_owned()]));
    let bad = json!({
        "channelId": channel, "clientMessageId": "", "text": "x".repeat(20_001), "kind": "SYSTEM",
        "blocks": [{ "opaque": { "type": "", "data": 1 } }, { "code": { "language": "x".repeat(51), "code": "" } }],
    });
    let refused = try_send(&world.owner, bad).await;
    assert_eq!(refused.code(), "INVALID");
    let fields = refused.fields();
    for field in [
        "input.clientMessageId",
        "input.text",
        "input.kind",
        "input.blocks.0.opaque.type",
        "input.blocks.0.opaque.data",
        "input.blocks.1.code.language",
    ] {
        assert!(fields.iter().any(|named| named == field), "{field} is not named in {fields:?}");
    }
    assert_eq!(world.owner.history(&channel).await, before, "a refused message was written");

    let longest =
        json!({ "channelId": channel, "clientMessageId": "x".repeat(128), "text": "ä".repeat(20_000) });
    try_send(&world.owner, longest).await.ok();
    let picture = json!({ "channelId": channel, "clientMessageId": client_message_id(), "kind": "IMAGE" });
    try_send(&world.owner, picture).await.ok();
}

async fn an_edit_sees_what_it_changes(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    let sent = member.send(&channel, "first").await;
    let data = edit(&member, json!({ "id": sent["id"], "text": "second", "seq": sent["seq"] })).await.ok();
    let edited = &data["editMessage"]["message"];
    assert_eq!((&edited["text"], &edited["isEdited"]), (&json!("second"), &json!(true)));
    assert!(edited["seq"].as_i64() > sent["seq"].as_i64());

    let stale = edit(&member, json!({ "id": sent["id"], "text": "third", "seq": sent["seq"] })).await;
    assert_eq!(stale.code(), "CONFLICT");
    let foreign = edit(&world.owner, json!({ "id": sent["id"], "text": "not mine" })).await;
    assert_eq!(foreign.code(), "FORBIDDEN");
    assert_eq!(edit(&member, json!({ "id": sent["id"], "text": "  " })).await.code(), "INVALID");

    let now = message(&world.owner, &sent["id"]).await;
    assert_eq!(now["text"], "second");
    assert_eq!(now["ts"], sent["seq"], "an edit moved the message");
    assert!(now["editedAt"].as_str() >= now["createdAt"].as_str());
    assert_eq!(now["clientMessageId"], Value::Null, "the author's own id is told to others");
}

async fn a_deleted_message_stays_as_a_tombstone(mode: Mode) {
    let world = World::new(mode).await;
    let (author, other) = (world.member().await, world.member().await);
    let channel = world.channel(&[&author, &other]).await;
    let sent = author.send(&channel, "to be gone").await;
    let reply = other.reply(&channel, &sent, "a reply").await;
    let after = other.send(&channel, "after").await;

    assert_eq!(delete(&other, &sent["id"]).await.code(), "FORBIDDEN");
    let data = delete(&author, &sent["id"]).await.ok();
    assert_eq!(data["deleteMessage"]["message"], json!({ "id": sent["id"], "text": "", "isDeleted": true }));
    let tombstone = message(&other, &sent["id"]).await;
    assert_eq!((&tombstone["text"], &tombstone["blocks"]), (&json!(""), &json!([])));
    assert!(tombstone["deletedAt"].is_string());
    assert_eq!(tombstone["thread"]["replyCount"], 1);
    assert_eq!(message(&other, &reply["id"]).await["text"], "a reply");
    let ids: Vec<_> =
        other.history(&channel).await.into_iter().map(|message| message["id"].clone()).collect();
    let place = |id: &Value| ids.iter().position(|other| other == id).unwrap();
    assert!(place(&sent["id"]) < place(&after["id"]), "the tombstone lost its place");

    let gone = edit(&author, json!({ "id": sent["id"], "text": "back" })).await;
    assert!(matches!(gone.code().as_str(), "CONFLICT" | "NOT_FOUND"));
    assert!(matches!(
        react(&other, &sent["id"], "👍", "addReaction").await.code().as_str(),
        "CONFLICT" | "NOT_FOUND"
    ));
    // A moderator deletes what others wrote.
    delete(&world.owner, &after["id"]).await.ok();
}

async fn one_client_id_is_one_message(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let (first, second) = (world.channel(&[&member]).await, world.channel(&[&member]).await);
    let own_id = client_message_id();
    let input =
        |channel: &str, text: &str| json!({ "channelId": channel, "clientMessageId": own_id, "text": text });
    let sent = try_send(&member, input(&first, "once")).await.ok();
    let again = try_send(&member, input(&first, "twice")).await.ok();
    assert_eq!(sent["sendMessage"]["deduplicated"], false);
    assert_eq!(again["sendMessage"]["deduplicated"], true);
    assert_eq!(sent["sendMessage"]["message"], again["sendMessage"]["message"]);
    // The same id elsewhere, or of somebody else, is another message.
    let elsewhere = try_send(&member, input(&second, "elsewhere")).await.ok();
    let somebody = try_send(&world.owner, input(&first, "somebody")).await.ok();
    assert_eq!(elsewhere["sendMessage"]["deduplicated"], false);
    assert_eq!(somebody["sendMessage"]["deduplicated"], false);
    assert_eq!(member.texts(&first).await, ["once", "somebody"]);
}

async fn fifty_sends_of_one_client_id_are_one_message(mode: Mode) {
    let world = World::new(mode).await;
    let channel = world.channel(&[]).await;
    let input =
        json!({ "channelId": channel, "clientMessageId": client_message_id(), "text": "fifty times" });
    let answers = join_all((0..50).map(|_| try_send(&world.owner, input.clone()))).await;
    let payloads: Vec<_> = answers.into_iter().map(|answer| answer.ok()["sendMessage"].take()).collect();
    let ids: HashSet<_> = payloads.iter().map(|payload| payload["message"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(payloads.iter().filter(|payload| payload["deduplicated"] == false).count(), 1);
    assert_eq!(world.owner.texts(&channel).await, ["fifty times"]);
}

async fn replies_are_counted_on_their_root(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    let root = world.owner.send(&channel, "root").await;
    assert_eq!(message(&world.owner, &root["id"]).await["thread"]["replyCount"], 0);
    let first = member.reply(&channel, &root, "one").await;
    // A reply to a reply goes to the same root.
    let second = world.owner.reply(&channel, &first, "two").await;
    let broadcast = member
        .send_input(json!({
            "channelId": channel, "clientMessageId": client_message_id(), "text": "three",
            "threadRootId": root["id"], "broadcastToChannel": true,
        }))
        .await;
    let document = "query($id: ID!) { message(id: $id) { thread {
        replyCount lastReplyAt participants { id } root { id }
        replies { nodes { id text createdAt threadRoot { id } } }
    } } }";
    let thread = || async {
        world.owner.query(document, json!({ "id": root["id"] })).await.ok()["message"]["thread"].take()
    };
    let now = thread().await;
    assert_eq!(now["replyCount"], 3);
    assert_eq!(now["participants"], json!([{ "id": member.id }, { "id": world.owner.id }]));
    assert_eq!(now["root"]["id"], root["id"]);
    let replies = now["replies"]["nodes"].as_array().unwrap();
    let texts: Vec<_> = replies.iter().map(|reply| reply["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert!(replies.iter().all(|reply| reply["threadRoot"]["id"] == root["id"]));
    assert_eq!(now["lastReplyAt"], replies[2]["createdAt"]);
    assert_eq!(world.owner.texts(&channel).await, ["root", "three"], "replies stand in the timeline");

    delete(&member, &broadcast["id"]).await.ok();
    let now = thread().await;
    assert_eq!(now["replyCount"], 2);
    delete(&world.owner, &second["id"]).await.ok();
    assert_eq!(thread().await["replyCount"], 1);
}

async fn blocks_come_back_as_they_went(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    let data = json!({ "rows": [["a", 1], ["b", null]], "nested": { "deep": { "er": [true, 1.5, "ü"] } }, "type": "inner" });
    let sent = world
        .owner
        .send_input(json!({
            "channelId": channel, "clientMessageId": client_message_id(), "kind": "RICH",
            "blocks": [
                { "paragraph": "Hello" }, { "mention": member.id },
                { "code": { "language": "rust", "code": "fn main() {\n\t// ünïcode\n}" } },
                { "opaque": { "type": "table", "data": data } },
            ],
        }))
        .await;
    let found = message(&member, &sent["id"]).await;
    assert_eq!(
        found["blocks"],
        json!([
            { "__typename": "ParagraphBlock", "text": "Hello" },
            { "__typename": "MentionBlock", "user": { "id": member.id } },
            { "__typename": "CodeBlock", "language": "rust", "code": "fn main() {\n\t// ünïcode\n}" },
            { "__typename": "OpaqueBlock", "type": "table", "data": data },
        ])
    );
    assert!(found["text"].as_str().unwrap().starts_with("Hello"), "no plain words for simple clients");
}
