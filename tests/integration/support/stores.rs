//! Where a server keeps its data: a folder, or databases of its own on the servers that all tests share.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use sea_orm::{ConnectionTrait, Database};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use url::Url;

use super::{Mode, unique};

/// The addresses of the three stores.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    pub(crate) database: String,
    pub(crate) mongodb: String,
    pub(crate) redis: String,
}

const NAMES: [&str; 3] = ["DATABASE_URL", "MONGODB_URL", "REDIS_URL"];

impl Urls {
    /// From the environment, else from servers that a script starts on this machine.
    async fn find() -> &'static Self {
        static URLS: OnceCell<Urls> = OnceCell::const_new();
        URLS.get_or_init(|| async {
            let given = NAMES.map(|name| std::env::var(name).ok());
            if let [Some(database), Some(mongodb), Some(redis)] = given {
                return Self { database, mongodb, redis };
            }
            tokio::task::spawn_blocking(|| Self::parse(&script(&["up"], None))).await.unwrap()
        })
        .await
    }

    /// Reads the lines that `scripts/servers up` prints.
    pub(crate) fn parse(lines: &str) -> Self {
        let values: HashMap<_, _> = lines.lines().filter_map(|line| line.split_once('=')).collect();
        let [database, mongodb, redis] = NAMES.map(|name| {
            (*values.get(name).unwrap_or_else(|| panic!("scripts/servers gave no {name}: {lines}")))
                .to_owned()
        });
        Self { database, mongodb, redis }
    }
}

/// Runs `scripts/servers` for the common set, or for the one in `folder`, and gives what it prints.
pub(crate) fn script(arguments: &[&str], folder: Option<&Path>) -> String {
    try_script(arguments, folder).unwrap_or_else(|text| {
        panic!("scripts/servers {arguments:?} failed: these tests need MySQL, MongoDB and Redis\n{text}")
    })
}

/// The same; what it complains about if it fails.
fn try_script(arguments: &[&str], folder: Option<&Path>) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("scripts/servers"));
    command.args(arguments).current_dir(root);
    if let Some(folder) = folder {
        let shared = std::env::var_os("QUIKAPP_SERVERS_CACHE")
            .or_else(|| std::env::var_os("QUIKAPP_SERVERS_DIR"))
            .map_or_else(|| root.join("target/servers"), PathBuf::from);
        command.env("QUIKAPP_SERVERS_DIR", folder).env("QUIKAPP_SERVERS_CACHE", shared);
    }
    let output = command.output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A set of servers of its own, whose members can be stopped; it is taken down at the end.
pub(crate) struct ServerSet {
    folder: PathBuf,
    urls: Urls,
}

/// Where a set of servers is to be taken down.
static SETS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

impl ServerSet {
    /// Starts one in `target/servers-NAME`, with so many members of MongoDB; with one where there cannot be several, as in
    /// Docker.
    pub(crate) async fn up(name: &str, members: u8) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/servers-{name}"));
        SETS.lock().unwrap().push(folder.clone());
        let starting = move || {
            let several = try_script(&["up", &format!("--mongo-members={members}")], Some(&folder));
            let lines = several.unwrap_or_else(|text| {
                eprintln!("MongoDB has one member only: {text}");
                script(&["up"], Some(&folder))
            });
            Self { folder, urls: Urls::parse(&lines) }
        };
        tokio::task::spawn_blocking(starting).await.unwrap()
    }

    /// Their addresses.
    pub(crate) fn urls(&self) -> &Urls {
        &self.urls
    }

    /// Empty databases on it.
    pub(crate) async fn stores(&self) -> Stores {
        Stores::on(&self.urls).await
    }

    /// Stops `mysql`, `mongo` or `redis`, or one member of several: `mongo1`, `mongo2`, …
    pub(crate) async fn stop(&self, name: &str) {
        self.script("stop", name).await;
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill(&self, name: &str) {
        self.script("kill", name).await;
    }

    /// Starts it again, with the data that it had.
    pub(crate) async fn start(&self, name: &str) {
        self.script("start", name).await;
    }

    async fn script(&self, action: &'static str, name: &str) {
        let (folder, name) = (self.folder.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || script(&[action, &name], Some(&folder))).await.unwrap();
    }
}

/// The data of one server, or of several nodes together.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) mode: Mode,
    inner: Arc<Inner>,
}

