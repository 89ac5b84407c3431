//! Where a measured server keeps its data: a folder, or databases of its own on real servers.

use std::{fmt, process::id};

use clap::ValueEnum;
use sea_orm::{ConnectionTrait, Database};
use tempfile::TempDir;

use crate::{
    failure::{Failure, Result},
    process::Process,
};

/// Which stores the server runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// MySQL, MongoDB and Redis.
    Servers,
    /// One SQLite file.
    Embedded,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Servers => "servers",
            Self::Embedded => "embedded",
        })
    }
}

/// The data of one mode's benchmarks.
pub(crate) struct Stores {
    pub(crate) folder: TempDir,
    servers: Option<Servers>,
}

/// Databases on servers.
pub(crate) struct Servers {
    /// Of both databases.
    pub(crate) name: String,
    pub(crate) mongodb: String,
    database: String,
    redis: String,
}

impl Stores {
    /// Empty ones; the servers are those of the environment.
    pub(crate) async fn new(mode: Mode) -> Result<Self> {
        // Beside the build rather than in /tmp, which may be no disk at all.
        let parent = std::env::current_exe()?;
        let parent = parent.parent().ok_or_else(|| Failure::new("this program lies nowhere"))?;
        let folder = TempDir::with_prefix_in("bench-", parent)?;
        let servers = match mode {
            Mode::Embedded => None,
            Mode::Servers => Some(Servers::new().await?),
        };
        Ok(Self { folder, servers })
    }

    /// The settings by which the server finds them.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![("DATA_DIR", self.folder.path().display().to_string())];
        if let Some(servers) = &self.servers {
            environment.extend([
                ("DATABASE_URL", with_path(&servers.database, &servers.name)),
                ("MONGODB_URL", with_path(&servers.mongodb, &servers.name)),
                ("REDIS_URL", servers.redis.clone()),
                ("REDIS_PREFIX", format!("{}:", servers.name)),
                ("JWT_SECRET", "only-for-measuring-only-for-measuring".to_owned()),
            ]);
        }
        environment
    }

    /// The databases on servers, if they are there.
    pub(crate) fn servers(&self) -> Result<&Servers> {
        self.servers.as_ref().ok_or_else(|| Failure::new("the embedded mode has no servers"))
    }

    /// Where the embedded mode keeps everything.
    pub(crate) fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("quikapp.db")
    }

    /// The servers' processes.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.servers.iter().flat_map(Servers::processes).collect()
    }

    /// Drops the databases.
    pub(crate) async fn remove(self) -> Result<()> {
        let Some(servers) = self.servers else { return Ok(()) };
        let connection = Database::connect(with_path(&servers.database, "mysql")).await?;
        connection.execute_unprepared(&format!("DROP DATABASE IF EXISTS {}", servers.name)).await?;
        mongodb::Client::with_uri_str(&servers.mongodb).await?.database(&servers.name).drop().await?;
        // What is in Redis ends by itself within minutes.
        Ok(())
    }
}

impl Servers {
    async fn new() -> Result<Self> {
        let variable = |name: &str| {
            std::env::var(name).map_err(|_| Failure::new(format!("{name} is not set; `bench/run` sets it")))
        };
        let servers = Self {
            name: format!("quikapp_bench_{}", id()),
            mongodb: variable("MONGODB_URL")?,
            database: variable("DATABASE_URL")?,
            redis: variable("REDIS_URL")?,
        };
        let connection = Database::connect(with_path(&servers.database, "mysql")).await?;
        let create = format!("CREATE DATABASE {} CHARACTER SET utf8mb4", servers.name);
        connection.execute_unprepared(&create).await?;
        Ok(servers)
    }

    fn processes(&self) -> [Process; 3] {
        [
            Process::listening("mongod", &ports(&self.mongodb, 27_017)),
            Process::listening("mysqld", &ports(&self.database, 3_306)),
            Process::listening("redis", &ports(&self.redis, 6_379)),
        ]
    }
}

/// Where the hosts of an address begin and end. Several hosts, as a replica set has, are no URL by the standard.
fn hosts(address: &str) -> (usize, usize) {
    let start = address.find("://").map_or(0, |at| at + 3);
    let end = address[start..].find(['/', '?']).map_or(address.len(), |at| start + at);
    (start, end)
}

/// The same address with another database.
fn with_path(address: &str, database: &str) -> String {
    let query = address.find('?').map_or("", |at| &address[at..]);
    format!("{}/{database}{query}", &address[..hosts(address).1])
}

fn ports(address: &str, default: u16) -> Vec<u16> {
    let (start, end) = hosts(address);
    let hosts = address[start..end].rsplit('@').next().unwrap_or_default();
    let port = |host: &str| host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(default);
    hosts.split(',').map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_several_hosts_are_taken_apart() {
        let address = "mongodb://u:p@127.0.0.1:20001,127.0.0.1:20002,127.0.0.1/chat?replicaSet=rs0";
        assert_eq!(ports(address, 27_017), [20_001, 20_002, 27_017]);
        assert_eq!(with_path("mysql://root@127.0.0.1:1/quikapp", "own"), "mysql://root@127.0.0.1:1/own");
        assert_eq!(with_path("mongodb://a,b/?x=1", "own"), "mongodb://a,b/own?x=1");
    }
}
