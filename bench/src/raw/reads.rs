//! Reads: what the driver finds, decoded and written as JSON.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{mongo::MongoReads, sqlite::SqliteReads};
use crate::{
    failure::{Failure, Result},
    load::{self, Load, Steps},
    process::{Meter, Process},
    run::Bench,
    stores::Mode,
};

/// SQLite's are blocking: as many at a time as the server has readers.
const SQLITE_READERS: usize = 4;

/// Reads of one channel.
pub(crate) struct Reads {
    client_id: String,
    mongo: Option<MongoReads>,
    processes: Vec<Process>,
}

impl Reads {
    /// Of the channel of the message with this number.
    pub(crate) async fn open(bench: &Bench<'_>, number: u64) -> Result<Self> {
        let client_id = number.to_string();
        let mongo = match bench.mode {
            Mode::Servers => Some(MongoReads::open(&bench.stores, bench.drivers, client_id.clone()).await?),
            Mode::Embedded => None,
        };
        let mut processes = bench.stores.processes();
        processes.retain(|process| process.name == "mongod");
        processes.push(Process::client());
        Ok(Self { client_id, mongo, processes })
    }

    /// Reads pages for a while, so many at a time.
    pub(crate) async fn pages(
        &self,
        bench: &Bench<'_>,
        readers: usize,
        size: usize,
        time: Duration,
    ) -> Result<Load> {
        let mut loops = JoinSet::new();
        let meter = Meter::start(&self.processes);
        if let Some(mongo) = &self.mongo {
            for _ in 0..readers {
                let mongo = mongo.clone();
                let pages = async move {
                    let mut steps = Steps::lasting(time);
                    while let Some(began) = steps.begin() {
                        whole(size, mongo.newest(size).await?)?;
                        steps.done(began);
                    }
                    Ok(steps.latencies())
                };
                loops.spawn_on(pages, bench.drivers);
            }
        } else {
            for _ in 0..readers.min(SQLITE_READERS) {
                let sqlite = SqliteReads::open(&bench.stores, &self.client_id)?;
                let pages = move || {
                    let mut steps = Steps::lasting(time);
                    while let Some(began) = steps.begin() {
                        whole(size, sqlite.newest(size)?)?;
                        steps.done(began);
                    }
                    Ok(steps.latencies())
                };
                loops.spawn_blocking_on(pages, bench.drivers);
            }
        }
        let latencies = load::gather(loops).await?.concat();
        Ok(Load { latencies, usage: meter.read() })
    }

    /// Reads the channel's first so many changes once: the time and the CPU seconds that it took.
    pub(crate) async fn changes(&self, bench: &Bench<'_>, count: usize) -> Result<(Duration, f64)> {
        let meter = Meter::start(&self.processes);
        if let Some(mongo) = self.mongo.clone() {
            let read = async move { whole(count, mongo.changes(0, count).await?) };
            bench.drivers.spawn(read).await??;
        } else {
            let sqlite = SqliteReads::open(&bench.stores, &self.client_id)?;
            bench.drivers.spawn_blocking(move || whole(count, sqlite.changes(0, count)?)).await??;
        }
        let usage = meter.read();
        Ok((usage.elapsed, usage.cpu.iter().map(|(_, seconds)| seconds).sum()))
    }
}

/// Checks that nothing is missing. Gives the length, so that the work cannot be left out.
fn whole(expected: usize, (count, json): (usize, Vec<u8>)) -> Result<usize> {
    if count == expected {
        Ok(json.len())
    } else {
        Err(Failure::new(format!("{count} messages were read instead of {expected}")))
    }
}
