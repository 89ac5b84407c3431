//! What is unread, held against a model while several people write and several devices read.

use std::collections::BTreeMap;

use futures_util::future::{join, join_all};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::{
    delete, read,
    streams::{follow, is_read_state},
    summary, unread,
};
use crate::{
    consistency::random,
    support::{Mode, SOON, User, World, both_modes, unique},
};

both_modes!(unread_agrees_with_a_model);

/// A channel as the model has it: its timeline, and how much of it is read.
#[derive(Default)]
struct Model {
    timeline: Vec<Value>,
    read: usize,
}

impl Model {
    /// The number of unread messages, the oldest of them, and the last one that is read.
    fn state(&self, reader: &User) -> (Value, Value, Value) {
        let (read, rest) = self.timeline.split_at(self.read);
        let counts = |message: &&Value| {
            let by_others = message["author"]["id"] != json!(reader.id);
            by_others && message["isDeleted"] == false && message["kind"] != "SYSTEM"
        };
        let unread: Vec<_> = rest.iter().filter(counts).collect();
        let id = |message: Option<&Value>| message.map_or(Value::Null, |message| message["id"].clone());
        (json!(unread.len()), id(unread.first().copied()), id(read.last()))
    }
}

/// Writes at random to channels, of which it knows the timelines as they were.
async fn write(author: &User, channels: &[(&String, Vec<Value>)], mut random: StdRng) {
    let mut own: Vec<Value> = Vec::new();
    for _ in 0..random.random_range(3..10) {
        let (channel, known) = channels.choose(&mut random).unwrap();
        let root = known.iter().filter(|message| message["kind"] != "SYSTEM").collect::<Vec<_>>();
        let root = root.choose(&mut random).map(|root| root["id"].clone());
        let mut input = json!({ "channelId": channel, "clientMessageId": unique("own"), "text": "words" });
        match random.random_range(0..100) {
            0..50 => {}
            50..75 if root.is_some() => {
                input["threadRootId"] = json!(root);
                input["broadcastToChannel"] = json!(random.random_bool(0.4));
            }
            75..90 if !own.is_empty() => {
                delete(author, own.choose(&mut random).unwrap()).await;
                continue;
            }
            _ => {
                let mine = known.iter().filter(|message| message["author"]["id"] == json!(author.id));
                let mine: Vec<_> = mine.filter(|message| message["kind"] != "SYSTEM").collect();
                let Some(message) = mine.choose(&mut random) else { continue };
                delete(author, message).await;
                continue;
            }
        }
        own.push(author.send_input(input).await);
    }
}

/// Reads on at random in timelines as they were; gives how far, by channel.
async fn read_on(
    device: &User,
    channels: &[(&String, Vec<Value>)],
    mut random: StdRng,
) -> BTreeMap<String, usize> {
    let mut furthest = BTreeMap::new();
    for _ in 0..random.random_range(0..6) {
        let (channel, known) = channels.choose(&mut random).unwrap();
        if known.is_empty() {
            continue;
        }
        let at = random.random_range(0..known.len());
        read(device, channel, Some(&known[at])).await;
        let furthest = furthest.entry((*channel).clone()).or_default();
        *furthest = (at + 1).max(*furthest);
    }
    furthest
}

async fn unread_agrees_with_a_model(mode: Mode) {
    let mut random = random("unread_agrees_with_a_model");
    let world = World::new(mode).await;
    let (reader, other) = (world.member().await, world.member().await);
    let tablet = User::sign_in(&world.server, &reader.email, &reader.password).await;
    let mut models = BTreeMap::new();
    for kind in ["PUBLIC", "PRIVATE", "PUBLIC"] {
        models.insert(world.channel_of(kind, &[&reader, &other]).await, Model::default());
    }
    let socket = tablet.socket().await;
    let mut stream = follow(&socket, &tablet).await;
    let mut told: BTreeMap<String, Value> = BTreeMap::new();
    for _ in 0..12 {
        // All at once: three people write, and two devices read on.
        let known: Vec<_> = models.iter().map(|(channel, model)| (channel, model.timeline.clone())).collect();
        let writers = [&world.owner, &other, &reader];
        let writing = writers.map(|author| write(author, &known, StdRng::from_rng(&mut random)));
        let devices = [&reader, &tablet];
        let reading = devices.map(|device| read_on(device, &known, StdRng::from_rng(&mut random)));
        let (_, furthest) = join(join_all(writing), join_all(reading)).await;
        for (channel, furthest) in furthest.into_iter().flatten() {
            let model = models.get_mut(&channel).unwrap();
            model.read = model.read.max(furthest);
        }
        for (channel, model) in &mut models {
            let document =
                "query($id: ID!, $after: String) { channel(id: $id) { messages(first: 100, after: $after) {
                nodes { id kind isDeleted author { id } } pageInfo { hasNextPage endCursor }
            } } }";
            model.timeline.clear();
            let mut after = Value::Null;
            while !after.is_boolean() {
                let data = world.owner.query(document, json!({ "id": channel, "after": after })).await.ok();
                let page = &data["channel"]["messages"];
                model.timeline.extend(page["nodes"].as_array().unwrap().iter().cloned());
                let has_more = page["pageInfo"]["hasNextPage"] == true;
                after = if has_more { page["pageInfo"]["endCursor"].clone() } else { json!(false) };
            }
            // Then, one after the other, back or to the end.
            let length = model.timeline.len();
            match random.random_range(0..4) {
                0 if length > 0 => {
                    model.read = random.random_range(0..length);
                    unread(&reader, channel, &model.timeline[model.read]).await;
                }
                1 if length > 0 => {
                    model.read = length;
                    read(&tablet, channel, None).await;
                }
                _ => {}
            }
        }
        let (total, states) = summary(&reader).await;
        let mut sum = 0;
        for (channel, model) in &models {
            let state = &states[channel];
            let is = ["unread", "firstUnreadMessageId", "lastReadMessageId"].map(|name| state[name].clone());
            let expected = model.state(&reader);
            sum += expected.0.as_i64().unwrap();
            assert_eq!(
                is,
                <[Value; 3]>::from(expected),
                "{channel} after {} of {}",
                model.read,
                model.timeline.len()
            );
        }
        assert_eq!(total, sum);
        // Every device's stream has told as much.
        let folding = async {
            let is_told = |told: &BTreeMap<String, Value>| {
                models.iter().all(|(channel, model)| {
                    told.get(channel).unwrap_or(&Value::Null) == &model.state(&reader).2
                })
            };
            while !is_told(&told) {
                let item = stream.value().await;
                if is_read_state(&item) {
                    let channel = item["event"]["channelId"].as_str().unwrap().to_owned();
                    told.insert(channel, item["event"]["unread"]["lastReadMessageId"].clone());
                }
            }
        };
        assert!(tokio::time::timeout(SOON, folding).await.is_ok(), "the stream never told what a query says");
    }
}
