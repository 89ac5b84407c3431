//! A domain for the tests of accounts and sessions: a real database, and a clock that stands still.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use quikapp_entities::Timestamp;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::{ClientInfo, Registration, SignedIn};
use crate::{
    Chat, Parts, Result,
    clock::{Clock, Environment, SystemRandom},
    database::Database,
    live::Hub,
    store::{MessageStore, sqlite::SqliteStore},
};

pub(crate) const PASSWORD: &str = "correct horse";

#[derive(Clone)]
pub(crate) struct FixedClock(Arc<AtomicI64>);

impl FixedClock {
    pub(crate) fn advance(&self, duration: std::time::Duration) {
        self.0.fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Default for FixedClock {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000_000)))
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct World {
    pub(crate) chat: Chat,
    pub(crate) clock: FixedClock,
    directory: tempfile::TempDir,
    /// The server's connection and the test's database, on `MySQL`.
    server: Option<(Database, String)>,
}

impl World {
    /// One for each kind of database at hand: `SQLite`, and the `MySQL` that `DATABASE_URL` names.
    pub(crate) async fn all() -> Vec<Self> {
        let directory = tempfile::tempdir().unwrap();
        let sqlite = Database::sqlite(directory.path().join("relational.db")).await.unwrap();
        let mut all = vec![Self::new(sqlite, directory, None).await];
        if let Some(url) = std::env::var("DATABASE_URL").ok().filter(|url| url.starts_with("mysql://")) {
            let server = Database::mysql(&url).await.unwrap();
            let name = format!("quikapp_test_{}", Uuid::now_v7().simple());
            server.connection().execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
            let (address, _) = url.rsplit_once('/').unwrap();
            let mysql = Database::mysql(&format!("{address}/{name}")).await.unwrap();
            all.push(Self::new(mysql, tempfile::tempdir().unwrap(), Some((server, name))).await);
        }
        all
    }

    async fn new(
        database: Database,
        directory: tempfile::TempDir,
        server: Option<(Database, String)>,
    ) -> Self {
        quikapp_migration::migrate(database.connection()).await.unwrap();
        let clock = FixedClock::default();
        let chat = open(database, &directory, &clock);
        Self { chat, clock, directory, server }
    }

    /// Another node on the same database, that hears nothing of what this one announces.
    pub(crate) fn other_node(&self) -> Chat {
        open(self.chat.db.clone(), &self.directory, &self.clock)
    }

    pub(crate) async fn register(&self, email: &str) -> Result<SignedIn> {
        let registration = Registration {
            email: email.to_owned(),
            password: PASSWORD.to_owned(),
            display_name: "Ada".to_owned(),
        };
        self.chat.register(registration, ClientInfo::default()).await
    }

    /// Runs a statement as an operator would by hand.
    pub(crate) async fn by_hand(&self, sql: &str) {
        self.chat.db.connection().execute_unprepared(sql).await.unwrap();
    }

    pub(crate) async fn remove(self) {
        self.chat.db.close().await;
        if let Some((server, name)) = self.server {
            server.connection().execute_unprepared(&format!("DROP DATABASE {name}")).await.unwrap();
            server.close().await;
        }
    }
}

fn open(database: Database, directory: &tempfile::TempDir, clock: &FixedClock) -> Chat {
    let store: Arc<dyn MessageStore> =
        Arc::new(SqliteStore::open(&directory.path().join("messages.db")).unwrap());
    let environment = Environment::new(clock.clone(), SystemRandom);
    let hub = Hub::alone(Arc::clone(&store), &environment);
    Chat::new(Parts {
        database,
        store,
        hub,
        environment,
        jwt_secret: vec![7; 32],
        presence: crate::presence::Timing::default(),
    })
}
