#![allow(clippy::unwrap_used)]
use std::sync::atomic::Ordering;

use quikapp_entities::{ChannelId, WorkspaceId, workspace_members::MemberRole};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::*;
use crate::testing::{Messages, World};

fn some_key() -> ChannelKey {
    ChannelKey { workspace: WorkspaceId(Uuid::now_v7()), channel: ChannelId(Uuid::now_v7()) }
}

fn told(key: ChannelKey, log_seq: i64) -> Changed {
    let counters =
        ChannelActivity { channel: key.channel, message_count: log_seq, last_message_at: None, log_seq };
    Changed { key, counters: Some(counters) }
}

#[test]
fn the_greater_tick_holds_unless_the_store_has_to_be_asked() {
    let key = some_key();
    let mut due = HashMap::new();
    let seq = |due: &HashMap<_, Option<ChannelActivity>>| due[&key].map(|known| known.log_seq);
    for (next, expected) in [(10, Some(10)), (9, Some(10)), (11, Some(11))] {
        note(&mut due, told(key, next));
        assert_eq!(seq(&due), expected);
    }
    note(&mut due, Changed { key, counters: None });
    note(&mut due, told(key, 12));
    assert_eq!(seq(&due), None);
}

async fn log_seq(world: &World, key: ChannelKey) -> i64 {
    let row = channels::Entity::find_by_id(key.channel).one(world.chat.db.pool()).await.unwrap().unwrap();
    row.log_seq
}

/// A channel of a new workspace, at rest.
async fn channel(world: &World) -> ChannelKey {
    let owner = world.user("Ada").await;
    let workspace = world.workspace(&owner).await;
    // Whose coming is a line in the channel.
    world.member(&workspace, "Bob", MemberRole::Member).await;
    world.chat.flush_counters().await;
    let query = channels::Entity::find().filter(channels::Column::WorkspaceId.eq(workspace.id()));
    let row = query.one(world.chat.db.pool()).await.unwrap().unwrap();
    ChannelKey { workspace: row.workspace_id, channel: row.id }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_is_copied_at_once_when_asked() {
    for world in World::all().await {
        let key = channel(&world).await;
        let (told_to, changed) = mpsc::unbounded_channel();
        let flush = start(world.chat.db.clone(), Arc::clone(&world.chat.store), changed);
        let before = std::time::Instant::now();
        for turn in 1..=3 {
            told_to.send(told(key, turn * 1_000)).unwrap();
            // Also while it gathers.
            if turn == 2 {
                tokio::time::sleep(EVERY / 10).await;
            }
            flush.now().await;
            assert_eq!(log_seq(&world, key).await, turn * 1_000);
        }
        assert!(before.elapsed() < 3 * EVERY, "it waited for its time");
        drop(told_to);
        // Whoever asks when all is over is not kept waiting.
        flush.now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_node_left_behind_is_mended() {
    for world in World::all().await {
        let key = channel(&world).await;
        let behind = "UPDATE channels SET log_seq = 0";
        world.chat.db.pool().execute_unprepared(behind).await.unwrap();
        assert_eq!(log_seq(&world, key).await, 0);
        world.chat.catch_up_counters().await.unwrap();
        let head = world.chat.store.head(key).await.unwrap();
        assert_eq!((log_seq(&world, key).await, head.seq > 0), (head.seq, true));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_while_a_store_is_away_comes_together() {
    let messages = Arc::new(Messages::default());
    for world in World::all().await {
        messages.looks_away.store(true, Ordering::SeqCst);
        let (told_to, changed) = mpsc::unbounded_channel();
        let store: Arc<dyn MessageStore> = Arc::clone(&messages) as _;
        let mut copying = Copying {
            db: world.chat.db.clone(),
            store,
            changed,
            asked: mpsc::channel(1).1,
            due: HashMap::new(),
        };
        let key = some_key();
        told_to.send(Changed { key, counters: None }).unwrap();
        let telling = async {
            for _ in 0..100 {
                for _ in 0..100 {
                    told_to.send(Changed { key, counters: None }).unwrap();
                }
                tokio::time::sleep(RETRY / 100).await;
            }
            // It has looked again behind the last one.
            tokio::time::sleep(RETRY + RETRY / 2).await;
        };
        tokio::select! {
            () = copying.copy_all() => panic!("it was copied from a store that is away"),
            () = telling => {}
        }
        assert_eq!((copying.changed.len(), copying.due.len()), (0, 1));
        messages.looks_away.store(false, Ordering::SeqCst);
        copying.copy_all().await;
        assert!(copying.due.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_while_it_copies_waits_for_the_next_time() {
    for world in World::all().await {
        let key = channel(&world).await;
        let (told_to, changed) = mpsc::unbounded_channel();
        let mut copying = Copying {
            db: world.chat.db.clone(),
            store: Arc::clone(&world.chat.store),
            changed,
            asked: mpsc::channel(1).1,
            due: HashMap::new(),
        };
        let mut copied = std::pin::pin!(copying.copy_all());
        let mut seq = 1_000;
        // Somebody writes each time that the database gives an answer.
        std::future::poll_fn(|cx| {
            seq += 1;
            assert!(seq < 2_000, "it goes on for as long as somebody writes");
            told_to.send(told(key, seq)).unwrap();
            copied.as_mut().poll(cx)
        })
        .await;
        assert_eq!(log_seq(&world, key).await, 1_001);
    }
}
