//! The command line. `quikapp help` is the manual.

use clap::{Parser, Subcommand};

use crate::{config::Options, import::ImportArgs};

/// A team-chat backend whose whole surface is one GraphQL API.
///
/// Without any settings it runs by itself: everything is kept in one file below DATA_DIR. With DATABASE_URL, MONGODB_URL and
/// REDIS_URL any number of servers share MySQL, MongoDB and Redis. Each setting is a flag or a variable of the environment; the
/// flag wins.
///
/// The API is at /graphql, the GraphiQL explorer at /graphiql, /healthz, /readyz and /metrics are for operators.
#[derive(Debug, Parser)]
#[command(name = "quikapp", version, max_term_width = 110)]
pub struct Cli {
    /// What to do; `serve` when it is left out
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub options: Options,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve the API until interrupted
    Serve,
    /// Bring the stores to this version's tables and indexes, and end
    Migrate,
    /// Print the schema in the schema definition language
    Schema,
    /// Fill the stores with a workspace to look at, and end; a second time adds nothing
    ///
    /// Without any command this happens by itself, at the first start of a server that keeps everything in one file and listens
    /// on this machine only.
    Demo,
    /// Bring in a chat history
    ///
    /// One JSON object a line: `id` (EXCERPT:LINE, unique), `at` (RFC 3339), `kind` (message, action, join or leave), `user`,
    /// `text`, and `reply_to` (the id of the message that it answers), if any. Each excerpt becomes a public channel, each user an
    /// account without a password. The same file again adds nothing.
    Import(ImportArgs),
    /// Change accounts
    User {
        /// What to do with an account
        #[command(subcommand)]
        action: UserAction,
    },
}

/// What to do with an account.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum UserAction {
    /// Shut an account out: its tokens and open sockets stop working
    Suspend {
        /// The account's address
        email: String,
    },
    /// Let it in again
    Activate {
        /// The account's address
        email: String,
    },
}

impl Cli {
    /// What to do.
    #[must_use]
    pub fn command(&self) -> Command {
        self.command.clone().unwrap_or(Command::Serve)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <Cli as CommandFactory>::command().debug_assert();
        let help = <Cli as CommandFactory>::command().render_long_help().to_string();
        for setting in
            ["DATABASE_URL", "MONGODB_URL", "REDIS_URL", "JWT_SECRET", "LISTEN", "OPERATION_TIMEOUT"]
        {
            assert!(help.contains(setting), "{setting}");
        }
    }

    #[test]
    fn commands_are_read_and_serve_is_the_default() {
        assert_eq!(Cli::parse_from(["quikapp"]).command(), Command::Serve);
        assert_eq!(Cli::parse_from(["quikapp", "migrate", "--log", "warn"]).command(), Command::Migrate);
        let suspend = UserAction::Suspend { email: "a@b.c".into() };
        assert_eq!(
            Cli::parse_from(["quikapp", "user", "suspend", "a@b.c"]).command(),
            Command::User { action: suspend }
        );
    }
}
