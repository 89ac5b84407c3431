//! Channel counters: what the log counts exactly is copied into the channel lists once in a moment, off the sends' way.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use quikapp_entities::channels;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::sync::mpsc;

use crate::{
    Result,
    channels::{ChannelActivity, set_channel_activity},
    database::Database,
    messages::model::ChannelKey,
    reads::is_read_log,
    store::MessageStore,
};

/// How often the counters are copied; with the copying itself they are at most a second behind.
const EVERY: Duration = Duration::from_millis(400);
/// Channels copied with one query of the message store.
const AT_ONCE: usize = 200;

/// Copies the counters of channels that are told to it, until its sender is gone.
pub(crate) async fn run(
    db: Database,
    store: Arc<dyn MessageStore>,
    mut changed: mpsc::UnboundedReceiver<ChannelKey>,
) {
    let mut due: HashSet<ChannelKey> = HashSet::new();
    while let Some(key) = changed.recv().await {
        if is_read_log(key) {
            continue;
        }
        due.insert(key);
        tokio::time::sleep(EVERY).await;
        while let Ok(key) = changed.try_recv() {
            if !is_read_log(key) {
                due.insert(key);
            }
        }
        while !due.is_empty() {
            let part: Vec<ChannelKey> = due.iter().copied().take(AT_ONCE).collect();
            match copy(&db, store.as_ref(), &part).await {
                Ok(()) => {
                    for key in part {
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

/// Brings the counters of these channels up to their logs.
pub(crate) async fn copy(db: &Database, store: &dyn MessageStore, keys: &[ChannelKey]) -> Result<()> {
    // The heads first: a message that comes in between is told, and its channel copied once more.
    let heads = store.heads(keys).await?;
    let floors: Vec<_> = keys.iter().map(|key| (*key, 0)).collect();
    let newest: HashMap<_, _> =
        store.newest(&floors).await?.into_iter().map(|message| (message.key, message.created_at)).collect();
    let activity: Vec<_> = heads
        .into_iter()
        .map(|(key, head)| ChannelActivity {
            channel: key.channel,
            message_count: head.visible_count,
            last_message_at: newest.get(&key).copied(),
            log_seq: head.seq,
        })
        .collect();
    set_channel_activity(db, &activity).await
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
