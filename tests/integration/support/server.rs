//! A real server process on a free port.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, Weak},
};

use tokio::sync::OnceCell;

use super::{Client, Mode, SOON, Stores, eventually};

/// Lines of a server's log that a failed test shows.
const LOG_LINES: usize = 40;

/// A running server; it is killed when the last handle goes.
#[derive(Clone)]
pub(crate) struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    stores: Stores,
    address: String,
    log: PathBuf,
    child: Mutex<Child>,
    _folder: tempfile::TempDir,
}

impl Drop for Inner {
    fn drop(&mut self) {
        end(&mut self.child.lock().unwrap());
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

static SHARED: [OnceCell<Server>; 2] = [const { OnceCell::const_new() }; 2];
static RUNNING: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

/// Ends the servers that tests shared.
pub(super) fn stop_shared() {
    for server in SHARED.iter().filter_map(OnceCell::get) {
        end(&mut server.inner.child.lock().unwrap());
    }
}

/// The ends of the logs of the servers of `mode` that run now.
pub(super) fn logs_of(mode: Mode) -> String {
    let mut text = String::new();
    let running = RUNNING.lock().unwrap();
    for server in running.iter().filter_map(Weak::upgrade).filter(|server| server.stores.mode == mode) {
        let log = std::fs::read(&server.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<_> = log.lines().collect();
        let _ = writeln!(text, "--- log of the server at {}, its end:", server.address);
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// The server's binary; another build can be put to the test by the environment.
fn binary() -> OsString {
    std::env::var_os("QUIKAPP_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_quikapp").into())
}

/// Which server is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// The one under test.
    Real,
    /// This test binary itself, called with one argument: a server of the same library with a fault in it.
    Faulty(&'static str),
}

impl Program {
    fn command(self, environment: &[(&'static str, String)]) -> Command {
        match self {
            Self::Real => {
                let mut command = command(environment);
                command.arg("serve");
                command
            }
            Self::Faulty(argument) => {
                let mut command = isolated(std::env::current_exe().unwrap().into(), environment);
                command.arg(argument);
                command
            }
        }
    }
}

/// A call of the binary that knows nothing of this process's own settings.
fn command(environment: &[(&'static str, String)]) -> Command {
    isolated(binary(), environment)
}

fn isolated(program: OsString, environment: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(environment.iter().map(|(name, value)| (*name, value.as_str())));
    for name in ["PATH", "HOME", "RUST_LOG", "RUST_BACKTRACE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

/// Runs a command of the binary on `stores`, which has to succeed; gives what it prints, and what it says on standard error.
pub(crate) async fn run(stores: &Stores, arguments: &[&str]) -> (String, String) {
    let mut command = command(&stores.environment());
    command.args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let [out, error] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "quikapp {arguments:?} failed:\n{out}{error}");
    (out, error)
}

impl Server {
    /// The one that most tests of a mode share.
    pub(crate) async fn shared(mode: Mode) -> Self {
        SHARED[mode as usize].get_or_init(|| async { Self::own(mode).await }).await.clone()
    }

    /// One that no other test uses, on empty stores.
    pub(crate) async fn own(mode: Mode) -> Self {
        Self::start(&Stores::new(mode).await).await
    }

    /// A node on `stores`.
    pub(crate) async fn start(stores: &Stores) -> Self {
        Self::start_with(stores, &[]).await
    }

    /// A node on `stores` with more settings.
    pub(crate) async fn start_with(stores: &Stores, settings: &[(&'static str, &str)]) -> Self {
        match Self::try_start(stores, settings, Program::Real).await {
            Ok(server) => server,
            Err(text) => panic!("the server did not start: {text}"),
        }
    }

    /// The same of any program, which may fail to start, as it does while a store is away; then this is what it said.
    pub(crate) async fn try_start(
        stores: &Stores,
        settings: &[(&'static str, &str)],
        program: Program,
    ) -> Result<Self, String> {
        let folder = tempfile::TempDir::with_prefix("quikapp-log-").unwrap();
        let log = folder.path().join("log");
        let file = File::create(&log).unwrap();
        let mut environment = stores.environment();
        environment.push(("LISTEN", "127.0.0.1:0".into()));
        environment.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let child = program
            .command(&environment)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let child = Mutex::new(child);
        let address = eventually("the server's start", SOON * 3, || async {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(ended) = child.lock().unwrap().try_wait().unwrap() {
                return Some(Err(format!("{ended}\n{text}")));
            }
            let (_, rest) = text.split_once("listening on http://")?;
            let (address, _) = rest.split_once(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
            Some(Ok(address.to_owned()))
        })
        .await?;
        let inner = Arc::new(Inner { stores: stores.clone(), address, log, child, _folder: folder });
        RUNNING.lock().unwrap().push(Arc::downgrade(&inner));
        Ok(Self { inner })
    }

    /// Where it keeps its data.
    pub(crate) fn stores(&self) -> &Stores {
        &self.inner.stores
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.inner.address
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.inner.log).unwrap()
    }

    /// The most memory that it ever had, in kB.
    pub(crate) fn peak_memory(&self) -> usize {
        let process = self.inner.child.lock().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Kills it as a power cut would.
    pub(crate) fn kill(&self) {
        end(&mut self.inner.child.lock().unwrap());
    }

    /// Sends it a signal that does not end it, such as `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.inner.child.lock().unwrap().id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "no SIG{name} for the server {pid}");
    }

    /// Somebody without a token.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(self, None)
    }

    /// Runs another command of the binary on the same data, which has to succeed, and gives what it prints.
    pub(crate) async fn run(&self, arguments: &[&str]) -> String {
        run(&self.inner.stores, arguments).await.0
    }

    /// The value of the metric written as `name`, labels included.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text =
            reqwest::get(format!("http://{}/metrics", self.address())).await.unwrap().text().await.unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
    }
}
