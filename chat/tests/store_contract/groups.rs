//! Groups of several channels at once. A store may write them together; none of them may feel it.

use bson::doc;
use futures_util::future::join_all;
use quikapp_chat::{
    Error,
    messages::model::{ChannelKey, Message},
    store::{Conflict, Inserted},
};

use crate::{
    fixture::Subject,
    samples::{all_of, channel, filled, message},
};

/// What is in the way of a channel's group.
#[derive(Debug, Clone, Copy)]
enum Obstacle {
    None,
    /// Another writer's message at this tick.
    Tick(i64),
    /// An own id of an earlier message, sent again at this tick.
    Repeat(i64),
}

const OBSTACLES: [Obstacle; 6] = [
    Obstacle::None,
    Obstacle::Tick(4),
    Obstacle::None,
    Obstacle::Repeat(3),
    Obstacle::Tick(2),
    Obstacle::Repeat(6),
];
/// Groups have ticks from 2 to this.
const LAST: i64 = 6;

fn group(key: ChannelKey, obstacle: Obstacle) -> Vec<Message> {
    let mut messages: Vec<_> = (2..=LAST).map(|tick| message(key, tick)).collect();
    if let Obstacle::Repeat(tick) = obstacle {
        messages[usize::try_from(tick - 2).unwrap()].client_message_id = Some("sent before".into());
    }
    messages
}

/// How many messages get in, and why not all.
fn expected(obstacle: Obstacle) -> Inserted {
    let until = |tick: i64| usize::try_from(tick - 2).unwrap();
    match obstacle {
        Obstacle::None => all_of(until(LAST + 1)),
        Obstacle::Tick(tick) => Inserted { committed: until(tick), conflict: Some(Conflict::Tick) },
        Obstacle::Repeat(tick) => {
            Inserted { committed: until(tick), conflict: Some(Conflict::ClientMessageId) }
        }
    }
}

pub(crate) async fn each_of_many_channels_gets_its_own_prefix(subject: &Subject) {
    let store = &subject.store;
    for _ in 0..4 {
        let mut channels = Vec::new();
        for obstacle in OBSTACLES.into_iter().cycle().take(60) {
            let key = channel();
            let first = Message { client_message_id: Some("sent before".into()), ..message(key, 1) };
            assert_eq!(store.insert(key, &[first]).await, Ok(all_of(1)));
            if let Obstacle::Tick(tick) = obstacle {
                filled(&**store, key, tick, 1).await;
            }
            channels.push((key, obstacle, group(key, obstacle)));
        }
        let results = join_all(channels.iter().map(|(key, _, group)| store.insert(*key, group))).await;
        for ((key, obstacle, group), result) in channels.iter().zip(results) {
            assert_eq!(result, Ok(expected(*obstacle)), "{obstacle:?}");
            let stored = store.changes(*key, 0, 100).await.unwrap();
            let own: Vec<_> = stored.iter().filter(|stored| group.contains(stored)).cloned().collect();
            assert_eq!(own, group[..expected(*obstacle).committed], "{obstacle:?}");
        }
    }
}

/// Lanes go on after a conflict as if they were alone; their groups meet those of others all the while.
pub(crate) async fn channels_with_two_writers_each_stay_dense(subject: &Subject) {
    let keys: Vec<_> = (0..12).map(|_| channel()).collect();
    let writers = keys.iter().chain(&keys).map(|key| async {
        let mut written = 0;
        while written < 30 {
            let head = subject.store.head(*key).await.unwrap().seq;
            let group: Vec<_> = (head + 1..=head + 3).map(|tick| message(*key, tick)).collect();
            let inserted = subject.store.insert(*key, &group).await.unwrap();
            assert_eq!(inserted.conflict.is_none(), inserted.committed == group.len());
            written += inserted.committed;
        }
        written
    });
    let written: usize = join_all(writers).await.into_iter().sum();
    let mut stored = 0;
    for key in keys {
        let changes = subject.store.changes(key, 0, 10_000).await.unwrap();
        let ticks: Vec<_> = changes.iter().map(|message| message.seq).collect();
        assert_eq!(ticks, (1..=i64::try_from(ticks.len()).unwrap()).collect::<Vec<_>>());
        stored += ticks.len();
    }
    assert_eq!(stored, written, "what is told as written is what is there");
}

/// What waits together is few round trips.
pub(crate) async fn channels_share_inserts(subject: &Subject) {
    let keys: Vec<_> = (0..100).map(|_| channel()).collect();
    let before = subject.store.queries();
    let groups: Vec<_> = keys.iter().map(|key| (*key, [message(*key, 1), message(*key, 2)])).collect();
    for result in join_all(groups.iter().map(|(key, group)| subject.store.insert(*key, group))).await {
        assert_eq!(result, Ok(all_of(2)));
    }
    let inserts = subject.store.queries() - before;
    assert!(inserts <= 20, "100 channels took {inserts} inserts");
}

/// A document that the server refuses for its own sake is its own channel's trouble.
pub(crate) async fn a_refused_document_fails_its_own_channel_only(subject: &Subject) {
    let validator = doc! { "content.text": { "$ne": "poison" } };
    let command = doc! { "collMod": "messages", "validator": validator };
    subject.database().run_command(command).await.unwrap();
    let groups: Vec<_> = (0..60)
        .map(|number| {
            let key = channel();
            let mut group: Vec<_> = (1..=3).map(|tick| message(key, tick)).collect();
            if number % 10 == 5 {
                group[1].text = "poison".into();
            }
            (key, group)
        })
        .collect();
    let results = join_all(groups.iter().map(|(key, group)| subject.store.insert(*key, group))).await;
    for (number, ((key, group), result)) in groups.iter().zip(results).enumerate() {
        let stored = subject.store.changes(*key, 0, 10).await.unwrap();
        if number % 10 == 5 {
            assert_eq!(result, Err(Error::Internal));
            assert_eq!(stored, group[..1]);
        } else {
            assert_eq!(result, Ok(all_of(3)), "channel {number}");
            assert_eq!(stored, *group);
        }
    }
}
