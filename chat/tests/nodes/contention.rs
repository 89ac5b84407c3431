//! Two nodes that write to the same channel at the same time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use quikapp_chat::{entities::UserId, live::Feed};
use uuid::Uuid;

use crate::fixture::{channel, with_servers};

const SENDERS: usize = 32;

/// The ticks told, one after the other, up to `last`.
pub(crate) async fn told(feed: &mut Feed, last: i64) -> Vec<i64> {
    let mut ticks = Vec::new();
    while feed.position() < last {
        let next = tokio::time::timeout(Duration::from_secs(30), feed.next()).await;
        let next = next.unwrap_or_else(|_| panic!("nothing is told after {}", feed.position()));
        ticks.extend(next.unwrap().map(|told| told.message.seq));
    }
    ticks
}

/// `CONTENTION_SENDS=…` for more of them, to measure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_race_for_a_channel_both_get_on() {
    let sends = std::env::var("CONTENTION_SENDS").map_or(2_000, |sends| sends.parse().unwrap());
    with_servers(async |servers| {
        let nodes = [servers.node().await, servers.node().await];
        let key = channel();
        let mut feeds = [nodes[0].hub.follow(key).await.unwrap(), nodes[1].hub.follow(key).await.unwrap()];
        let begun = Instant::now();
        let next = Arc::new(AtomicUsize::new(0));
        let done = [Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default()];
        let senders: Vec<_> = (0..SENDERS * 2)
            .map(|number| {
                let (node, next) = (nodes[number % 2].clone(), Arc::clone(&next));
                let done = Arc::clone(&done[number % 2]);
                tokio::spawn(async move {
                    let author = UserId(Uuid::now_v7());
                    let mut slowest = Duration::ZERO;
                    loop {
                        let turn = next.fetch_add(1, Ordering::Relaxed);
                        if turn >= sends {
                            return slowest;
                        }
                        let asked = Instant::now();
                        node.send(key, author, &turn.to_string()).await.unwrap();
                        slowest = slowest.max(asked.elapsed());
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let mut slowest = Duration::ZERO;
        for sender in senders {
            slowest = slowest.max(sender.await.unwrap());
        }
        let took = begun.elapsed();
        let each = done.map(|done| done.load(Ordering::Relaxed));
        println!(
            "{sends} sends of {SENDERS} senders on each of two nodes in {took:?}, {each:?} by node, the slowest {slowest:?}, \
             {} queries",
            nodes[0].store.queries() + nodes[1].store.queries(),
        );
        let last = i64::try_from(sends).unwrap();
        for feed in &mut feeds {
            assert_eq!(told(feed, last).await, (1..=last).collect::<Vec<_>>());
        }
        assert!(each.iter().all(|done| *done > sends / 10), "one node was starved: {each:?}");
    })
    .await;
}
