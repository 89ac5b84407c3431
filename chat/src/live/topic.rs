//! A followed channel on this node: puts what arrives into tick order, once for all of its listeners.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use quikapp_entities::ChannelId;
use tokio::sync::{OnceCell, broadcast, mpsc};

use crate::{
    Result,
    live::relay::Relay,
    messages::model::{ChannelKey, Message},
    store::MessageStore,
};

/// Changes that a listener may be behind the node before it reads the rest from the store.
const BUFFER: usize = 1_024;
/// How many changes one query of a replay reads.
const REPLAY_PAGE: usize = 500;
/// How long a topic without listeners is kept, for those who come back.
const IDLE: Duration = Duration::from_secs(30);

/// What a topic's sequencer is told.
pub(crate) enum Raw {
    /// A message changed; in any order, any number of times.
    Changed(Arc<Message>),
    /// Something may have been missed: look at the store.
    Check,
}

/// A change, with the tick before it that every listener was told.
type Step = (i64, Arc<Message>);

/// A channel with listeners.
struct Topic {
    key: ChannelKey,
    raw: mpsc::UnboundedSender<Raw>,
    out: broadcast::Sender<Step>,
    /// The last tick that was sent out. Raised before the sending, so that a listener who reads it after subscribing
    /// misses nothing above it.
    last: Arc<AtomicI64>,
    started: OnceCell<()>,
}

/// All followed channels of this node.
#[derive(Default)]
pub(crate) struct Topics(Mutex<HashMap<ChannelId, Arc<Topic>>>);

/// The name of a channel's topic on the relay.
pub(crate) fn topic_name(channel: ChannelId) -> String {
    format!("log:{}", channel.0.simple())
}

impl Topics {
    /// Hands a change to the channel's listeners, if there are any.
    pub(crate) fn deliver(&self, channel: ChannelId, raw: Raw) {
        if let Some(topic) = self.lock().get(&channel) {
            let _ = topic.raw.send(raw);
        }
    }

    /// Whether anybody on this node follows the channel.
    pub(crate) fn is_followed(&self, channel: ChannelId) -> bool {
        self.lock().contains_key(&channel)
    }

    /// Lets every followed channel look at the store.
    pub(crate) fn check_all(&self) {
        for topic in self.lock().values() {
            let _ = topic.raw.send(Raw::Check);
        }
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
                let (raw, receiver) = mpsc::unbounded_channel();
                let topic = Arc::new(Topic {
                    key,
                    raw,
                    out: broadcast::channel(BUFFER).0,
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
        topic
            .started
            .get_or_try_init(|| async {
                if let Some(relay) = relay {
                    relay.subscribe(&topic_name(key.channel)).await?;
                }
                let head = store.head(key).await?.seq;
                topic.last.fetch_max(head, Ordering::SeqCst);
                // What came in between the reading of the head and now was not sent out.
                let _ = topic.raw.send(Raw::Check);
                Ok::<(), crate::Error>(())
            })
            .await?;
        let position = topic.last.load(Ordering::SeqCst);
        Ok(Feed { key, out, position, replay: VecDeque::new(), store: Arc::clone(store), topic })
    }
}

/// Sends changes out in tick order, filling gaps from the store, until nobody has listened for a while.
async fn sequence(
    topics: Arc<Topics>,
    topic: Arc<Topic>,
    mut raw: mpsc::UnboundedReceiver<Raw>,
    store: Arc<dyn MessageStore>,
    relay: Option<Relay>,
) {
    loop {
        let message = match tokio::time::timeout(IDLE, raw.recv()).await {
            Ok(Some(message)) => message,
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
            Raw::Changed(message) if message.seq == last + 1 => send_out(&topic, message),
            Raw::Changed(message) if message.seq <= last => {}
            Raw::Changed(_) | Raw::Check => fill(&topic, store.as_ref()).await,
        }
    }
}

fn send_out(topic: &Topic, message: Arc<Message>) {
    let before = topic.last.swap(message.seq, Ordering::SeqCst);
    let _ = topic.out.send((before, message));
}

/// Reads what is missing and sends it out; tries until the store answers, as there is no other way to go on.
async fn fill(topic: &Topic, store: &dyn MessageStore) {
    let mut wait = Duration::from_millis(50);
    loop {
        match store.changes(topic.key, topic.last.load(Ordering::SeqCst), REPLAY_PAGE).await {
            Ok(messages) => {
                let full = messages.len() == REPLAY_PAGE;
                for message in messages {
                    send_out(topic, Arc::new(message));
                }
                if !full {
                    return;
                }
            }
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

/// Takes the topic away if nobody listens.
fn retire(topics: &Topics, topic: &Arc<Topic>) -> bool {
    let mut topics = topics.lock();
    if topic.out.receiver_count() > 0 {
        return false;
    }
    topics.remove(&topic.key.channel);
    true
}

/// One listener's view of a channel: every change after its position, in order, each at most once. Where it was too slow
/// for the node's buffer it reads on from the store: coalesced, but complete.
pub struct Feed {
    key: ChannelKey,
    out: broadcast::Receiver<Step>,
    position: i64,
    replay: VecDeque<Arc<Message>>,
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

    /// Goes back to `after`: what changed since then is told first, as it is now.
    pub fn resume_after(&mut self, after: i64) {
        self.position = self.position.min(after);
        // The node's present tick may be ahead of what the buffer will tell.
        let _ = self.topic.raw.send(Raw::Check);
        self.behind();
    }

    fn behind(&mut self) {
        self.replay.clear();
        self.out = self.topic.out.subscribe();
    }

    /// The next change with the position before it. Waits until there is one.
    ///
    /// # Errors
    /// When the store does not answer while the listener reads on from it; the feed stays valid.
    pub async fn next(&mut self) -> Result<(i64, Arc<Message>)> {
        loop {
            if let Some(message) = self.replay.pop_front() {
                if let Some(step) = self.step(message) {
                    return Ok(step);
                }
                continue;
            }
            if self.position < self.topic.last.load(Ordering::SeqCst) && self.out.is_empty() {
                let messages = self.store.changes(self.key, self.position, REPLAY_PAGE).await?;
                if !messages.is_empty() {
                    self.replay.extend(messages.into_iter().map(Arc::new));
                    continue;
                }
                // Purged for good: there is nothing left to tell about these ticks.
                self.position =
                    self.topic.last.load(Ordering::SeqCst).min(self.store.head(self.key).await?.seq);
            }
            match self.out.recv().await {
                Ok((before, message)) if before <= self.position => {
                    if let Some(step) = self.step(message) {
                        return Ok(step);
                    }
                }
                // The listener is behind the node: the store has what it was not told, this change included.
                Ok((_, message)) if message.seq > self.position => {
                    let messages = self.store.changes(self.key, self.position, REPLAY_PAGE).await?;
                    self.replay.extend(messages.into_iter().map(Arc::new));
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => self.behind(),
                // The topic holds a sender, and this feed the topic: it cannot close.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    fn step(&mut self, message: Arc<Message>) -> Option<(i64, Arc<Message>)> {
        if message.seq <= self.position {
            return None;
        }
        let before = std::mem::replace(&mut self.position, message.seq);
        Some((before, message))
    }
}
