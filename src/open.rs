//! Opening the stores: the only place that knows which ones exist.

use std::sync::Arc;

use quikapp_chat::{
    Chat, Parts,
    clock::Environment,
    database::Database,
    live::Hub,
    store::{MessageStore, mongo::MongoStore, sqlite::SqliteStore},
};
use quikapp_migration::migrate;

use crate::config::{Config, ConfigError, Stores};

/// The name of the MongoDB database where the URL gives none.
const MONGODB_DATABASE: &str = "quikapp";

/// Opens every store and brings it to this version's tables and indexes.
///
/// # Errors
/// One line for the operator that names the setting and shows no password.
pub async fn open(config: &Config) -> Result<Chat, ConfigError> {
    open_with(config, |store| store).await
}

/// The same with `wrap` around the message store, by which tests put faults between it and everything else.
///
/// # Errors
/// As [`open`].
pub async fn open_with(
    config: &Config,
    wrap: impl FnOnce(Arc<dyn MessageStore>) -> Arc<dyn MessageStore> + Send,
) -> Result<Chat, ConfigError> {
    let environment = Environment::default();
    let (database, store, hub) = match &config.stores {
        Stores::Embedded { file } => {
            if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder).map_err(|error| failed("DATA_DIR", &error))?;
            }
            let database = Database::sqlite(file).await.map_err(|error| failed("DATABASE_URL", &error))?;
            migrate(database.connection()).await.map_err(|error| failed("DATABASE_URL", &error))?;
            let store = SqliteStore::open(file).map_err(|error| failed("DATABASE_URL", &error))?;
            let store = wrap(Arc::new(store));
            let hub = Hub::alone(Arc::clone(&store), &environment);
            (database, store, hub)
        }
        Stores::Servers { database_url, mongodb_url, redis_url } => {
            let database =
                Database::mysql(database_url).await.map_err(|error| failed("DATABASE_URL", &error))?;
            migrate(database.connection()).await.map_err(|error| failed("DATABASE_URL", &error))?;
            let store = MongoStore::open(mongodb_url, mongodb_database(mongodb_url))
                .await
                .map_err(|error| failed("MONGODB_URL", &error))?;
            let store = wrap(Arc::new(store));
            let hub = Hub::joined(Arc::clone(&store), redis_url, &config.redis_prefix, &environment)
                .await
                .map_err(|error| failed("REDIS_URL", &error))?;
            (database, store, hub)
        }
    };
    let jwt_secret = config.jwt_secret()?.as_bytes().to_vec();
    let presence = config.presence;
    let chat = Chat::new(Parts { database, store, hub, environment, jwt_secret, presence });
    Ok(chat.with_access_token_life(config.access_token_life))
}

fn failed(setting: &'static str, error: &dyn std::fmt::Display) -> ConfigError {
    ConfigError { setting, message: error.to_string() }
}

/// The database that a `mongodb://` URL names.
fn mongodb_database(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let name = path.split_once('?').map_or(path, |(name, _)| name);
    if name.is_empty() { MONGODB_DATABASE } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_the_one_that_the_url_names() {
        for (url, name) in [
            ("mongodb://127.0.0.1:27017/chat?replicaSet=rs0", "chat"),
            ("mongodb://a:1,b:2,c:3/chat", "chat"),
            ("mongodb://127.0.0.1:27017", "quikapp"),
            ("mongodb://127.0.0.1:27017/?replicaSet=rs0", "quikapp"),
        ] {
            assert_eq!(mongodb_database(url), name, "{url}");
        }
    }
}
