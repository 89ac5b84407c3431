//! Replay: what a subscriber missed, from its cursor on.

use std::time::Instant;

use tokio::task::JoinSet;

use crate::{
    crowd::Receipts,
    failure::{Failure, Result},
    http::Http,
    load,
    marker::Marker,
    process::Meter,
    raw::reads::Reads,
    report::{Account, Figures, Goal, Row, Section},
    run::Bench,
    sends::send,
    socket::{Socket, is_caught_up},
    world::MEMBERS,
};

const FIRST: u64 = 900_000_000_000;

/// Runs it.
pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<Section> {
    let changes = bench.scale.changes;
    let address = bench.server.address;
    let channel = bench.world.channel(address, "replay", 0..MEMBERS).await?;
    let cursor = bench.world.cursor(address, &channel).await?;
    fill(bench, &channel, FIRST, changes).await?;
    let reads = Reads::open(bench, FIRST).await?;

    let (mut subject, mut raw) = (Vec::new(), Vec::new());
    let mut account = Account::default();
    // The first round warms up.
    for round in 0..=bench.scale.rounds {
        let mut socket = Socket::sign_in(address, &bench.world.user(round).token, None).await?;
        let mut receipts = Receipts::from(FIRST);
        let meter = Meter::start(&bench.processes);
        let start = Instant::now();
        socket.follow(&channel, &cursor).await?;
        catch_up(&mut socket, &mut receipts).await?;
        let seconds = start.elapsed().as_secs_f64();
        let usage = meter.read();
        account += receipts.account(changes);

        let mut figures: Figures = vec![("seconds".to_owned(), seconds)];
        figures.extend(load::rates(changes as f64, &usage));
        let (elapsed, cpu) = reads.changes(bench, changes as usize).await?;
        if round > 0 {
            subject.push(figures);
            raw.push(vec![
                ("seconds".to_owned(), elapsed.as_secs_f64()),
                ("per second".to_owned(), changes as f64 / elapsed.as_secs_f64()),
                ("all µs".to_owned(), cpu * 1e6 / changes as f64),
            ]);
        }
    }
    let subject = Row { label: "QuikApp", rounds: subject };
    let seconds = subject.median("seconds").unwrap_or(f64::INFINITY);
    let goal = "10,000 missed changes replayed in under 2 seconds";
    Ok(Section {
        name: "Replay",
        mode: bench.mode,
        what: format!(
            "One subscriber reconnects with a cursor and is {changes} changes behind: the time from its subscription to \
             `StreamCaughtUp`. Figures in µs are for one change. Raw: one find or select of as many changes, decoded and \
             written as JSON."
        ),
        goals: vec![Goal::at_most(2.0, seconds * 10_000.0 / changes as f64, goal)],
        rows: vec![subject, Row { label: "raw", rounds: raw }],
        account,
    })
}

/// Sends `count` messages that are numbered from `first` on, as fast as a hundred members can.
pub(crate) async fn fill(bench: &Bench<'_>, channel: &str, first: u64, count: u64) -> Result<()> {
    let mut loops = JoinSet::new();
    for member in 0..MEMBERS {
        let token = bench.world.user(member).token.clone();
        let (address, channel) = (bench.server.address, channel.to_owned());
        loops.spawn(async move {
            let mut http = Http::connect(address, Some(&token)).await?;
            for number in (member as u64..count).step_by(MEMBERS) {
                send(&mut http, &channel, Marker::now(first + number)).await?;
            }
            Ok(())
        });
    }
    load::gather(loops).await.map(drop)
}

/// Reads what was missed, up to the present.
pub(crate) async fn catch_up(socket: &mut Socket, receipts: &mut Receipts) -> Result<()> {
    loop {
        let frame = socket.next().await?;
        if let Some((marker, _)) = Marker::find(frame.as_bytes()) {
            receipts.note(marker);
        } else if is_caught_up(&frame) {
            return Ok(());
        } else {
            return Err(Failure::new(format!("a replay ended with {frame}")));
        }
    }
}
