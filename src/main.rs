//! The `quikapp` command.

use std::process::ExitCode;

use clap::Parser;
use quikapp::{cli::Cli, config::Config, logging};

/// The C library's allocator costs a quarter more CPU per request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command();
    let ready = Config::new(cli.options).and_then(|config| logging::init(&config).map(|()| config));
    match ready {
        Ok(_config) => {
            eprintln!("quikapp: {command:?} is not available");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("quikapp: {error}");
            ExitCode::from(2)
        }
    }
}
