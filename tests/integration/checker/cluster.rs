//! The servers under test: nodes of QuikApp that come and go, and the stores behind them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use mongodb::bson::doc;
use rand::{Rng, rngs::StdRng};

use super::plan;
use crate::support::{Mode, Program, Server, ServerSet, Stores};

/// How long a node may take to come up again while a store is away.
const RESTART: Duration = Duration::from_mins(2);
/// How many members the replica set has.
const MEMBERS: u8 = 3;

/// All servers of a run.
pub(super) struct Cluster {
    stores: Stores,
    program: Program,
    /// Servers of the run's own, which can be killed.
    pub(super) set: Option<ServerSet>,
    nodes: Vec<Mutex<Server>>,
    /// Those that were killed, for their logs.
    killed: Mutex<Vec<(usize, Server)>>,
}

impl Cluster {
    /// One node on `SQLite`, or three on servers: on those of all tests, or on some of their own that can be killed.
    pub(super) async fn up(mode: Mode, program: Program, with_own_servers: bool) -> Arc<Self> {
        let set = if with_own_servers { Some(ServerSet::up("checker", MEMBERS).await) } else { None };
        let stores = match &set {
            None => Stores::new(mode).await,
            Some(set) => set.stores().await,
        };
        let count = if mode == Mode::Servers { 3 } else { 1 };
        let nodes = join_all((0..count).map(|_| start(&stores, program))).await;
        let nodes = nodes.into_iter().map(|node| Mutex::new(node.unwrap())).collect();
        Arc::new(Self { stores, program, set, nodes, killed: Mutex::default() })
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node as it was last seen; it may be gone.
    pub(super) fn node(&self, index: usize) -> Server {
        self.nodes[index].lock().unwrap().clone()
    }

    pub(super) fn any(&self, random: &mut StdRng) -> Server {
        self.node(random.random_range(0..self.len()))
    }

    /// Kills a node as a power cut would.
    pub(super) fn kill(&self, index: usize) {
        self.node(index).kill();
    }

    /// Starts a killed node again, at another address.
    pub(super) async fn restart(&self, index: usize) {
        let trying = async {
            loop {
                match start(&self.stores, self.program).await {
                    Ok(server) => return server,
                    // The next attempt may find the store that is away.
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        };
        let Ok(server) = tokio::time::timeout(RESTART, trying).await else {
            panic!("node {index} does not come up again");
        };
        let old = std::mem::replace(&mut *self.nodes[index].lock().unwrap(), server);
        self.killed.lock().unwrap().push((index, old));
    }

    /// The name of the member of the replica set that is primary now, as `scripts/servers` calls it.
    pub(super) async fn primary(&self) -> Option<String> {
        let urls = self.set.as_ref()?.urls();
        let hosts = urls.mongodb.split_once("://")?.1.split(['/', '?']).next()?;
        let client = mongodb::Client::with_uri_str(&urls.mongodb).await.ok()?;
        let hello = client.database("admin").run_command(doc! { "hello": 1 }).await.ok()?;
        let primary = hello.get_str("primary").ok()?;
        let hosts: Vec<_> = hosts.split(',').collect();
        let index = hosts.iter().position(|host| *host == primary)?;
        Some(if hosts.len() == 1 { "mongo".into() } else { format!("mongo{}", index + 1) })
    }

    /// Takes everything out of Redis.
    pub(super) async fn flush(&self) -> redis::RedisResult<()> {
        let Some(set) = &self.set else { return Ok(()) };
        let mut redis =
            redis::Client::open(set.urls().redis.as_str())?.get_multiplexed_async_connection().await?;
        redis::cmd("FLUSHALL").query_async(&mut redis).await
    }

    /// The logs of all nodes that ran, by name.
    pub(super) fn logs(&self) -> Vec<(String, String)> {
        let killed = self.killed.lock().unwrap();
        let mut logs: Vec<_> = killed
            .iter()
            .enumerate()
            .map(|(turn, (index, server))| (format!("node{index}-killed-{turn}"), server.log()))
            .collect();
        let running = (0..self.len()).map(|index| (format!("node{index}"), self.node(index).log()));
        logs.extend(running);
        logs
    }
}

async fn start(stores: &Stores, program: Program) -> Result<Server, String> {
    // Without a demo workspace, which the embedded mode makes at its first start, nothing else would be of interest.
    let log = std::env::var("CHECKER_LOG").unwrap_or_else(|_| "info".into());
    Server::try_start(stores, &[("LOG", &log), ("GRAPHIQL", "off")], program).await
}
