//! Query, then subscribe after its cursor: whatever happens in between and afterwards, what a client makes of both is
//! what a fresh query says.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Item, Mode, SOON, Stream, User, World, both_modes, first_field, unique};

both_modes!(
    a_channel_and_its_stream_agree_with_a_fresh_query,
    a_thread_and_its_stream_agree_with_a_fresh_query,
    the_sidebar_and_the_viewers_stream_agree_with_a_fresh_query,
);

/// Readers that come at random moments, one after the other.
const READERS: usize = 5;

const MESSAGE: &str =
    "id seq text isDeleted isEdited reactionGroups { emoji count } thread { replyCount } threadRoot { id }";

type Messages = BTreeMap<String, Value>;

/// Chance with a seed that is shown, and that can be given.
pub(crate) fn random(test: &str) -> StdRng {
    let seed: u64 =
        std::env::var("QUIKAPP_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("{test}: QUIKAPP_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Takes a message over a state that has an older one of it, or none.
fn upsert(messages: &mut Messages, message: &Value) {
    let id = message["id"].as_str().unwrap().to_owned();
    let is_news = messages.get(&id).is_none_or(|known| known["seq"].as_i64() < message["seq"].as_i64());
    if is_news {
        messages.insert(id, message.clone());
    }
}

/// Somebody who does things until told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Writer {
    async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
    }
}

/// Writes to a channel at random; to its thread under `root` too.
fn write(owner: &User, channel: &str, root: &Value, mut random: StdRng) -> Writer {
    let stop = Arc::new(AtomicBool::new(false));
    let (owner, channel, root, stopped) =
        (owner.clone(), channel.to_owned(), root.clone(), Arc::clone(&stop));
    let task = tokio::spawn(async move {
        let mut known = vec![root.clone()];
        while !stopped.load(Ordering::SeqCst) {
            let target = known.choose(&mut random).unwrap()["id"].clone();
            let variables = json!({ "id": target, "channel": channel, "text": unique("text") });
            let document = match random.random_range(0..100) {
                0..25 => {
                    known.push(owner.send(&channel, &unique("text")).await);
                    continue;
                }
                25..45 => {
                    known.push(owner.reply(&channel, &root, &unique("reply")).await);
                    continue;
                }
                45..60 => {
                    "mutation($id: ID!, $text: String!) { editMessage(id: $id, text: $text) { __typename } }"
                }
                60..80 => "mutation($id: ID!) { addReaction(messageId: $id, emoji: \"👍\") { __typename } }",
                80..88 => {
                    "mutation($id: ID!) { removeReaction(messageId: $id, emoji: \"👍\") { __typename } }"
                }
                88..94 if target != root["id"] => {
                    "mutation($id: ID!) { deleteMessage(id: $id) { __typename } }"
                }
                _ => {
                    "mutation($channel: ID!, $text: String!) {
                    updateChannel(id: $channel, input: { topic: $text }) { __typename }
                }"
                }
            };
            // Some come too late for their message, which is as good a change as none.
            let _ = owner.query(document, variables).await;
        }
    });
    Writer { stop, task }
}

/// Folds items until the state is the one that is wanted.
async fn converge<S: PartialEq + std::fmt::Debug>(
    stream: &mut Stream,
    mut state: S,
    wanted: &S,
    mut fold: impl FnMut(&mut S, &Value),
) {
    let deadline = tokio::time::Instant::now() + SOON;
    let mut seen = Vec::new();
    while state != *wanted {
        let time = deadline.saturating_duration_since(tokio::time::Instant::now());
        let Some(item) = stream.item_within(time).await else {
            panic!("{seen:#?}\nmade\n{state:#?}\nwhich never became what a query says\n{wanted:#?}");
        };
        let Item::Next(data) = item else { panic!("expected an item, got {item:#?}") };
        let item = first_field(data);
        assert_ne!(item["event"]["__typename"], "StreamReset", "{item}");
        fold(&mut state, &item["event"]);
        seen.push(item.to_string());
    }
}

