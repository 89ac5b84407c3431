//! A replica set of three for one test alone, whose members can be killed, frozen and started again.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use bson::{Document, doc};
use mongodb::{Client, options::ClientOptions};

use crate::fixture::servers_script;

const MEMBERS: usize = 3;

/// Stopped and removed when dropped.
pub(crate) struct ReplicaSet {
    folder: tempfile::TempDir,
    cache: String,
    client: Client,
    pub(crate) mongodb: String,
    pub(crate) redis: String,
}

/// What a member does at a signal.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    /// Ends at once.
    Kill,
    /// Stands still.
    Stop,
    /// Goes on, believing for a moment that it is still what it was.
    Continue,
}

impl ReplicaSet {
    /// `election` is how soon the others elect a new primary, and one without others gives up.
    pub(crate) async fn start(election: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers");
        let cache = std::env::var("QUIKAPP_SERVERS_CACHE");
        let cache = cache.unwrap_or_else(|_| shared.to_str().unwrap().to_owned());
        let urls = run(folder.path(), &cache, &["up", "--mongo-members", &MEMBERS.to_string()]);
        let (mongodb, redis) = (urls["MONGODB_URL"].clone(), urls["REDIS_URL"].clone());
        let mut options = ClientOptions::parse(&mongodb).await.unwrap();
        options.server_selection_timeout = Some(Duration::from_mins(1));
        let client = Client::with_options(options).unwrap();
        let admin = client.database("admin");
        let answer = admin.run_command(doc! { "replSetGetConfig": 1 }).await.unwrap();
        let mut config = answer.get_document("config").unwrap().clone();
        config.insert("version", config.get_i32("version").unwrap() + 1);
        let election = i64::try_from(election.as_millis()).unwrap();
        config.get_document_mut("settings").unwrap().insert("electionTimeoutMillis", election);
        admin.run_command(doc! { "replSetReconfig": config }).await.unwrap();
        Self { folder, cache, client, mongodb, redis }
    }

    /// The names of all members, as `scripts/servers` calls them.
    pub(crate) fn members() -> impl Iterator<Item = String> {
        (1..=MEMBERS).map(|number| format!("mongo{number}"))
    }

    /// The name of the member that is the primary now.
    pub(crate) async fn primary(&self) -> String {
        let hello: Document = self.client.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
        let (_, port) = hello.get_str("primary").unwrap().rsplit_once(':').unwrap();
        let ports = std::fs::read_to_string(self.folder.path().join("ports")).unwrap();
        let line = ports.lines().find(|line| line.ends_with(&format!("={port}"))).unwrap();
        line.split_once('=').unwrap().0.to_owned()
    }

    /// Lets the primary give up its office.
    pub(crate) async fn step_down(&self) {
        let command = doc! { "replSetStepDown": 5, "secondaryCatchUpPeriodSecs": 0, "force": true };
        // The answer may get lost with the connection.
        let _ = self.client.database("admin").run_command(command).await;
    }

    pub(crate) fn signal(&self, member: &str, signal: Signal) {
        let file: PathBuf = self.folder.path().join("run").join(format!("{member}.pid"));
        let pid = std::fs::read_to_string(file).unwrap();
        let signal = match signal {
            Signal::Kill => "-KILL",
            Signal::Stop => "-STOP",
            Signal::Continue => "-CONT",
        };
        assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    }

    /// Starts a killed member and waits until the set is whole.
    pub(crate) async fn start_again(&self, member: &str) {
        let (folder, cache, member) = (self.folder.path().to_owned(), self.cache.clone(), member.to_owned());
        tokio::task::spawn_blocking(move || run(&folder, &cache, &["start", &member])).await.unwrap();
    }
}

impl Drop for ReplicaSet {
    fn drop(&mut self) {
        run(self.folder.path(), &self.cache, &["down"]);
    }
}

fn run(folder: &Path, cache: &str, arguments: &[&str]) -> HashMap<String, String> {
    let environment = [
        ("QUIKAPP_SERVERS_DIR", folder.to_str().unwrap()),
        ("QUIKAPP_SERVERS_CACHE", cache),
        ("QUIKAPP_SERVERS_WAY", "native"),
    ];
    servers_script(arguments, &environment)
}
