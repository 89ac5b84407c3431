//! What reads return.

use quikapp_chat::{
    entities::{MessageId, Timestamp},
    messages::model::{Message, MessageKind, ThreadSummary},
    store::{Head, PageQuery, Replaced, Scope, Unread, UnreadQuery},
};
use uuid::Uuid;

use crate::{
    fixture::Subject,
    samples::{all_of, by_id, changed, channel, filled, message, reply, ticks, tombstone, user},
};

/// The whole timeline, oldest first.
pub(crate) const TIMELINE: PageQuery =
    PageQuery { scope: Scope::Timeline, after: 0, before: i64::MAX, limit: 100, newest_first: false };

pub(crate) async fn an_empty_channel_has_nothing(subject: &Subject) {
    let store = &subject.store;
    let key = channel();
    let id = MessageId(Uuid::now_v7());
    assert_eq!(store.head(key).await, Ok(Head::default()));
    assert_eq!(store.heads(&[key]).await, Ok(Vec::new()));
    assert_eq!(store.heads(&[]).await, Ok(Vec::new()));
    assert_eq!(store.get(&[]).await, Ok(Vec::new()));
    assert_eq!(store.get(&[(key, id)]).await, Ok(Vec::new()));
    assert_eq!(store.page(key, TIMELINE).await, Ok(Vec::new()));
    assert_eq!(store.changes(key, 0, 10).await, Ok(Vec::new()));
    assert_eq!(store.newest(&[(key, 0)]).await, Ok(Vec::new()));
    assert_eq!(store.newest(&[]).await, Ok(Vec::new()));
    assert_eq!(store.unread(user(), &[], 10).await, Ok(Vec::new()));
    let all = UnreadQuery { key, after: 0, up_to: i64::MAX };
    assert_eq!(store.unread(user(), &[all], 10).await, Ok(Vec::new()));
    assert_eq!(store.thread_summary(key, id).await, Ok(ThreadSummary::default()));
    assert_eq!(store.pending_replies(key).await, Ok(Vec::new()));
    assert_eq!(store.pending_channels(Timestamp(i64::MAX)).await, Ok(Vec::new()));
    store.clear_thread_pending(key, &[]).await.unwrap();
    store.clear_thread_pending(key, &[id]).await.unwrap();
    store.delete_channel(key).await.unwrap();
    store.ping().await.unwrap();
}

pub(crate) async fn pages_go_both_ways_within_bounds(subject: &Subject) {
    let store = &subject.store;
    let key = channel();
    let mut messages = filled(&**store, key, 1, 20).await;
    // Later changes leave the order of history alone, and tombstones stay in it.
    let next = tombstone(&messages[4], 21, Timestamp(i64::MAX / 2));
    assert_eq!(store.replace(&next, 5).await, Ok(Replaced::Done));
    messages[4] = next;
    assert_eq!(store.page(key, TIMELINE).await.unwrap(), messages);

    let page = async |query: PageQuery| ticks(&store.page(key, query).await.unwrap());
    let oldest = PageQuery { limit: 3, ..TIMELINE };
    let newest = PageQuery { limit: 3, newest_first: true, ..TIMELINE };
    assert_eq!(page(oldest).await, [1, 2, 3]);
    assert_eq!(page(newest).await, [20, 19, 18]);
    assert_eq!(page(PageQuery { after: 3, ..oldest }).await, [4, 5, 6]);
    assert_eq!(page(PageQuery { before: 18, ..newest }).await, [17, 16, 15]);
    assert_eq!(page(PageQuery { after: 3, before: 6, ..oldest }).await, [4, 5]);
    assert_eq!(page(PageQuery { after: 3, before: 6, ..newest }).await, [5, 4]);
    assert_eq!(page(PageQuery { after: 3, before: 20, ..newest }).await, [19, 18, 17]);
    assert_eq!(page(PageQuery { after: 20, ..oldest }).await, [0_i64; 0]);
    assert_eq!(page(PageQuery { before: 1, ..newest }).await, [0_i64; 0]);
    assert_eq!(page(PageQuery { after: 6, before: 6, ..newest }).await, [0_i64; 0]);
    assert_eq!(page(PageQuery { after: i64::MAX, before: 0, ..newest }).await, [0_i64; 0]);
    assert_eq!(page(PageQuery { limit: 0, ..newest }).await, [0_i64; 0]);
    assert_eq!(page(PageQuery { limit: usize::MAX, after: 18, ..oldest }).await, [19, 20]);
}

