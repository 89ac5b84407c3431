//! What writes do and refuse.

use quikapp_chat::{
    entities::Timestamp,
    messages::model::{Block, Message, ReactionGroup},
    store::{Conflict, Head, Inserted, Replaced},
};

use crate::{
    fixture::Subject,
    samples::{START, all_of, by_id, changed, channel, everything, filled, message, tombstone, user},
};

pub(crate) async fn every_field_survives(subject: &Subject) {
    let key = channel();
    let messages = everything(key);
    assert_eq!(subject.store.insert(key, &messages).await, Ok(all_of(messages.len())));
    assert_eq!(subject.store.changes(key, 0, 100).await.unwrap(), messages);

    // And through a replacement: the plain one takes on everything.
    let target = &messages[1];
    let next = Message {
        id: target.id,
        ts: target.ts,
        seq: 100,
        ticks: vec![10, 100],
        client_message_id: None,
        ..messages[0].clone()
    };
    assert_eq!(subject.store.replace(&next, target.seq).await, Ok(Replaced::Done));
    assert_eq!(subject.store.get(&[(key, next.id)]).await.unwrap(), [next]);
}

pub(crate) async fn odd_characters_survive(subject: &Subject) {
    let key = channel();
    let odd = [
        "\0",
        "a\0b\0",
        "👍🏽👨‍👩‍👧‍👦🇨🇭",
        "\u{202e}מימין לשמאל\u{202c} العربية",
        "\u{301}",
        "e\u{301} é",
        "\u{feff}\u{202e}\u{200d}\u{fffd}\u{10ffff}",
        "\r\n\t'\"\\`; DROP TABLE messages; --",
        "$where {$gt: 1} a.b",
        " ",
        "",
    ];
    let messages: Vec<_> = (1..)
        .zip(odd)
        .map(|(tick, odd)| Message {
            text: odd.into(),
            blocks: vec![
                Block::Code { language: Some(odd.into()), code: odd.into() },
                Block::Opaque { name: odd.into(), data: serde_json::json!({ odd: odd }) },
            ],
            client_message_id: Some(odd.into()),
            reactions: vec![ReactionGroup { emoji: odd.into(), users: Vec::new() }],
            ..message(key, tick)
        })
        .collect();
    assert_eq!(subject.store.insert(key, &messages).await, Ok(all_of(messages.len())));
    assert_eq!(subject.store.changes(key, 0, 100).await.unwrap(), messages);
    for message in messages {
        let ids = [(message.author, message.client_message_id.clone().unwrap())];
        assert_eq!(subject.store.by_client_ids(key, &ids).await.unwrap(), [message]);
    }
}

pub(crate) async fn an_insert_stops_at_a_taken_tick(subject: &Subject) {
    let store = &subject.store;
    let key = channel();
    let third = message(key, 3);
    assert_eq!(store.insert(key, std::slice::from_ref(&third)).await, Ok(all_of(1)));
    let group: Vec<_> = (1..=5).map(|tick| message(key, tick)).collect();
    let stopped = Inserted { committed: 2, conflict: Some(Conflict::Tick) };
    assert_eq!(store.insert(key, &group).await, Ok(stopped));
    let stored = store.changes(key, 0, 10).await.unwrap();
    assert_eq!(stored, [group[0].clone(), group[1].clone(), third]);
    // Another channel has a clock of its own, also one with the same id in another workspace.
    let mut twin = channel();
    filled(&**store, twin, 1, 3).await;
    twin.channel = key.channel;
    filled(&**store, twin, 1, 3).await;
    assert_eq!(store.head(key).await.unwrap().seq, 3);
}

