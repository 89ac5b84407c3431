//! The configuration: the only reader of the environment.
//!
//! [`Options`] is what was said, on the command line or in the environment; [`Config`] is what it means. Every error is one line
//! that names the setting, and none shows a value that may hold a password.

mod limits;
mod secret;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, ValueEnum, builder::BoolishValueParser, value_parser};

use quikapp_chat::presence::Timing;

pub use self::{limits::LimitOptions, secret::Secret};
use crate::{app::Settings, origins::Origins};

/// A setting is missing or wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {message}")]
pub struct ConfigError {
    /// Its name in the environment.
    pub setting: &'static str,
    /// What is wrong with it.
    pub message: String,
}

impl ConfigError {
    fn new(setting: &'static str, message: impl Into<String>) -> Self {
        Self { setting, message: message.into() }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// Every setting, as a flag or from the environment.
#[derive(Debug, Clone, Args)]
#[group(skip)]
#[allow(clippy::doc_markdown, reason = "these texts are printed on a terminal")]
pub struct Options {
    /// `sqlite:FILE`, or `mysql://USER:PASSWORD@HOST/DATABASE`.
    ///
    /// Without this and the other two URLs the server keeps everything in DATA_DIR/quikapp.db. With a sqlite file it keeps
    /// everything in that. With MySQL, MONGODB_URL and REDIS_URL are required as well.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true, help_heading = "Stores")]
    pub database_url: Option<String>,
    /// `mongodb://HOST/DATABASE?replicaSet=NAME`: messages. A replica set is required
    #[arg(long, env = "MONGODB_URL", hide_env_values = true, global = true, help_heading = "Stores")]
    pub mongodb_url: Option<String>,
    /// `redis://HOST`: live events between servers, presence
    #[arg(long, env = "REDIS_URL", hide_env_values = true, global = true, help_heading = "Stores")]
    pub redis_url: Option<String>,
    /// What every key and topic in Redis begins with, so that several installations can share one
    #[arg(long, env = "REDIS_PREFIX", default_value = "quikapp:", global = true, help_heading = "Stores")]
    pub redis_prefix: String,
    /// Where files are kept that belong to this server alone
    #[arg(long, env = "DATA_DIR", default_value = "./data", global = true, help_heading = "Stores")]
    pub data_dir: PathBuf,
    /// Signs access tokens; at least 32 bytes, the same on every server.
    ///
    /// Without servers one is made at the first start and kept in DATA_DIR/jwt-secret.
    #[arg(long, env = "JWT_SECRET", hide_env_values = true, global = true, help_heading = "Security")]
    pub jwt_secret: Option<String>,
    /// How long an access token lives, 10 seconds to a day; the same on every server
    #[arg(long, env = "ACCESS_TOKEN_LIFE", default_value_t = 900, value_parser = value_parser!(u32).range(10..=86_400),
        value_name = "SECONDS", global = true, help_heading = "Security")]
    pub access_token_life: u32,
    /// Origins of web pages that may call the API, separated by commas, such as `https://app.example.com`; `*` for all.
    ///
    /// Pages of the server itself always may.
    #[arg(long, env = "ALLOWED_ORIGINS", default_value = "", global = true, help_heading = "Security")]
    pub allowed_origins: String,
    /// Whether the schema may be asked for
    #[arg(long, env = "INTROSPECTION", default_value = "on", value_parser = BoolishValueParser::new(),
        action = ArgAction::Set, value_name = "on|off", global = true, help_heading = "Security")]
    pub introspection: bool,
    /// Whether the GraphiQL explorer is served, at /graphiql
    #[arg(long, env = "GRAPHIQL", default_value = "on", value_parser = BoolishValueParser::new(),
        action = ArgAction::Set, value_name = "on|off", global = true, help_heading = "Server")]
    pub graphiql: bool,
    /// Address and port to listen on
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8000", global = true, help_heading = "Server")]
    pub listen: SocketAddr,
    /// How log lines are written
    #[arg(long, env = "LOG_FORMAT", default_value = "text", global = true, help_heading = "Server")]
    pub log_format: LogFormat,
    /// What is logged, such as `info` or `info,quikapp=debug`
    #[arg(
        long,
        env = "LOG",
        default_value = "info,sea_orm_migration=warn",
        global = true,
        help_heading = "Server"
    )]
    pub log: String,
    /// How much one client may take.
    #[command(flatten)]
    pub limits: LimitOptions,
    /// For which a connection counts without a sign of life from its server; one is given five times as often
    #[arg(long, env = "PRESENCE_TTL", default_value_t = 300, value_parser = value_parser!(u32).range(1..=86_400),
        value_name = "SECONDS", global = true, help_heading = "Presence")]
    pub presence_ttl: u32,
    /// For which somebody stays online after the last connection closed; at most PRESENCE_TTL
    #[arg(
        long,
        env = "PRESENCE_GRACE",
        default_value_t = 30,
        value_name = "SECONDS",
        global = true,
        help_heading = "Presence"
    )]
    pub presence_grace: u32,
    /// Without any operation until somebody is AWAY; 0 = never
    #[arg(
        long,
        env = "PRESENCE_AWAY_AFTER",
        default_value_t = 600,
        value_name = "SECONDS",
        global = true,
        help_heading = "Presence"
    )]
    pub presence_away_after: u32,
}

