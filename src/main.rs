//! The `quikapp` command.

use std::process::ExitCode;

use clap::Parser;
use quikapp::{
    cli::{Cli, Command, UserAction},
    config::{Config, ConfigError, Options, Stores},
    demo, import, logging, open, serve,
};
use quikapp_chat::entities::users::AccountStatus;

/// The C library's allocator costs a quarter more CPU per request, and mimalloc about a tenth more: here
/// much is freed on another thread than it was allocated on.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let command = cli.command();
    if command == Command::Schema {
        print!("{}", quikapp_graphql::sdl());
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("quikapp: the runtime could not be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(command, cli.options)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quikapp: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(command: Command, options: Options) -> Result<ExitCode, ConfigError> {
    let config = Config::new(options)?;
    logging::init(&config)?;
    let is_embedded = matches!(&config.stores, Stores::Embedded { .. });
    let is_first = matches!(&config.stores, Stores::Embedded { file } if !file.exists());
    let chat = open::open(&config).await?;
    match command {
        Command::Serve => {
            // Its passwords are known to everybody, so it never comes by itself where others can reach it.
            if is_embedded && config.listen.ip().is_loopback() {
                if is_first {
                    fill(&chat).await?;
                } else if let Some(login) = demo::login(&chat).await {
                    tell(&login);
                }
            }
            serve(chat, &config).await?;
        }
        Command::Migrate => println!("the stores are at this version's tables and indexes"),
        // Printed before anything was opened.
        Command::Schema => {}
        Command::Demo => fill(&chat).await?,
        Command::Import(mut args) => {
            // So that whoever tries the server out can look at what was imported.
            if args.owner.is_none() {
                args.owner = demo::login(&chat).await.map(|login| login.email);
            }
            return Ok(import::run(&chat, args).await);
        }
        Command::User { action } => {
            let (email, status) = match action {
                UserAction::Suspend { email } => (email, AccountStatus::Suspended),
                UserAction::Activate { email } => (email, AccountStatus::Active),
            };
            let changed = chat.set_account_status(&email, status).await;
            changed.map_err(|error| ConfigError { setting: "EMAIL", message: error.to_string() })?;
            println!("{email} is {}", if status == AccountStatus::Active { "active" } else { "suspended" });
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn fill(chat: &quikapp_chat::Chat) -> Result<(), ConfigError> {
    let login = demo::fill(chat)
        .await
        .map_err(|error| ConfigError { setting: "demo", message: error.to_string() })?;
    tell(&login);
    Ok(())
}

fn tell(login: &demo::DemoLogin) {
    println!("demo workspace: sign in as {} with the password {}", login.email, login.password);
}

async fn serve(chat: quikapp_chat::Chat, config: &Config) -> Result<(), ConfigError> {
    serve::serve(chat, config)
        .await
        .map_err(|error| ConfigError { setting: "LISTEN", message: format!("{}: {error}", config.listen) })
}
