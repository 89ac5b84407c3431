//! What changes messages.

use bson::{Document, RawDocumentBuf, Uuid, doc};
use futures_util::TryStreamExt;
use mongodb::Collection;
use quikapp_entities::MessageId;
use serde::Deserialize;

use super::{
    MongoStore,
    call::{Duplicate, Failure, SERVER_TIME_LIMIT},
    document::{binary, encode},
    floors, indexes,
    writer::Content,
};
use crate::{
    Error, Result,
    messages::model::{ChannelKey, Message},
    store::{Inserted, Replaced},
};

/// How many messages one call removes.
const REMOVED_AT_ONCE: i64 = 5_000;

#[derive(Deserialize)]
struct Identified {
    #[serde(rename = "_id")]
    id: Uuid,
}

/// What every filter starts with.
pub(super) fn in_channel(key: ChannelKey) -> Document {
    doc! { "workspace_id": binary(key.workspace.0), "channel_id": binary(key.channel.0) }
}

fn encoded(message: &Message) -> Result<RawDocumentBuf> {
    // Only ticks are unique: a `seq` that is not among them could be that of two messages.
    if !message.ticks.contains(&message.seq) {
        tracing::error!(seq = message.seq, "a message does not list its own tick");
        return Err(Error::Internal);
    }
    encode(message).map_err(|error| {
        tracing::error!(%error, "a message cannot be written as BSON");
        Error::Internal
    })
}

/// Whether the author of `message` has already sent its `client_message_id` to its channel.
pub(super) async fn is_repeat(
    messages: &Collection<RawDocumentBuf>,
    key: ChannelKey,
    author: Uuid,
    client_message_id: &str,
) -> mongodb::error::Result<bool> {
    let mut filter = in_channel(key);
    filter.extend(doc! { "author_id": author, "client_message_id": client_message_id });
    let found = messages
        .find_one(filter)
        .projection(doc! { "_id": 1 })
        .hint(indexes::hint(indexes::CLIENT_MESSAGE_ID))
        .max_time(SERVER_TIME_LIMIT)
        .await?;
    Ok(found.is_some())
}

impl MongoStore {
    pub(super) async fn write_new(&self, key: ChannelKey, messages: &[Message]) -> Result<Inserted> {
        if messages.is_empty() {
            return Ok(Inserted { committed: 0, conflict: None });
        }
        debug_assert!(messages.iter().all(|message| message.key == key));
        let documents = messages.iter().map(encoded).collect::<Result<Vec<_>>>()?;
        let client_ids: Vec<_> = messages
            .iter()
            .map(|message| (binary(message.author.0), message.client_message_id.clone()))
            .collect();
        self.writer.write(Content { key, documents, client_ids }).await
    }

    pub(super) async fn write_again(&self, message: &Message, expected_seq: i64) -> Result<Replaced> {
        let document = encoded(message)?;
        let mut filter = in_channel(message.key);
        filter.extend(doc! { "_id": binary(message.id.0), "seq": expected_seq });
        let tombstone = message.purge_at.is_some().then(|| message.clone());
        let (collection, clocks, calls) = (self.messages.clone(), self.clocks.clone(), self.calls.clone());
        let call = async move {
            let result = collection.replace_one(filter, document).hint(indexes::hint(indexes::ID)).await;
            match result {
                Ok(result) if result.matched_count == 0 => return Ok(Replaced::Stale),
                Ok(_) => {}
                Err(error) => {
                    return match Duplicate::of(&error) {
                        Some(duplicate) if duplicate.index == indexes::TICKS => Ok(Replaced::TickTaken),
                        _ => Err(error.into()),
                    };
                }
            }
            if let Some(tombstone) = tombstone {
                calls.add();
                // Behind the write, or a failing write would leave a hole in the ticks. The change itself is made, so a
                // failure here is none of the caller's; `heal_floors` makes up for it long before the purge.
                if let Err(error) = floors::keep(&clocks, &tombstone).await {
                    tracing::warn!(%error, "the floor of a channel's clock was not written");
                }
            }
            Ok(Replaced::Done)
        };
        self.calls.run("replace", call).await
    }

    pub(super) async fn write_not_pending(&self, key: ChannelKey, replies: &[MessageId]) -> Result<()> {
        if replies.is_empty() {
            return Ok(());
        }
        let mut filter = in_channel(key);
        filter.insert("_id", doc! { "$in": replies.iter().map(|id| binary(id.0)).collect::<Vec<_>>() });
        let collection = self.messages.clone();
        let call = async move {
            let update = doc! { "$unset": { "thread_pending": "" } };
            collection.update_many(filter, update).hint(indexes::hint(indexes::ID)).await?;
            Ok(())
        };
        self.calls.run("clear pending", call).await
    }

    pub(super) async fn remove_channel(&self, key: ChannelKey) -> Result<()> {
        // In steps, each within the time limit, however large the channel is.
        loop {
            let collection = self.messages.clone();
            let call = async move {
                let mut found = collection
                    .clone_with_type::<Identified>()
                    .find(in_channel(key))
                    .projection(doc! { "_id": 1 })
                    .hint(indexes::hint(indexes::SEQ))
                    .limit(REMOVED_AT_ONCE)
                    .max_time(SERVER_TIME_LIMIT)
                    .await?;
                let mut ids = Vec::new();
                while let Some(Identified { id }) = found.try_next().await? {
                    ids.push(id);
                }
                Ok::<_, Failure>(ids)
            };
            let ids = self.calls.run("delete channel: find", call).await?;
            if ids.is_empty() {
                break;
            }
            let mut filter = in_channel(key);
            filter.insert("_id", doc! { "$in": ids });
            let collection = self.messages.clone();
            let call = async move {
                collection.delete_many(filter).hint(indexes::hint(indexes::ID)).await?;
                Ok(())
            };
            self.calls.run("delete channel: messages", call).await?;
        }
        let clocks = self.clocks.clone();
        let call = async move {
            clocks.delete_one(doc! { "_id": floors::floor_id(key) }).await?;
            Ok(())
        };
        self.calls.run("delete channel: clock", call).await
    }
}
