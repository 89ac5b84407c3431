//! Opening the relational store.

use std::{path::Path, time::Duration};

use log::LevelFilter;
use sea_orm::{
    DatabaseConnection, SqlxMySqlConnector, SqlxSqliteConnector,
    sqlx::{
        self, ConnectOptions as _, Connection as _, Executor as _,
        mysql::{MySqlConnectOptions, MySqlPoolOptions},
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
    },
};

use super::Database;
use crate::Result;

/// Connections to a `SQLite` file. One of them writes at a time, the others read beside it.
const SQLITE_CONNECTIONS: u32 = 8;
/// Connections of one node to `MySQL`.
const MYSQL_CONNECTIONS: u32 = 32;
/// How long a request waits for a connection, a new one included.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a write waits for another one on `SQLite`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was not used for so long is asked whether it still stands before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(5);
/// A statement that takes longer is logged, without its values.
const SLOW_STATEMENT: Duration = Duration::from_secs(1);

/// Why the relational store could not be opened: one line for the operator, without any password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

impl ConnectError {
    fn new(what: &str, cause: impl std::fmt::Display) -> Self {
        Self(format!("{what}: {cause}").split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

impl Database {
    /// Opens the `SQLite` file at `path`, and makes it where there is none; its folder has to exist.
    ///
    /// # Errors
    /// When the file cannot be opened or is no database.
    pub async fn sqlite(path: impl AsRef<Path>) -> std::result::Result<Self, ConnectError> {
        let path = path.as_ref();
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(BUSY_TIMEOUT)
            .journal_mode(SqliteJournalMode::Wal)
            // What was acknowledged survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .log_statements(LevelFilter::Off)
            .log_slow_statements(LevelFilter::Warn, SLOW_STATEMENT);
        let pool = SqlitePoolOptions::new()
            .max_connections(SQLITE_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(|error| ConnectError::new(&format!("cannot open {}", path.display()), reason(&error)))?;
        Ok(Self::new(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool)))
    }

    /// Connects to `MySQL` 8 or newer: `mysql://user:password@host:port/database`.
    ///
    /// # Errors
    /// When the address is none, nothing answers there within three seconds, or it is another kind of server.
    pub async fn mysql(url: &str) -> std::result::Result<Self, ConnectError> {
        // The driver's complaint may repeat parts of the address, and with them the password.
        let options: MySqlConnectOptions = if url.starts_with("mysql://") { url.parse().ok() } else { None }
            .ok_or_else(|| {
                ConnectError("not a MySQL address, expected mysql://user:password@host:port/database".into())
            })?;
        let name = format!("MySQL at {}:{}", options.get_host(), options.get_port());
        let fail = |error: &sqlx::Error| ConnectError::new(&format!("cannot use {name}"), reason(error));
        if options.get_database().is_none() {
            return Err(ConnectError::new(&format!("cannot use {name}"), "the address names no database"));
        }
        let options = options
            .charset("utf8mb4")
            .collation("utf8mb4_0900_bin")
            .timezone(Some("+00:00".to_owned()))
            .log_statements(LevelFilter::Off)
            .log_slow_statements(LevelFilter::Warn, SLOW_STATEMENT);
        let connect = async {
            // One attempt by itself first: a pool would hide the reason behind its time limit.
            let mut connection = options.connect().await?;
            let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut connection).await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>(version)
        };
        let version = match tokio::time::timeout(ACQUIRE_TIMEOUT, connect).await {
            Ok(result) => result.map_err(|error| fail(&error))?,
            Err(_) => return Err(ConnectError::new(&format!("cannot use {name}"), "it does not answer")),
        };
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if version.contains("MariaDB") || major.is_none_or(|major| major < 8) {
            return Err(ConnectError(format!("{name} is version {version}, MySQL 8 or newer is needed")));
        }
        let pool = MySqlPoolOptions::new()
            .max_connections(MYSQL_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // Lock waits end before the time limit of a transaction does, and text is never cut in silence,
                    // whatever the server's own configuration says.
                    connection
                        .execute(
                            "SET SESSION innodb_lock_wait_timeout = 3, \
                             SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')",
                        )
                        .await?;
                    Ok(())
                })
            })
            .connect_with(options)
            .await
            .map_err(|error| fail(&error))?;
        Ok(Self::new(SqlxMySqlConnector::from_sqlx_mysql_pool(pool)))
    }

    /// The connection itself, for the migrations; the domain goes through the functions of this type.
    #[must_use]
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Whether the store answers.
    pub async fn ping(&self) -> Result<()> {
        Ok(self.read(self.connection.ping()).await?)
    }

    /// Closes every connection, after the statements on them have ended. Handles that are left fail from here on.
    pub async fn close(&self) {
        if let Err(error) = self.connection.clone().close().await {
            tracing::warn!(%error, "the database did not close cleanly");
        }
    }
}

