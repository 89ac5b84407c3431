//! Channel counters: what the log counts exactly is copied into the channel lists once in a moment, off the sends' way.

use std::{collections::HashMap, sync::Arc, time::Duration};

use quikapp_entities::channels;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::sync::mpsc;

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

/// Copies the counters of channels that are told to it, until its sender is gone.
pub(crate) async fn run(
    db: Database,
    store: Arc<dyn MessageStore>,
    mut changed: mpsc::UnboundedReceiver<Changed>,
) {
    // What was told last of a channel holds: a lane tells its changes in their order, and where several nodes write to it, the
    // relational store keeps what is of the higher tick.
    let mut due: HashMap<ChannelKey, Option<ChannelActivity>> = HashMap::new();
    while let Some(first) = changed.recv().await {
        if is_read_log(first.key) {
            continue;
        }
        due.insert(first.key, first.counters);
        tokio::time::sleep(EVERY).await;
        while let Ok(Changed { key, counters }) = changed.try_recv() {
            if !is_read_log(key) {
                due.insert(key, counters);
            }
        }
        while !due.is_empty() {
            let part: Vec<_> = due.iter().map(|(key, counters)| (*key, *counters)).take(AT_ONCE).collect();
            let unknown: Vec<_> =
                part.iter().filter(|(_, counters)| counters.is_none()).map(|(key, _)| *key).collect();
            let known = part.iter().filter_map(|(_, counters)| *counters).collect();
            match write(&db, store.as_ref(), &unknown, known).await {
                Ok(()) => {
                    for (key, _) in part {
                        due.remove(&key);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "channel counters are late");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn write(
    db: &Database,
    store: &dyn MessageStore,
    unknown: &[ChannelKey],
    mut counters: Vec<ChannelActivity>,
) -> Result<()> {
    if !unknown.is_empty() {
        counters.extend(read(store, unknown).await?);
    }
    set_channel_activity(db, &counters).await
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

/// Brings all channels up to their logs that a stopped node left behind.
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
