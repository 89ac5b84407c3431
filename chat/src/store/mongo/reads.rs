//! What only looks at messages. Every query names its index, so that the planner never tries out others.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bson::{DateTime, Document, RawDocumentBuf, Uuid, doc};
use futures_util::TryStreamExt;
use mongodb::{Collection, Cursor, options::ReadConcern};
use quikapp_entities::{MessageId, Timestamp, UserId};
use serde::Deserialize;

use super::{
    MongoStore,
    call::{Failure, SERVER_TIME_LIMIT},
    document::{binary, channel_key, date, decode, thread_summary},
    floors::{CLOCKS, floor_id},
    indexes,
    writes::in_channel,
};
use crate::{
    Result,
    messages::model::{ChannelKey, Message, ThreadSummary},
    store::{Head, PageQuery, Scope, Unread, UnreadQuery},
};

/// How much unfinished work one call returns.
const PENDING_LIMIT: i64 = 1_000;

/// What the server takes for the size of a batch, and more than any caller asks for.
const LARGEST_BATCH: u32 = 100_000;

/// A cursor's batch, so that an answer is one round trip.
fn batch(length: usize) -> u32 {
    u32::try_from(length).map_or(LARGEST_BATCH, |length| length.saturating_add(1).min(LARGEST_BATCH))
}

async fn decoded(mut cursor: Cursor<RawDocumentBuf>) -> Result<Vec<Message>, Failure> {
    let mut messages = Vec::new();
    while cursor.advance().await? {
        messages.push(decode(cursor.current())?);
    }
    Ok(messages)
}

async fn found(
    collection: Collection<RawDocumentBuf>,
    filter: Document,
    sort: Option<Document>,
    index: &'static str,
    limit: usize,
) -> Result<Vec<Message>, Failure> {
    let mut find = collection
        .find(filter)
        .hint(indexes::hint(index))
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .batch_size(batch(limit))
        .max_time(SERVER_TIME_LIMIT);
    if let Some(sort) = sort {
        find = find.sort(sort);
    }
    decoded(find.await?).await
}

/// The newest message of each of the `$documents` `{ w, c, … }`, as an array in its field `found`. A join looks into the
/// index once per channel; `$or` with `$sort` and `$group` would read all their messages.
fn newest_of_each(
    filter: Document,
    more: Option<Document>,
    sort: Document,
    project: Option<Document>,
) -> Document {
    let mut same = vec![doc! { "$eq": ["$workspace_id", "$$w"] }, doc! { "$eq": ["$channel_id", "$$c"] }];
    same.extend(more);
    let mut filter = filter;
    filter.insert("$expr", doc! { "$and": same });
    let mut pipeline = vec![doc! { "$match": filter }, doc! { "$sort": sort }, doc! { "$limit": 1 }];
    pipeline.extend(project.map(|project| doc! { "$project": project }));
    doc! { "$lookup": {
        "from": "messages",
        "let": { "w": "$_id.w", "c": "$_id.c", "after": "$after" },
        "pipeline": pipeline,
        "as": "found",
    } }
}

/// What `reader` has yet to read in the stretch of each of the `$documents` `{ w, c, after, up_to }`, as an array of one
/// `{ count, first }` or none in its field `found`.
fn unread_of_each(reader: UserId, limit: u32) -> Document {
    let filter = doc! {
        "visible_ts": { "$gt": 0 },
        // In the index, so that what the reader wrote is passed over without being looked at.
        "author_id": { "$ne": binary(reader.0) },
        "$expr": { "$and": [
            { "$eq": ["$workspace_id", "$$w"] },
            { "$eq": ["$channel_id", "$$c"] },
            { "$gt": ["$visible_ts", "$$after"] },
            { "$lte": ["$visible_ts", "$$up_to"] },
        ] },
    };
    let one = bson::Bson::Int64(1);
    doc! { "$lookup": {
        "from": "messages",
        "let": { "w": "$_id.w", "c": "$_id.c", "after": "$after", "up_to": "$up_to" },
        "pipeline": [
            { "$match": filter },
            { "$sort": { "visible_ts": 1 } },
            { "$limit": i64::from(limit) },
            { "$group": { "_id": null, "count": { "$sum": one }, "first": { "$first": "$_id" } } },
        ],
        "as": "found",
    } }
}

