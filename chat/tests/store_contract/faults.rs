//! What happens when a store does not answer, and what only one of them has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bson::{Document, doc};
use futures_util::TryStreamExt;
use mongodb::{Client, IndexModel, options::IndexOptions};
use quikapp_chat::{
    Error,
    clock::{Clock, SystemClock},
    entities::Timestamp,
    store::{Head, MessageStore, Replaced, UnreadQuery, mongo::MongoStore, sqlite::SqliteStore},
};
use rusqlite::Connection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    fixture::{Subject, mongodb_url},
    samples::{all_of, channel, filled, message, tombstone, user},
};

const UNAVAILABLE: Error = Error::Unavailable { store: "message store" };

pub(crate) async fn a_busy_file_is_unavailable_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messages.db");
    let store = SqliteStore::open(&path).unwrap();
    let key = channel();
    filled(&store, key, 1, 1).await;

    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    assert_eq!(store.insert(key, &[message(key, 2)]).await, Err(UNAVAILABLE));
    assert!(begun.elapsed() < Duration::from_secs(5));
    // Readers are not held up.
    assert_eq!(store.head(key).await.unwrap().seq, 1);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.insert(key, &[message(key, 2)]).await, Ok(all_of(1)));
}

pub(crate) fn a_file_that_cannot_be_opened_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent").join("messages.db");
    let told = SqliteStore::open(&path).err().unwrap().to_string();
    assert!(told.starts_with("cannot open the message store in ") && told.contains("absent"), "{told}");
    assert!(!told.contains('\n'), "{told}");
    let garbage = folder.path().join("garbage.db");
    std::fs::write(&garbage, "not a database ".repeat(1_000)).unwrap();
    assert!(SqliteStore::open(&garbage).is_err());
}

pub(crate) async fn an_absent_server_is_told_in_one_line() {
    let begun = Instant::now();
    let told = MongoStore::open("mongodb://someone:secret@127.0.0.1:1/?authSource=admin", "absent").await;
    let told = told.err().unwrap().to_string();
    assert!(told.starts_with("MongoDB does not answer: "), "{told}");
    assert!(!told.contains('\n') && !told.contains("secret"), "{told}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let told = MongoStore::open("localhost", "absent").await.err().unwrap().to_string();
    assert!(told.starts_with("the address of MongoDB is not valid: "), "{told}");
}

pub(crate) async fn floors_are_healed(subject: &Subject) {
    let key = channel();
    let last = filled(&*subject.store, key, 1, 3).await.pop().unwrap();
    let due = SystemClock.now().plus(Duration::from_hours(24));
    assert_eq!(subject.store.replace(&tombstone(&last, 4, due), 3).await, Ok(Replaced::Done));
    // As if the node had stopped between the tombstone and its floor.
    let clocks = subject.database().collection::<Document>("channel_clocks");
    assert_eq!(clocks.delete_many(doc! {}).await.unwrap().deleted_count, 1);
    subject.another().await;
    assert_eq!(clocks.count_documents(doc! {}).await.unwrap(), 1);
    // And as if it had written an older one only.
    clocks.update_many(doc! {}, doc! { "$set": { "seq": 2_i64, "visible_count": 9_i64 } }).await.unwrap();
    subject.expire(Timestamp(0)).await;
    subject.expire(due).await;
    assert_eq!(subject.store.head(key).await, Ok(Head { seq: 4, visible_count: 40 }));
}

pub(crate) async fn indexes_are_there_and_used(subject: &Subject) {
    let messages = subject.database().collection::<Document>("messages");
    let mut names = messages.list_index_names().await.unwrap();
    names.sort();
    let expected = [
        "_id_",
        "author_created_at",
        "channel_author_client_message_id",
        "channel_changes",
        "channel_thread",
        "channel_thread_pending",
        "channel_ticks",
        "channel_timeline",
        "channel_visible",
        "content_text",
        "mentions_created_at",
        "purge_at",
        "workspace_created_at",
    ];
    assert_eq!(names, expected);
    // Both are there from the beginning: a collection that is too new cannot be read beside older data.
    let mut collections = subject.database().list_collection_names().await.unwrap();
    collections.sort();
    assert_eq!(collections, ["channel_clocks", "messages"]);

    // The joins of many channels cannot name theirs: see that the server finds them.
    let keys: Vec<_> = (0..20).map(|_| channel()).collect();
    for key in &keys {
        filled(&*subject.store, *key, 1, 300).await;
    }
    let floors: Vec<_> = keys.iter().map(|key| (*key, 0)).collect();
    let uses = async |name: &str| {
        let stats = messages.aggregate([doc! { "$indexStats": {} }]).await.unwrap();
        let stats: Vec<Document> = stats.try_collect().await.unwrap();
        let index = stats.iter().find(|index| index.get_str("name").unwrap() == name).unwrap();
        index.get_document("accesses").unwrap().get_i64("ops").unwrap()
    };
    let (seq, newest) = (uses("channel_changes").await, uses("channel_visible").await);
    assert_eq!(subject.store.heads(&keys).await.unwrap().len(), 20);
    assert_eq!(subject.store.newest(&floors).await.unwrap().len(), 20);
    assert_eq!((uses("channel_changes").await - seq, uses("channel_visible").await - newest), (20, 20));
    let queries: Vec<_> = keys.iter().map(|key| UnreadQuery { key: *key, after: 100, up_to: 250 }).collect();
    let visible = uses("channel_visible").await;
    let unread = subject.store.unread(user(), &queries, 1_000).await.unwrap();
    assert!(unread.len() == 20 && unread.iter().all(|(_, unread)| unread.count == 150));
    assert_eq!(uses("channel_visible").await - visible, 20);
}

pub(crate) async fn replaced_indexes_go(subject: &Subject) {
    let messages = subject.database().collection::<Document>("messages");
    let keys = doc! { "workspace_id": 1, "channel_id": 1, "seq": 1 };
    for (name, unique) in [("channel_seq", true), ("channel_history", false), ("channel_newest", false)] {
        let mut keys = keys.clone();
        if !unique {
            keys.insert(name, 1);
        }
        let options = IndexOptions::builder().name(name.to_owned()).unique(unique).build();
        messages.create_index(IndexModel::builder().keys(keys).options(options).build()).await.unwrap();
    }
    subject.another().await;
    subject.another().await;
    let names = messages.list_index_names().await.unwrap();
    for name in ["channel_seq", "channel_history", "channel_newest"] {
        assert!(!names.contains(&name.to_owned()), "{name} is still there");
    }
    assert!(names.contains(&"channel_changes".to_owned()));
}

pub(crate) async fn a_message_lists_its_own_tick(subject: &Subject) {
    let mut alone = message(channel(), 1);
    alone.ticks = Vec::new();
    assert_eq!(subject.store.insert(alone.key, std::slice::from_ref(&alone)).await, Err(Error::Internal));
    assert_eq!(subject.store.head(alone.key).await.unwrap().seq, 0);
}

/// Passes everything on to the server until `silent`, and from then on nothing, without a word.
async fn relay(server: String, silent: Arc<AtomicBool>) -> u16 {
    async fn pump(
        mut from: impl AsyncReadExt + Unpin,
        mut to: impl AsyncWriteExt + Unpin,
        silent: Arc<AtomicBool>,
    ) {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            while silent.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if to.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (client_in, client_out) = client.into_split();
            let (server_in, server_out) = TcpStream::connect(&server).await.unwrap().into_split();
            tokio::spawn(pump(client_in, server_out, Arc::clone(&silent)));
            tokio::spawn(pump(server_in, client_out, Arc::clone(&silent)));
        }
    });
    port
}

