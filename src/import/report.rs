//! What the operator sees meanwhile: a bar on a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal, stderr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

const ON_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(5);

/// How far an import is.
pub(super) struct Report {
    /// Good lines read so far.
    pub(super) rows_read: AtomicU64,
    rows_done: AtomicU64,
    skipped: AtomicU64,
    total: Option<u64>,
    position: Arc<AtomicU64>,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Report {
    /// `total` bytes are to be read, where that is known, and `position` were.
    pub(super) fn new(total: Option<u64>, position: Arc<AtomicU64>) -> Self {
        let bar = stderr().is_terminal().then(|| match total {
            Some(total) => ProgressBar::new(total).with_style(style("{bar:30} {percent:>3} %  {msg}")),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
        });
        Self {
            rows_read: AtomicU64::new(0),
            rows_done: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            total,
            position,
            started: Instant::now(),
            bar,
        }
    }

    pub(super) fn done(&self, rows: usize) {
        self.rows_done.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Tells of a line that was left out.
    pub(super) fn skipped(&self, line: u64, reason: &str) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
        self.line(&format!("line {line}: {reason}"));
    }

    pub(super) fn lines_skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Prints above the bar.
    pub(super) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Rows a second since the start.
    #[allow(clippy::cast_precision_loss)] // for people to read
    pub(super) fn rate(&self) -> f64 {
        self.rows_done.load(Ordering::Relaxed) as f64 / self.elapsed().as_secs_f64().max(0.001)
    }

    /// The part of the file that is dealt with, in bytes: what is read but waits does not count.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // an estimate
    fn bytes_done(&self) -> u64 {
        let (read, done) = (self.rows_read.load(Ordering::Relaxed), self.rows_done.load(Ordering::Relaxed));
        let position = self.position.load(Ordering::Relaxed) as f64;
        if read == 0 { 0 } else { (position * done as f64 / read as f64) as u64 }
    }

    #[allow(clippy::cast_precision_loss)] // an estimate
    fn remaining(&self) -> Option<Duration> {
        let (total, done) = (self.total?, self.bytes_done());
        if done == 0 {
            return None;
        }
        let left = total.saturating_sub(done) as f64 / done as f64;
        Duration::try_from_secs_f64(self.elapsed().as_secs_f64() * left).ok()
    }

    fn show(&self) {
        let rows = self.rows_done.load(Ordering::Relaxed);
        let mut text = format!("{rows} rows, {:.0}/s", self.rate());
        if let Some(remaining) = self.remaining() {
            text = format!("{text}, about {} s left", remaining.as_secs() + 1);
        }
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.set_position(self.bytes_done());
            }
            None => eprintln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are the two above; a bar of the default style would be no harm.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Shows the state again and again until it is stopped.
pub(super) fn tick(report: &Arc<Report>) -> JoinHandle<()> {
    let report = Arc::clone(report);
    tokio::spawn(async move {
        let every = if report.bar.is_some() { ON_TERMINAL } else { ELSEWHERE };
        loop {
            tokio::time::sleep(every).await;
            report.show();
        }
    })
}