pub(crate) async fn changes_come_by_tick(subject: &Subject) {
    let store = &subject.store;
    let key = channel();
    let messages = filled(&**store, key, 1, 5).await;
    let second = changed(&messages[1], 6);
    let fourth = tombstone(&messages[3], 7, Timestamp(i64::MAX / 2));
    assert_eq!(store.replace(&second, 2).await, Ok(Replaced::Done));
    assert_eq!(store.replace(&fourth, 4).await, Ok(Replaced::Done));
    let again = changed(&second, 8);
    assert_eq!(store.replace(&again, 6).await, Ok(Replaced::Done));

    let log = [messages[0].clone(), messages[2].clone(), messages[4].clone(), fourth.clone(), again.clone()];
    assert_eq!(store.changes(key, 0, 100).await.unwrap(), log);
    assert_eq!(store.changes(key, 0, 2).await.unwrap(), log[..2]);
    assert_eq!(store.changes(key, 5, 100).await.unwrap(), [fourth, again]);
    assert_eq!(store.changes(key, 8, 100).await.unwrap(), []);
    assert_eq!(store.changes(key, 0, 0).await.unwrap(), []);
    assert_eq!(store.changes(channel(), 0, 100).await.unwrap(), []);
}

pub(crate) async fn newest_respects_floors_and_skips_what_does_not_count(subject: &Subject) {
    let store = &subject.store;
    let (key, other, quiet) = (channel(), channel(), channel());
    let mut messages = filled(&**store, key, 1, 3).await;
    let root = messages[0].id;
    let more = [
        Message { broadcast: true, ..reply(key, 4, root) },
        message(key, 5),
        reply(key, 6, root),
        Message { kind: MessageKind::System, ..message(key, 7) },
    ];
    assert_eq!(store.insert(key, &more).await, Ok(all_of(4)));
    messages.extend(more);
    let gone = tombstone(&messages[4], 8, Timestamp(i64::MAX / 2));
    assert_eq!(store.replace(&gone, 5).await, Ok(Replaced::Done));
    let last = filled(&**store, other, 1, 3).await.pop().unwrap();
    assert_eq!(
        store.insert(quiet, &[Message { kind: MessageKind::System, ..message(quiet, 1) }]).await,
        Ok(all_of(1))
    );

    let newest = async |keys: &[_]| by_id(store.newest(keys).await.unwrap());
    assert_eq!(newest(&[(key, 0)]).await, [messages[3].clone()]);
    assert_eq!(newest(&[(key, 3)]).await, [messages[3].clone()]);
    assert_eq!(newest(&[(key, 4)]).await, []);
    assert_eq!(newest(&[(quiet, 0), (channel(), 0)]).await, []);
    let both = by_id(vec![messages[3].clone(), last.clone()]);
    assert_eq!(newest(&[(quiet, 0), (other, 2), (key, 1)]).await, both);
    assert_eq!(newest(&[(other, 2), (key, 4)]).await, [last]);
}

pub(crate) async fn unread_is_what_others_wrote_in_the_stretch(subject: &Subject) {
    let store = &subject.store;
    let (key, other, quiet) = (channel(), channel(), channel());
    let reader = user();
    let mut messages = filled(&**store, key, 1, 3).await;
    let root = messages[0].id;
    let more = [
        Message { author: reader, ..message(key, 4) },
        Message { broadcast: true, ..reply(key, 5, root) },
        reply(key, 6, root),
        Message { kind: MessageKind::System, ..message(key, 7) },
        message(key, 8),
        message(key, 9),
    ];
    assert_eq!(store.insert(key, &more).await, Ok(all_of(6)));
    messages.extend(more);
    let gone = tombstone(&messages[7], 10, Timestamp(i64::MAX / 2));
    assert_eq!(store.replace(&gone, 8).await, Ok(Replaced::Done));
    // A later change leaves a message where it is.
    assert_eq!(store.replace(&changed(&messages[2], 11), 3).await, Ok(Replaced::Done));
    let others = filled(&**store, other, 1, 4).await;
    filled(&**store, quiet, 1, 1).await;

    let query = |key, after, up_to| UnreadQuery { key, after, up_to };
    let unread = async |queries: &[UnreadQuery], limit| {
        let mut found = store.unread(reader, queries, limit).await.unwrap();
        found.sort_by_key(|(key, _)| *key);
        found
    };
    let is = |key, count, first: &Message| (key, Unread { count, first: first.id });
    // 1, 2, 3, 5 and 9.
    assert_eq!(unread(&[query(key, 0, i64::MAX)], 100).await, [is(key, 5, &messages[0])]);
    assert_eq!(unread(&[query(key, 2, i64::MAX)], 100).await, [is(key, 3, &messages[2])]);
    assert_eq!(unread(&[query(key, 3, 8)], 100).await, [is(key, 1, &messages[4])]);
    assert_eq!(unread(&[query(key, 5, 8)], 100).await, []);
    assert_eq!(unread(&[query(key, 9, i64::MAX)], 100).await, []);
    assert_eq!(unread(&[query(key, 0, i64::MAX)], 2).await, [is(key, 2, &messages[0])]);
    assert_eq!(unread(&[query(key, 0, i64::MAX)], 0).await, []);
    let mut both = vec![is(key, 1, &messages[8]), is(other, 2, &others[2])];
    both.sort_by_key(|(key, _)| *key);
    let queries = [query(quiet, 1, 9), query(key, 5, 9), query(channel(), 0, 9), query(other, 2, 9)];
    assert_eq!(unread(&queries, 100).await, both);
}

