//! A few connections that only read, each used by one task at a time on the threads for blocking work.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{
    fault::{tell, unavailable},
    schema::open_reader,
};
use crate::{Error, Result};

/// How many read at the same time.
const READERS: usize = 4;
/// How long a caller waits for a turn and the answer.
const TIME_LIMIT: Duration = Duration::from_millis(4_500);

pub(super) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    /// Readers of the file; they connect when they are first needed.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Arc::default(), turns: Arc::new(Semaphore::new(READERS)) }
    }

    /// Runs `query` on a connection, all its statements on one state of the file.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let answer = async {
            let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| unavailable())?;
            let (idle, path) = (Arc::clone(&self.idle), self.path.clone());
            let task = tokio::task::spawn_blocking(move || {
                // Held until the query ends, even when nobody waits for it any more.
                let _turn = turn;
                let spare = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let connection = spare.map_or_else(|| open_reader(&path), Ok)?;
                let transaction = connection.unchecked_transaction()?;
                let result = query(&transaction);
                transaction.finish()?;
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
                result
            });
            match task.await {
                Ok(result) => result.map_err(|error| tell(what, &error)),
                Err(error) if error.is_cancelled() => Err(unavailable()),
                Err(error) => {
                    tracing::error!(what, %error, "a query panicked");
                    Err(Error::Internal)
                }
            }
        };
        tokio::time::timeout(TIME_LIMIT, answer).await.unwrap_or_else(|_| {
            tracing::warn!(what, "the message store did not answer in time");
            Err(unavailable())
        })
    }
}