fn events(root: &str, arguments: &str) -> String {
    format!(
        "subscription($id: ID!, $after: EventCursor) {{ {root}({arguments}: $id, after: $after) {{ event {{ __typename
            ... on MessageCreated {{ message {{ {MESSAGE} }} }}
            ... on MessageUpdated {{ message {{ {MESSAGE} }} }}
            ... on MessageDeleted {{ message {{ {MESSAGE} }} }}
            ... on ChannelUpdated {{ channel {{ topic }} }}
            ... on StreamReset {{ reason }}
        }} }} }}"
    )
}

/// The newest hundred messages of the timeline, and the topic.
#[derive(Debug, PartialEq)]
struct Screen {
    topic: Value,
    messages: Messages,
}

/// The same screen, asked for as programs do whose parts each ask for what they need: the fields that stand in several
/// fragments are one to whoever reads the answer, and the cursor is of before all of them.
const SCREENS: [&str; 6] = [
    "query($id: ID!) { channel(id: $id) { syncCursor ...Head ...Page } }",
    "query($id: ID!) { ...Whole ...Cursor } fragment Whole on Query { channel(id: $id) { ...Head ...Page } }
        fragment Cursor on Query { channel(id: $id) { syncCursor } }",
    "query($id: ID!) { channel(id: $id) { ...Page messages(first: 100) { syncCursor } } channel(id: $id) { ...Head } }",
    "query($id: ID!) { channel(id: $id) { ...Head ...Page ...Cursor } }
        fragment Cursor on Channel { messages(first: 100) { syncCursor } }",
    "query($id: ID!) { node(id: $id) { ... on Channel { syncCursor } } channel(id: $id) { ...Head ...Page } }",
    "query($id: ID!) { channel(id: $id) { ...Head ...Page } nodes(ids: [$id]) { ... on Channel { syncCursor } } }",
];

async fn screen(user: &User, channel: &str, random: &mut StdRng) -> (Screen, Value) {
    let document = format!(
        "{} fragment Head on Channel {{ topic }}
        fragment Page on Channel {{ messages(first: 100) {{ nodes {{ {MESSAGE} }} }} }}",
        SCREENS.choose(random).unwrap()
    );
    let data = user.query(&document, json!({ "id": channel })).await.ok();
    let (channel, node, nodes) = (&data["channel"], &data["node"], &data["nodes"][0]);
    let mut messages = Messages::new();
    for message in channel["messages"]["nodes"].as_array().unwrap() {
        upsert(&mut messages, message);
    }
    let own = [&channel["syncCursor"], &channel["messages"]["syncCursor"]];
    let cursor = [own[0], own[1], &node["syncCursor"], &nodes["syncCursor"]];
    let cursor = cursor.into_iter().find(|cursor| cursor.is_string()).unwrap().clone();
    (Screen { topic: channel["topic"].clone(), messages }, cursor)
}

async fn a_channel_and_its_stream_agree_with_a_fresh_query(mode: Mode) {
    let mut random = random("a_channel_and_its_stream_agree_with_a_fresh_query");
    let world = World::new(mode).await;
    let reader = world.member().await;
    let channel = world.channel(&[&reader]).await;
    let root = world.owner.send(&channel, "root").await;
    let socket = reader.socket().await;
    for _ in 0..READERS {
        let writer = write(&world.owner, &channel, &root, StdRng::from_rng(&mut random));
        let (state, after) = screen(&reader, &channel, &mut random).await;
        pause(&mut random).await;
        let document = events("channelEvents", "channelId");
        let mut stream = socket.subscribe(&document, json!({ "id": channel, "after": after }));
        pause(&mut random).await;
        writer.stop().await;
        let (wanted, _) = screen(&reader, &channel, &mut random).await;
        // A page has its end; beyond it the stream knows more than the query.
        let is_whole = wanted.messages.len() < 100;
        converge(&mut stream, state, &wanted, |state, event| {
            let message = &event["message"];
            if message.is_object() && message["threadRoot"].is_null() {
                let is_shown = is_whole || wanted.messages.contains_key(message["id"].as_str().unwrap());
                if is_shown {
                    upsert(&mut state.messages, message);
                }
            }
            if event["__typename"] == "ChannelUpdated" {
                state.topic = event["channel"]["topic"].clone();
            }
        })
        .await;
    }
}

