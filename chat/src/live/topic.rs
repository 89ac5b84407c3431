//! A followed channel on this node: puts what arrives into tick order, once for all of its listeners.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use quikapp_entities::{ChannelId, MessageId};
use tokio::sync::{OnceCell, mpsc};

use crate::{
    Result,
    live::{
        notes::Notes,
        relay::Relay,
        ring::{self, Lagged},
    },
    messages::model::{ChannelKey, Message},
    store::MessageStore,
};

/// Changes that a listener may be behind the node before it reads the rest from the store.
const BUFFER: usize = 1_024;
/// Changes that may wait for a topic's sequencer; what comes on top of them is read from the store.
const WAITING: usize = 512;
/// How many changes one query of a replay reads.
const REPLAY_PAGE: usize = 200;
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
struct Step {
    /// The tick before it that every listener was told.
    before: i64,
    message: Arc<Message>,
    notes: Arc<Notes>,
    /// Whether with it everything up to its tick has been told. Not so within what is read from the store: there a message
    /// stands at its latest tick only, behind others that are younger.
    is_complete: bool,
}

/// A channel with listeners.
struct Topic {
    key: ChannelKey,
    raw: mpsc::Sender<Raw>,
    /// Whether something found no room in `raw`, so that the store has to be looked at.
    has_missed: AtomicBool,
    out: ring::Sender<Step>,
    /// The last tick that was sent out. Raised before the sending, so that a listener who reads it after subscribing
    /// misses nothing above it.
    last: Arc<AtomicI64>,
    started: OnceCell<()>,
}

impl Topic {
    /// Hands something to the sequencer; never waits.
    fn tell(&self, raw: Raw) {
        if self.raw.try_send(raw).is_err() {
            self.has_missed.store(true, Ordering::SeqCst);
            // The sequencer may have emptied its queue by now, and then this wakes it; else it has yet to receive
            // something, and looks at the mark then.
            let _ = self.raw.try_send(Raw::Check);
        }
    }
}

/// All followed channels of this node.
#[derive(Default)]
pub(crate) struct Topics(Mutex<HashMap<ChannelId, Arc<Topic>>>);

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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a channel from its present tick on.
    pub(crate) async fn follow(
        self: &Arc<Self>,
        key: ChannelKey,
        store: &Arc<dyn MessageStore>,
        relay: Option<&Relay>,
    ) -> Result<Feed> {
        // Subscribed under the lock under which an idle topic would be taken away, so it stays.
        let (topic, out, raw) = {
            let mut topics = self.lock();
            if let Some(topic) = topics.get(&key.channel) {
                (Arc::clone(topic), topic.out.subscribe(), None)
            } else {
                let (raw, receiver) = mpsc::channel(WAITING);
                let topic = Arc::new(Topic {
                    key,
                    raw,
                    has_missed: AtomicBool::new(false),
                    out: ring::channel(BUFFER),
                    last: Arc::new(AtomicI64::new(0)),
                    started: OnceCell::new(),
                });
                let out = topic.out.subscribe();
                topics.insert(key.channel, Arc::clone(&topic));
                (topic, out, Some(receiver))
            }
        };
        if let Some(receiver) = raw {
            tokio::spawn(sequence(
                Arc::clone(self),
                Arc::clone(&topic),
                receiver,
                Arc::clone(store),
                relay.cloned(),
            ));
        }
        let began = AtomicBool::new(false);
        topic
            .started
            .get_or_try_init(|| async {
                if let Some(relay) = relay {
                    relay.subscribe(&topic_name(key.channel)).await?;
                }
                let head = store.head(key).await?.seq;
                topic.last.fetch_max(head, Ordering::SeqCst);
                began.store(true, Ordering::SeqCst);
                Ok::<(), crate::Error>(())
            })
            .await?;
        if began.into_inner() {
            // What came in between the reading of the head and now was not sent out. Told only now, when the sequencer
            // does not turn it away any more.
            topic.tell(Raw::Check);
        }
        let position = topic.last.load(Ordering::SeqCst);
        Ok(Feed {
            key,
            out,
            position,
            complete: position,
            told: HashMap::new(),
            replay: VecDeque::new(),
            is_behind: false,
            store: Arc::clone(store),
            topic,
        })
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
        if !topic.started.initialized() {
            // Whoever starts the topic reads the head after this, and thus everything told before.
            continue;
        }
        let last = topic.last.load(Ordering::SeqCst);
        match message {
            Raw::Changed(message) if message.seq == last + 1 => send_out(&topic, message, true),
            Raw::Changed(message) if message.seq <= last => {}
            Raw::Changed(message) => fill(&topic, store.as_ref(), message.seq).await,
            Raw::Reached(tick) if tick <= last => {}
            Raw::Reached(tick) => fill(&topic, store.as_ref(), tick).await,
            Raw::Check => fill(&topic, store.as_ref(), 0).await,
        }
    }
}