pub(crate) async fn heads_are_told_at_once(subject: &Subject) {
    let store = &subject.store;
    let mut keys = Vec::new();
    for length in 1..=5 {
        let key = channel();
        filled(&**store, key, 1, length).await;
        keys.push(key);
    }
    let mut asked = keys.clone();
    asked.push(channel());
    asked.push(keys[0]);
    let mut heads = store.heads(&asked).await.unwrap();
    heads.sort_by_key(|(_, head)| head.seq);
    let expected: Vec<_> =
        keys.into_iter().zip(1..).map(|(key, tick)| (key, Head { seq: tick, visible_count: tick })).collect();
    assert_eq!(heads, expected);
}

pub(crate) async fn get_is_strict_about_the_channel(subject: &Subject) {
    let store = &subject.store;
    let (key, other) = (channel(), channel());
    let (messages, others) = (filled(&**store, key, 1, 3).await, filled(&**store, other, 1, 3).await);
    let asked = [
        (key, messages[0].id),
        (key, messages[0].id),
        (key, others[0].id),
        (other, messages[1].id),
        (other, others[2].id),
        (key, MessageId(Uuid::now_v7())),
    ];
    let expected = by_id(vec![messages[0].clone(), others[2].clone()]);
    assert_eq!(by_id(store.get(&asked).await.unwrap()), expected);
    let mut foreign = key;
    foreign.workspace = other.workspace;
    assert_eq!(store.get(&[(foreign, messages[0].id)]).await.unwrap(), []);
}

pub(crate) async fn lists_cost_one_query(subject: &Subject) {
    let store = &subject.store;
    let mut keys = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..40 {
        let key = channel();
        let messages = filled(&**store, key, 1, 3).await;
        ids.extend(messages.iter().map(|message| (key, message.id)));
        keys.push(key);
    }
    let floors: Vec<_> = keys.iter().map(|key| (*key, 0)).collect();
    let before = store.queries();
    assert_eq!(store.heads(&keys).await.unwrap().len(), 40);
    assert_eq!(store.queries() - before, 1);
    assert_eq!(store.newest(&floors).await.unwrap().len(), 40);
    assert_eq!(store.queries() - before, 2);
    assert_eq!(store.get(&ids).await.unwrap().len(), 120);
    assert_eq!(store.queries() - before, 3);
    assert_eq!(store.page(keys[0], TIMELINE).await.unwrap().len(), 3);
    assert_eq!(store.queries() - before, 4);
    let group: Vec<_> = (4..260).map(|tick| message(keys[0], tick)).collect();
    assert_eq!(store.insert(keys[0], &group).await, Ok(all_of(256)));
    assert_eq!(store.queries() - before, 5);
    assert_eq!(store.page(keys[0], PageQuery { limit: 250, ..TIMELINE }).await.unwrap().len(), 250);
    assert_eq!(store.queries() - before, 6);
    let all: Vec<_> = keys.iter().map(|key| UnreadQuery { key: *key, after: 0, up_to: 9 }).collect();
    assert_eq!(store.unread(user(), &all, 10).await.unwrap().len(), 40);
    assert_eq!(store.queries() - before, 7);
}
