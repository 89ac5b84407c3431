//! Threads, and the work that a stopped node leaves over.

use quikapp_chat::{
    entities::{Timestamp, UserId},
    messages::model::{Message, MessageKind, ThreadSummary},
    store::{PageQuery, Replaced, Scope},
};

use crate::{
    fixture::Subject,
    reads::TIMELINE,
    samples::{START, all_of, channel, filled, message, reply, ticks, tombstone, user},
};

pub(crate) async fn thread_pages_hold_replies_only(subject: &Subject) {
    let store = &subject.store;
    let (key, other) = (channel(), channel());
    let roots = filled(&**store, key, 1, 2).await;
    let (root, second) = (roots[0].id, roots[1].id);
    let more = [
        reply(key, 3, root),
        Message { broadcast: true, ..reply(key, 4, root) },
        reply(key, 5, second),
        message(key, 6),
        reply(key, 7, root),
    ];
    assert_eq!(store.insert(key, &more).await, Ok(all_of(5)));
    assert_eq!(store.insert(other, &[reply(other, 1, root)]).await, Ok(all_of(1)));

    let page = async |query: PageQuery| ticks(&store.page(key, query).await.unwrap());
    let thread = PageQuery { scope: Scope::Thread(root), ..TIMELINE };
    assert_eq!(page(TIMELINE).await, [1, 2, 4, 6]);
    assert_eq!(page(thread).await, [3, 4, 7]);
    assert_eq!(page(PageQuery { after: 3, ..thread }).await, [4, 7]);
    assert_eq!(page(PageQuery { before: 7, newest_first: true, limit: 1, ..thread }).await, [4]);
    assert_eq!(page(PageQuery { scope: Scope::Thread(second), ..thread }).await, [5]);
    assert_eq!(page(PageQuery { scope: Scope::Thread(more[0].id), ..thread }).await, [0_i64; 0]);
}

pub(crate) async fn a_summary_is_counted_afresh(subject: &Subject) {
    let store = &subject.store;
    let key = channel();
    let root = filled(&**store, key, 1, 1).await.remove(0).id;
    let people: Vec<UserId> = (0..10).map(|_| user()).collect();
    let mut replies = Vec::new();
    for (tick, author) in (2..).zip(people.iter().chain(&people)) {
        replies.push(Message { author: *author, ..reply(key, tick, root) });
    }
    replies.push(Message { kind: MessageKind::System, author: user(), ..reply(key, 22, root) });
    replies.push(Message { author: user(), ..message(key, 23) });
    assert_eq!(store.insert(key, &replies).await, Ok(all_of(22)));
    let summary = |count, last: i64, people: &[UserId]| ThreadSummary {
        reply_count: count,
        last_reply_at: Some(Timestamp(START + last)),
        participants: people[..ThreadSummary::PARTICIPANTS].to_vec(),
    };
    assert_eq!(store.thread_summary(key, root).await, Ok(summary(20, 21, &people)));

    // The last reply goes, and both of the first person.
    for (tick, at) in [(24, 19), (25, 0), (26, 10)] {
        let gone = tombstone(&replies[at], tick, Timestamp(i64::MAX / 2));
        assert_eq!(store.replace(&gone, replies[at].seq).await, Ok(Replaced::Done));
    }
    assert_eq!(store.thread_summary(key, root).await, Ok(summary(17, 20, &people[1..])));
}

pub(crate) async fn pending_replies_are_found_and_cleared(subject: &Subject) {
    let store = &subject.store;
    let (key, other) = (channel(), channel());
    let root = filled(&**store, key, 1, 1).await.remove(0).id;
    let replies: Vec<_> = (2..=5).map(|tick| reply(key, tick, root)).collect();
    assert_eq!(store.insert(key, &replies).await, Ok(all_of(4)));
    assert_eq!(store.insert(other, &[reply(other, 9, root)]).await, Ok(all_of(1)));

    let channels = async |before| {
        let mut keys = store.pending_channels(Timestamp(before)).await.unwrap();
        keys.sort();
        keys
    };
    let mut both = vec![key, other];
    both.sort();
    assert_eq!(store.pending_replies(key).await.unwrap(), replies);
    assert_eq!(channels(START + 10).await, both);
    assert_eq!(channels(START + 9).await, [key]);
    assert_eq!(channels(START + 2).await, []);

    let head = store.head(key).await.unwrap();
    // Those of other channels are left alone.
    let foreign = store.pending_replies(other).await.unwrap()[0].id;
    store.clear_thread_pending(key, &[replies[0].id, replies[2].id, foreign]).await.unwrap();
    assert_eq!(store.pending_replies(key).await.unwrap(), [replies[1].clone(), replies[3].clone()]);
    assert_eq!(channels(START + 10).await, both);
    store.clear_thread_pending(key, &[replies[1].id, replies[3].id]).await.unwrap();
    assert_eq!(store.pending_replies(key).await.unwrap(), []);
    assert_eq!(channels(START + 10).await, [other]);
    // It takes no tick, and changes nothing else.
    assert_eq!(store.head(key).await.unwrap(), head);
    let cleared = Message { thread_pending: false, ..replies[0].clone() };
    assert_eq!(store.get(&[(key, cleared.id)]).await.unwrap(), [cleared]);
}