/// Lets a random number of the writer's changes pass.
async fn pause(random: &mut StdRng) {
    let time = random.random_range(0..120);
    tokio::time::sleep(std::time::Duration::from_millis(time)).await;
}

async fn thread(user: &User, root: &Value) -> (Messages, Value) {
    let document = format!(
        "query($id: ID!) {{ message(id: $id) {{ {MESSAGE} thread {{ replies(first: 100) {{ syncCursor nodes {{ {MESSAGE} }} }} }} }} }}"
    );
    let mut data = user.query(&document, json!({ "id": root["id"] })).await.ok();
    let replies = data["message"]["thread"]["replies"].take();
    data["message"]["thread"].as_object_mut().unwrap().remove("replies");
    let mut messages = Messages::new();
    upsert(&mut messages, &data["message"]);
    for message in replies["nodes"].as_array().unwrap() {
        upsert(&mut messages, message);
    }
    (messages, replies["syncCursor"].clone())
}

async fn a_thread_and_its_stream_agree_with_a_fresh_query(mode: Mode) {
    let mut random = random("a_thread_and_its_stream_agree_with_a_fresh_query");
    let world = World::new(mode).await;
    let reader = world.member().await;
    let channel = world.channel(&[&reader]).await;
    let socket = reader.socket().await;
    for _ in 0..READERS {
        let root = world.owner.send(&channel, "root").await;
        world.owner.reply(&channel, &root, "first").await;
        let writer = write(&world.owner, &channel, &root, StdRng::from_rng(&mut random));
        pause(&mut random).await;
        let (state, after) = thread(&reader, &root).await;
        pause(&mut random).await;
        let document = events("threadEvents", "rootId");
        let mut stream = socket.subscribe(&document, json!({ "id": root["id"], "after": after }));
        writer.stop().await;
        let (wanted, _) = thread(&reader, &root).await;
        let is_whole = wanted.len() <= 100;
        converge(&mut stream, state, &wanted, |state, event| {
            let message = &event["message"];
            if message.is_object() && (is_whole || wanted.contains_key(message["id"].as_str().unwrap())) {
                upsert(state, message);
            }
        })
        .await;
    }
}

/// The viewer's channels, each with its topic and how far they have read it.
type Sidebar = BTreeMap<String, Value>;

/// In the ways of [`SCREENS`].
const SIDEBARS: [&str; 4] = [
    "{ viewer { syncCursor ...List } }",
    "{ ...Cursor ...Whole } fragment Cursor on Query { viewer { syncCursor } } fragment Whole on Query { viewer { ...List } }",
    "{ viewer { ...List } ...Cursor } fragment Cursor on Query { viewer { syncCursor } }",
    "{ viewer { ...List unread { asOf } } }",
];

async fn sidebar(user: &User, random: &mut StdRng) -> (Sidebar, Value) {
    let document = format!(
        "{} fragment List on Viewer {{
            channels(first: 200) {{ nodes {{ lastReadMessageId channel {{ id topic }} }} }}
        }}",
        SIDEBARS.choose(random).unwrap()
    );
    let data = user.query(&document, json!({})).await.ok();
    let nodes = data["viewer"]["channels"]["nodes"].as_array().unwrap();
    let of = |node: &Value| {
        let channel = &node["channel"];
        let entry = json!({ "topic": channel["topic"], "read": node["lastReadMessageId"] });
        (channel["id"].as_str().unwrap().to_owned(), entry)
    };
    let cursor = [&data["viewer"]["syncCursor"], &data["viewer"]["unread"]["asOf"]];
    let cursor = cursor.into_iter().find(|cursor| cursor.is_string()).unwrap().clone();
    (nodes.iter().map(of).collect(), cursor)
}