impl MongoStore {
    pub(super) async fn read_heads(
        &self,
        keys: &[ChannelKey],
        concern: ReadConcern,
    ) -> Result<Vec<(ChannelKey, Head)>> {
        #[derive(Deserialize)]
        struct Id {
            w: Uuid,
            c: Uuid,
        }
        #[derive(Deserialize)]
        struct Clock {
            seq: i64,
            visible_count: i64,
        }
        #[derive(Deserialize)]
        struct Row {
            #[serde(rename = "_id")]
            id: Id,
            found: Vec<Clock>,
            floor: Vec<Clock>,
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys: BTreeSet<_> = keys.iter().copied().collect();
        let length = keys.len();
        let pipeline = [
            doc! { "$documents": keys.into_iter().map(|key| doc! { "_id": floor_id(key) }).collect::<Vec<_>>() },
            newest_of_each(
                doc! {},
                None,
                doc! { "seq": -1 },
                Some(doc! { "_id": 0, "seq": 1, "visible_count": 1 }),
            ),
            doc! { "$lookup": {
                "from": CLOCKS, "localField": "_id", "foreignField": "_id", "as": "floor",
            } },
        ];
        let database = self.database.clone();
        let call = async move {
            let mut rows = database
                .aggregate(pipeline)
                .with_type::<Row>()
                .read_concern(concern)
                .batch_size(batch(length))
                .max_time(SERVER_TIME_LIMIT)
                .await?;
            let mut heads = Vec::with_capacity(length);
            while let Some(row) = rows.try_next().await? {
                let newest = row.found.into_iter().chain(row.floor).max_by_key(|clock| clock.seq);
                if let Some(Clock { seq, visible_count }) = newest {
                    heads.push((channel_key(row.id.w, row.id.c), Head { seq, visible_count }));
                }
            }
            Ok(heads)
        };
        self.calls.run("heads", call).await
    }

    pub(super) async fn read_newest(&self, keys: &[(ChannelKey, i64)]) -> Result<Vec<Message>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let length = keys.len();
        let documents: Vec<_> =
            keys.iter().map(|(key, after)| doc! { "_id": floor_id(*key), "after": *after }).collect();
        let pipeline = [
            doc! { "$documents": documents },
            newest_of_each(
                doc! { "visible_ts": { "$gt": 0 } },
                Some(doc! { "$gt": ["$visible_ts", "$$after"] }),
                doc! { "visible_ts": -1 },
                None,
            ),
            doc! { "$unwind": "$found" },
            doc! { "$replaceRoot": { "newRoot": "$found" } },
        ];
        let database = self.database.clone();
        let call = async move {
            let rows = database
                .aggregate(pipeline)
                .with_type::<RawDocumentBuf>()
                .batch_size(batch(length))
                .max_time(SERVER_TIME_LIMIT)
                .await?;
            decoded(rows).await
        };
        self.calls.run("newest", call).await
    }

    pub(super) async fn read_unread(
        &self,
        reader: UserId,
        queries: &[UnreadQuery],
        limit: u32,
    ) -> Result<Vec<(ChannelKey, Unread)>> {
        #[derive(Deserialize)]
        struct Id {
            w: Uuid,
            c: Uuid,
        }
        #[derive(Deserialize)]
        struct Found {
            count: i64,
            first: Uuid,
        }
        #[derive(Deserialize)]
        struct Row {
            #[serde(rename = "_id")]
            id: Id,
            found: Found,
        }
        if queries.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let length = queries.len();
        let documents: Vec<_> = queries
            .iter()
            .map(|query| doc! { "_id": floor_id(query.key), "after": query.after, "up_to": query.up_to })
            .collect();
        let pipeline =
            [doc! { "$documents": documents }, unread_of_each(reader, limit), doc! { "$unwind": "$found" }];
        let database = self.database.clone();
        let call = async move {
            let mut rows = database
                .aggregate(pipeline)
                .with_type::<Row>()
                .batch_size(batch(length))
                .max_time(SERVER_TIME_LIMIT)
                .await?;
            let mut unread = Vec::new();
            while let Some(Row { id, found: Found { count, first } }) = rows.try_next().await? {
                let first = MessageId(uuid::Uuid::from_bytes(first.bytes()));
                unread.push((channel_key(id.w, id.c), Unread { count, first }));
            }
            Ok(unread)
        };
        self.calls.run("unread", call).await
    }