enum Inner {
    Folder(TempDir),
    Databases { urls: Urls, redis_prefix: String, folder: TempDir },
}

/// What is to be dropped at the end.
static MADE: Mutex<Vec<(Urls, String)>> = Mutex::new(Vec::new());

impl Stores {
    /// Empty ones.
    pub(crate) async fn new(mode: Mode) -> Self {
        match mode {
            Mode::Embedded => {
                Self { mode, inner: Arc::new(Inner::Folder(TempDir::with_prefix("quikapp-").unwrap())) }
            }
            Mode::Servers => Self::on(Urls::find().await).await,
        }
    }

    /// Empty ones on the servers at `urls`.
    pub(crate) async fn on(urls: &Urls) -> Self {
        let name = unique("quikapp-test").replace('-', "_");
        let root = with_path(&urls.database, "mysql");
        let connection = Database::connect(root).await.unwrap();
        connection
            .execute_unprepared(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"))
            .await
            .unwrap();
        connection.close().await.unwrap();
        MADE.lock().unwrap().push((urls.clone(), name.clone()));
        let own = Urls {
            database: with_path(&urls.database, &name),
            mongodb: with_path(&urls.mongodb, &name),
            redis: urls.redis.clone(),
        };
        let folder = TempDir::with_prefix("quikapp-").unwrap();
        let inner = Inner::Databases { urls: own, redis_prefix: format!("{name}:"), folder };
        Self { mode: Mode::Servers, inner: Arc::new(inner) }
    }

    /// Takes everything out of Redis, as far as it is of these stores; nothing where there is none.
    pub(crate) async fn flush_redis(&self) {
        if let Inner::Databases { urls, redis_prefix, .. } = &*self.inner {
            flush(&urls.redis, redis_prefix).await.unwrap();
        }
    }

    /// The settings by which a server finds them.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        match &*self.inner {
            Inner::Folder(folder) => vec![("DATA_DIR", folder.path().display().to_string())],
            Inner::Databases { urls, redis_prefix, folder } => vec![
                ("DATA_DIR", folder.path().display().to_string()),
                ("DATABASE_URL", urls.database.clone()),
                ("MONGODB_URL", urls.mongodb.clone()),
                ("REDIS_URL", urls.redis.clone()),
                ("REDIS_PREFIX", redis_prefix.clone()),
                // Nodes know each other's tokens.
                ("JWT_SECRET", "only-for-tests-only-for-tests-only-for-tests".into()),
            ],
        }
    }
}

/// The same address with another database.
fn with_path(address: &str, database: &str) -> String {
    // Several hosts, as a replica set has, are no URL by the standard: only what follows the hosts is replaced.
    let hosts = address.find("://").map_or(0, |at| at + 3);
    let end = address[hosts..].find(['/', '?']).map_or(address.len(), |at| hosts + at);
    let query = address.find('?').map_or("", |at| &address[at..]);
    format!("{}/{database}{query}", &address[..end])
}

/// Drops all databases that tests made, as far as their servers still answer.
pub(crate) async fn remove_all() {
    for folder in std::mem::take(&mut *SETS.lock().unwrap()) {
        script(&["down"], Some(&folder));
    }
    let made = std::mem::take(&mut *MADE.lock().unwrap());
    for (urls, name) in made {
        if let Err(error) = remove(&urls, &name).await {
            eprintln!("the database {name} stays behind: {error}");
        }
    }
}

async fn remove(urls: &Urls, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let redis = Url::parse(&urls.redis)?;
    let (Some(host), Some(port)) = (redis.host_str(), redis.port().or(Some(6379))) else { return Ok(()) };
    if tokio::net::TcpStream::connect((host, port)).await.is_err() {
        return Ok(()); // a set of servers that has been taken down
    }
    let connection = Database::connect(with_path(&urls.database, "mysql")).await?;
    connection.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name}")).await?;
    mongodb::Client::with_uri_str(&urls.mongodb).await?.database(name).drop().await?;
    flush(&urls.redis, &format!("{name}:")).await?;
    Ok(())
}

async fn flush(url: &str, prefix: &str) -> redis::RedisResult<()> {
    let mut redis = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{prefix}*")).query_async(&mut redis).await?;
    if !keys.is_empty() {
        redis::cmd("DEL").arg(keys).query_async::<()>(&mut redis).await?;
    }
    Ok(())
}
