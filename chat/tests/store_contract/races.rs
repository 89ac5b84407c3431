//! Writers that race, and callers that go away.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use quikapp_chat::store::{Conflict, Replaced};

use crate::{
    fixture::Subject,
    reads::TIMELINE,
    samples::{all_of, changed, channel, filled, message},
};

const WRITERS: i64 = 8;
const EACH: i64 = 200;

pub(crate) async fn writers_that_race_leave_no_gap_and_no_repeat(subject: &Subject) {
    let key = channel();
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = Arc::clone(&subject.store);
            tokio::spawn(async move {
                let mut mine = Vec::new();
                for _ in 0..EACH {
                    loop {
                        let next = message(key, store.head(key).await.unwrap().seq + 1);
                        let inserted = store.insert(key, std::slice::from_ref(&next)).await.unwrap();
                        match inserted.conflict {
                            None => {
                                mine.push((next.ts, next.id));
                                break;
                            }
                            Some(conflict) => assert_eq!(conflict, Conflict::Tick),
                        }
                    }
                }
                mine
            })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    acknowledged.sort();
    let stored = subject.store.changes(key, 0, 10_000).await.unwrap();
    assert_eq!(
        stored.iter().map(|message| message.seq).collect::<Vec<_>>(),
        (1..=WRITERS * EACH).collect::<Vec<_>>()
    );
    assert_eq!(stored.iter().map(|message| (message.ts, message.id)).collect::<Vec<_>>(), acknowledged);
}

pub(crate) async fn one_of_many_replacements_wins(subject: &Subject) {
    let key = channel();
    let first = filled(&*subject.store, key, 1, 1).await.remove(0);
    let writers: Vec<_> = (0..16)
        .map(|tick| {
            let (store, next) = (Arc::clone(&subject.store), changed(&first, 2 + tick % 4));
            tokio::spawn(async move { store.replace(&next, 1).await.unwrap() })
        })
        .collect();
    let mut won = 0;
    for writer in writers {
        match writer.await.unwrap() {
            Replaced::Done => won += 1,
            other => assert_eq!(other, Replaced::Stale),
        }
    }
    assert_eq!(won, 1);
}

pub(crate) async fn a_store_answers_after_many_callers_went_away(subject: &Subject) {
    let store = &subject.store;
    let keys: Vec<_> = (0..64).map(|_| channel()).collect();
    for round in 0..3_u64 {
        let writers: Vec<_> = keys
            .iter()
            .map(|key| {
                let (store, key) = (Arc::clone(store), *key);
                tokio::spawn(async move {
                    loop {
                        let head = store.head(key).await.unwrap().seq;
                        let group: Vec<_> = (head + 1..=head + 20).map(|tick| message(key, tick)).collect();
                        store.insert(key, &group).await.unwrap();
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50 + 37 * round)).await;
        for writer in &writers {
            writer.abort();
        }
        let begun = Instant::now();
        store.page(keys[0], TIMELINE).await.unwrap();
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(2), "the first answer took {took:?}");
        for writer in writers {
            assert!(writer.await.unwrap_err().is_cancelled());
        }
    }
    // What was begun ends by itself and leaves a valid log, which goes on.
    for key in keys {
        let begun = Instant::now();
        loop {
            let head = store.head(key).await.unwrap().seq;
            if store.insert(key, &[message(key, head + 1)]).await == Ok(all_of(1)) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "the log does not go on");
        }
        let stored = store.changes(key, 0, 100_000).await.unwrap();
        let last = i64::try_from(stored.len()).unwrap();
        assert_eq!(
            stored.iter().map(|message| message.seq).collect::<Vec<_>>(),
            (1..=last).collect::<Vec<_>>()
        );
    }
}
