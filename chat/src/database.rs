//! The relational store behind one handle: time limits, error mapping, transactions that retry.

mod connect;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use sea_orm::{
    ConnAcquireErr, DatabaseConnection, DatabaseTransaction, DbErr, IsolationLevel, RuntimeErr, SqlErr,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

pub use self::connect::ConnectError;
use crate::{Error, Result};

/// How long one statement, or one attempt of a transaction, may take before the store counts as unavailable.
const TIME_LIMIT: Duration = Duration::from_secs(4);
/// How often a transaction that lost to another one is tried.
const ATTEMPTS: u32 = 20;

/// What went wrong below the domain. Turns into an [`Error`] by `?`; the driver's text goes to the log only.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The domain itself refused.
    Domain(Error),
    /// A unique index refused; the driver's text names it.
    Unique(String),
    /// A foreign key refused: the row pointed to is gone.
    ForeignKey,
    /// Lost to another transaction (deadlock, busy): the same one may succeed now.
    Lost,
    /// No answer.
    Unavailable,
    /// Anything else: a bug.
    Internal,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Domain(error)
    }
}

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(index)) => return Self::Unique(index),
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => return Self::ForeignKey,
            _ => {}
        }
        let fault = match &error {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed) => {
                Self::Unavailable
            }
            DbErr::Conn(_) => Self::Unavailable,
            DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)) => {
                match cause.as_ref() {
                    sea_orm::sqlx::Error::Database(cause) => match cause.code().as_deref() {
                        // MySQL: deadlock, lock wait timeout. SQLite: busy in its forms.
                        Some("40001" | "HY000") if is_lost_in_mysql(cause.as_ref()) => Self::Lost,
                        Some("5" | "6" | "261" | "517") => Self::Lost,
                        // MySQL: server shutting down, read-only while failing over.
                        Some("08S01" | "08004") => Self::Unavailable,
                        _ => Self::Internal,
                    },
                    sea_orm::sqlx::Error::Io(_)
                    | sea_orm::sqlx::Error::Protocol(_)
                    | sea_orm::sqlx::Error::PoolTimedOut
                    | sea_orm::sqlx::Error::PoolClosed
                    | sea_orm::sqlx::Error::WorkerCrashed => Self::Unavailable,
                    _ => Self::Internal,
                }
            }
            _ => Self::Internal,
        };
        match fault {
            Self::Lost => tracing::debug!(%error, "a transaction lost to another one"),
            Self::Unavailable => tracing::warn!(%error, "the database does not answer"),
            _ => tracing::error!(%error, "the database refused a statement"),
        }
        fault
    }
}

fn is_lost_in_mysql(error: &dyn sea_orm::sqlx::error::DatabaseError) -> bool {
    error
        .try_downcast_ref::<sea_orm::sqlx::mysql::MySqlDatabaseError>()
        .is_some_and(|error| matches!(error.number(), 1205 | 1213))
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Domain(error) => error,
            Fault::Unavailable | Fault::Lost => Self::Unavailable { store: "database" },
            Fault::Unique(index) => {
                tracing::error!(index, "a unique index refused where nothing expected it to");
                Self::Internal
            }
            Fault::ForeignKey | Fault::Internal => Self::Internal,
        }
    }
}

/// A handle on `MySQL` or `SQLite`. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    connection: DatabaseConnection,
    queries: Arc<AtomicU64>,
}

impl Database {
    /// Takes over a connection pool; from here on every statement is counted.
    #[must_use]
    pub fn new(mut connection: DatabaseConnection) -> Self {
        let queries = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&queries);
        connection.set_metric_callback(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        Self { connection, queries }
    }

    /// The pool, to run a statement with inside [`Database::read`].
    pub(crate) fn pool(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Statements sent since it was opened.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.queries.load(Ordering::Relaxed)
    }

    /// Runs one statement, for at most [`TIME_LIMIT`].
    pub(crate) async fn read<T>(
        &self,
        statement: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, Fault> {
        if let Ok(result) = tokio::time::timeout(TIME_LIMIT, statement).await {
            Ok(result?)
        } else {
            tracing::warn!("the database did not answer in time");
            Err(Fault::Unavailable)
        }
    }

    /// Runs `work` in a transaction that takes its locks at once and sees what others committed; commits if it succeeds,
    /// rolls back if it fails. `work` runs again when the transaction lost to another one, so it must have no effect
    /// beside its statements.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Fault>
    where
        F: for<'c> Fn(&'c DatabaseTransaction) -> BoxFuture<'c, Result<T, Fault>>,
    {
        let mut attempt = 0;
        loop {
            let run = async {
                let transaction = self
                    .connection
                    .begin_with_options(TransactionOptions {
                        isolation_level: match self.connection.get_database_backend() {
                            sea_orm::DatabaseBackend::MySql => Some(IsolationLevel::ReadCommitted),
                            _ => None,
                        },
                        access_mode: None,
                        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                    })
                    .await?;
                // Dropped without a commit, it rolls back.
                let value = work(&transaction).await?;
                transaction.commit().await?;
                Ok(value)
            };
            let result = tokio::time::timeout(TIME_LIMIT, run).await.unwrap_or_else(|_| {
                tracing::warn!("a transaction did not end in time");
                Err(Fault::Unavailable)
            });
            attempt += 1;
            match result {
                Err(Fault::Lost) if attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt) * 3)).await;
                }
                result => return result,
            }
        }
    }
}
