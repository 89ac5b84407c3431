//! Channel counters: what the log counts exactly is copied into the channel lists once in a moment, off the sends' way.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use quikapp_entities::channels;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Result,
    channels::{ChannelActivity, set_channel_activity},
    database::Database,
    messages::model::{ChannelKey, Message},
    reads::is_read_log,
    store::MessageStore,
};

/// How often the counters are copied; with the copying itself they are at most a second behind.
const EVERY: Duration = Duration::from_millis(400);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Channels copied with one query of the message store.
const AT_ONCE: usize = 200;

/// A channel whose log went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Which channel.
    pub key: ChannelKey,
    /// Its counters after the change, where the change itself tells them all: a new message in the timeline does. Without them
    /// the message store is asked.
    pub counters: Option<ChannelActivity>,
}

impl Changed {
    /// What the message that a log went on with tells of the channel.
    pub(crate) fn by(message: &Message) -> Self {
        let is_newest = message.seq == message.ts && message.counts() && message.in_timeline();
        let counters = is_newest.then_some(ChannelActivity {
            channel: message.key.channel,
            message_count: message.visible_count,
            last_message_at: Some(message.created_at),
            log_seq: message.seq,
        });
        Self { key: message.key, counters }
    }
}

/// Asks for what was told so far to be copied at once.
#[derive(Clone)]
pub(crate) struct Flush(mpsc::Sender<oneshot::Sender<()>>);

impl Flush {
    /// Returns when all is copied that was told before.
    pub(crate) async fn now(&self) {
        let (done, answer) = oneshot::channel();
        if self.0.send(done).await.is_ok() {
            let _ = answer.await;
        }
    }
}

/// Begins copying the counters of channels that are told to `changed`, until its sender is gone. Needs a Tokio runtime.
pub(crate) fn start(
    db: Database,
    store: Arc<dyn MessageStore>,
    changed: mpsc::UnboundedReceiver<Changed>,
) -> Flush {
    let (flush, asked) = mpsc::channel(1);
    tokio::spawn(Copying { db, store, changed, asked, due: HashMap::new() }.run());
    Flush(flush)
}

/// Counters by channel; none where the message store has to be asked for them.
type Due = HashMap<ChannelKey, Option<ChannelActivity>>;

struct Copying {
    db: Database,
    store: Arc<dyn MessageStore>,
    changed: mpsc::UnboundedReceiver<Changed>,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    due: Due,
}

impl Copying {
    async fn run(mut self) {
        loop {
            let done = tokio::select! {
                biased;
                Some(done) = self.asked.recv() => Some(done),
                first = self.changed.recv() => {
                    let Some(first) = first else { return };
                    note(&mut self.due, first);
                    self.rest(EVERY).await
                }
            };
            self.copy_all().await;
            if let Some(done) = done {
                let _ = done.send(());
            }
        }
    }

    /// Gathers for a while, or until somebody asks for what is there.
    async fn rest(&mut self, time: Duration) -> Option<oneshot::Sender<()>> {
        tokio::select! {
            biased;
            Some(done) = self.asked.recv() => Some(done),
            () = tokio::time::sleep(time) => None,
        }
    }

    /// Copies what was told so far. What is told meanwhile waits for the next time, or the copying would never rest while
    /// somebody writes.
    async fn copy_all(&mut self) {
        self.take_in();
        while !self.due.is_empty() {
            let part: Vec<_> =
                self.due.iter().map(|(key, counters)| (*key, *counters)).take(AT_ONCE).collect();
            let unknown: Vec<_> =
                part.iter().filter(|(_, counters)| counters.is_none()).map(|(key, _)| *key).collect();
            let known: Vec<_> = part.iter().filter_map(|(_, counters)| *counters).collect();
            match write(&self.db, self.store.as_ref(), &unknown, &known).await {
                Ok(()) => {
                    for (key, _) in part {
                        self.due.remove(&key);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "channel counters are late");
                    tokio::time::sleep(RETRY).await;
                    // While a store is away what is told comes together here, and does not pile up.
                    self.take_in();
                }
            }
        }
    }

    fn take_in(&mut self) {
        while let Ok(next) = self.changed.try_recv() {
            note(&mut self.due, next);
        }
    }
}

/// Adds what is told of a channel to what was told before: the greater tick holds, and where the store has to be asked, it is.
fn note(due: &mut Due, changed: Changed) {
    if is_read_log(changed.key) {
        return;
    }
    match (due.entry(changed.key), changed.counters) {
        (Entry::Vacant(entry), counters) => {
            entry.insert(counters);
        }
        (Entry::Occupied(mut entry), Some(counters)) => {
            let is_newer = entry.get().is_some_and(|known| known.log_seq < counters.log_seq);
            if is_newer {
                entry.insert(Some(counters));
            }
        }
        (Entry::Occupied(mut entry), None) => {
            entry.insert(None);
        }
    }
}

async fn write(
    db: &Database,
    store: &dyn MessageStore,
    unknown: &[ChannelKey],
    known: &[ChannelActivity],
) -> Result<()> {
    // Those first that need not wait for the message store.
    set_channel_activity(db, known).await?;
    if unknown.is_empty() { Ok(()) } else { copy(db, store, unknown).await }
}

/// Brings the counters of these channels up to their logs.
pub(crate) async fn copy(db: &Database, store: &dyn MessageStore, keys: &[ChannelKey]) -> Result<()> {
    set_channel_activity(db, &read(store, keys).await?).await
}

async fn read(store: &dyn MessageStore, keys: &[ChannelKey]) -> Result<Vec<ChannelActivity>> {
    // The heads first: a message that comes in between is told, and its channel copied once more.
    let heads = store.heads(keys).await?;
    let floors: Vec<_> = keys.iter().map(|key| (*key, 0)).collect();
    let newest: HashMap<_, _> =
        store.newest(&floors).await?.into_iter().map(|message| (message.key, message.created_at)).collect();
    let counters = heads.into_iter().map(|(key, head)| ChannelActivity {
        channel: key.channel,
        message_count: head.visible_count,
        last_message_at: newest.get(&key).copied(),
        log_seq: head.seq,
    });
    Ok(counters.collect())
}

/// Brings all channels up to their logs that a stopped node left behind. Two queries for 200 channels.
pub(crate) async fn catch_up(db: &Database, store: &dyn MessageStore) -> Result<()> {
    let mut after = None;
    loop {
        let mut query = channels::Entity::find().order_by_asc(channels::Column::Id).limit(AT_ONCE as u64);
        if let Some(after) = after {
            query = query.filter(channels::Column::Id.gt(after));
        }
        let channels = db.read(query.all(db.pool())).await?;
        let Some(last) = channels.last() else { return Ok(()) };
        after = Some(last.id);
        let known: HashMap<ChannelKey, i64> = channels
            .iter()
            .map(|channel| {
                (ChannelKey { workspace: channel.workspace_id, channel: channel.id }, channel.log_seq)
            })
            .collect();
        let keys: Vec<ChannelKey> = known.keys().copied().collect();
        let behind: Vec<ChannelKey> = store
            .heads(&keys)
            .await?
            .into_iter()
            .filter(|(key, head)| known.get(key).is_some_and(|seq| *seq < head.seq))
            .map(|(key, _)| key)
            .collect();
        if !behind.is_empty() {
            copy(db, store, &behind).await?;
        }
    }
}

#[cfg(test)]
mod tests;
