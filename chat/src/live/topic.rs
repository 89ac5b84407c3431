//! A followed channel on this node: puts what arrives into tick order, once for all of its listeners.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use quikapp_entities::ChannelId;
use tokio::sync::mpsc;

use crate::{
    Result,
    live::{
        feed::{Feed, Replays},
        notes::Notes,
        relay::Relay,
        ring,
    },
    messages::model::{ChannelKey, Message},
    store::{Head, MessageStore},
};

/// Changes that a listener may be behind the node before it reads the rest from the store.
const BUFFER: usize = 1_024;
/// Changes that may wait for a topic's sequencer; what comes on top of them is read from the store.
const WAITING: usize = 512;
/// How many changes one query of a replay reads.
pub(super) const REPLAY_PAGE: usize = 200;
/// How long a topic without listeners is kept, for those who come back.
const IDLE: Duration = Duration::from_secs(30);
const TOPIC_PREFIX: &str = "log:";

/// What a topic's sequencer is told.
pub(crate) enum Raw {
    /// A message changed; in any order, any number of times.
    Changed(Arc<Message>),
    /// A message changed at this tick; it was too large to be passed on, so it has to be read.
    Reached(i64),
    /// Something may have been missed: look at the store.
    Check,
}

/// A change on its way to the listeners.
#[derive(Clone)]
pub(super) struct Step {
    /// The tick before it that every listener was told.
    pub(super) before: i64,
    pub(super) message: Arc<Message>,
    pub(super) notes: Arc<Notes>,
    /// The tick that the log had reached when the message was read, or a later one. Within what is read from the store a
    /// message stands at its latest tick only, behind others that are younger: not before this tick has everything been
    /// told.
    pub(super) head: i64,
}

/// A channel with listeners.
pub(super) struct Topic {
    pub(super) key: ChannelKey,
    raw: mpsc::Sender<Raw>,
    /// Whether something found no room in `raw`, so that the store has to be looked at.
    has_missed: AtomicBool,
    pub(super) out: ring::Sender<Step>,
    /// The last tick that was sent out. Raised before the sending, so that a listener who reads it after subscribing
    /// misses nothing above it.
    pub(super) last: Arc<AtomicI64>,
    started: OnceLock<()>,
}

impl Topic {
    /// Hands something to the sequencer; never waits.
    pub(super) fn tell(&self, raw: Raw) {
        if self.raw.try_send(raw).is_err() {
            self.has_missed.store(true, Ordering::SeqCst);
            // The sequencer may have emptied its queue by now, and then this wakes it; else it has yet to receive
            // something, and looks at the mark then.
            let _ = self.raw.try_send(Raw::Check);
        }
    }

    /// Begins at `head`, which was read after the relay was subscribed to, unless it has begun.
    fn start(&self, head: i64) {
        if self.started.get().is_some() {
            return;
        }
        self.last.fetch_max(head, Ordering::SeqCst);
        if self.started.set(()).is_ok() {
            // What came in between the reading of the head and now was not sent out. Told only now, when the sequencer
            // does not turn it away any more.
            self.tell(Raw::Check);
        }
    }
}

/// All followed channels of this node.
pub(crate) struct Topics {
    followed: Mutex<HashMap<ChannelId, Arc<Topic>>>,
    store: Arc<dyn MessageStore>,
    relay: Option<Relay>,
    replays: Arc<Replays>,
}

/// The name of a channel's topic on the relay.
pub(crate) fn topic_name(channel: ChannelId) -> String {
    format!("{TOPIC_PREFIX}{}", channel.0.simple())
}

/// The channel of a topic on the relay, if it is one of a channel.
pub(crate) fn channel_of(topic_name: &str) -> Option<ChannelId> {
    let id = topic_name.strip_prefix(TOPIC_PREFIX)?;
    uuid::Uuid::try_parse(id).ok().map(ChannelId)
}

impl Topics {
    pub(crate) fn new(store: Arc<dyn MessageStore>, relay: Option<Relay>) -> Self {
        let replays = Arc::new(Replays::new(Arc::clone(&store)));
        Self { followed: Mutex::default(), store, relay, replays }
    }

    /// Hands a change to the channel's listeners, if there are any.
    pub(crate) fn deliver(&self, channel: ChannelId, raw: Raw) {
        if let Some(topic) = self.lock().get(&channel) {
            topic.tell(raw);
        }
    }

    /// Whether anybody on this node follows the channel.
    pub(crate) fn is_followed(&self, channel: ChannelId) -> bool {
        self.lock().contains_key(&channel)
    }

    /// The followed channels with the last tick sent out.
    pub(crate) fn positions(&self) -> Vec<(ChannelKey, i64)> {
        self.lock().values().map(|topic| (topic.key, topic.last.load(Ordering::SeqCst))).collect()
    }

    // A poisoned lock guards a plain map: it is as good as before.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ChannelId, Arc<Topic>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows channels from their present ticks on; one query and one command, however many they are.
    pub(crate) async fn follow(self: &Arc<Self>, keys: &[ChannelKey]) -> Result<Vec<Feed>> {
        let joined: Vec<_> = keys.iter().map(|key| self.join(*key)).collect();
        let new: Vec<ChannelKey> = joined
            .iter()
            .filter(|(topic, _)| topic.started.get().is_none())
            .map(|(topic, _)| topic.key)
            .collect();
        if !new.is_empty() {
            if let Some(relay) = &self.relay {
                let names: Vec<_> = new.iter().map(|key| topic_name(key.channel)).collect();
                relay.subscribe_all(&names).await?;
            }
            let heads: HashMap<ChannelKey, Head> = match new.as_slice() {
                [only] => HashMap::from([(*only, self.store.head(*only).await?)]),
                many => self.store.heads(many).await?.into_iter().collect(),
            };
            for (topic, _) in &joined {
                let Some(key) = new.iter().find(|key| **key == topic.key) else { continue };
                topic.start(heads.get(key).map_or(0, |head| head.seq));
            }
        }
        Ok(joined.into_iter().map(|(topic, out)| Feed::new(topic, out, Arc::clone(&self.replays))).collect())
    }

