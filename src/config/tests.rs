#![allow(clippy::unwrap_used, clippy::expect_used)]

use clap::{CommandFactory, Parser};

use super::*;
use crate::limits::Limits;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

const MYSQL: &str = "--database-url=mysql://root:hunter2@localhost/quikapp";
const MONGO: &str = "--mongodb-url=mongodb://u:hunter2@a,b/quikapp?replicaSet=rs0";
const REDIS: &str = "--redis-url=redis://:hunter2@localhost";
const SECRET: &str = "--jwt-secret=0123456789abcdef0123456789abcdef";

fn config(flags: &[&str]) -> Result<Config, ConfigError> {
    let line = Line::try_parse_from([&["quikapp"], flags].concat()).unwrap();
    Config::new(line.options)
}

fn refused(flags: &[&str]) -> String {
    let message = config(flags).err().unwrap().to_string();
    assert!(!message.contains("hunter2") && !message.contains('\n'), "{message}");
    message
}

#[test]
fn nothing_said_means_embedded() {
    let config = config(&[]).unwrap();
    assert!(config.stores == Stores::Embedded { file: "./data/quikapp.db".into() });
    assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
    assert!(config.settings.introspection && config.settings.graphiql);
    assert_eq!(config.settings.limits, Limits::default());
    assert_eq!(config.presence, Timing::default());
}

#[test]
fn a_sqlite_url_names_the_file() {
    for url in ["sqlite:/x/y.db", "sqlite:///x/y.db", "sqlite:///x/y.db?mode=rwc"] {
        let config = config(&["--database-url", url]).unwrap();
        assert!(config.stores == Stores::Embedded { file: "/x/y.db".into() }, "{url}");
    }
    assert!(refused(&["--database-url=sqlite::memory:"]).starts_with("DATABASE_URL: "));
    assert!(refused(&["--database-url=sqlite:x.db", REDIS]).starts_with("REDIS_URL: "));
}

#[test]
fn servers_need_all_three_urls_and_a_secret() {
    assert!(matches!(config(&[MYSQL, MONGO, REDIS, SECRET]).unwrap().stores, Stores::Servers { .. }));
    let message = refused(&[MYSQL]);
    assert!(
        message.starts_with("MONGODB_URL: missing: DATABASE_URL also needs MONGODB_URL and REDIS_URL"),
        "{message}"
    );
    let message = refused(&[MONGO, REDIS]);
    assert!(
        message.starts_with("DATABASE_URL: missing: MONGODB_URL and REDIS_URL also needs DATABASE_URL"),
        "{message}"
    );
    assert!(refused(&[MYSQL, MONGO, REDIS]).starts_with("JWT_SECRET: required"));
    assert!(refused(&[MYSQL, MONGO, REDIS, "--jwt-secret=short"]).starts_with("JWT_SECRET: has 5 bytes"));
    assert!(refused(&["--database-url=postgres://u:hunter2@h/d"]).starts_with("DATABASE_URL: "));
    assert!(refused(&[MYSQL, MONGO, "--redis-url=http://:hunter2@h", SECRET]).starts_with("REDIS_URL: "));
}

#[test]
fn switches_and_origins_are_read() {
    let config =
        config(&["--introspection=off", "--graphiql=false", "--allowed-origins=https://a.example"]).unwrap();
    assert!(!config.settings.introspection && !config.settings.graphiql);
    assert_eq!(config.settings.origins, Origins::Listed(vec!["https://a.example".into()]));
    assert!(refused(&["--allowed-origins=a.example"]).starts_with("ALLOWED_ORIGINS: `a.example`"));
}

#[test]
fn presence_holds_as_long_as_is_said() {
    let timing =
        config(&["--presence-ttl=10", "--presence-grace=2", "--presence-away-after=0"]).unwrap().presence;
    assert_eq!(
        (timing.ttl, timing.grace, timing.away_after),
        (Duration::from_secs(10), Duration::from_secs(2), None)
    );
    assert_eq!(timing.heartbeat(), Duration::from_secs(2));
    assert!(refused(&["--presence-ttl=10"]).starts_with("PRESENCE_GRACE: "));
}

#[test]
fn a_secret_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let config = config(&["--data-dir", data.to_str().unwrap()]).unwrap();
    let secret = config.jwt_secret().unwrap();
    assert!(secret == config.jwt_secret().unwrap());
    assert!(secret.as_bytes().len() >= 32);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(data.join("jwt-secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
    std::fs::write(data.join("jwt-secret"), "short").unwrap();
    assert!(config.jwt_secret().unwrap_err().to_string().starts_with("DATA_DIR/jwt-secret: has 5 bytes"));
}

#[test]
fn limits_are_read() {
    let config = config(&[
        "--max-body-bytes=5000",
        "--write-timeout=7",
        "--max-store-queries=9",
        "--max-batch-operations=3",
    ]);
    let limits = config.unwrap().settings.limits;
    assert_eq!((limits.body_bytes, limits.write_timeout.as_secs(), limits.batch_operations), (5_000, 7, 3));
    assert_eq!(limits.guard.store_queries, 9);
    assert!(Line::try_parse_from(["quikapp", "--max-depth=51"]).is_err());
    assert!(Line::try_parse_from(["quikapp", "--max-header-bytes=100"]).is_err());
}

/// The rows of the README's table of settings: name, flag, default.
fn documented() -> Vec<[String; 3]> {
    let manual = include_str!("../../README.md");
    let rows = manual.lines().skip_while(|line| !line.starts_with("| Variable |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = |row: &str| -> [String; 3] {
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        assert_eq!(cells.len(), 6, "{row}");
        [cells[1].clone(), cells[2].clone(), cells[3].clone()]
    };
    rows.map(cells).collect()
}

#[test]
fn the_manual_has_every_setting_with_its_default() {
    let documented = documented();
    let command = Line::command();
    let mut names = Vec::new();
    for argument in command.get_arguments() {
        let Some(name) = argument.get_env().and_then(|name| name.to_str()) else { continue };
        let Some([_, flag, default]) = documented.iter().find(|row| row[0] == name) else {
            panic!("README.md has no row for {name}");
        };
        assert_eq!(*flag, format!("--{}", argument.get_long().unwrap()), "{name}");
        let said = argument.get_default_values().first().and_then(|value| value.to_str()).unwrap_or_default();
        // Where there is none, the manual tells in words what happens then.
        assert!(default == said || said.is_empty(), "{name}: {default}, not {said}");
        names.push(name.to_owned());
    }
    let unknown: Vec<_> = documented.iter().filter(|row| !names.contains(&row[0])).collect();
    assert!(unknown.is_empty(), "README.md has settings that do not exist: {unknown:?}");
    assert!(names.len() > 40, "{names:?}");
}