pub(crate) async fn an_insert_stops_at_a_repeated_client_message_id(subject: &Subject) {
    let store = &subject.store;
    let key = channel();
    let sent = |tick, id: &str| Message { client_message_id: Some(id.into()), ..message(key, tick) };
    assert_eq!(store.insert(key, &[sent(1, "a")]).await, Ok(all_of(1)));
    let stopped = Inserted { committed: 1, conflict: Some(Conflict::ClientMessageId) };
    assert_eq!(store.insert(key, &[message(key, 2), sent(3, "a"), message(key, 4)]).await, Ok(stopped));
    assert_eq!(store.head(key).await.unwrap().seq, 2);
    // Also within one group.
    assert_eq!(store.insert(key, &[sent(3, "b"), sent(4, "b")]).await, Ok(stopped));
    assert_eq!(store.head(key).await.unwrap().seq, 3);
}

pub(crate) async fn a_repeated_client_message_id_outweighs_a_taken_tick(subject: &Subject) {
    let store = &subject.store;
    let key = channel();
    let sent = |tick| Message { client_message_id: Some("a".into()), ..message(key, tick) };
    assert_eq!(store.insert(key, &[sent(1), message(key, 2)]).await, Ok(all_of(2)));
    for tick in [1, 2] {
        let stopped = Inserted { committed: 0, conflict: Some(Conflict::ClientMessageId) };
        assert_eq!(store.insert(key, &[sent(tick)]).await, Ok(stopped));
    }
    let other = Message { client_message_id: Some("b".into()), ..message(key, 2) };
    let stopped = Inserted { committed: 0, conflict: Some(Conflict::Tick) };
    assert_eq!(store.insert(key, &[other]).await, Ok(stopped));
}

/// Lines of a timeline are written again, with the id of the first time, where it is not known whether they are there.
pub(crate) async fn the_same_message_again_is_a_repeat(subject: &Subject) {
    let store = &subject.store;
    let key = channel();
    let line = Message { client_message_id: Some("system:1".into()), ..message(key, 1) };
    let at = |tick| Message { ts: tick, seq: tick, ticks: vec![tick], ..line.clone() };
    assert_eq!(store.insert(key, std::slice::from_ref(&line)).await, Ok(all_of(1)));
    filled(&**store, key, 2, 2).await;
    let repeat = |committed| Ok(Inserted { committed, conflict: Some(Conflict::ClientMessageId) });
    // At its own tick, at one that is taken by another one, and at a free one.
    for tick in [1, 2, 4] {
        assert_eq!(store.insert(key, &[at(tick)]).await, repeat(0), "{tick}");
    }
    // In a group, and by another node.
    assert_eq!(store.insert(key, &[message(key, 4), at(5), message(key, 6)]).await, repeat(1));
    assert_eq!(subject.another().await.insert(key, &[at(5)]).await, repeat(0));
    // Also when it has moved on since, as an entry of a workspace's log does.
    assert_eq!(store.replace(&changed(&line, 5), 1).await, Ok(Replaced::Done));
    for tick in [1, 5, 6] {
        assert_eq!(store.insert(key, &[at(tick)]).await, repeat(0), "{tick}");
    }
    let ids = [(line.author, "system:1".to_owned())];
    assert_eq!(store.by_client_ids(key, &ids).await.unwrap(), [changed(&line, 5)]);
    assert_eq!(store.head(key).await.unwrap().seq, 5);
}

/// Two nodes, or a first attempt that is still on its way and a second one.
pub(crate) async fn one_of_the_same_messages_at_once_is_written(subject: &Subject) {
    let key = channel();
    let line = Message { client_message_id: Some("system:1".into()), ..message(key, 1) };
    let attempts: Vec<_> = (1..=8)
        .map(|tick| {
            let store = std::sync::Arc::clone(&subject.store);
            let again = Message { ts: tick, seq: tick, ticks: vec![tick], ..line.clone() };
            tokio::spawn(async move { store.insert(key, &[again]).await })
        })
        .collect();
    let mut committed = 0;
    for attempt in attempts {
        let inserted = attempt.await.unwrap().unwrap();
        committed += inserted.committed;
        if inserted.committed == 0 {
            assert_eq!(inserted.conflict, Some(Conflict::ClientMessageId));
        }
    }
    assert_eq!((committed, subject.store.changes(key, 0, 10).await.unwrap().len()), (1, 1));
}

