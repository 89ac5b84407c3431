//! The floors of channel clocks. The head of a channel is its message with the greatest `seq`; when that message is a
//! tombstone and the server removes it, the floor is what still knows the tick and the count.

use bson::{Bson, Document, doc};
use mongodb::{
    Collection, Database,
    error::{ErrorKind, Result as DriverResult},
    options::WriteConcern,
};
use quikapp_entities::Timestamp;

use super::{
    MongoStore,
    call::{Failure, SERVER_TIME_LIMIT},
    document::{binary, date},
    indexes,
};
use crate::{
    Result,
    clock::{Clock, SystemClock},
    messages::model::{ChannelKey, Message},
};

/// The collection of the floors.
pub(super) const CLOCKS: &str = "channel_clocks";
/// The server's code for a collection that is already there.
const NAMESPACE_EXISTS: i32 = 48;

/// How long before the purge of a tombstone [`MongoStore::heal_floors`] cares for its channel's floor.
const AHEAD: i64 = 2 * 24 * 60 * 60 * 1_000;

/// Makes the collection. One that only the first floor made would for a moment be too new to be read beside older data.
pub(super) async fn make(database: &Database, acknowledge: WriteConcern) -> DriverResult<()> {
    match database.create_collection(CLOCKS).write_concern(acknowledge).await {
        Err(error) if matches!(&*error.kind, ErrorKind::Command(told) if told.code == NAMESPACE_EXISTS) => {
            Ok(())
        }
        made => made,
    }
}

/// The `_id` of a channel's floor. The order of its fields is part of it.
pub(super) fn floor_id(key: ChannelKey) -> Document {
    doc! { "w": binary(key.workspace.0), "c": binary(key.channel.0) }
}

/// Sets both fields to the new ones where the new tick is greater; never lowers. A pipeline's `$set` reads all its inputs
/// before it writes, so both are told from the same state.
fn raise(seq: impl Into<Bson>, visible_count: impl Into<Bson>) -> Document {
    let seq = seq.into();
    let is_greater = doc! { "$gt": [seq.clone(), { "$ifNull": ["$seq", 0] }] };
    doc! { "$set": {
        "seq": { "$max": ["$seq", seq] },
        "visible_count": { "$cond": [is_greater, visible_count.into(), "$visible_count"] },
    } }
}

/// Raises the floor of a tombstone's channel.
pub(super) async fn keep(clocks: &Collection<Document>, tombstone: &Message) -> DriverResult<()> {
    let update = vec![raise(tombstone.seq, tombstone.visible_count)];
    clocks.update_one(doc! { "_id": floor_id(tombstone.key) }, update).upsert(true).await?;
    Ok(())
}

impl MongoStore {
    /// Makes sure that the floors hold for tombstones that go within the next two days: a node that stopped between
    /// writing a tombstone and its floor leaves that undone. One round trip.
    pub async fn heal_floors(&self) -> Result<()> {
        let messages = self.messages.clone();
        let now = SystemClock.now();
        let pipeline = [
            doc! { "$match": { "purge_at": { "$lte": date(Timestamp(now.0 + AHEAD)) } } },
            doc! { "$group": {
                "_id": { "w": "$workspace_id", "c": "$channel_id" },
                // Documents compare field by field, in order.
                "last": { "$max": { "seq": "$seq", "visible_count": "$visible_count" } },
            } },
            doc! { "$project": { "seq": "$last.seq", "visible_count": "$last.visible_count" } },
            doc! { "$merge": {
                "into": CLOCKS,
                "on": "_id",
                "whenMatched": [raise("$$new.seq", "$$new.visible_count")],
                "whenNotMatched": "insert",
            } },
        ];
        let call = async move {
            messages
                .aggregate(pipeline)
                .hint(indexes::hint(indexes::PURGE))
                .max_time(SERVER_TIME_LIMIT)
                .await
                .map_err(Failure::from)?;
            Ok(())
        };
        self.calls.run("heal floors", call).await
    }
}
