//! Measures a real server process over its real API, each figure in turn with the raw limit below it: what the driver, the
//! database or a bare socket does at most on the same machine in the same minutes.
//!
//! `bench/run` builds and runs it; docs/BENCHMARKS.md explains what is measured and how.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are rounded for people; none comes near the limits"
)]

mod crowd;
mod failure;
mod fanout;
mod http;
mod idle;
mod load;
mod marker;
mod pages;
mod process;
mod raw;
mod reconnect;
mod replay;
mod report;
mod run;
mod sends;
mod server;
mod socket;
mod stats;
mod stores;
mod world;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{failure::Result, run::Options};

/// The same as the server's: what is compared with it has to have the same means.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures a QuikApp server. Misses are told, and are no failure; a lost or repeated message is.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the benchmarks.
    Run {
        #[command(flatten)]
        options: Options,
        /// File for the figures of every round.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Markdown file whose part between the marks is replaced by the tables.
        #[arg(long)]
        docs: Option<PathBuf>,
    },
    /// Serve what the fan-out is compared with: a WebSocket server that passes each message on to everybody.
    Broadcaster,
}

fn main() -> ExitCode {
    match start(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("quikapp-bench: {failure}");
            ExitCode::from(2)
        }
    }
}

fn start(command: Command) -> Result<bool> {
    match command {
        Command::Broadcaster => {
            tokio::runtime::Runtime::new()?.block_on(raw::broadcaster::serve())?;
            Ok(true)
        }
        Command::Run { options, json, docs } => {
            // The client takes its share of the same processors, so it is one thread, without anything passed between threads.
            let client = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            // Raw calls of drivers get as many threads as a server has.
            let drivers = tokio::runtime::Runtime::new()?;
            let report = client.block_on(run::run(&options, drivers.handle()))?;
            drivers.shutdown_background();
            let markdown = report.markdown();
            println!("\n{markdown}");
            if let Some(path) = json {
                std::fs::write(path, report.json())?;
            }
            if let Some(path) = docs {
                report::replace(&path, &markdown)?;
            }
            Ok(report.is_sound())
        }
    }
}