pub(crate) async fn client_message_ids_are_of_one_author_in_one_channel(subject: &Subject) {
    let store = &subject.store;
    let (key, other) = (channel(), channel());
    let (ann, bob) = (user(), user());
    let sent =
        |key, tick, author| Message { author, client_message_id: Some("same".into()), ..message(key, tick) };
    let (first, second, third) = (sent(key, 1, ann), sent(key, 2, bob), sent(other, 1, ann));
    assert_eq!(store.insert(key, &[first.clone(), second.clone()]).await, Ok(all_of(2)));
    assert_eq!(store.insert(other, std::slice::from_ref(&third)).await, Ok(all_of(1)));
    // Messages without one do not get in each other's way.
    filled(&**store, key, 3, 2).await;

    let same = "same".to_owned();
    let asked = [(ann, same.clone()), (bob, same.clone()), (bob, "other".into()), (user(), same.clone())];
    assert_eq!(by_id(store.by_client_ids(key, &asked).await.unwrap()), by_id(vec![first, second]));
    assert_eq!(store.by_client_ids(other, &[(ann, same.clone()), (ann, same)]).await.unwrap(), [third]);
    assert_eq!(store.by_client_ids(key, &[]).await.unwrap(), []);
}

pub(crate) async fn nothing_to_insert_is_no_error(subject: &Subject) {
    let key = channel();
    assert_eq!(subject.store.insert(key, &[]).await, Ok(all_of(0)));
    assert_eq!(subject.store.head(key).await, Ok(Head::default()));
}

pub(crate) async fn a_replacement_needs_the_expected_tick(subject: &Subject) {
    let store = &subject.store;
    let key = channel();
    let first = filled(&**store, key, 1, 2).await.remove(0);
    let second = changed(&first, 3);
    assert_eq!(store.replace(&second, 2).await, Ok(Replaced::Stale));
    assert_eq!(store.replace(&second, 1).await, Ok(Replaced::Done));
    // The same once more, and one made from the old state.
    assert_eq!(store.replace(&second, 1).await, Ok(Replaced::Stale));
    assert_eq!(store.replace(&changed(&first, 4), 1).await, Ok(Replaced::Stale));
    // One that is not there, and one that is in another channel.
    assert_eq!(store.replace(&message(key, 4), 4).await, Ok(Replaced::Stale));
    let mut moved = changed(&second, 4);
    moved.key.workspace = channel().workspace;
    assert_eq!(store.replace(&moved, 3).await, Ok(Replaced::Stale));

    assert_eq!(store.get(&[(key, first.id)]).await.unwrap(), [second]);
    assert_eq!(store.head(key).await, Ok(Head { seq: 3, visible_count: 30 }));
}

pub(crate) async fn a_replacement_cannot_take_a_listed_tick(subject: &Subject) {
    let store = &subject.store;
    let key = channel();
    let messages = filled(&**store, key, 1, 2).await;
    assert_eq!(store.replace(&changed(&messages[0], 2), 1).await, Ok(Replaced::TickTaken));
    assert_eq!(store.changes(key, 0, 10).await.unwrap(), messages);
    // A stale one is told as stale, whatever its tick.
    assert_eq!(store.replace(&changed(&messages[0], 2), 5).await, Ok(Replaced::Stale));
}