    /// The channel's topic, made if there is none, with a place among its listeners.
    fn join(self: &Arc<Self>, key: ChannelKey) -> (Arc<Topic>, ring::Receiver<Step>) {
        // Subscribed under the lock under which an idle topic would be taken away, so it stays.
        let mut topics = self.lock();
        if let Some(topic) = topics.get(&key.channel) {
            return (Arc::clone(topic), topic.out.subscribe());
        }
        let (raw, receiver) = mpsc::channel(WAITING);
        let topic = Arc::new(Topic {
            key,
            raw,
            has_missed: AtomicBool::new(false),
            out: ring::channel(BUFFER),
            last: Arc::new(AtomicI64::new(0)),
            started: OnceLock::new(),
        });
        let out = topic.out.subscribe();
        topics.insert(key.channel, Arc::clone(&topic));
        let sequencer = sequence(
            Arc::clone(self),
            Arc::clone(&topic),
            receiver,
            Arc::clone(&self.store),
            self.relay.clone(),
        );
        tokio::spawn(sequencer);
        (topic, out)
    }
}

/// Sends changes out in tick order, filling gaps from the store, until nobody has listened for a while.
async fn sequence(
    topics: Arc<Topics>,
    topic: Arc<Topic>,
    mut raw: mpsc::Receiver<Raw>,
    store: Arc<dyn MessageStore>,
    relay: Option<Relay>,
) {
    loop {
        let message = match tokio::time::timeout(IDLE, raw.recv()).await {
            Ok(Some(message)) if !topic.has_missed.swap(false, Ordering::SeqCst) => message,
            Ok(Some(_)) => {
                while raw.try_recv().is_ok() {}
                Raw::Check
            }
            Ok(None) => return,
            Err(_) => {
                if retire(&topics, &topic) {
                    if let Some(relay) = &relay {
                        relay.unsubscribe(&topic_name(topic.key.channel)).await;
                        // Somebody may have come back while this was under way, and then needs the subscription.
                        if topics.is_followed(topic.key.channel) {
                            let _ = relay.subscribe(&topic_name(topic.key.channel)).await;
                            topics.deliver(topic.key.channel, Raw::Check);
                        }
                    }
                    return;
                }
                continue;
            }
        };
        if topic.started.get().is_none() {
            // Whoever starts the topic reads the head after this, and thus everything told before.
            continue;
        }
        let last = topic.last.load(Ordering::SeqCst);
        match message {
            Raw::Changed(message) if message.seq == last + 1 => {
                let head = message.seq;
                send_out(&topic, message, head);
            }
            Raw::Changed(message) if message.seq <= last => {}
            Raw::Changed(message) => fill(&topic, store.as_ref(), message.seq).await,
            Raw::Reached(tick) if tick <= last => {}
            Raw::Reached(tick) => fill(&topic, store.as_ref(), tick).await,
            Raw::Check => fill(&topic, store.as_ref(), 0).await,
        }
    }
}

fn send_out(topic: &Topic, message: Arc<Message>, head: i64) {
    let before = topic.last.swap(message.seq, Ordering::SeqCst);
    topic.out.send(Step { before, message, notes: Arc::default(), head });
}

/// The tick up to which a page that was just read is coalesced, or a later one: a message that was not in it stood further
/// back then.
pub(super) async fn head_of(page: &[Message], key: ChannelKey, store: &dyn MessageStore) -> Result<i64> {
    let last = page.last().map_or(0, |message| message.seq);
    if page.len() < REPLAY_PAGE {
        return Ok(last);
    }
    Ok(store.head(key).await?.seq.max(last))
}

/// Reads what is missing and sends it out; tries until the store answers, as there is no other way to go on. `goal` is a
/// tick that is known to be taken, or 0.
async fn fill(topic: &Topic, store: &dyn MessageStore, goal: i64) {
    let mut wait = Duration::from_millis(50);
    let mut is_latest = false;
    loop {
        match fill_page(topic, store).await {
            Ok(true) => {}
            Ok(false) if is_latest || topic.last.load(Ordering::SeqCst) >= goal => return,
            // Right after a failover the store may tell less than was acknowledged before.
            Ok(false) => is_latest = store.latest_head(topic.key).await.is_ok(),
            Err(error) => {
                tracing::debug!(%error, "a gap in a channel could not be filled yet");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(2));
            }
        }
        if topic.out.receiver_count() == 0 {
            return;
        }
    }
}

/// Sends out one page; tells whether there may be more.
async fn fill_page(topic: &Topic, store: &dyn MessageStore) -> Result<bool> {
    let page = store.changes(topic.key, topic.last.load(Ordering::SeqCst), REPLAY_PAGE).await?;
    let head = head_of(&page, topic.key, store).await?;
    let is_full = page.len() == REPLAY_PAGE;
    for message in page {
        send_out(topic, Arc::new(message), head);
    }
    Ok(is_full)
}

/// Takes the topic away if nobody listens.
fn retire(topics: &Topics, topic: &Arc<Topic>) -> bool {
    let mut topics = topics.lock();
    if topic.out.receiver_count() > 0 {
        return false;
    }
    topics.remove(&topic.key.channel);
    true
}