pub(crate) async fn a_silent_server_is_unavailable_in_time() {
    let url = mongodb_url();
    let hosts = url.trim_start_matches("mongodb://").split(['/', '?']).next().unwrap();
    let mut hosts = hosts.rsplit('@').next().unwrap().split(',');
    let client = Client::with_uri_str(url).await.unwrap();
    let hello = client.database("admin").run_command(doc! { "hello": 1 }).await.unwrap();
    let primary = hello.get_str("primary").map_or_else(|_| hosts.next().unwrap().to_owned(), str::to_owned);
    let silent = Arc::new(AtomicBool::new(false));
    let port = relay(primary, Arc::clone(&silent)).await;
    let name = format!("contract_{}", uuid::Uuid::now_v7().simple());
    let store =
        MongoStore::open(&format!("mongodb://127.0.0.1:{port}/?directConnection=true"), &name).await.unwrap();
    let store = Arc::new(store);
    // Their writes share inserts, and each is told.
    let keys: Vec<_> = (0..10).map(|_| channel()).collect();
    for key in &keys {
        filled(&*store, *key, 1, 1).await;
    }

    silent.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let callers: Vec<_> = (0..100)
        .map(|n| {
            let (store, key) = (Arc::clone(&store), keys[n / 2 % keys.len()]);
            tokio::spawn(async move {
                if n % 2 == 0 {
                    store.head(key).await.err()
                } else {
                    store.insert(key, &[message(key, 2)]).await.err()
                }
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Some(UNAVAILABLE));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    silent.store(false, Ordering::Relaxed);
    let begun = Instant::now();
    while store.ping().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "no answer after the server came back");
    }
    // One of a channel's writes that were under way may have gone through, but no more than one.
    for key in keys {
        let head = store.head(key).await.unwrap().seq;
        assert!(head <= 2);
        let group = [message(key, head + 1)];
        // It may also go through only now.
        if store.insert(key, &group).await != Ok(all_of(1)) {
            assert_eq!(store.insert(key, &[message(key, head + 2)]).await, Ok(all_of(1)));
        }
        let ticks: Vec<_> =
            store.changes(key, 0, 10).await.unwrap().iter().map(|message| message.seq).collect();
        assert_eq!(ticks, (1..=store.head(key).await.unwrap().seq).collect::<Vec<_>>());
    }
    client.database(&name).drop().await.unwrap();
}
