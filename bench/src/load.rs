//! Rounds of many loops, each of which waits for its answer before it asks again.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::{failure::Result, process::Usage, report::Figures, stats};

/// What one round did.
pub(crate) struct Load {
    /// Of each operation, in microseconds.
    pub(crate) latencies: Vec<u32>,
    /// What it took.
    pub(crate) usage: Usage,
}

impl Load {
    /// The round in figures; an operation is what `latencies` has one entry for.
    pub(crate) fn figures(self) -> Figures {
        let operations = self.latencies.len() as f64;
        let mut figures = rates(operations, &self.usage);
        let (p50, p99) = stats::p50_p99(self.latencies);
        figures.splice(1..1, [("p50 ms".to_owned(), p50), ("p99 ms".to_owned(), p99)]);
        figures
    }
}

/// Operations a second, and the CPU time of each process for one of them.
pub(crate) fn rates(operations: f64, usage: &Usage) -> Figures {
    let mut figures = vec![("per second".to_owned(), operations / usage.elapsed.as_secs_f64())];
    let micros = |seconds: f64| seconds * 1e6 / operations.max(1.0);
    figures.extend(usage.cpu.iter().map(|(name, seconds)| (format!("{name} µs"), micros(*seconds))));
    figures.push(("all µs".to_owned(), micros(usage.cpu.iter().map(|(_, seconds)| seconds).sum())));
    figures
}

/// Microseconds since `start`.
pub(crate) fn micros_since(start: Instant) -> u32 {
    start.elapsed().as_micros() as u32
}

/// Waits for all loops; the first that fails ends them.
pub(crate) async fn gather<T: Send + 'static>(mut loops: JoinSet<Result<T>>) -> Result<Vec<T>> {
    let mut all = Vec::with_capacity(loops.len());
    while let Some(result) = loops.join_next().await {
        all.push(result??);
    }
    Ok(all)
}

/// The loop of one worker: begins steps until the time is over, and keeps how long each took.
pub(crate) struct Steps {
    end: Instant,
    latencies: Vec<u32>,
}

impl Steps {
    /// For so long from now.
    pub(crate) fn lasting(time: Duration) -> Self {
        Self { end: Instant::now() + time, latencies: Vec::new() }
    }

    /// When the next step begins; none when the time is over.
    pub(crate) fn begin(&self) -> Option<Instant> {
        let now = Instant::now();
        (now < self.end).then_some(now)
    }

    /// A step is done.
    pub(crate) fn done(&mut self, began: Instant) {
        self.latencies.push(micros_since(began));
    }

    /// How long each took, in microseconds.
    pub(crate) fn latencies(self) -> Vec<u32> {
        self.latencies
    }
}
