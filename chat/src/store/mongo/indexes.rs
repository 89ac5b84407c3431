//! The indexes of messages. Every unique one, and every one that a query of a channel uses, starts with the shard key.
//! Queries name theirs, so that the planner never tries out others.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::{
    Collection, IndexModel,
    error::ErrorKind,
    options::{Hint, IndexOptions},
};

/// The server's code for an index that is not there.
const INDEX_NOT_FOUND: i32 = 27;

/// Serves `changes` and the head. Not unique: a message lists its `seq` among its ticks, and a unique index costs the server
/// three steps for each insert where another one costs it one.
pub(super) const SEQ: &str = "channel_changes";
/// Unique over every tick that a message lists: no two messages of a channel are at the same tick, and none is taken twice.
pub(super) const TICKS: &str = "channel_ticks";
/// Unique: one message for each of an author's own ids.
pub(super) const CLIENT_MESSAGE_ID: &str = "channel_author_client_message_id";
/// The channel's timeline.
pub(super) const TIMELINE: &str = "channel_timeline";
/// Replies of a root.
pub(super) const THREAD: &str = "channel_thread";
/// Replies whose root does not carry them yet.
pub(super) const PENDING: &str = "channel_thread_pending";
/// Tombstones by the time at which they go; `MongoDB` removes them by it.
pub(super) const PURGE: &str = "purge_at";
/// What `MongoDB` itself calls the index on `_id`.
pub(super) const ID: &str = "_id_";

/// The index of this name, as a hint.
pub(super) fn hint(name: &str) -> Hint {
    Hint::Name(name.to_owned())
}

fn index(name: &str, keys: Document, options: IndexOptions) -> IndexModel {
    let mut options = options;
    options.name = Some(name.to_owned());
    IndexModel::builder().keys(keys).options(options).build()
}

fn plain() -> IndexOptions {
    IndexOptions::default()
}

fn unique() -> IndexOptions {
    IndexOptions::builder().unique(true).build()
}

fn partial(filter: Document) -> IndexOptions {
    IndexOptions::builder().partial_filter_expression(filter).build()
}

/// Makes the ones that are missing. Harmless when several nodes do it at once. Takes long only when an index is new to a
/// collection that is already large.
pub(super) async fn ensure(messages: &Collection<Document>) -> mongodb::error::Result<()> {
    let channel = |rest: Document| {
        let mut keys = doc! { "workspace_id": 1, "channel_id": 1 };
        keys.extend(rest);
        keys
    };
    let exists = |field: &str| doc! { field: { "$exists": true } };

    let mut client_message_id = partial(exists("client_message_id"));
    client_message_id.unique = Some(true);
    let mut purge = partial(exists("purge_at"));
    purge.expire_after = Some(Duration::ZERO);
    let text = IndexOptions::builder()
        .weights(doc! { "content.text": 10 })
        .default_language("none".to_owned())
        // By default the server takes a field `language` for the name of a natural language and refuses unknown ones.
        .language_override("text_language".to_owned())
        .build();

    messages
        .create_indexes([
            index(SEQ, channel(doc! { "seq": 1 }), plain()),
            index(TICKS, channel(doc! { "ticks": 1 }), unique()),
            index(
                CLIENT_MESSAGE_ID,
                channel(doc! { "author_id": 1, "client_message_id": 1 }),
                client_message_id,
            ),
            index(TIMELINE, channel(doc! { "in_timeline": 1, "ts": -1 }), plain()),
            // With the author in it: what somebody wrote is passed over where their unread messages are counted.
            index(
                "channel_visible",
                channel(doc! { "visible_ts": -1, "author_id": 1 }),
                partial(exists("visible_ts")),
            ),
            index(THREAD, channel(doc! { "thread_root": 1, "ts": 1 }), partial(exists("thread_root"))),
            index(PENDING, channel(doc! { "ts": 1 }), partial(doc! { "thread_pending": true })),
            index("workspace_created_at", doc! { "workspace_id": 1, "created_at": -1 }, plain()),
            index("author_created_at", doc! { "author_id": 1, "created_at": -1 }, plain()),
            index(
                "mentions_created_at",
                doc! { "mentions": 1, "created_at": -1 },
                partial(exists("mentions")),
            ),
            // The workspace comes first, so that a search never walks another tenant's words.
            index("content_text", doc! { "workspace_id": 1, "content.text": "text" }, text),
            index(PURGE, doc! { "purge_at": 1 }, purge),
        ])
        .await?;
    drop_replaced(messages).await
}

/// Removes what others have taken the place of.
async fn drop_replaced(messages: &Collection<Document>) -> mongodb::error::Result<()> {
    for name in ["channel_newest", "channel_seq", "channel_history"] {
        match messages.drop_index(name).await {
            Err(error) if matches!(&*error.kind, ErrorKind::Command(told) if told.code == INDEX_NOT_FOUND) => {
            }
            dropped => dropped?,
        }
    }
    Ok(())
}
