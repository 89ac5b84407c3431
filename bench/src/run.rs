//! One run: modes, benchmarks, sizes.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use tokio::runtime::Handle;

use crate::{
    failure::Result,
    fanout, idle, pages,
    process::{Process, processors},
    reconnect, replay,
    report::{Report, Section},
    sends,
    server::Running,
    stores::{Mode, Stores},
    world::World,
};

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server's program.
    #[arg(long)]
    server: PathBuf,
    /// Small and short: shows that everything works; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Only these benchmarks.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Name>,
    /// Only this mode.
    #[arg(long)]
    mode: Option<Mode>,
    /// What is measured, such as a commit; stands in the results.
    #[arg(long)]
    version_measured: Option<String>,
}

/// A benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Messages sent by many to many channels.
    Sends,
    /// Pages of history.
    Pages,
    /// Messages of one channel to many subscribers.
    FanOut,
    /// What one subscriber missed.
    Replay,
    /// Many subscribers coming back at once.
    Reconnect,
    /// Memory of subscribers that do nothing. The last one, for it starts the server anew.
    Idle,
}

/// How much of everything.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    /// Measured rounds of each kind; those that warm up come before.
    pub(crate) rounds: usize,
    /// Of a round.
    pub(crate) time: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) senders: usize,
    pub(crate) channels: usize,
    /// Of the fan-out, and those who reconnect.
    pub(crate) subscribers: usize,
    /// Changes of a replay.
    pub(crate) changes: u64,
    pub(crate) idle: usize,
    /// Before memory is read.
    pub(crate) settle: Duration,
}

const FULL: Scale = Scale {
    rounds: 5,
    time: Duration::from_secs(5),
    warm_up: Duration::from_secs(3),
    senders: 256,
    channels: 100,
    subscribers: 1_000,
    changes: 10_000,
    idle: 10_000,
    settle: Duration::from_secs(5),
};

const QUICK: Scale = Scale {
    rounds: 2,
    time: Duration::from_secs(1),
    warm_up: Duration::from_millis(500),
    senders: 104,
    channels: 40,
    subscribers: 100,
    changes: 500,
    idle: 300,
    settle: Duration::from_millis(500),
};

/// Accounts; some benchmarks use each of them several times.
const USERS: usize = 256;

/// A mode's server with all that is there to measure it.
pub(crate) struct Bench<'r> {
    pub(crate) mode: Mode,
    pub(crate) scale: Scale,
    pub(crate) stores: Stores,
    pub(crate) server: Running,
    pub(crate) world: World,
    /// The server, this process, and the stores' servers.
    pub(crate) processes: Vec<Process>,
    /// Where raw calls of drivers run.
    pub(crate) drivers: &'r Handle,
    options: &'r Options,
}

impl<'r> Bench<'r> {
    async fn new(mode: Mode, options: &'r Options, drivers: &'r Handle) -> Result<Self> {
        let scale = if options.quick { QUICK } else { FULL };
        let stores = Stores::new(mode).await?;
        let server = Running::server(&options.server, &stores).await?;
        let users = USERS.min(scale.senders);
        let world = World::new(server.address, users).await?;
        let mut bench = Self { mode, scale, stores, server, world, processes: Vec::new(), drivers, options };
        bench.find_processes();
        Ok(bench)
    }

    fn find_processes(&mut self) {
        self.processes = vec![Process::new("server", self.server.pid), Process::client()];
        self.processes.extend(self.stores.processes());
    }

    /// Another server process on the same stores.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.server.kill();
        self.server = Running::server(&self.options.server, &self.stores).await?;
        self.find_processes();
        self.world.refresh(self.server.address).await
    }

    /// On how many processors all that is measured may run, the process with the most told.
    fn processors(&self) -> String {
        let pids = self.processes.iter().flat_map(|process| &process.pids);
        let most = pids.filter_map(|pid| processors(*pid)).max();
        most.map_or("unknown".to_owned(), |most| most.to_string())
    }

    async fn run_all(&mut self) -> Result<Vec<Section>> {
        let only = &self.options.only;
        let mut sections = Vec::new();
        for name in Name::value_variants().iter().filter(|name| only.is_empty() || only.contains(name)) {
            eprintln!("{}: {name:?}", self.mode);
            sections.push(self.run(*name).await?);
        }
        Ok(sections)
    }

    async fn run(&mut self, name: Name) -> Result<Section> {
        // Tokens end in the middle of a run.
        self.world.refresh(self.server.address).await?;
        match name {
            Name::Sends => sends::run(self).await,
            Name::Pages => pages::run(self).await,
            Name::FanOut => fanout::run(self).await,
            Name::Replay => replay::run(self).await,
            Name::Reconnect => reconnect::run(self).await,
            Name::Idle => idle::run(self).await,
        }
    }
}

/// Runs what the options ask for.
pub(crate) async fn run(options: &Options, drivers: &Handle) -> Result<Report> {
    let mut report = Report { machine: machine(options), sections: Vec::new() };
    for mode in [Mode::Servers, Mode::Embedded] {
        if options.mode.is_some_and(|only| only != mode) {
            continue;
        }
        eprintln!("{mode}: preparing");
        let mut bench = Bench::new(mode, options, drivers).await?;
        report.machine.push(match mode {
            Mode::Servers => ("processors used with servers", bench.processors()),
            Mode::Embedded => ("processors used embedded", bench.processors()),
        });
        let sections = bench.run_all().await;
        let Bench { stores, server, .. } = bench;
        drop(server);
        let removed = stores.remove().await;
        report.sections.extend(sections?);
        removed?;
    }
    Ok(report)
}

/// What the figures depend on.
fn machine(options: &Options) -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned()));
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let mut machine = vec![
        ("processor", processor.unwrap_or_else(|| "unknown".to_owned())),
        ("memory", memory.map_or("unknown".to_owned(), |kilobytes| format!("{} GB", kilobytes / 1_000_000))),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("build", if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned()),
    ];
    if options.quick {
        machine.push(("size", "quick".to_owned()));
    }
    machine.extend(options.version_measured.clone().map(|version| ("commit", version)));
    machine
}
