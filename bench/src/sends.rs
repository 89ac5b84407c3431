//! `sendMessage`: 256 senders on 100 channels, each over a kept-alive HTTP connection of its own.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use memchr::memmem;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    failure::{Failure, Result},
    http::Http,
    load::{self, Load, Steps},
    marker::{Marker, first_of},
    process::Meter,
    raw::inserts::Inserts,
    report::{Account, Goal, Row, Section},
    run::Bench,
    stores::Mode,
    world::text,
};

/// Who sends where; lives through all rounds.
struct Senders {
    channels: Vec<Arc<str>>,
    /// How many messages each has sent, all of them acknowledged.
    sent: Vec<u64>,
}

/// Runs it.
pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<Section> {
    let (senders, channels) = (bench.scale.senders, bench.scale.channels);
    let address = bench.server.address;
    let mut names = Vec::new();
    for channel in 0..channels {
        let members = (0..senders).filter(|sender| sender % channels == channel);
        names.push(bench.world.channel(address, &format!("sends-{channel}"), members).await?.into());
    }
    let mut state = Senders { channels: names, sent: vec![0; senders] };

    // Not counted: it opens every lane and pool.
    round(bench, &mut state, bench.scale.warm_up).await?;
    let inserts = Inserts::open(bench, senders, channels).await?;
    inserts.round(bench, bench.scale.warm_up).await?;

    let (mut subject, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..bench.scale.rounds {
        subject.push(round(bench, &mut state, bench.scale.time).await?.figures());
        raw.push(inserts.round(bench, bench.scale.time).await?.figures());
    }
    let mut account = check(bench, &state).await?;
    account += inserts.account(bench).await?;
    let subject = Row { label: "QuikApp", rounds: subject };
    let goals = match bench.mode {
        Mode::Servers => {
            let rate = subject.median("per second").unwrap_or(0.0);
            vec![Goal::at_least(8_000.0, rate, "at least 8,000 sends a second, everything on two processors")]
        }
        Mode::Embedded => Vec::new(),
    };
    Ok(Section {
        name: "Sends",
        mode: bench.mode,
        what: format!(
            "{senders} users on {channels} channels, each with one kept-alive HTTP connection, send as fast as they are \
             answered. Raw: the same documents through the driver, or rows with one text through rusqlite, all that waits in one group, as \
             large as {senders} waiting senders give; same indexes and same durability."
        ),
        rows: vec![subject, Row { label: "raw", rounds: raw }],
        goals,
        account,
    })
}

async fn round(bench: &Bench<'_>, state: &mut Senders, time: Duration) -> Result<Load> {
    let mut connections = Vec::new();
    for sender in 0..state.sent.len() {
        connections.push(Http::connect(bench.server.address, Some(&bench.world.user(sender).token)).await?);
    }
    let meter = Meter::start(&bench.processes);
    let mut loops = JoinSet::new();
    for (sender, http) in connections.into_iter().enumerate() {
        let channel = Arc::clone(&state.channels[sender % state.channels.len()]);
        let mut http = http;
        let mut sent = state.sent[sender];
        loops.spawn(async move {
            let mut steps = Steps::lasting(time);
            while let Some(began) = steps.begin() {
                send(&mut http, &channel, Marker::now(first_of(sender) + sent)).await?;
                sent += 1;
                steps.done(began);
            }
            Ok((steps.latencies(), sender, sent))
        });
    }
    let results = load::gather(loops).await?;
    let usage = meter.read();
    let mut latencies = Vec::new();
    for (of_one, sender, sent) in results {
        latencies.extend(of_one);
        state.sent[sender] = sent;
    }
    Ok(Load { latencies, usage })
}

/// Sends a message, which has to be acknowledged.
pub(crate) async fn send(http: &mut Http, channel: &str, marker: Marker) -> Result<()> {
    let body = format!(
        r#"{{"query":"mutation($input:SendMessageInput!){{sendMessage(input:$input){{message{{id seq}}}}}}","variables":{{"input":{{"channelId":"{channel}","clientMessageId":"{}","text":"{}"}}}}}}"#,
        marker.number,
        marker.text()
    );
    let answer = http.post(&body).await?;
    if memmem::find(answer, br#"{"data":{"sendMessage":{"message":{"id":""#).is_some() {
        Ok(())
    } else {
        Err(Failure::new(format!("a message was not sent: {}", String::from_utf8_lossy(answer))))
    }
}

/// Reads every channel and compares with what was acknowledged.
async fn check(bench: &Bench<'_>, state: &Senders) -> Result<Account> {
    let mut http = Http::connect(bench.server.address, Some(&bench.world.user(0).token)).await?;
    let mut account = Account::default();
    for (index, channel) in state.channels.iter().enumerate() {
        let mut ids = HashSet::new();
        let mut times: HashMap<u64, u64> = HashMap::new();
        for (id, number) in history(&mut http, channel).await? {
            *times.entry(number).or_default() += 1;
            account.repeated += u64::from(!ids.insert(id));
        }
        for sender in (index..state.sent.len()).step_by(state.channels.len()) {
            let first = first_of(sender);
            account.expected += state.sent[sender];
            let missing = (first..first + state.sent[sender]).filter(|number| !times.contains_key(number));
            account.lost += missing.count() as u64;
        }
        account.repeated += times.values().map(|times| times - 1).sum::<u64>();
    }
    Ok(account)
}

/// A channel's measured messages, oldest first: their ids and own numbers.
async fn history(http: &mut Http, channel: &str) -> Result<Vec<(String, u64)>> {
    let document = "query($id: ID!, $after: String) { channel(id: $id) { messages(first: 100, after: $after) { \
         nodes { id text } pageInfo { hasNextPage endCursor } } } }";
    let mut all = Vec::new();
    let mut after = serde_json::Value::Null;
    loop {
        let data = http.query(document, json!({ "id": channel, "after": after })).await?;
        let page = &data["channel"]["messages"];
        for node in page["nodes"].as_array().into_iter().flatten() {
            if let Some((marker, _)) = Marker::find(node.to_string().as_bytes()) {
                all.push((text(&node["id"])?, marker.number));
            }
        }
        if page["pageInfo"]["hasNextPage"] != true {
            return Ok(all);
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}
