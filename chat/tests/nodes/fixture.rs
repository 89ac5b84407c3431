//! Nodes for one test, on a database of their own.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, resume_unwind},
    path::Path,
    process::Command,
    sync::{Arc, OnceLock},
};

use bson::Document;
use futures_util::FutureExt;
use mongodb::{
    Client, Collection,
    options::{CollectionOptions, ReadConcern},
};
use quikapp_chat::{
    Result,
    clock::Environment,
    entities::{ChannelId, MessageId, UserId, WorkspaceId},
    live::Hub,
    log::{Appended, Draft, Log},
    messages::model::{ChannelKey, MessageKind},
    store::{MessageStore, mongo::MongoStore},
};
use tokio::sync::mpsc;
use uuid::Uuid;

/// The stores of a test, which its nodes share.
pub(crate) struct Servers {
    mongodb: String,
    redis: String,
    name: String,
}

/// What one server process has of the log: connections of its own, a hub, lanes.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) store: Arc<dyn MessageStore>,
    pub(crate) hub: Hub,
    pub(crate) log: Log,
}

impl Servers {
    /// What is stored, as the primary has it: also what a failover may take back.
    pub(crate) async fn messages(&self) -> Collection<Document> {
        let client = Client::with_uri_str(&self.mongodb).await.unwrap();
        let local = CollectionOptions::builder().read_concern(ReadConcern::local()).build();
        client.database(&self.name).collection_with_options("messages", local)
    }

    pub(crate) async fn node(&self) -> Node {
        let store: Arc<dyn MessageStore> =
            Arc::new(MongoStore::open(&self.mongodb, &self.name).await.unwrap());
        let env = Environment::default();
        let prefix = format!("{}:", self.name);
        let hub = Hub::joined(Arc::clone(&store), &self.redis, &prefix, &env).await.unwrap();
        let log = Log::new(Arc::clone(&store), hub.clone(), env, mpsc::unbounded_channel().0);
        Node { store, hub, log }
    }
}

impl Node {
    /// Sends a text; the same `own_id` is sent once.
    pub(crate) async fn send(&self, key: ChannelKey, author: UserId, own_id: &str) -> Result<Appended> {
        let draft = Draft {
            id: MessageId(Uuid::now_v7()),
            author,
            created_at: Environment::default().now(),
            kind: MessageKind::Text,
            text: own_id.to_owned(),
            blocks: Vec::new(),
            mentions: Vec::new(),
            mentions_everyone: false,
            client_message_id: Some(own_id.to_owned()),
            thread_root: None,
            reply_to: None,
            broadcast: false,
            system: None,
        };
        self.log.append(key, draft).await
    }
}

/// A new channel in a new workspace.
pub(crate) fn channel() -> ChannelKey {
    ChannelKey { workspace: WorkspaceId(Uuid::now_v7()), channel: ChannelId(Uuid::now_v7()) }
}

/// Runs `test` on a new database, which is dropped at the end however the test ends.
pub(crate) async fn with_servers(test: impl AsyncFnOnce(&Servers)) {
    let urls = urls();
    with_servers_at(&urls["MONGODB_URL"], &urls["REDIS_URL"], test).await;
}

/// The same on these servers.
pub(crate) async fn with_servers_at(mongodb: &str, redis: &str, test: impl AsyncFnOnce(&Servers)) {
    let name = format!("nodes_{}", Uuid::now_v7().simple());
    let servers = Servers { mongodb: mongodb.to_owned(), redis: redis.to_owned(), name: name.clone() };
    let outcome = AssertUnwindSafe(test(&servers)).catch_unwind().await;
    let dropped = Client::with_uri_str(mongodb).await.unwrap().database(&name).drop().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
    dropped.unwrap();
}

/// The servers' addresses: from the environment, or what `scripts/servers up` prints. A test that finds none fails.
fn urls() -> &'static HashMap<String, String> {
    static URLS: OnceLock<HashMap<String, String>> = OnceLock::new();
    URLS.get_or_init(|| {
        let names = ["MONGODB_URL", "REDIS_URL"];
        let given: HashMap<_, _> =
            names.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
        if given.len() == names.len() { given } else { servers_script(&["up"], &[]) }
    })
}

/// What `scripts/servers` prints, as names and values.
pub(crate) fn servers_script(arguments: &[&str], environment: &[(&str, &str)]) -> HashMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("scripts/servers")
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root)
        .output()
        .expect("scripts/servers cannot run, and MONGODB_URL and REDIS_URL are not both set");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.lines().filter_map(pair).collect()
}
