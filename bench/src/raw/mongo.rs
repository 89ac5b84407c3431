//! The driver of MongoDB, called as directly as can be.

use std::{future::Future, time::Duration};

use bson::{Bson, Document, RawDocumentBuf, Uuid as BsonUuid, doc};
use futures_util::TryStreamExt;
use mongodb::{
    Client, Collection, IndexModel,
    options::{Acknowledgment, ClientOptions, CollectionOptions, Hint, WriteConcern},
};
use serde::{Deserialize, Serialize};
use tokio::{runtime::Handle, sync::mpsc};
use uuid::Uuid;

use super::inserts::{Own, Waiting};
use crate::{
    failure::{Failure, Result},
    stores::Stores,
};

const COPIES: &str = "raw_messages";

async fn database(uri: String, name: String) -> Result<mongodb::Database> {
    let mut options = ClientOptions::parse(&uri).await?;
    options.max_pool_size.get_or_insert(48);
    Ok(Client::with_options(options)?.database(&name))
}

/// Acknowledged as the server's own writes are.
fn durable() -> CollectionOptions {
    let concern = WriteConcern::builder().w(Some(Acknowledgment::Majority)).journal(Some(true)).build();
    CollectionOptions::builder().write_concern(concern).build()
}

/// Grouped inserts of documents like those of the server, into a collection with the same indexes.
pub(super) struct MongoInserts {
    collection: Collection<RawDocumentBuf>,
    pattern: Document,
}

impl MongoInserts {
    pub(super) async fn open(stores: &Stores, drivers: &Handle) -> Result<Self> {
        let servers = stores.servers()?;
        let (uri, name) = (servers.mongodb.clone(), servers.name.clone());
        drivers
            .spawn(async move {
                let database = database(uri, name).await?;
                let messages = database.collection::<Document>("messages");
                let sent = doc! { "client_message_id": { "$exists": true } };
                let found = messages.find_one(sent).await?;
                let pattern = found.ok_or_else(|| Failure::new("the server has written no message"))?;
                let copies = database.collection_with_options::<Document>(COPIES, durable());
                let indexes: Vec<IndexModel> = messages.list_indexes().await?.try_collect().await?;
                let own = |index: &IndexModel| index.keys.len() > 1 || !index.keys.contains_key("_id");
                copies.create_indexes(indexes.into_iter().filter(own)).await?;
                Ok(Self { collection: copies.clone_with_type(), pattern })
            })
            .await?
    }

    /// Makes documents.
    pub(super) fn maker(&self) -> impl Fn(&Own) -> Result<RawDocumentBuf> + Clone + Send + 'static {
        let pattern = self.pattern.clone();
        move |own| {
            let tick = own.tick;
            let mut document = pattern.clone();
            let id = |id: Uuid| Bson::from(BsonUuid::from_bytes(id.into_bytes()));
            document.insert("_id", id(Uuid::now_v7()));
            document.insert("channel_id", id(own.channel));
            document.insert("author_id", id(own.author));
            document.insert("client_message_id", own.marker.number.to_string());
            document.insert("content", doc! { "text": own.marker.text() });
            document.insert("ticks", vec![tick]);
            for field in ["created_at", "updated_at", "changed_at"] {
                document.insert(field, bson::DateTime::now());
            }
            for field in ["ts", "seq", "ticks_mark", "visible_count", "visible_ts"] {
                document.insert(field, tick);
            }
            Ok(RawDocumentBuf::try_from(&document)?)
        }
    }

    /// Writes what waits until nobody can wait any more.
    pub(super) fn writer(
        &self,
        mut waiting: mpsc::Receiver<Waiting<RawDocumentBuf>>,
        most: usize,
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let collection = self.collection.clone();
        async move {
            let mut group = Vec::with_capacity(most);
            while waiting.recv_many(&mut group, most).await > 0 {
                let (documents, done): (Vec<_>, Vec<_>) = group.drain(..).unzip();
                collection.insert_many(documents).ordered(true).await?;
                for done in done {
                    let _ = done.send(());
                }
            }
            Ok(())
        }
    }

    pub(super) async fn count(&self, drivers: &Handle) -> Result<u64> {
        let collection = self.collection.clone();
        Ok(drivers.spawn(async move { collection.count_documents(doc! {}).await }).await??)
    }
}

