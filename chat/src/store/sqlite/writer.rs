//! The one thread that writes. It takes everything that waits and commits it together, so that a commit's flush to disk
//! is shared by all who wait for it.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    fault::{tell, unavailable},
    schema::OpenError,
};
use crate::{Error, Result};

/// How many messages or so one transaction takes: it bounds how long the first of them waits for the last.
const WEIGHT_LIMIT: usize = 4_096;

/// Tells a caller what became of its job, once the transaction has ended.
type Answer = Box<dyn FnOnce(Result<()>) + Send>;

/// Gets a connection inside of a transaction, or why there is none.
type Run = Box<dyn FnOnce(Result<&Connection>) -> Option<Answer> + Send>;

/// A change that waits for its turn. What it returns is called after the commit.
struct Job {
    /// Roughly how many rows it writes.
    weight: usize,
    run: Run,
}

/// The way to the writing thread. The thread ends when this is dropped and its queue is empty.
pub(super) struct Writer(Sender<Job>);

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection) -> Result<Self, OpenError> {
        let (sender, jobs) = channel();
        thread::Builder::new()
            .name("message-writer".to_owned())
            .spawn(move || work(&connection, &jobs))
            .map_err(OpenError::Thread)?;
        Ok(Self(sender))
    }

    /// Runs `job` in the next transaction and returns after its commit. If `job` fails, nothing of it stays, and others in
    /// the same transaction go on. A job whose caller goes away before its turn is left out.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        what: &'static str,
        weight: usize,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let run = move |transaction: Result<&Connection>| -> Option<Answer> {
            if sender.is_closed() {
                return None;
            }
            let result = transaction
                .and_then(|connection| in_savepoint(connection, job).map_err(|error| tell(what, &error)));
            Some(Box::new(move |committed| {
                // Nobody waits any more: the change stands all the same.
                let _ = sender.send(committed.and(result));
            }))
        };
        self.0.send(Job { weight, run: Box::new(run) }).map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())?
    }
}

fn gone() -> Error {
    tracing::error!("the thread that writes messages has ended");
    unavailable()
}

fn in_savepoint<T>(
    connection: &Connection,
    job: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let result = job(connection);
    if result.is_err() {
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    result
}

fn work(connection: &Connection, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let group = together(first, jobs);
        let begun = run(connection, "BEGIN IMMEDIATE");
        let mut answers = Vec::with_capacity(group.len());
        for job in group {
            let transaction = match &begun {
                // A full disk ends the whole transaction; nothing may be written outside of one.
                Ok(()) if connection.is_autocommit() => Err(unavailable()),
                Ok(()) => Ok(connection),
                Err(error) => Err(error.clone()),
            };
            answers.extend((job.run)(transaction));
        }
        let outcome = begun.and_then(|()| run(connection, "COMMIT"));
        if !connection.is_autocommit() {
            let _ = run(connection, "ROLLBACK");
        }
        for answer in answers {
            answer(outcome.clone());
        }
    }
}

/// What waits now. Those who come while it is written go with the next: if they were let in, all would wait for one commit and
/// go on together after it, and writing and everything else would take turns instead of going on at the same time.
fn together(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut weight = first.weight;
    let mut group = vec![first];
    while weight < WEIGHT_LIMIT
        && let Ok(job) = jobs.try_recv()
    {
        weight += job.weight;
        group.push(job);
    }
    group
}

fn run(connection: &Connection, statement: &'static str) -> Result<()> {
    let done = connection.prepare_cached(statement).and_then(|mut prepared| prepared.execute([]));
    done.map(drop).map_err(|error| tell(statement, &error))
}