async fn the_sidebar_and_the_viewers_stream_agree_with_a_fresh_query(mode: Mode) {
    let mut random = random("the_sidebar_and_the_viewers_stream_agree_with_a_fresh_query");
    let world = World::new(mode).await;
    let reader = world.member().await;
    let socket = reader.socket().await;
    let document = "subscription($after: EventCursor) { viewerEvents(after: $after) { cursor seq replayed event { __typename
        ... on MemberJoined { channelId userId membership { lastReadMessageId channel { topic } } }
        ... on ReadStateChanged { channelId unread { lastReadMessageId } }
        ... on MemberLeft { channelId userId }
        ... on ChannelCreated { channelId channel { topic viewerMembership { lastReadMessageId } } }
        ... on ChannelUpdated { channelId channel { topic } }
        ... on StreamReset { reason }
    } } }";
    for _ in 0..READERS {
        let stop = Arc::new(AtomicBool::new(false));
        let writer = {
            let (owner, reader, stopped) = (world.owner.clone(), reader.clone(), Arc::clone(&stop));
            let mut random = StdRng::from_rng(&mut random);
            let channels = [world.channel(&[]).await, world.channel_of("PRIVATE", &[]).await];
            let input = json!({
                "workspaceId": world.workspace, "type": "PRIVATE", "memberIds": [reader.id], "name": "",
            });
            let task = tokio::spawn(async move {
                while !stopped.load(Ordering::SeqCst) {
                    let channel = channels.choose(&mut random).unwrap();
                    let mut input = input.clone();
                    input["name"] = json!(unique("channel"));
                    let variables = json!({
                        "id": channel, "user": reader.id, "text": unique("topic"), "input": input,
                    });
                    let document = match random.random_range(0..13) {
                        9..12 => {
                            // As often as not the reader is not in there, and is refused.
                            let read = "mutation($id: ID!) { markChannelRead(id: $id) { __typename } }";
                            let _ = reader.query(read, variables).await;
                            continue;
                        }
                        0..3 => {
                            "mutation($id: ID!, $user: ID!) { addChannelMembers(id: $id, userIds: [$user]) { __typename } }"
                        }
                        3..5 => {
                            "mutation($id: ID!, $user: ID!) { removeChannelMember(id: $id, userId: $user) { __typename } }"
                        }
                        5..9 => {
                            "mutation($id: ID!, $text: String!) { updateChannel(id: $id, input: { topic: $text }) { __typename } }"
                        }
                        _ => {
                            "mutation($input: CreateChannelInput!) { createChannel(input: $input) { __typename } }"
                        }
                    };
                    let _ = owner.query(document, variables).await;
                }
            });
            Writer { stop, task }
        };
        pause(&mut random).await;
        let (state, after) = sidebar(&reader, &mut random).await;
        pause(&mut random).await;
        let mut stream = socket.subscribe(document, json!({ "after": after }));
        pause(&mut random).await;
        writer.stop().await;
        let (wanted, _) = sidebar(&reader, &mut random).await;
        converge(&mut stream, state, &wanted, |state, event| {
            let Some(channel) = event["channelId"].as_str().map(ToOwned::to_owned) else { return };
            let is_own = event["userId"] == json!(reader.id);
            match event["__typename"].as_str().unwrap() {
                "MemberJoined" if is_own => {
                    let membership = &event["membership"];
                    let read = &membership["lastReadMessageId"];
                    state.insert(channel, json!({ "topic": membership["channel"]["topic"], "read": read }));
                }
                "MemberLeft" if is_own => {
                    state.remove(&channel);
                }
                "ChannelCreated" if event["channel"]["viewerMembership"].is_object() => {
                    let read = &event["channel"]["viewerMembership"]["lastReadMessageId"];
                    state.insert(channel, json!({ "topic": event["channel"]["topic"], "read": read }));
                }
                "ChannelUpdated" => {
                    if let Some(entry) = state.get_mut(&channel) {
                        entry["topic"] = event["channel"]["topic"].clone();
                    }
                }
                "ReadStateChanged" => {
                    let unread = &event["unread"];
                    if let Some(entry) = state.get_mut(&channel).filter(|_| unread.is_object()) {
                        entry["read"] = unread["lastReadMessageId"].clone();
                    }
                }
                _ => {}
            }
        })
        .await;
    }
}
