//! Processes that are measured: the server, and the bare broadcaster beside it.

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    failure::{Failure, Result},
    stores::Stores,
};

/// A start makes all tables and indexes.
const PATIENCE: Duration = Duration::from_mins(1);
/// Lines of its log that a failed start shows.
const LOG_LINES: usize = 20;

/// A running process; it is killed when this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Running {
    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// `quikapp serve` on a free port.
    pub(crate) async fn server(binary: &Path, stores: &Stores) -> Result<Self> {
        // Before the first start, or the embedded mode would fill itself with a demo workspace.
        let migrate = command(binary, &["migrate"], &stores.environment());
        let output = tokio::process::Command::from(migrate).output().await?;
        if !output.status.success() {
            return Err(Failure::new(format!("migrate: {}", String::from_utf8_lossy(&output.stderr))));
        }
        let mut environment = stores.environment();
        environment.push(("LISTEN", "127.0.0.1:0".to_owned()));
        Self::start(command(binary, &["serve"], &environment), &stores.folder.path().join("server.log")).await
    }

    /// This program as a bare broadcaster.
    pub(crate) async fn broadcaster(folder: &Path) -> Result<Self> {
        Self::start(
            command(&std::env::current_exe()?, &["broadcaster"], &[]),
            &folder.join("broadcaster.log"),
        )
        .await
    }

    async fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut child = command.spawn()?;
        let since = Instant::now();
        loop {
            let text = std::fs::read_to_string(log)?;
            if let Some(address) = address_in(&text) {
                return Ok(Self { address, pid: child.id(), child });
            }
            if child.try_wait()?.is_some() || since.elapsed() > PATIENCE {
                let _ = child.kill();
                let lines: Vec<_> = text.lines().collect();
                let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
                return Err(Failure::new(format!("{command:?} did not start:\n{end}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A call that knows nothing of this process's own settings.
fn command(binary: &Path, arguments: &[&str], environment: &[(&'static str, String)]) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments).env_clear().envs(environment.iter().map(|(name, value)| (*name, value.as_str())));
    for name in ["PATH", "HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

fn address_in(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("listening on http://")?;
    let (address, _) = rest.split_once(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
    address.parse().ok()
}
