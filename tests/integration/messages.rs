//! Messages: sending, changing, reading back.

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
    reactions_count_each_user_once,
    concurrent_reactions_all_count,
    replies_are_counted_on_their_root,
    history_pages_both_ways,
    history_around_a_message,
    ticks_are_dense_under_concurrent_changes,
    blocks_come_back_as_they_went,
    mentions_reach_people_who_see_the_channel,
    everyone_is_for_moderators,
    messages_of_private_channels_are_for_members,
    archived_channels_take_no_messages,
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
