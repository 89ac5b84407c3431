//! `quikapp import`: reads JSON Lines and gives them to the domain's importer.

mod reader;
mod report;

use std::{
    io,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
};

use clap::Args;
use quikapp_chat::{
    Chat,
    import::{Entry, ImportEvent, ImportOptions, ImportSummary},
};
use tokio::sync::{mpsc, oneshot};

use crate::import::{
    reader::{Read, Source},
    report::Report,
};

/// Batches read ahead.
const READ_AHEAD: usize = 2;

/// What is imported, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ImportArgs {
    /// JSON Lines, plain or gzipped; `-` reads standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub file: PathBuf,
    /// The slug of the workspace that it goes into; made if there is none
    #[arg(long, value_name = "SLUG", default_value = "ubuntu")]
    pub workspace: String,
    /// The address of an account that is to own the new workspace, or to be an admin of one that is there; without it the
    /// owner of the demo, where there is one
    #[arg(long, value_name = "EMAIL")]
    pub owner: Option<String>,
}

/// Imports a history and tells on standard error how it goes. Succeeds unless nothing could be read, the input broke off or
/// a store stopped answering; after each of these the same command goes on where it ended.
pub async fn run(chat: &Chat, args: ImportArgs) -> ExitCode {
    let file = args.file.clone();
    let source = match tokio::task::spawn_blocking(move || Source::open(&file)).await {
        Ok(Ok(source)) => source,
        Ok(Err(error)) => {
            eprintln!("quikapp import: {}: {error}", args.file.display());
            return ExitCode::FAILURE;
        }
        Err(_) => return ExitCode::FAILURE,
    };
    let report = Arc::new(Report::new(source.total(), source.position()));
    let (sender, entries) = mpsc::channel(READ_AHEAD);
    let reading = read(source, Arc::clone(&report), sender);
    let ticking = report::tick(&report);
    let options = ImportOptions { workspace: args.workspace, owner: args.owner, channel: None };
    let listener = {
        let report = Arc::clone(&report);
        Arc::new(move |event| {
            match event {
            ImportEvent::Done(rows) => report.done(rows),
            ImportEvent::Skipped { line, reason } => report.skipped(line, &reason),
            ImportEvent::Unanswered { line, reply_to } => report.line(&format!(
                "line {line}: the message `{reply_to}` that it answers is not before it in its excerpt; kept without"
            )),
        }
        })
    };
    let imported = chat.import(&options, entries, listener).await;
    ticking.abort();
    report.finish();
    let summary = match imported {
        Ok(summary) => summary,
        Err(error) if error.is_retryable() => {
            eprintln!("quikapp import: {error}; what was written stays, run the same command again to go on");
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!("quikapp import: {error}");
            return ExitCode::FAILURE;
        }
    };
    tell(&summary, &report);
    match reading.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            eprintln!("quikapp import: reading stopped before the end: {error}");
            return ExitCode::FAILURE;
        }
        Err(_) => return ExitCode::FAILURE,
    }
    if report.rows_read.load(Ordering::Relaxed) == 0 {
        eprintln!("quikapp import: there was no line that could be read");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Reads in a thread of its own, which does not keep the process alive when it waits for input that nobody wants any more.
fn read(
    source: Source,
    report: Arc<Report>,
    entries: mpsc::Sender<Vec<Entry>>,
) -> oneshot::Receiver<io::Result<()>> {
    let (done, result) = oneshot::channel();
    std::thread::spawn(move || {
        let read = reader::read(source, |read| match read {
            Read::Entries(batch) => {
                report.rows_read.fetch_add(batch.len() as u64, Ordering::Relaxed);
                entries.blocking_send(batch).is_ok()
            }
            Read::Broken { line, reason } => {
                report.skipped(line, &reason);
                true
            }
        });
        // Told before the last sender goes: whoever sees the end of the entries finds this.
        let _ = done.send(read);
    });
    result
}

fn tell(summary: &ImportSummary, report: &Report) {
    let seconds = report.elapsed().as_secs_f64();
    eprintln!(
        "imported {} messages and {} actions; {} users and {} channels are new; {} messages were already there; {} lines \
         skipped; {} kept without the message that they answer ({} rows in {seconds:.1} s, {:.0}/s)",
        summary.messages,
        summary.actions,
        summary.users,
        summary.channels,
        summary.already_there,
        report.lines_skipped(),
        summary.unanswered,
        report.rows_read.load(Ordering::Relaxed),
        report.rate(),
    );
}
