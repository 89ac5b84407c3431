//! The relay between nodes: one Redis connection that publishes, is pushed to, and holds what expires (typing, presence).
//! Nothing durable is in it: after a flush or a loss the nodes go on from their stores.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use redis::{
    Client, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    Error, Result,
    live::inbox::{Inbox, Incoming, Slot, inbox},
};

/// How often the connection is tried, which is also how soon a lost one is noticed.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long a command may take.
const TIME_LIMIT: Duration = Duration::from_secs(3);
/// Publications waiting for the connection; more are dropped, and the log fills the gap.
const WAITING: usize = 65_536;
/// How many bytes of them.
const WAITING_BYTES: usize = 32 << 20;

/// A handle on the relay. Cheap to clone.
#[derive(Clone)]
pub struct Relay {
    manager: ConnectionManager,
    prefix: Arc<str>,
    node: Uuid,
    outgoing: mpsc::Sender<(String, Vec<u8>)>,
    outgoing_bytes: Arc<AtomicUsize>,
    losses: Arc<Losses>,
}

/// What has gone wrong since the connection was last known to be good.
#[derive(Default)]
struct Losses {
    connection: AtomicBool,
    publications: AtomicBool,
}

impl Losses {
    /// Publications were lost; told as soon as the relay answers.
    fn note_dropped(&self) {
        self.publications.store(true, Ordering::SeqCst);
        self.connection.store(true, Ordering::SeqCst);
    }
}

impl Relay {
    /// Connects to `url`. Every key and topic begins with `prefix`, so that several installations share one Redis.
    /// Fails with the driver's reason when the server does not answer within a few seconds.
    pub(crate) async fn connect(
        url: &str,
        prefix: &str,
    ) -> std::result::Result<(Self, Inbox), redis::RedisError> {
        let info = url.into_connection_info()?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let client = Client::open(info.set_redis_settings(settings))?;
        let node = Uuid::now_v7();
        let (slot, inbox) = inbox();
        let losses = Arc::<Losses>::default();
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(TIME_LIMIT))
            .set_response_timeout(Some(TIME_LIMIT))
            .set_number_of_retries(1)
            .set_max_delay(HEARTBEAT)
            .set_automatic_resubscription()
            .set_push_sender(push_sender(prefix.to_owned(), node, slot.clone(), Arc::clone(&losses)));
        let manager = ConnectionManager::new_with_config(client, config).await?;
        let (outgoing, waiting) = mpsc::channel(WAITING);
        let outgoing_bytes = Arc::<AtomicUsize>::default();
        let sending = Sending { bytes: Arc::clone(&outgoing_bytes), losses: Arc::clone(&losses) };
        tokio::spawn(sending.run(manager.clone(), waiting));
        tokio::spawn(keep_alive(manager.clone(), slot, Arc::clone(&losses)));
        Ok((Self { manager, prefix: prefix.into(), node, outgoing, outgoing_bytes, losses }, inbox))
    }

    /// Listens to a topic from now on; returns when Redis has confirmed it.
    pub(crate) async fn subscribe(&self, topic: &str) -> Result<()> {
        self.manager.clone().subscribe(self.key(topic)).await.map_err(unavailable)
    }

    /// Listens to many topics at once.
    pub(crate) async fn subscribe_all(&self, topics: &[String]) -> Result<()> {
        let keys: Vec<String> = topics.iter().map(|topic| self.key(topic)).collect();
        self.manager.clone().subscribe(keys).await.map_err(unavailable)
    }

    /// Listens no more.
    pub(crate) async fn unsubscribe(&self, topic: &str) {
        if let Err(error) = self.manager.clone().unsubscribe(self.key(topic)).await {
            tracing::debug!(%error, "could not leave a topic of the relay");
        }
    }

    /// Tells the other nodes; returns at once. Lost when the relay is away, which the log makes good.
    pub(crate) fn publish(&self, topic: &str, payload: &[u8]) {
        let mut message = Vec::with_capacity(16 + payload.len());
        message.extend_from_slice(self.node.as_bytes());
        message.extend_from_slice(payload);
        let size = message.len();
        if self.outgoing_bytes.fetch_add(size, Ordering::SeqCst) + size > WAITING_BYTES
            || self.outgoing.try_send((self.key(topic), message)).is_err()
        {
            self.outgoing_bytes.fetch_sub(size, Ordering::SeqCst);
            self.losses.note_dropped();
            tracing::debug!("a publication was dropped: the relay is behind");
        }
    }

    /// Whether publications of this node were lost, so that other nodes have missed them; told once.
    pub(crate) fn take_dropped(&self) -> bool {
        self.losses.publications.swap(false, Ordering::SeqCst)
    }

    /// A key with the installation's prefix.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Runs a pipeline of commands on keys.
    pub(crate) async fn run<T: redis::FromRedisValue>(&self, pipeline: &redis::Pipeline) -> Result<T> {
        pipeline.query_async(&mut self.manager.clone()).await.map_err(unavailable)
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<()> {
        redis::cmd("PING").query_async::<()>(&mut self.manager.clone()).await.map_err(unavailable)
    }
}

