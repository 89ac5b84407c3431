//! The `quikapp` command.

use std::process::ExitCode;

use clap::Parser;
use quikapp::{
    cli::{Cli, Command},
    config::Config,
    logging,
};

/// The C library's allocator costs a quarter more CPU per request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command();
    let config = match Config::new(cli.options).and_then(|config| logging::init(&config).map(|()| config)) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("quikapp: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&command, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quikapp: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Nothing can be run before there is a schema to run it on.
fn run(command: &Command, _config: &Config) -> Result<(), String> {
    Err(format!("{command:?} needs a schema"))
}
