//! Topics that are told too much, too little, or too early. Without a hub around them nothing sweeps up after them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cuts;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use quikapp_entities::{ChannelId, MessageId, UserId, WorkspaceId};
use uuid::Uuid;

use crate::{
    clock::Environment,
    live::{
        Feed, Hub,
        event::{Event, ResetReason},
        flow::Flow,
        publication,
        topic::{Raw, Topics},
    },
    log::{Draft, Log},
    messages::model::{ChannelKey, Message, MessageKind},
    store::MessageStore,
    testing::Messages,
};

struct Channel {
    key: ChannelKey,
    messages: Arc<Messages>,
    log: Log,
    topics: Arc<Topics>,
}

impl Channel {
    fn new() -> Self {
        let messages = Arc::<Messages>::default();
        let store: Arc<dyn MessageStore> = Arc::clone(&messages) as _;
        let env = Environment::default();
        let log = Log::new(
            Arc::clone(&store),
            Hub::alone(store, &env),
            env,
            tokio::sync::mpsc::unbounded_channel().0,
        );
        let key = ChannelKey { workspace: WorkspaceId(Uuid::now_v7()), channel: ChannelId(Uuid::now_v7()) };
        let topics = Arc::new(Topics::new(Arc::clone(&messages) as _, None));
        Self { key, messages, log, topics }
    }

    async fn append(&self, count: usize, text: &str) -> Vec<Arc<Message>> {
        let draft = || Draft {
            id: MessageId(Uuid::now_v7()),
            author: UserId(Uuid::now_v7()),
            created_at: Environment::default().now(),
            kind: MessageKind::Text,
            text: text.to_owned(),
            blocks: Vec::new(),
            mentions: Vec::new(),
            mentions_everyone: false,
            client_message_id: None,
            thread_root: None,
            reply_to: None,
            broadcast: false,
            system: None,
        };
        let drafts = (0..count).map(|_| draft()).collect();
        let appended = self.log.append_all(self.key, drafts).await.unwrap();
        appended.into_iter().map(|appended| appended.message).collect()
    }

    async fn follow(&self) -> Feed {
        self.topics.follow(&[self.key]).await.unwrap().pop().unwrap()
    }

    fn deliver(&self, raw: Raw) {
        self.topics.deliver(self.key.channel, raw);
    }
}

/// What is told up to `last`.
async fn told(feed: &mut Feed, last: i64) -> Vec<Arc<Message>> {
    let mut messages = Vec::new();
    while feed.position() < last {
        let next = tokio::time::timeout(Duration::from_secs(10), feed.next()).await;
        let next = next.unwrap_or_else(|_| panic!("nothing is told after {}", feed.position()));
        messages.extend(next.unwrap().map(|told| told.message));
    }
    messages
}

#[tokio::test]
async fn a_burst_without_room_is_read_from_the_store() {
    let channel = Channel::new();
    let mut feed = channel.follow().await;
    let messages = channel.append(3_000, "words").await;
    // The sequencer does not run meanwhile: there is one thread, and nothing is waited for.
    for message in &messages {
        channel.deliver(Raw::Changed(Arc::clone(message)));
    }
    assert_eq!(told(&mut feed, 3_000).await, messages);
}

#[tokio::test]
async fn who_falls_too_far_behind_is_reset_and_goes_on_after_the_last_position() {
    let channel = Channel::new();
    let flow = |feed| {
        let mut flow = Flow::new(feed, Arc::default(), None, &Environment::default());
        flow.most_behind = 1_500;
        flow
    };
    let mut slow = flow(channel.follow().await);
    let mut quick = channel.follow().await;
    channel.append(1, "first").await.into_iter().for_each(|message| channel.deliver(Raw::Changed(message)));
    let taken = slow.next().await.position;
    assert_eq!(taken, Some(1.into()));
    // As far behind as it may be, which is more than the node keeps: it reads on from the store.
    channel
        .append(1_500, "words")
        .await
        .into_iter()
        .for_each(|message| channel.deliver(Raw::Changed(message)));
    told(&mut quick, 1_501).await;
    assert_eq!(slow.next().await.position.map(|position| position.tick()), Some(2));
    // And now further.
    channel.append(2, "more").await.into_iter().for_each(|message| channel.deliver(Raw::Changed(message)));
    told(&mut quick, 1_503).await;
    assert!(matches!(slow.next().await.event, Event::Reset(ResetReason::SlowConsumer)));
    // Whoever comes back is behind, but not too slow.
    let mut again = flow(channel.follow().await);
    again.resume_after(&2.into());
    for tick in 3..=1_503 {
        assert_eq!(again.next().await.position.map(|position| position.tick()), Some(tick));
    }
    let end = again.next().await;
    assert!(matches!(end.event, Event::CaughtUp(1_501)));
    assert_eq!(end.position, Some(1_503.into()));
}

#[tokio::test]
async fn a_large_message_is_published_by_its_tick_and_read() {
    let channel = Channel::new();
    let mut feed = channel.follow().await;
    let messages =
        [channel.append(1, "words").await, channel.append(1, &"words".repeat(20_000)).await].concat();
    let published: Vec<_> = messages.iter().map(|message| publication::write(message)).collect();
    assert!(published[0].len() > 100 && published[1].len() < 100);
    assert!(matches!(publication::read(&published[0]), Raw::Changed(message) if *message == *messages[0]));
    for payload in &published {
        channel.deliver(publication::read(payload));
    }
    assert_eq!(told(&mut feed, 2).await, messages);
}

#[tokio::test]
async fn a_publication_that_cannot_be_read_is_looked_up() {
    let channel = Channel::new();
    let mut feed = channel.follow().await;
    let messages = channel.append(2, "words").await;
    channel.deliver(publication::read(b"{\"from\":\"another version\"}"));
    assert_eq!(told(&mut feed, 2).await, messages);
}

#[tokio::test]
async fn a_gap_is_filled_although_the_store_lags() {
    let channel = Channel::new();
    let mut feed = channel.follow().await;
    let messages = channel.append(3, "words").await;
    channel.messages.lags.store(true, Ordering::SeqCst);
    channel.deliver(Raw::Changed(Arc::clone(&messages[2])));
    assert_eq!(told(&mut feed, 3).await, messages);
}

#[tokio::test]
async fn nothing_is_passed_over_although_the_store_lags() {
    let channel = Channel::new();
    let messages = channel.append(3, "words").await;
    let mut feed = channel.follow().await;
    channel.messages.lags.store(true, Ordering::SeqCst);
    feed.resume_after(&0.into());
    assert_eq!(told(&mut feed, 3).await, messages);
}
