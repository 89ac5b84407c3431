//! Idle subscribers: what each of ten thousand costs the server in memory.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    crowd::Crowd,
    failure::{Failure, Result},
    http::Http,
    marker::Marker,
    process::{open_files_limit, resident_bytes},
    raw::broadcaster::PUBLISH,
    report::{Account, Figures, Goal, Row, Section},
    run::Bench,
    sends::send,
    server::Running,
    socket::Socket,
    world::MEMBERS,
};

/// Connections from one address of this machine, which has some 28,000 ports for outgoing ones.
const PER_ADDRESS: usize = 4_000;
/// Channels that the subscribers share.
const CHANNELS: usize = 10;
/// Sockets that come and go before the memory without any is read.
const WARM_UP: usize = 100;
const FIRST: u64 = 930_000_000_000;
/// Files that are open beside the sockets.
const OTHER_FILES: u64 = 500;
const MAX_ROUNDS: usize = 3;

/// Runs it.
pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<Section> {
    let count = bench.scale.idle;
    if open_files_limit()? < count as u64 + OTHER_FILES {
        let message = format!("{count} sockets need `ulimit -n {}`", count as u64 + OTHER_FILES);
        return Err(Failure::new(message));
    }
    let mut channels = Vec::new();
    for channel in 0..CHANNELS {
        let name = format!("idle-{channel}");
        channels.push(bench.world.channel(bench.server.address, &name, 0..MEMBERS).await?);
    }
    let (mut subject, mut raw) = (Vec::new(), Vec::new());
    let mut account = Account::default();
    for round in 0..bench.scale.rounds.min(MAX_ROUNDS) {
        // A fresh process each time: what one has once had it keeps.
        bench.restart().await?;
        subject.push(of_server(bench, &channels, round as u64, &mut account).await?);
        raw.push(of_broadcaster(bench, &mut account).await?);
    }
    let subject = Row { label: "QuikApp", rounds: subject };
    let kilobytes = subject.median("kB each").unwrap_or(f64::INFINITY);
    let goals =
        vec![Goal::at_most(20.0, kilobytes, "at most 20 kB of the server's memory for an idle subscriber")];
    Ok(Section {
        name: "Idle subscribers",
        mode: bench.mode,
        what: format!(
            "{count} WebSockets, each following the `channelEvents` of one of {CHANNELS} channels. The server's resident memory \
             with them less that without, for each; again after each has got a message. 1 kB is 1,000 bytes. Raw: the same \
             sockets at the bare broadcaster."
        ),
        rows: vec![subject, Row { label: "raw", rounds: raw }],
        goals,
        account,
    })
}

/// Where a socket comes from.
fn source(index: usize) -> SocketAddr {
    let last = u8::try_from(index / PER_ADDRESS + 2).unwrap_or(u8::MAX);
    (Ipv4Addr::new(127, 0, 0, last), 0).into()
}

async fn settled(pid: u32, time: Duration) -> Result<f64> {
    sleep(time).await;
    Ok(resident_bytes(pid)? as f64)
}

fn figures(count: usize, without: f64, idle: f64, after: f64) -> Figures {
    let each = |with: f64| (with - without) / count as f64 / 1_000.0;
    vec![
        ("MB without".to_owned(), without / 1e6),
        ("MB with".to_owned(), idle / 1e6),
        ("kB each".to_owned(), each(idle)),
        ("kB each after a message".to_owned(), each(after)),
    ]
}

async fn of_server(
    bench: &Bench<'_>,
    channels: &[String],
    round: u64,
    account: &mut Account,
) -> Result<Figures> {
    let (count, server, settle) = (bench.scale.idle, &bench.server, bench.scale.settle);
    let mut cursors = Vec::new();
    for channel in channels {
        cursors.push(bench.world.cursor(server.address, channel).await?);
    }
    let open = async |index: usize| {
        let token = &bench.world.user(index).token;
        let mut socket = Socket::sign_in(server.address, token, Some(source(index))).await?;
        let place = index % channels.len();
        socket.follow_live(&channels[place], &cursors[place]).await?;
        Ok(socket)
    };
    drop(Crowd::open(WARM_UP.min(count), open).await?);
    let without = settled(server.pid, settle).await?;
    let crowd = Crowd::open(count, open).await?;
    let idle = settled(server.pid, settle).await?;

    // Everybody gets one message: the same number in each channel.
    crowd.expect(FIRST + round);
    let mut http = Http::connect(server.address, Some(&bench.world.user(0).token)).await?;
    for channel in channels {
        send(&mut http, channel, Marker::now(FIRST + round)).await?;
    }
    crowd.wait(1).await;
    *account += crowd.account(1);
    let after = settled(server.pid, settle).await?;
    Ok(figures(count, without, idle, after))
}

async fn of_broadcaster(bench: &Bench<'_>, account: &mut Account) -> Result<Figures> {
    let (count, settle) = (bench.scale.idle, bench.scale.settle);
    let bare = Running::broadcaster(bench.stores.folder.path()).await?;
    let open = async |index: usize| Socket::open(bare.address, "/", Some(source(index))).await;
    drop(Crowd::open(WARM_UP.min(count), open).await?);
    let without = settled(bare.pid, settle).await?;
    let crowd = Crowd::open(count, open).await?;
    let idle = settled(bare.pid, settle).await?;

    crowd.expect(FIRST);
    let text = Marker::now(FIRST).text();
    Socket::open(bare.address, PUBLISH, None).await?.send(format!("{{\"text\":\"{text}\"}}")).await?;
    crowd.wait(1).await;
    *account += crowd.account(1);
    let after = settled(bare.pid, settle).await?;
    Ok(figures(count, without, idle, after))
}