/// The driver's reason in words that hold nothing of the address.
fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::PoolTimedOut => "it does not answer".to_owned(),
        sqlx::Error::Tls(error) => format!("TLS failed: {error}"),
        _ => "the driver refused the connection".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[tokio::test]
    async fn a_file_is_opened_as_durable_as_promised() {
        let directory = tempfile::tempdir().unwrap();
        let database = Database::sqlite(directory.path().join("odd ?name%20.db")).await.unwrap();
        database.ping().await.unwrap();
        let pool = database.connection().get_sqlite_connection_pool();
        for (pragma, value) in [("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5_000)] {
            let sql = sqlx::AssertSqlSafe(format!("PRAGMA {pragma}"));
            assert_eq!(sqlx::query_scalar::<_, i64>(sql).fetch_one(pool).await.unwrap(), value, "{pragma}");
        }
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
        assert_eq!(mode, "wal");
        database.close().await;
        assert!(directory.path().join("odd ?name%20.db").exists());
        assert!(database.ping().await.is_err());
    }

    #[tokio::test]
    async fn errors_are_one_line_without_the_password() {
        let directory = tempfile::tempdir().unwrap();
        let missing = Database::sqlite(directory.path().join("no/such/folder.db")).await.err().unwrap();
        assert!(missing.to_string().contains("unable to open database file"), "{missing}");
        // Nothing listens on the discard port; the second address does not even parse.
        for url in [
            "mysql://root:hunter2@127.0.0.1:9/quikapp",
            "mysql://root:hunter2@127.0.0.1:99999/quikapp",
            "hunter2",
        ] {
            let error = Database::mysql(url).await.err().unwrap();
            let text = format!("{error} {error:?}");
            assert!(!text.contains("hunter2") && !text.contains('\n'), "{text}");
        }
    }

    #[tokio::test]
    async fn mysql_answers_in_utc() {
        let Ok(url) = std::env::var("DATABASE_URL") else { return };
        if !url.starts_with("mysql://") {
            return;
        }
        let database = Database::mysql(&url).await.unwrap();
        database.ping().await.unwrap();
        let pool = database.connection().get_mysql_connection_pool();
        let zone: String = sqlx::query_scalar("SELECT @@time_zone").fetch_one(pool).await.unwrap();
        assert_eq!(zone, "+00:00");
        let wait: u64 =
            sqlx::query_scalar("SELECT @@innodb_lock_wait_timeout").fetch_one(pool).await.unwrap();
        assert_eq!(wait, 3);
        // Where a password is asked for, the refusal does not show it.
        // The driver sends passwords over TLS only.
        let wrong = url.replacen("root@", "root:hunter2@", 1).replace("?ssl-mode=DISABLED", "");
        let error = Database::mysql(&wrong).await.err().unwrap().to_string();
        assert!(error.contains("denied") && !error.contains("hunter2"), "{error}");
    }
}