fn send_out(topic: &Topic, message: Arc<Message>, is_complete: bool) {
    let before = topic.last.swap(message.seq, Ordering::SeqCst);
    topic.out.send(Step { before, message, notes: Arc::default(), is_complete });
}

/// Marks the last message of a page that reaches up to the present: with it everything has been told.
fn marked(page: Vec<Message>) -> impl Iterator<Item = (Arc<Message>, bool)> {
    let length = page.len();
    let last = if length < REPLAY_PAGE { length } else { 0 };
    page.into_iter().enumerate().map(move |(index, message)| (Arc::new(message), index + 1 == last))
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
    let is_full = page.len() == REPLAY_PAGE;
    for (message, is_complete) in marked(page) {
        send_out(topic, message, is_complete);
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

/// A change as one listener sees it.
#[derive(Debug, Clone)]
pub struct Told {
    /// The listener's position before it.
    pub before: i64,
    /// The tick as of which the listener knows the message. One that is younger is new to it.
    pub after: i64,
    /// The message as it is now.
    pub message: Arc<Message>,
    /// What other listeners made of it.
    pub notes: Arc<Notes>,
}

/// One listener's view of a channel: every change after its position, in order, each at most once. Where it was too slow
/// for the node's buffer it reads on from the store: coalesced, but complete.
pub struct Feed {
    key: ChannelKey,
    out: ring::Receiver<Step>,
    position: i64,
    /// The tick as of which the listener knows every message.
    complete: i64,
    /// Those that it was told behind that, with their ticks.
    told: HashMap<MessageId, i64>,
    /// Read from the store, and whether everything is told with it.
    replay: VecDeque<(Arc<Message>, bool)>,
    /// Whether the store has more.
    is_behind: bool,
    store: Arc<dyn MessageStore>,
    // Keeps the sequencer's channel open.
    topic: Arc<Topic>,
}

impl Feed {
    /// The tick up to which the listener has been told.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Goes on after `after`, a tick that the channel has reached: what changed since then is told first, as it is now.
    pub fn resume_after(&mut self, after: i64) {
        self.position = after;
        self.complete = after;
        self.told = HashMap::new();
        // The node's present tick may be ahead of what the buffer will tell.
        self.topic.tell(Raw::Check);
        self.behind();
    }

    fn behind(&mut self) {
        self.replay.clear();
        self.out = self.topic.out.subscribe();
    }

    /// The next change. Waits until there is one; none when the position moved over ticks of which nothing is left.
    ///
    /// # Errors
    /// When the store does not answer while the listener reads on from it; the feed stays valid.
    pub async fn next(&mut self) -> Result<Option<Told>> {
        loop {
            if let Some((message, is_complete)) = self.replay.pop_front() {
                if let Some(told) = self.step(message, Arc::default(), is_complete) {
                    return Ok(Some(told));
                }
                continue;
            }
            // Before the store is read, or what comes in meanwhile would be passed over.
            let last = self.topic.last.load(Ordering::SeqCst);
            if self.is_behind || (self.position < last && self.out.is_empty()) {
                let mut page = self.store.changes(self.key, self.position, REPLAY_PAGE).await?;
                if page.is_empty() && self.position < last {
                    // Before that is believed: right after a failover the store may tell less than was acknowledged.
                    self.store.latest_head(self.key).await?;
                    page = self.store.changes(self.key, self.position, REPLAY_PAGE).await?;
                }
                self.is_behind = page.len() == REPLAY_PAGE;
                self.replay.extend(marked(page));
                if self.replay.is_empty() {
                    // Purged for good: there is nothing left to tell about these ticks.
                    self.position = self.position.max(last);
                    self.reach(self.position);
                    return Ok(None);
                }
                continue;
            }
            match self.out.recv().await {
                Ok(step) if step.before <= self.position => {
                    if let Some(told) = self.step(step.message, step.notes, step.is_complete) {
                        return Ok(Some(told));
                    }
                }
                // The listener is behind the node: the store has what it was not told, this change included.
                Ok(step) => self.is_behind |= step.message.seq > self.position,
                Err(Lagged) => self.behind(),
            }
        }
    }

    fn step(&mut self, message: Arc<Message>, notes: Arc<Notes>, is_complete: bool) -> Option<Told> {
        if message.seq <= self.position {
            return None;
        }
        let before = std::mem::replace(&mut self.position, message.seq);
        let known = if is_complete {
            self.told.remove(&message.id)
        } else {
            self.told.insert(message.id, message.seq)
        };
        let after = known.unwrap_or(self.complete);
        if is_complete {
            self.reach(message.seq);
        }
        Some(Told { before, after, message, notes })
    }

    /// From here on the listener knows every message as of `tick`.
    fn reach(&mut self, tick: i64) {
        self.complete = tick;
        if !self.told.is_empty() {
            self.told = HashMap::new();
        }
    }
}
