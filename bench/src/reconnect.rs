//! Mass reconnect: a thousand clients come back at once, each with a cursor, while others follow what is live.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    crowd::{Crowd, Receipts},
    failure::{Failure, Result},
    http::Http,
    load,
    marker::{Marker, now},
    process::{Meter, Usage},
    replay::{catch_up, fill},
    report::{Account, Figures, Goal, Row, Section},
    run::Bench,
    sends::send,
    socket::Socket,
    stats,
    world::MEMBERS,
};

/// Those who are not disturbed.
const OTHERS: usize = 25;
/// What each that comes back has missed.
const MISSED: u64 = 100;
/// Messages a second that are live: enough that the slowest hundredth of a round is more than one of them.
const RATE: u64 = 100;
/// A reconnect may be over faster than there are messages to measure by.
const AT_LEAST: Duration = Duration::from_secs(1);
const LIVE: u64 = 910_000_000_000;
const BEHIND: u64 = 920_000_000_000;

/// Runs it.
pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<Section> {
    let address = bench.server.address;
    let behind: Arc<str> = bench.world.channel(address, "reconnect-behind", 0..MEMBERS).await?.into();
    let cursor: Arc<str> = bench.world.cursor(address, &behind).await?.into();
    fill(bench, &behind, BEHIND, MISSED).await?;
    let live = bench.world.channel(address, "reconnect-live", 0..MEMBERS).await?;
    let live = Live {
        address,
        tokens: (0..OTHERS).map(|other| bench.world.user(other).token.clone()).collect(),
        cursor: bench.world.cursor(address, &live).await?,
        channel: live,
        sent: AtomicU64::new(0),
        is_ready: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
    };
    let live = Arc::new(live);

    // A thread of their own, so that what is measured of them is not the other clients' work.
    let others = Arc::clone(&live);
    let others = thread::Builder::new().name("others".to_owned()).spawn(move || others.run())?;
    let mut storms = Vec::new();
    let mut account = Account::default();
    while !live.is_ready.load(Relaxed) && !others.is_finished() {
        sleep(Duration::from_millis(10)).await;
    }
    // The first round warms up.
    for _ in 0..=bench.scale.rounds {
        if others.is_finished() {
            break;
        }
        let quiet = now();
        sleep(bench.scale.time).await;
        let began = now();
        let (storm, back) = storm(bench, &behind, &cursor).await?;
        account += storm.account;
        sleep(AT_LEAST.saturating_sub(storm.usage.elapsed)).await;
        storms.push((quiet, began, now(), storm));
        // Those who came back go away again, all at once; that is not measured.
        drop(back);
        sleep(AT_LEAST).await;
    }
    live.is_over.store(true, Relaxed);
    let crowd = tokio::task::spawn_blocking(move || others.join()).await?;
    let crowd = crowd.map_err(|_| Failure::new("the other subscribers' thread panicked"))??;
    account += crowd.account(live.sent.load(Relaxed));

    let rounds = storms.into_iter().skip(1);
    let (calm, storm): (Vec<_>, Vec<_>) =
        rounds.map(|(quiet, began, ended, storm)| rows(&crowd, quiet, began, ended, &storm)).unzip();
    let mut section = Section {
        name: "Mass reconnect",
        mode: bench.mode,
        what: format!(
            "{} clients connect at once, each {MISSED} changes behind its cursor, while {OTHERS} others follow a channel with \
             {RATE} messages a second. p50 and p99 are of the live deliveries to the others, from the sending of a message; \
             the last columns are the time from the first connection until one of those who come back, or all, had caught up.",
            bench.scale.subscribers
        ),
        rows: vec![Row { label: "reconnect", rounds: storm }, Row { label: "quiet", rounds: calm }],
        goals: Vec::new(),
        account,
    };
    let ratio = section.ratio("p99 ms").unwrap_or(f64::INFINITY);
    let goal = "p99 of live delivery at most 3 times its quiet value while 1,000 clients reconnect";
    section.goals.push(Goal::at_most(3.0, ratio, goal));
    Ok(section)
}

fn rows(crowd: &Crowd, quiet: u64, began: u64, ended: u64, storm: &Storm) -> (Figures, Figures) {
    let live = |from, to| -> Figures {
        let (p50, p99) = stats::p50_p99(crowd.latencies(from, to));
        vec![("p50 ms".to_owned(), p50), ("p99 ms".to_owned(), p99)]
    };
    let mut disturbed = live(began, ended);
    let (median, last) = stats::p50_p99(storm.times.clone());
    let all = storm.times.iter().max().map_or(0.0, |last| f64::from(*last) / 1_000.0);
    disturbed.extend([
        ("caught up p50 ms".to_owned(), median),
        ("caught up p99 ms".to_owned(), last),
        ("all caught up ms".to_owned(), all),
    ]);
    let count = storm.times.len() as f64;
    let cpu =
        storm.usage.cpu.iter().map(|(name, seconds)| (format!("{name} µs/client"), seconds * 1e6 / count));
    disturbed.extend(cpu);
    (live(quiet, began), disturbed)
}

/// One mass reconnect.
struct Storm {
    /// From the start until each had caught up, in microseconds.
    times: Vec<u32>,
    account: Account,
    usage: Usage,
}

/// Returns the sockets too: a client that comes back stays.
async fn storm(bench: &Bench<'_>, channel: &Arc<str>, cursor: &Arc<str>) -> Result<(Storm, Vec<Socket>)> {
    let meter = Meter::start(&bench.processes);
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..bench.scale.subscribers {
        let (address, token) = (bench.server.address, bench.world.user(client).token.clone());
        let (channel, cursor) = (Arc::clone(channel), Arc::clone(cursor));
        clients.spawn(async move {
            let mut socket = Socket::sign_in(address, &token, None).await?;
            let mut receipts = Receipts::from(BEHIND);
            socket.follow(&channel, &cursor).await?;
            catch_up(&mut socket, &mut receipts).await?;
            Ok((load::micros_since(start), receipts.account(MISSED), socket))
        });
    }
    let clients = load::gather(clients).await?;
    let usage = meter.read();
    let (mut times, mut account, mut sockets) = (Vec::new(), Account::default(), Vec::new());
    for (time, of_one, socket) in clients {
        times.push(time);
        account += of_one;
        sockets.push(socket);
    }
    Ok((Storm { times, account, usage }, sockets))
}

/// The others: subscribers of a channel in which somebody talks all the time.
struct Live {
    address: SocketAddr,
    tokens: Vec<String>,
    channel: String,
    cursor: String,
    sent: AtomicU64,
    is_ready: AtomicBool,
    is_over: AtomicBool,
}

impl Live {
    fn run(&self) -> Result<Crowd> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let crowd = Crowd::open(self.tokens.len(), async |index| {
                let mut socket = Socket::sign_in(self.address, &self.tokens[index], None).await?;
                socket.follow_live(&self.channel, &self.cursor).await?;
                Ok(socket)
            })
            .await?;
            crowd.expect(LIVE);
            self.is_ready.store(true, Relaxed);
            let mut http = Http::connect(self.address, Some(&self.tokens[0])).await?;
            let mut due = interval(Duration::from_millis(1_000 / RATE));
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !self.is_over.load(Relaxed) {
                due.tick().await;
                let number = self.sent.fetch_add(1, Relaxed);
                send(&mut http, &self.channel, Marker::now(LIVE + number)).await?;
            }
            crowd.wait(self.sent.load(Relaxed)).await;
            Ok(crowd)
        })
    }
}