    pub(super) async fn read_by_id(&self, ids: &[(ChannelKey, MessageId)]) -> Result<Vec<Message>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let all_of = |of: fn(&(ChannelKey, MessageId)) -> uuid::Uuid| {
            let distinct: BTreeSet<_> = ids.iter().map(of).collect();
            distinct.into_iter().map(binary).collect::<Vec<_>>()
        };
        let filter = doc! {
            "_id": { "$in": all_of(|(_, id)| id.0) },
            "workspace_id": { "$in": all_of(|(key, _)| key.workspace.0) },
            "channel_id": { "$in": all_of(|(key, _)| key.channel.0) },
        };
        let call = found(self.messages.clone(), filter, None, indexes::ID, ids.len());
        let mut messages = self.calls.run("get", call).await?;
        // An id asked for in the wrong channel matches when the right one is asked for something else.
        let wanted: HashSet<_> = ids.iter().collect();
        messages.retain(|message| wanted.contains(&(message.key, message.id)));
        Ok(messages)
    }

    pub(super) async fn read_by_client_id(
        &self,
        key: ChannelKey,
        ids: &[(UserId, String)],
    ) -> Result<Vec<Message>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut by_author = BTreeMap::<UserId, BTreeSet<&str>>::new();
        for (author, id) in ids {
            by_author.entry(*author).or_default().insert(id);
        }
        let any: Vec<_> = by_author
            .into_iter()
            .map(|(author, ids)| {
                let mut filter = in_channel(key);
                filter.insert("author_id", binary(author.0));
                filter.insert("client_message_id", doc! { "$in": ids.into_iter().collect::<Vec<_>>() });
                filter
            })
            .collect();
        let filter = doc! { "$or": any };
        let call = found(self.messages.clone(), filter, None, indexes::CLIENT_MESSAGE_ID, ids.len());
        self.calls.run("by client ids", call).await
    }

    pub(super) async fn read_page(&self, key: ChannelKey, query: PageQuery) -> Result<Vec<Message>> {
        if query.limit == 0 {
            return Ok(Vec::new());
        }
        let mut filter = in_channel(key);
        let index = match query.scope {
            Scope::Timeline => {
                filter.insert("in_timeline", true);
                indexes::TIMELINE
            }
            Scope::Thread(root) => {
                filter.insert("thread_root", binary(root.0));
                indexes::THREAD
            }
        };
        filter.insert("ts", doc! { "$gt": query.after, "$lt": query.before });
        let sort = doc! { "ts": if query.newest_first { -1 } else { 1 } };
        self.calls.run("page", found(self.messages.clone(), filter, Some(sort), index, query.limit)).await
    }

    pub(super) async fn read_changes(
        &self,
        key: ChannelKey,
        after: i64,
        limit: usize,
    ) -> Result<Vec<Message>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut filter = in_channel(key);
        filter.insert("seq", doc! { "$gt": after });
        let sort = Some(doc! { "seq": 1 });
        self.calls.run("changes", found(self.messages.clone(), filter, sort, indexes::SEQ, limit)).await
    }

    pub(super) async fn read_thread_summary(
        &self,
        key: ChannelKey,
        root: MessageId,
    ) -> Result<ThreadSummary> {
        #[derive(Deserialize)]
        struct Row {
            count: i64,
            last: Option<DateTime>,
            participants: Vec<Uuid>,
        }
        let mut filter = in_channel(key);
        filter.extend(doc! { "thread_root": binary(root.0), "visible": true });
        let participants = i32::try_from(ThreadSummary::PARTICIPANTS).unwrap_or(i32::MAX);
        let one = bson::Bson::Int64(1);
        let pipeline = [
            doc! { "$match": filter },
            doc! { "$group": {
                "_id": "$author_id",
                "first": { "$min": "$ts" },
                "count": { "$sum": one },
                "last": { "$max": "$created_at" },
            } },
            doc! { "$sort": { "first": 1 } },
            doc! { "$group": {
                "_id": null,
                "count": { "$sum": "$count" },
                "last": { "$max": "$last" },
                "participants": { "$firstN": { "input": "$_id", "n": participants } },
            } },
        ];
        let collection = self.messages.clone();
        let call = async move {
            let mut rows = collection
                .aggregate(pipeline)
                .with_type::<Row>()
                .hint(indexes::hint(indexes::THREAD))
                .max_time(SERVER_TIME_LIMIT)
                .await?;
            let row = rows.try_next().await?;
            Ok(row.map_or_else(ThreadSummary::default, |row| {
                thread_summary(row.count, row.last, row.participants)
            }))
        };
        self.calls.run("thread summary", call).await
    }

    pub(super) async fn read_pending_replies(&self, key: ChannelKey) -> Result<Vec<Message>> {
        let mut filter = in_channel(key);
        filter.insert("thread_pending", true);
        let limit = usize::try_from(PENDING_LIMIT).unwrap_or(usize::MAX);
        let sort = Some(doc! { "ts": 1 });
        self.calls
            .run("pending replies", found(self.messages.clone(), filter, sort, indexes::PENDING, limit))
            .await
    }

    pub(super) async fn read_pending_channels(&self, before: Timestamp) -> Result<Vec<ChannelKey>> {
        #[derive(Deserialize)]
        struct Id {
            w: Uuid,
            c: Uuid,
        }
        #[derive(Deserialize)]
        struct Row {
            #[serde(rename = "_id")]
            id: Id,
        }
        let pipeline = [
            doc! { "$match": { "thread_pending": true, "created_at": { "$lt": date(before) } } },
            doc! { "$group": { "_id": { "w": "$workspace_id", "c": "$channel_id" } } },
            doc! { "$limit": PENDING_LIMIT },
        ];
        let collection = self.messages.clone();
        let call = async move {
            let mut rows = collection
                .aggregate(pipeline)
                .with_type::<Row>()
                .hint(indexes::hint(indexes::PENDING))
                .batch_size(batch(1_000))
                .max_time(SERVER_TIME_LIMIT)
                .await?;
            let mut keys = Vec::new();
            while let Some(Row { id }) = rows.try_next().await? {
                keys.push(channel_key(id.w, id.c));
            }
            Ok(keys)
        };
        self.calls.run("pending channels", call).await
    }
}
