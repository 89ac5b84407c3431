//! Fan-out: messages of one channel to a thousand subscribers.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::{
    crowd::Crowd,
    failure::{Failure, Result},
    http::Http,
    load,
    marker::{Marker, Template},
    process::{Meter, Process, Usage},
    raw::broadcaster::PUBLISH,
    report::{Account, Figures, Goal, Row, Section},
    run::Bench,
    sends::send,
    server::Running,
    socket::Socket,
    stats,
    world::MEMBERS,
};

/// Messages a second.
const RATE: u32 = 20;
/// Connections that send in turn, so that a slow answer does not hold up the next message.
const SENDERS: usize = 4;
const FIRST: u64 = 800_000_000_000;

/// Runs it.
pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<Section> {
    let subscribers = bench.scale.subscribers;
    let address = bench.server.address;
    let channel = bench.world.channel(address, "fan-out", 0..MEMBERS).await?;
    let cursor = bench.world.cursor(address, &channel).await?;

    let mut http = Http::connect(address, Some(&bench.world.user(0).token)).await?;
    send(&mut http, &channel, Marker::now(FIRST)).await?;
    let template = sample(bench, &channel, &cursor).await?;
    let cursor = bench.world.cursor(address, &channel).await?;

    let crowd = Crowd::open(subscribers, async |index| {
        let mut socket = Socket::sign_in(address, &bench.world.user(index).token, None).await?;
        socket.follow_live(&channel, &cursor).await?;
        Ok(socket)
    })
    .await?;
    let bare = Running::broadcaster(bench.stores.folder.path()).await?;
    let bare_crowd = Crowd::open(subscribers, async |_| Socket::open(bare.address, "/", None).await).await?;
    let bare_processes = [Process::new("server", bare.pid), Process::client()];
    let mut publisher = Socket::open(bare.address, PUBLISH, None).await?;

    let count = u64::from(RATE) * bench.scale.time.as_secs().max(1);
    let mut next = FIRST + 1;
    let (mut subject, mut raw) = (Vec::new(), Vec::new());
    let mut account = Account::default();
    // The first round warms up.
    for round in 0..=bench.scale.rounds {
        crowd.expect(next);
        let meter = Meter::start(&bench.processes);
        publish(bench, &channel, next, count).await?;
        crowd.wait(count).await;
        let usage = meter.read();
        account += crowd.account(count);
        let figures = figures(&crowd, &usage);

        bare_crowd.expect(next);
        let meter = Meter::start(&bare_processes);
        pace(next, count, async |marker| publisher.send(template.with(marker)).await).await?;
        bare_crowd.wait(count).await;
        let usage = meter.read();
        account += bare_crowd.account(count);
        if round > 0 {
            subject.push(figures);
            raw.push(self::figures(&bare_crowd, &usage));
        }
        next += count;
    }
    let mut section = Section {
        name: "Fan-out",
        mode: bench.mode,
        what: format!(
            "{RATE} messages a second to one channel, {subscribers} WebSockets following its `channelEvents` with the same \
             selection (cursor, message id, seq, text, author's name). Figures are for one delivery. Raw: a bare WebSocket \
             server in a process of its own sends the same bytes to as many sockets."
        ),
        rows: vec![Row { label: "QuikApp", rounds: subject }, Row { label: "raw", rounds: raw }],
        goals: Vec::new(),
        account,
    };
    let ratio = section.ratio("server µs").unwrap_or(f64::INFINITY);
    let goal = "the server's CPU time for a delivery at most 3 times that of the bare broadcaster";
    section.goals.push(Goal::at_most(3.0, ratio, goal));
    Ok(section)
}

fn figures(crowd: &Crowd, usage: &Usage) -> Figures {
    let latencies = crowd.latencies(0, u64::MAX);
    let mut figures = load::rates(latencies.len() as f64, usage);
    let (p50, p99) = stats::p50_p99(latencies);
    figures.splice(1..1, [("p50 ms".to_owned(), p50), ("p99 ms".to_owned(), p99)]);
    figures
}

/// What a subscriber gets.
pub(crate) async fn sample(bench: &Bench<'_>, channel: &str, cursor: &str) -> Result<Template> {
    let mut socket = Socket::sign_in(bench.server.address, &bench.world.user(0).token, None).await?;
    socket.follow(channel, cursor).await?;
    let frame = socket.next().await?;
    // What is replayed differs from what is live in this one word.
    let frame = frame.replace("\"replayed\":true", "\"replayed\":false");
    if frame.contains("\"type\":\"next\"") {
        Template::new(&frame)
    } else {
        Err(Failure::new(format!("a subscription failed: {frame}")))
    }
}

/// Sends `count` messages that are numbered from `first` on, at the rate.
async fn publish(bench: &Bench<'_>, channel: &str, first: u64, count: u64) -> Result<()> {
    let mut connections = Vec::new();
    for sender in 0..SENDERS {
        connections.push(Http::connect(bench.server.address, Some(&bench.world.user(sender).token)).await?);
    }
    let start = Instant::now();
    let senders = connections.into_iter().enumerate().map(|(sender, mut http)| async move {
        for number in (sender as u64..count).step_by(SENDERS) {
            sleep_until(due(start, number)).await;
            send(&mut http, channel, Marker::now(first + number)).await?;
        }
        Ok(())
    });
    futures_util::future::try_join_all(senders).await.map(drop)
}

/// Calls `publish` with `count` markers that are numbered from `first` on, at the rate.
async fn pace(first: u64, count: u64, mut publish: impl AsyncFnMut(Marker) -> Result<()>) -> Result<()> {
    let start = Instant::now();
    for number in 0..count {
        sleep_until(due(start, number)).await;
        publish(Marker::now(first + number)).await?;
    }
    Ok(())
}

fn due(start: Instant, number: u64) -> Instant {
    start + Duration::from_secs_f64(number as f64 / f64::from(RATE))
}