#[derive(Deserialize)]
struct Found {
    #[serde(rename = "_id")]
    id: BsonUuid,
    author_id: BsonUuid,
    ts: i64,
    seq: i64,
    content: Content,
    created_at: bson::DateTime,
    #[serde(default)]
    reactions: Vec<Reaction>,
}

#[derive(Deserialize)]
struct Content {
    text: String,
}

#[derive(Deserialize)]
struct Reaction {
    emoji: String,
    users: Vec<bson::RawDocumentBuf>,
}

/// What goes out.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    pub(super) id: String,
    pub(super) author: String,
    pub(super) ts: i64,
    pub(super) seq: i64,
    pub(super) text: &'a str,
    pub(super) created_at: i64,
    pub(super) reactions: Vec<(&'a str, usize)>,
}

/// Finds in one channel.
#[derive(Clone)]
pub(super) struct MongoReads {
    messages: Collection<Found>,
    channel: Document,
}

impl MongoReads {
    /// In the channel of the message with this `clientMessageId`.
    pub(super) async fn open(stores: &Stores, drivers: &Handle, client_id: String) -> Result<Self> {
        let servers = stores.servers()?;
        let (uri, name) = (servers.mongodb.clone(), servers.name.clone());
        drivers
            .spawn(async move {
                let messages = database(uri, name).await?.collection::<Document>("messages");
                let found = messages.find_one(doc! { "client_message_id": client_id }).await?;
                let found = found.ok_or_else(|| Failure::new("the server has written no such message"))?;
                let field = |name: &str| found.get(name).cloned().unwrap_or(Bson::Null);
                let channel =
                    doc! { "workspace_id": field("workspace_id"), "channel_id": field("channel_id") };
                Ok(Self { messages: messages.clone_with_type(), channel })
            })
            .await?
    }

    /// The newest messages as JSON, and how many they are.
    pub(super) async fn newest(&self, count: usize) -> Result<(usize, Vec<u8>)> {
        let mut filter = self.channel.clone();
        filter.insert("in_timeline", true);
        self.find(filter, doc! { "ts": -1 }, "channel_timeline", count).await
    }

    /// All changes after a tick.
    pub(super) async fn changes(&self, after: i64, most: usize) -> Result<(usize, Vec<u8>)> {
        let mut filter = self.channel.clone();
        filter.insert("seq", doc! { "$gt": after });
        self.find(filter, doc! { "seq": 1 }, "channel_changes", most).await
    }

    async fn find(
        &self,
        filter: Document,
        sort: Document,
        index: &str,
        most: usize,
    ) -> Result<(usize, Vec<u8>)> {
        let mut cursor = self
            .messages
            .find(filter)
            .sort(sort)
            .hint(Hint::Name(index.to_owned()))
            .limit(i64::try_from(most)?)
            .batch_size(u32::try_from(most)?)
            .max_time(Duration::from_secs(30))
            .await?;
        let mut json = vec![b'['];
        let mut count = 0;
        while let Some(found) = cursor.try_next().await? {
            let reactions = found.reactions.iter().map(|reaction| (&*reaction.emoji, reaction.users.len()));
            let shown = Shown {
                id: found.id.to_string(),
                author: found.author_id.to_string(),
                ts: found.ts,
                seq: found.seq,
                text: &found.content.text,
                created_at: found.created_at.timestamp_millis(),
                reactions: reactions.collect(),
            };
            serde_json::to_writer(&mut json, &shown)?;
            json.push(b',');
            count += 1;
        }
        Ok((count, json))
    }
}