/// Where data is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum Stores {
    /// In one `SQLite` file, for one server.
    Embedded {
        /// It need not exist yet, nor the folder it is in.
        file: PathBuf,
    },
    /// In servers.
    Servers {
        /// `mysql://…`
        database_url: String,
        /// `mongodb://…` or `mongodb+srv://…`
        mongodb_url: String,
        /// `redis://…` or `rediss://…`
        redis_url: String,
    },
}

/// A checked configuration.
#[derive(Clone)]
pub struct Config {
    /// Where data is kept.
    pub stores: Stores,
    /// Where files are kept that belong to this server alone.
    pub data_dir: PathBuf,
    /// What every key in Redis begins with.
    pub redis_prefix: String,
    /// Where the transports listen.
    pub listen: SocketAddr,
    /// What can be set about the transports.
    pub settings: Settings,
    /// How long an access token lives.
    pub access_token_life: Duration,
    /// How long presence holds.
    pub presence: Timing,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written.
    pub log: String,
    jwt_secret: Option<Secret>,
}

impl Config {
    /// Checks what was said.
    ///
    /// # Errors
    /// The first setting that is missing or wrong.
    pub fn new(options: Options) -> Result<Self, ConfigError> {
        let stores = stores(&options)?;
        let jwt_secret = options.jwt_secret.filter(|secret| !secret.is_empty());
        let jwt_secret = jwt_secret.map(|secret| Secret::from_text("JWT_SECRET", &secret)).transpose()?;
        if jwt_secret.is_none() && matches!(stores, Stores::Servers { .. }) {
            let message = "required with servers, as every one of them has to know it; make one with `openssl rand -hex 32`";
            return Err(ConfigError::new("JWT_SECRET", message));
        }
        let origins = Origins::parse(&options.allowed_origins).map_err(|part| {
            let message = format!("`{part}` is not an origin such as https://app.example.com");
            ConfigError::new("ALLOWED_ORIGINS", message)
        })?;
        let access_token_life = Duration::from_secs(u64::from(options.access_token_life));
        let mut limits = options.limits.limits();
        // No earlier than half-way, or a client would do nothing but renew.
        limits.token_notice = limits.token_notice.min(access_token_life / 2);
        if options.presence_grace > options.presence_ttl {
            return Err(ConfigError::new("PRESENCE_GRACE", "must be at most PRESENCE_TTL"));
        }
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let presence = Timing {
            ttl: seconds(options.presence_ttl),
            grace: seconds(options.presence_grace),
            away_after: Some(seconds(options.presence_away_after)).filter(|after| !after.is_zero()),
        };
        let settings =
            Settings { origins, introspection: options.introspection, graphiql: options.graphiql, limits };
        Ok(Self {
            stores,
            data_dir: options.data_dir,
            redis_prefix: options.redis_prefix,
            listen: options.listen,
            settings,
            access_token_life,
            presence,
            log_format: options.log_format,
            log: options.log,
            jwt_secret,
        })
    }

