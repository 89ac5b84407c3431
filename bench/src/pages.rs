//! Pages of 50 messages with their authors and reactions.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    failure::{Failure, Result},
    http::Http,
    load::{self, Load, Steps},
    marker::Marker,
    process::Meter,
    raw::reads::Reads,
    report::{Account, Row, Section},
    run::Bench,
    sends::send,
    world::text,
};

const SIZE: usize = 50;
const MESSAGES: u64 = 200;
const AUTHORS: usize = 20;
/// Readers at a time.
const READERS: usize = 16;
const PAGE: &str = "query($id: ID!) { channel(id: $id) { messages(last: 50) { \
     nodes { id seq ts text createdAt isEdited author { id displayName avatarUrl } \
     reactionGroups { emoji count viewerHasReacted } } pageInfo { hasPreviousPage startCursor } syncCursor } } }";
/// The first message's number.
const FIRST: u64 = 700_000_000_000;

/// Runs it.
pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<Section> {
    let address = bench.server.address;
    let channel = bench.world.channel(address, "pages", 0..AUTHORS).await?;
    for number in 0..MESSAGES {
        let token = &bench.world.user(number as usize % AUTHORS).token;
        send(&mut Http::connect(address, Some(token)).await?, &channel, Marker::now(FIRST + number)).await?;
    }
    react(bench, &channel).await?;

    let body: Arc<str> = json!({ "query": PAGE, "variables": { "id": channel } }).to_string().into();
    let raw_reads = Reads::open(bench, FIRST).await?;
    round(bench, &body, bench.scale.warm_up).await?;
    raw_reads.pages(bench, READERS, SIZE, bench.scale.warm_up).await?;

    let (mut subject, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..bench.scale.rounds {
        subject.push(round(bench, &body, bench.scale.time).await?.figures());
        raw.push(raw_reads.pages(bench, READERS, SIZE, bench.scale.time).await?.figures());
    }
    Ok(Section {
        name: "Pages",
        mode: bench.mode,
        what: format!(
            "The newest {SIZE} messages of a channel with {AUTHORS} authors and reactions, {READERS} readers over HTTP. Every \
             page is checked to hold the same {SIZE} messages in order. Raw: the driver's find or rusqlite's select of the \
             same documents, decoded and written as JSON with serde; without authors, who are in the other store."
        ),
        rows: vec![Row { label: "QuikApp", rounds: subject }, Row { label: "raw", rounds: raw }],
        goals: Vec::new(),
        account: Account::default(),
    })
}

/// Three people react to every third message.
async fn react(bench: &Bench<'_>, channel: &str) -> Result<()> {
    let mut http = Http::connect(bench.server.address, Some(&bench.world.user(0).token)).await?;
    let ids = "query($id: ID!) { channel(id: $id) { messages(last: 60) { nodes { id } } } }";
    let data = http.query(ids, json!({ "id": channel })).await?;
    let nodes = data["channel"]["messages"]["nodes"].as_array().cloned().unwrap_or_default();
    let add = "mutation($id: ID!, $emoji: String!) { addReaction(messageId: $id, emoji: $emoji) { message { id } } }";
    for (user, emoji) in [(1, "👍"), (2, "👍"), (3, "🎉")] {
        let mut http = Http::connect(bench.server.address, Some(&bench.world.user(user).token)).await?;
        for node in nodes.iter().step_by(3) {
            http.query(add, json!({ "id": text(&node["id"])?, "emoji": emoji })).await?;
        }
    }
    Ok(())
}

async fn round(bench: &Bench<'_>, body: &Arc<str>, time: Duration) -> Result<Load> {
    let mut loops = JoinSet::new();
    let mut connections = Vec::new();
    for reader in 0..READERS {
        connections.push(
            Http::connect(bench.server.address, Some(&bench.world.user(reader % AUTHORS).token)).await?,
        );
    }
    let meter = Meter::start(&bench.processes);
    for mut http in connections {
        let body = Arc::clone(body);
        loops.spawn(async move {
            let mut steps = Steps::lasting(time);
            while let Some(began) = steps.begin() {
                let page = http.post(&body).await?;
                let newest = FIRST + MESSAGES - SIZE as u64..FIRST + MESSAGES;
                if !Marker::all(page).into_iter().map(|marker| marker.number).eq(newest) {
                    return Err(Failure::new(format!("not the page: {}", String::from_utf8_lossy(page))));
                }
                steps.done(began);
            }
            Ok(steps.latencies())
        });
    }
    let latencies = load::gather(loops).await?.concat();
    Ok(Load { latencies, usage: meter.read() })
}
