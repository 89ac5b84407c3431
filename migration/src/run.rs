//! Running the migrations: one node at a time, the others wait and then find nothing to do.

use std::time::{Duration, Instant};

use sea_orm_migration::{
    MigratorTrait,
    sea_orm::{
        DatabaseConnection, DbBackend, DbErr, RuntimeErr, SqliteTransactionMode, SqlxMySqlConnector,
        TransactionOptions, TransactionTrait,
        sqlx::{self, mysql::MySqlPoolOptions},
    },
};

use crate::Migrator;

/// How long a node waits for another one that is migrating.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why the schema could not be changed.
#[derive(Debug)]
pub enum MigrationError {
    /// Another node held the lock for a minute.
    Locked,
    /// A statement failed.
    Database(DbErr),
}

impl std::fmt::Display for MigrationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Locked => f.write_str("another node has been migrating the database for a minute"),
            Self::Database(error) => write!(f, "migrating the database: {error}"),
        }
    }
}

impl std::error::Error for MigrationError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Locked => None,
            Self::Database(error) => Some(error),
        }
    }
}

impl From<DbErr> for MigrationError {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl From<sqlx::Error> for MigrationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(DbErr::Conn(RuntimeErr::SqlxError(error.into())))
    }
}

/// Applies every migration that is not applied yet. Safe to call from several nodes, and several tasks, at once; waits at
/// most a minute for the others.
///
/// # Errors
/// [`MigrationError::Locked`] when somebody else did not finish within a minute; [`MigrationError::Database`] when a
/// statement fails or the database is newer than this binary.
pub async fn migrate(db: &DatabaseConnection) -> Result<(), MigrationError> {
    run(db, Direction::Up).await
}

/// Takes back the latest `steps` migrations, all of them without a number. The data in their tables is lost.
///
/// # Errors
/// As of [`migrate`].
pub async fn rollback(db: &DatabaseConnection, steps: Option<u32>) -> Result<(), MigrationError> {
    run(db, Direction::Down(steps)).await
}

#[derive(Clone, Copy)]
enum Direction {
    Up,
    Down(Option<u32>),
}

async fn run(db: &DatabaseConnection, direction: Direction) -> Result<(), MigrationError> {
    match db.get_database_backend() {
        DbBackend::MySql => on_mysql(db, direction).await,
        _ => on_sqlite(db, direction).await,
    }
}

/// A lock of the server, held by the one connection that runs everything. It has a pool of its own, so that the lock goes
/// with it, even when this future is dropped half-way.
async fn on_mysql(db: &DatabaseConnection, direction: Direction) -> Result<(), MigrationError> {
    let options = db.get_mysql_connection_pool().connect_options();
    let pool = MySqlPoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options.as_ref().clone())
        .await?;
    // Lock names belong to the server, not to a database, and have at most 64 characters.
    let locked: Option<i64> =
        sqlx::query_scalar("SELECT GET_LOCK(CONCAT('quikapp_migrations ', LEFT(DATABASE(), 40)), ?)")
            .bind(PATIENCE.as_secs())
            .fetch_one(&pool)
            .await?;
    let result = if locked == Some(1) {
        let connection = SqlxMySqlConnector::from_sqlx_mysql_pool(pool.clone());
        match direction {
            Direction::Up => Migrator::up(&connection, None).await,
            Direction::Down(steps) => Migrator::down(&connection, steps).await,
        }
        .map_err(MigrationError::from)
    } else {
        Err(MigrationError::Locked)
    };
    pool.close().await;
    result
}

/// One transaction that takes the write lock at its beginning.
async fn on_sqlite(db: &DatabaseConnection, direction: Direction) -> Result<(), MigrationError> {
    let started = Instant::now();
    loop {
        let attempt = async {
            let transaction = db
                .begin_with_options(TransactionOptions {
                    sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                    ..TransactionOptions::default()
                })
                .await?;
            match direction {
                Direction::Up => Migrator::up(&transaction, None).await?,
                Direction::Down(steps) => Migrator::down(&transaction, steps).await?,
            }
            transaction.commit().await
        };
        match attempt.await {
            Err(error) if is_busy(&error) => {
                if started.elapsed() > PATIENCE {
                    return Err(MigrationError::Locked);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            result => return Ok(result?),
        }
    }
}

/// `SQLITE_BUSY` and `SQLITE_LOCKED` in their extended forms.
fn is_busy(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))
    | DbErr::Conn(RuntimeErr::SqlxError(cause))) = error
    else {
        return false;
    };
    matches!(cause.as_ref(), sqlx::Error::Database(cause)
        if matches!(cause.code().as_deref(), Some("5" | "6" | "261" | "262" | "517")))
}
