//! A store for one test, alone in its file or database.

use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
};

use bson::doc;
use futures_util::FutureExt;
use mongodb::{Client, Database};
use quikapp_chat::{
    entities::Timestamp,
    store::{MessageStore, mongo::MongoStore, sqlite::SqliteStore},
};

/// The store under test.
pub(crate) struct Subject {
    pub(crate) store: Arc<dyn MessageStore>,
    home: Home,
}

enum Home {
    File(PathBuf),
    Servers { database: Database, url: &'static str },
}

impl Subject {
    /// Lets the time be `now`, for tombstones to go.
    pub(crate) async fn expire(&self, now: Timestamp) {
        self.store.purge(now).await.unwrap();
        if let Home::Servers { database, .. } = &self.home {
            // What the server does by itself once a minute.
            let due = doc! { "purge_at": { "$lte": bson::DateTime::from_millis(now.0) } };
            database.collection::<bson::Document>("messages").delete_many(due).await.unwrap();
        }
    }

    /// The same messages, opened once more.
    pub(crate) async fn another(&self) -> Arc<dyn MessageStore> {
        match &self.home {
            Home::File(path) => Arc::new(SqliteStore::open(path).unwrap()),
            Home::Servers { database, url } => {
                Arc::new(MongoStore::open(url, database.name()).await.unwrap())
            }
        }
    }

    /// The database behind the store, on servers.
    pub(crate) fn database(&self) -> &Database {
        match &self.home {
            Home::Servers { database, .. } => database,
            Home::File(_) => panic!("no database in embedded mode"),
        }
    }
}

/// Runs `test` on a new file.
pub(crate) async fn embedded(test: impl AsyncFnOnce(&Subject)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messages.db");
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    test(&Subject { store, home: Home::File(path) }).await;
}

/// Runs `test` on a new database of the server, which is dropped at the end however the test ends.
pub(crate) async fn servers(test: impl AsyncFnOnce(&Subject)) {
    let url = mongodb_url();
    let name = format!("contract_{}", uuid::Uuid::now_v7().simple());
    let store = Arc::new(MongoStore::open(url, &name).await.unwrap());
    let database = Client::with_uri_str(url).await.unwrap().database(&name);
    let subject = Subject { store, home: Home::Servers { database: database.clone(), url } };
    let outcome = AssertUnwindSafe(test(&subject)).catch_unwind().await;
    database.drop().await.unwrap();
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

/// The server's address: `MONGODB_URL`, or what `scripts/servers up` prints. A test that finds none fails.
pub(crate) fn mongodb_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        if let Ok(url) = std::env::var("MONGODB_URL") {
            return url;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let output = Command::new("scripts/servers").arg("up").current_dir(root).output();
        let output = output.expect("scripts/servers up cannot run, and MONGODB_URL is not set");
        let text = String::from_utf8_lossy(&output.stdout);
        let url = text.lines().find_map(|line| line.trim().strip_prefix("MONGODB_URL="));
        url.unwrap_or_else(|| panic!("no MongoDB: {text}{}", String::from_utf8_lossy(&output.stderr)))
            .trim_matches(['"', '\''])
            .to_owned()
    })
}
