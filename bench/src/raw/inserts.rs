//! Grouped inserts: one writer takes all that waits and writes it in one call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use uuid::Uuid;

use super::{mongo::MongoInserts, sqlite::SqliteInserts};
use crate::{
    failure::{Failure, Result},
    load::{self, Load, Steps},
    marker::{Marker, first_of},
    process::{Meter, Process},
    report::Account,
    run::Bench,
    stores::Mode,
};

/// The inserts of one benchmark.
pub(crate) struct Inserts {
    store: Store,
    senders: usize,
    places: Arc<Vec<Place>>,
    acknowledged: AtomicU64,
    processes: Vec<Process>,
}

enum Store {
    Mongo(MongoInserts),
    Sqlite(SqliteInserts),
}

/// A channel that nobody but this benchmark knows.
struct Place {
    channel: Uuid,
    tick: AtomicI64,
}

/// What one message has of its own.
pub(super) struct Own {
    pub(super) channel: Uuid,
    pub(super) author: Uuid,
    pub(super) tick: i64,
    pub(super) marker: Marker,
}

/// Something to be written, and who waits for it.
pub(super) type Waiting<T> = (T, oneshot::Sender<()>);

impl Inserts {
    /// Takes a message that the server wrote for its pattern.
    pub(crate) async fn open(bench: &Bench<'_>, senders: usize, channels: usize) -> Result<Self> {
        let place = |_| Place { channel: Uuid::now_v7(), tick: AtomicI64::new(0) };
        let (store, mut processes) = match bench.mode {
            Mode::Servers => (
                Store::Mongo(MongoInserts::open(&bench.stores, bench.drivers).await?),
                bench.stores.processes(),
            ),
            Mode::Embedded => (Store::Sqlite(SqliteInserts::open(&bench.stores)?), Vec::new()),
        };
        processes.retain(|process| process.name == "mongod");
        processes.push(Process::client());
        let places = Arc::new((0..channels).map(place).collect());
        Ok(Self { store, senders, places, acknowledged: AtomicU64::new(0), processes })
    }

    /// Inserts for a while.
    pub(crate) async fn round(&self, bench: &Bench<'_>, time: Duration) -> Result<Load> {
        let meter = Meter::start(&self.processes);
        let (senders, places, drivers) = (self.senders, &self.places, bench.drivers);
        let latencies = match &self.store {
            Store::Mongo(store) => {
                let (out, waiting) = mpsc::channel(senders);
                let writer = drivers.spawn(store.writer(waiting, senders));
                let latencies = grouped(drivers, senders, places, time, &out, store.maker()).await;
                drop(out);
                writer.await??;
                latencies?
            }
            Store::Sqlite(store) => {
                let (out, waiting) = mpsc::channel(senders);
                let writer = drivers.spawn_blocking(store.writer(waiting, senders)?);
                let latencies = grouped(drivers, senders, places, time, &out, store.maker()).await;
                drop(out);
                writer.await??;
                latencies?
            }
        };
        let usage = meter.read();
        self.acknowledged.fetch_add(latencies.len() as u64, Ordering::Relaxed);
        Ok(Load { latencies, usage })
    }

    /// Whether there is what was acknowledged.
    pub(crate) async fn account(&self, bench: &Bench<'_>) -> Result<Account> {
        let stored = match &self.store {
            Store::Mongo(store) => store.count(bench.drivers).await?,
            Store::Sqlite(store) => store.count()?,
        };
        let expected = self.acknowledged.load(Ordering::Relaxed);
        let (lost, repeated) = (expected.saturating_sub(stored), stored.saturating_sub(expected));
        Ok(Account { expected, lost, repeated })
    }
}

/// So many senders, each with its next one when the last is written.
async fn grouped<T: Send + 'static>(
    drivers: &Handle,
    senders: usize,
    places: &Arc<Vec<Place>>,
    time: Duration,
    out: &mpsc::Sender<Waiting<T>>,
    make: impl Fn(&Own) -> Result<T> + Clone + Send + 'static,
) -> Result<Vec<u32>> {
    let mut loops = JoinSet::new();
    for sender in 0..senders {
        let (out, places, make) = (out.clone(), Arc::clone(places), make.clone());
        loops.spawn_on(
            async move {
                let place = &places[sender % places.len()];
                let author = Uuid::now_v7();
                let mut number = first_of(sender);
                let gone = || Failure::new("the writer of a raw benchmark has ended");
                let mut steps = Steps::lasting(time);
                while let Some(began) = steps.begin() {
                    let (done, written) = oneshot::channel();
                    let own = Own {
                        channel: place.channel,
                        author,
                        tick: place.tick.fetch_add(1, Ordering::Relaxed) + 1,
                        marker: Marker::now(number),
                    };
                    number += 1;
                    out.send((make(&own)?, done)).await.map_err(|_| gone())?;
                    written.await.map_err(|_| gone())?;
                    steps.done(began);
                }
                Ok(steps.latencies())
            },
            drivers,
        );
    }
    Ok(load::gather(loops).await?.concat())
}