    /// The secret that access tokens are signed with. Without one in the settings it is read from `DATA_DIR/jwt-secret`, and made
    /// there first if need be.
    ///
    /// # Errors
    /// When that file cannot be read or made.
    pub fn jwt_secret(&self) -> Result<Secret, ConfigError> {
        match &self.jwt_secret {
            Some(secret) => Ok(secret.clone()),
            None => Secret::of_folder(&self.data_dir),
        }
    }
}

fn stores(options: &Options) -> Result<Stores, ConfigError> {
    let given = |url: &Option<String>| url.clone().filter(|url| !url.trim().is_empty());
    let urls = (given(&options.database_url), given(&options.mongodb_url), given(&options.redis_url));
    match urls {
        (None, None, None) => Ok(Stores::Embedded { file: options.data_dir.join("quikapp.db") }),
        (Some(database_url), mongodb_url, redis_url) => match scheme(&database_url) {
            "sqlite" => {
                let others = [("MONGODB_URL", mongodb_url.is_some()), ("REDIS_URL", redis_url.is_some())];
                if let Some((setting, _)) = others.into_iter().find(|(_, is_given)| *is_given) {
                    let message =
                        "cannot be used with a sqlite DATABASE_URL; give a mysql one, or leave this out";
                    return Err(ConfigError::new(setting, message));
                }
                Ok(Stores::Embedded { file: sqlite_file(&database_url)? })
            }
            "mysql" => servers(Some(database_url), mongodb_url, redis_url),
            _ => Err(ConfigError::new("DATABASE_URL", "must start with sqlite: or mysql://")),
        },
        (None, mongodb_url, redis_url) => servers(None, mongodb_url, redis_url),
    }
}

fn servers(
    database_url: Option<String>,
    mongodb_url: Option<String>,
    redis_url: Option<String>,
) -> Result<Stores, ConfigError> {
    let all = [("DATABASE_URL", &database_url), ("MONGODB_URL", &mongodb_url), ("REDIS_URL", &redis_url)];
    let names = |is_given: bool| {
        let names = all.iter().filter(|(_, url)| url.is_some() == is_given).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(" and ")
    };
    if let Some((first, _)) = all.iter().find(|(_, url)| url.is_none()) {
        let message = format!(
            "missing: {} also needs {}; without any of the three the server keeps its data in a file",
            names(true),
            names(false)
        );
        return Err(ConfigError::new(first, message));
    }
    let (database_url, mongodb_url, redis_url) =
        (database_url.unwrap_or_default(), mongodb_url.unwrap_or_default(), redis_url.unwrap_or_default());
    check_url("DATABASE_URL", &database_url, &["mysql"])?;
    check_url("MONGODB_URL", &mongodb_url, &["mongodb", "mongodb+srv"])?;
    check_url("REDIS_URL", &redis_url, &["redis", "rediss"])?;
    Ok(Stores::Servers { database_url, mongodb_url, redis_url })
}

fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

fn check_url(setting: &'static str, url: &str, schemes: &[&str]) -> Result<(), ConfigError> {
    let has_scheme =
        schemes.iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| rest.starts_with("://")));
    if !has_scheme {
        return Err(ConfigError::new(setting, format!("must start with {}://", schemes.join(":// or "))));
    }
    // The drivers read the rest; a list of hosts, as MongoDB has it, is no URL in the strict sense.
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    if rest.trim_matches('/').is_empty() {
        return Err(ConfigError::new(setting, "names no host"));
    }
    Ok(())
}

fn sqlite_file(url: &str) -> Result<PathBuf, ConfigError> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    if path.is_empty() || path == ":memory:" {
        return Err(ConfigError::new("DATABASE_URL", "must name a file, such as sqlite:quikapp.db"));
    }
    Ok(PathBuf::from(path))
}