#[allow(clippy::needless_pass_by_value)] // the form of `map_err`
fn unavailable(error: redis::RedisError) -> Error {
    tracing::warn!(%error, "the live relay does not answer");
    Error::Unavailable { store: "live relay" }
}

fn push_sender(
    prefix: String,
    node: Uuid,
    slot: Slot,
    losses: Arc<Losses>,
) -> impl redis::aio::AsyncPushSender {
    move |push: PushInfo| {
        match push.kind {
            PushKind::Disconnection => losses.connection.store(true, Ordering::SeqCst),
            PushKind::Message => {
                if let [Value::BulkString(topic), Value::BulkString(message)] = push.data.as_slice()
                    && let Some((from, payload)) = message.split_at_checked(16)
                    && from != node.as_bytes()
                    && let Some(topic) =
                        std::str::from_utf8(topic).ok().and_then(|topic| topic.strip_prefix(&prefix))
                {
                    let payload = Bytes::copy_from_slice(payload);
                    slot.put(Incoming::Message { topic: topic.to_owned(), payload });
                }
            }
            _ => {}
        }
        Ok::<(), redis::aio::SendError>(())
    }
}

/// What the task that sends shares with those who publish.
struct Sending {
    bytes: Arc<AtomicUsize>,
    losses: Arc<Losses>,
}

impl Sending {
    /// Sends what waits, many publications to a round trip.
    async fn run(self, mut manager: ConnectionManager, mut waiting: mpsc::Receiver<(String, Vec<u8>)>) {
        let mut batch = Vec::new();
        while waiting.recv_many(&mut batch, 256).await > 0 {
            let mut pipeline = redis::pipe();
            let mut size = 0;
            for (topic, message) in batch.drain(..) {
                size += message.len();
                pipeline.cmd("PUBLISH").arg(topic).arg(message).ignore();
            }
            if let Err(error) = pipeline.query_async::<()>(&mut manager).await {
                tracing::debug!(%error, "publications were lost: the relay does not answer");
                self.losses.note_dropped();
            }
            self.bytes.fetch_sub(size, Ordering::SeqCst);
        }
    }
}

/// Asks for a sign of life so that a lost connection is noticed and made anew even when nobody publishes.
async fn keep_alive(mut manager: ConnectionManager, slot: Slot, losses: Arc<Losses>) {
    let mut tick = tokio::time::interval(HEARTBEAT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match redis::cmd("PING").query_async::<()>(&mut manager).await {
            // The subscriptions were renewed before the first answer on the new connection.
            Ok(()) if losses.connection.swap(false, Ordering::SeqCst) => {
                tracing::info!("the live relay is back");
                slot.miss();
            }
            Ok(()) => {}
            Err(error) => {
                if !losses.connection.swap(true, Ordering::SeqCst) {
                    tracing::warn!(%error, "the live relay does not answer");
                }
            }
        }
        if slot.is_closed() {
            return;
        }
    }
}