pub(crate) async fn a_vacated_tick_stays_taken_while_it_is_listed(subject: &Subject) {
    let store = &subject.store;
    let key = channel();
    let first = filled(&**store, key, 1, 2).await.remove(0);
    let second = changed(&first, 3);
    let third = changed(&second, 4);
    assert_eq!(store.replace(&second, 1).await, Ok(Replaced::Done));
    assert_eq!(store.replace(&third, 3).await, Ok(Replaced::Done));
    let stopped = Ok(Inserted { committed: 0, conflict: Some(Conflict::Tick) });
    for tick in [1, 3, 4] {
        assert_eq!(store.insert(key, &[message(key, tick)]).await, stopped, "{tick}");
        let other = &store.changes(key, 1, 1).await.unwrap()[0];
        assert_eq!(store.replace(&changed(other, tick), 2).await, Ok(Replaced::TickTaken), "{tick}");
    }
    // Dropped from the list, they are free for whoever still takes one.
    let mut fourth = changed(&third, 5);
    fourth.ticks = vec![4, 5];
    assert_eq!(store.replace(&fourth, 4).await, Ok(Replaced::Done));
    assert_eq!(store.insert(key, &[message(key, 4)]).await, stopped);
    assert_eq!(store.insert(key, &[message(key, 3)]).await, Ok(all_of(1)));
}

pub(crate) async fn the_head_survives_a_purge(subject: &Subject) {
    let store = &subject.store;
    let key = channel();
    let mut messages = filled(&**store, key, 1, 3).await;
    // Far from now: a server removes by its own clock.
    let due = Timestamp(4_102_444_800_000);
    let last = tombstone(&messages.pop().unwrap(), 4, due);
    let later = tombstone(&messages.pop().unwrap(), 5, Timestamp(due.0 * 2));
    assert_eq!(store.replace(&last, 3).await, Ok(Replaced::Done));
    assert_eq!(store.replace(&later, 2).await, Ok(Replaced::Done));
    // A tombstone may change again, and its head goes on with it.
    let last_again = changed(&last, 6);
    assert_eq!(store.replace(&last_again, 4).await, Ok(Replaced::Done));
    let head = Head { seq: 6, visible_count: 60 };
    assert_eq!(store.head(key).await, Ok(head));
    assert_eq!(store.changes(key, 3, 10).await.unwrap(), [later.clone(), last_again.clone()]);

    subject.expire(Timestamp(due.0 - 1)).await;
    assert_eq!(store.get(&[(key, last.id)]).await.unwrap(), [last_again]);
    subject.expire(due).await;
    assert_eq!(store.get(&[(key, last.id)]).await.unwrap(), []);
    assert_eq!(store.get(&[(key, later.id)]).await.unwrap(), [later]);
    assert_eq!(store.head(key).await, Ok(head));
    assert_eq!(store.heads(&[key]).await, Ok(vec![(key, head)]));
    assert_eq!(subject.another().await.head(key).await, Ok(head));
    // The log goes on behind it, and the head with the log.
    assert_eq!(store.insert(key, &[message(key, 7)]).await, Ok(all_of(1)));
    assert_eq!(store.head(key).await, Ok(Head { seq: 7, visible_count: 7 }));
}

pub(crate) async fn a_deleted_channel_is_empty(subject: &Subject) {
    let store = &subject.store;
    let (key, other) = (channel(), channel());
    let messages = filled(&**store, key, 1, 30).await;
    let kept = filled(&**store, other, 1, 3).await;
    let gone = tombstone(&messages[29], 31, Timestamp(START));
    assert_eq!(store.replace(&gone, 30).await, Ok(Replaced::Done));
    store.delete_channel(key).await.unwrap();
    assert_eq!(store.changes(key, 0, 100).await.unwrap(), []);
    assert_eq!(store.head(key).await, Ok(Head::default()));
    assert_eq!(store.changes(other, 0, 100).await.unwrap(), kept);
    // Its ticks are free, and deleting it again is no error.
    store.delete_channel(key).await.unwrap();
    filled(&**store, key, 1, 2).await;
}

pub(crate) async fn everything_is_there_after_another_opening(subject: &Subject) {
    let key = channel();
    let messages = filled(&*subject.store, key, 1, 10).await;
    let (one, two) = tokio::join!(subject.another(), subject.another());
    for store in [one, two] {
        store.ping().await.unwrap();
        assert_eq!(store.changes(key, 0, 100).await.unwrap(), messages);
        assert_eq!(store.head(key).await, Ok(Head { seq: 10, visible_count: 10 }));
    }
}
