//! Runs every test once for each kind of store, and says at the end how many ran on which.

use std::{
    cell::RefCell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    process::ExitCode,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use super::{server, stores};

/// No test may take longer unless it says so; a hang is a failure with a name.
const TIME_LIMIT: Duration = Duration::from_mins(5);

/// On which kind of store a test runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `SQLite` and memory.
    Embedded,
    /// `MySQL`, `MongoDB` and Redis.
    Servers,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Servers => "servers",
        }
    }
}

/// A test on its way.
pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;
/// A test.
pub(crate) type Body = fn(Mode) -> Running;

/// The runtime that all tests share.
pub(crate) static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap());

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Tally {
    passed: AtomicUsize,
    failed: AtomicUsize,
    skipped: AtomicUsize,
}

/// All tests, as they were registered.
#[derive(Default)]
pub(crate) struct Suite {
    trials: Vec<Trial>,
    tallies: Arc<[Tally; 2]>,
}

impl Suite {
    /// Adds `body` for `mode`.
    pub(crate) fn add(&mut self, mode: Mode, module: &str, name: &str, body: Body) {
        self.add_within(TIME_LIMIT, mode, module, name, body);
    }

    /// Adds `body` for `mode`, which may take `limit`.
    pub(crate) fn add_within(&mut self, limit: Duration, mode: Mode, module: &str, name: &str, body: Body) {
        let module = module.rsplit("::").next().unwrap_or(module);
        let tallies = Arc::clone(&self.tallies);
        self.trials.push(Trial::test(format!("{}::{module}::{name}", mode.name()), move || {
            let tally = &tallies[mode as usize];
            let outcome = run(mode, limit, body);
            match &outcome {
                Ok(Outcome::Passed) => &tally.passed,
                Ok(Outcome::Skipped) => &tally.skipped,
                Err(_) => &tally.failed,
            }
            .fetch_add(1, Ordering::Relaxed);
            outcome.map(|_| ()).map_err(Failed::from)
        }));
    }

    /// Runs what the command line asks for, then takes everything down.
    pub(crate) fn run(self) -> ExitCode {
        std::panic::set_hook(Box::new(|info| {
            LAST_PANIC.set(Some(info.to_string()));
        }));
        let arguments = Arguments::from_args();
        let is_listing = arguments.list;
        let conclusion = libtest_mimic::run(&arguments, self.trials);
        if !is_listing {
            for mode in [Mode::Embedded, Mode::Servers] {
                let tally = &self.tallies[mode as usize];
                println!(
                    "{}: {} passed, {} failed, {} skipped",
                    mode.name(),
                    tally.passed.load(Ordering::Relaxed),
                    tally.failed.load(Ordering::Relaxed),
                    tally.skipped.load(Ordering::Relaxed),
                );
            }
        }
        RUNTIME.block_on(async {
            server::stop_shared();
            stores::remove_all().await;
        });
        conclusion.exit_code()
    }
}

enum Outcome {
    Passed,
    Skipped,
}

/// What a test panics with that cannot run on this machine; it has said why.
pub(crate) struct Skip;

fn run(mode: Mode, limit: Duration, body: Body) -> Result<Outcome, String> {
    let ran = catch_unwind(AssertUnwindSafe(|| {
        RUNTIME.block_on(async {
            assert!(tokio::time::timeout(limit, body(mode)).await.is_ok(), "not done in {limit:?}");
        });
    }));
    match ran {
        Ok(()) => Ok(Outcome::Passed),
        Err(cause) if cause.is::<Skip>() => Ok(Outcome::Skipped),
        Err(_) => {
            let message = LAST_PANIC.take().unwrap_or_else(|| "panicked elsewhere".into());
            Err(format!("{message}\n{}", server::logs_of(mode)))
        }
    }
}

/// Registers each test of a module for both kinds of store.
macro_rules! both_modes {
    ($($name:ident),+ $(,)?) => {
        pub(crate) fn in_both_modes(suite: &mut $crate::support::Suite) {
            $(for mode in [$crate::support::Mode::Embedded, $crate::support::Mode::Servers] {
                suite.add(mode, module_path!(), stringify!($name), |mode| Box::pin($name(mode)));
            })+
        }
    };
}

/// Registers tests of what exists on servers only: several nodes, stores that stop.
macro_rules! servers_only {
    ($($name:ident),+ $(,)?) => {
        pub(crate) fn on_servers(suite: &mut $crate::support::Suite) {
            $(suite.add($crate::support::Mode::Servers, module_path!(), stringify!($name), |mode| Box::pin($name(mode)));)+
        }
    };
}

pub(crate) use {both_modes, servers_only};
