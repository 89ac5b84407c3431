//! The log while primaries of `MongoDB` are killed, frozen and deposed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use quikapp_chat::{
    Error, Result,
    entities::{MessageId, UserId},
    live::Feed,
    log::{Alteration, Aspect},
    messages::model::{ChannelKey, Message},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use uuid::Uuid;

use crate::{
    fixture::{Node, channel, with_servers_at},
    replica_set::{ReplicaSet, Signal},
};

const CHANNELS: usize = 3;
const WRITERS: usize = 12;
const PATIENCE: Duration = Duration::from_secs(90);

/// What a writer was told is done: by message the words that have to be in it.
type Acknowledged = HashMap<(ChannelKey, MessageId), Vec<String>>;
/// What a follower was told: the tick, the message and its text as of then.
type Told = Vec<(i64, MessageId, String)>;

#[derive(Default)]
struct Progress {
    acknowledged: AtomicUsize,
    is_over: AtomicBool,
}

/// Tries until there is an answer: the outcome of a try without one is not known, so trying has to be harmless.
async fn until_answered<T, F: Future<Output = Result<T>>>(mut attempt: impl FnMut() -> F) -> T {
    let tried = async {
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(Error::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(PATIENCE, tried).await.expect("the log does not go on")
}

struct Writer {
    nodes: [Node; 2],
    keys: Vec<ChannelKey>,
    author: UserId,
    random: StdRng,
}

impl Writer {
    /// Another node each time, as for a client that lost its connection.
    fn node(&self) -> Node {
        self.nodes.choose(&mut rand::rng()).unwrap().clone()
    }

    async fn send(&self, key: ChannelKey, word: &str) -> MessageId {
        let attempt = || {
            let (node, author, word) = (self.node(), self.author, word.to_owned());
            async move { node.send(key, author, &word).await }
        };
        until_answered(attempt).await.message.id
    }

    async fn append_word(&self, (key, id): (ChannelKey, MessageId), word: &str) {
        let attempt = || {
            let (node, word) = (self.node(), word.to_owned());
            let alteration = Alteration::new(move |message: &mut Message| {
                if message.text.contains(&word) {
                    return Ok(None);
                }
                message.text.push_str(&word);
                Ok(Some(Aspect::Content))
            });
            async move { node.log.alter(key, id, alteration).await }
        };
        until_answered(attempt).await;
    }

    async fn run(mut self, progress: Arc<Progress>) -> Acknowledged {
        let mut done = Acknowledged::new();
        let mut own: Vec<(ChannelKey, MessageId)> = Vec::new();
        while !progress.is_over.load(Ordering::Relaxed) {
            let word = Uuid::now_v7().simple().to_string();
            if own.is_empty() || self.random.random_bool(0.6) {
                let key = *self.keys.choose(&mut self.random).unwrap();
                let place = (key, self.send(key, &word).await);
                own.push(place);
                done.insert(place, vec![word]);
            } else {
                let place = *own.choose(&mut self.random).unwrap();
                self.append_word(place, &word).await;
                done.get_mut(&place).unwrap().push(word);
            }
            progress.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        done
    }
}

/// Follows until `goal` says where the end is.
async fn follow(
    mut feed: Feed,
    key: ChannelKey,
    mut goal: tokio::sync::watch::Receiver<Option<HashMap<ChannelKey, i64>>>,
) -> Told {
    let mut told = Vec::new();
    loop {
        let end = goal.borrow_and_update().as_ref().map(|goals| goals[&key]);
        if end.is_some_and(|end| feed.position() >= end) {
            return told;
        }
        tokio::select! {
            next = feed.next() => match next {
                Ok(next) => told.extend(next.map(|told| {
                    (told.message.seq, told.message.id, told.message.text.clone())
                })),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            _ = goal.changed() => {}
        }
    }
}

/// Waits until `more` changes are acknowledged.
async fn go_on(progress: &Progress, more: usize) {
    let goal = progress.acknowledged.load(Ordering::SeqCst) + more;
    let reached = async {
        while progress.acknowledged.load(Ordering::SeqCst) < goal {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, reached).await.expect("nothing is acknowledged any more");
}

async fn trouble(set: &ReplicaSet, progress: &Progress, random: &mut StdRng) {
    let primary = set.primary().await;
    let kind = random.random_range(0..4);
    println!("{} acknowledged; trouble {kind} with {primary}", progress.acknowledged.load(Ordering::SeqCst));
    match kind {
        0 => {
            set.step_down().await;
            go_on(progress, 200).await;
        }
        1 => {
            set.signal(&primary, Signal::Stop);
            go_on(progress, 200).await;
            set.signal(&primary, Signal::Continue);
        }
        _ => {
            set.signal(&primary, Signal::Kill);
            go_on(progress, 200).await;
            set.start_again(&primary).await;
        }
    }
}

/// `FAILOVER_SEED=…` repeats the choices of a run, `FAILOVERS=…` makes it longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts servers of its own and takes a minute: cargo test -p quikapp-chat --test nodes -- --ignored failover"]
async fn failovers_lose_nothing_and_tell_everything_once() {
    let number = |name| std::env::var(name).ok().map(|number: String| number.parse::<u64>().unwrap());
    let seed = number("FAILOVER_SEED").unwrap_or_else(rand::random);
    println!("FAILOVER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let set = ReplicaSet::start(Duration::from_secs(2)).await;
    with_servers_at(&set.mongodb, &set.redis, async |servers| {
        let nodes = [servers.node().await, servers.node().await];
        let keys: Vec<_> = (0..CHANNELS).map(|_| channel()).collect();
        let (goal, goals) = watch::channel(None);
        let mut followers: Vec<(ChannelKey, JoinHandle<Told>)> = Vec::new();
        for key in &keys {
            for node in &nodes {
                let feed = node.hub.follow(*key).await.unwrap();
                followers.push((*key, tokio::spawn(follow(feed, *key, goals.clone()))));
            }
        }
        let progress = Arc::<Progress>::default();
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let random = StdRng::seed_from_u64(random.random());
                let author = UserId(Uuid::now_v7());
                let writer = Writer { nodes: nodes.clone(), keys: keys.clone(), author, random };
                tokio::spawn(writer.run(Arc::clone(&progress)))
            })
            .collect();
        for _ in 0..number("FAILOVERS").unwrap_or(4) {
            let quiet = random.random_range(100..600);
            go_on(&progress, quiet).await;
            trouble(&set, &progress, &mut random).await;
        }
        go_on(&progress, 200).await;
        progress.is_over.store(true, Ordering::Relaxed);
        let mut acknowledged = Acknowledged::new();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }

        let mut messages: HashMap<(ChannelKey, MessageId), Message> = HashMap::new();
        let mut heads = HashMap::new();
        for key in &keys {
            let head = until_answered(|| nodes[0].store.latest_head(*key)).await;
            let stored = until_answered(|| nodes[0].store.changes(*key, 0, 1_000_000)).await;
            let mut ticks: Vec<_> = stored.iter().flat_map(|message| message.ticks.clone()).collect();
            ticks.sort_unstable();
            assert_eq!(ticks, (1..=head.seq).collect::<Vec<_>>(), "the ticks are not dense and single");
            assert_eq!(head.visible_count, i64::try_from(stored.len()).unwrap());
            heads.insert(*key, head.seq);
            messages.extend(stored.into_iter().map(|message| ((*key, message.id), message)));
        }
        println!("{} messages, heads {:?}", messages.len(), heads.values());
        for (place, words) in &acknowledged {
            let message = messages.get(place).expect("an acknowledged message is lost");
            for word in words {
                assert_eq!(
                    message.text.matches(word).count(),
                    1,
                    "an acknowledged change is lost or there twice"
                );
            }
        }
        assert_eq!(messages.len(), acknowledged.len(), "a message is there twice");

        goal.send_replace(Some(heads));
        let mut at_tick: BTreeMap<(ChannelKey, i64), (MessageId, String)> = BTreeMap::new();
        for (key, follower) in followers {
            let told = timeout(PATIENCE, follower).await.expect("a follower is not told the end").unwrap();
            assert!(told.is_sorted_by(|one, other| one.0 < other.0), "told out of order or twice");
            let mut state = HashMap::new();
            for (tick, id, text) in told {
                let stays = messages.get(&(key, id)).is_some_and(|message| message.ticks.contains(&tick));
                assert!(stays, "tick {tick} was told and taken back");
                state.insert(id, text.clone());
                let known = at_tick.entry((key, tick)).or_insert_with(|| (id, text.clone()));
                assert_eq!(*known, (id, text), "two followers were told different things");
            }
            let of_key = messages.iter().filter(|((of, _), _)| *of == key);
            let stored: HashMap<_, _> =
                of_key.map(|((_, id), message)| (*id, message.text.clone())).collect();
            assert!(state == stored, "what was told does not add up to what is there");
        }
    })
    .await;
}

/// A tick that only the primary has is neither told nor counted, so that another change may get it after a failover.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts servers of its own: cargo test -p quikapp-chat --test nodes -- --ignored failover"]
async fn failovers_take_back_nothing_that_was_told() {
    let set = ReplicaSet::start(Duration::from_secs(15)).await;
    with_servers_at(&set.mongodb, &set.redis, async |servers| {
        let nodes = [servers.node().await, servers.node().await];
        let (key, author) = (channel(), UserId(Uuid::now_v7()));
        nodes[0].send(key, author, "first").await.unwrap();
        let (goal, goals) = watch::channel(None);
        let follower = tokio::spawn(follow(nodes[1].hub.follow(key).await.unwrap(), key, goals));

        let primary = set.primary().await;
        let others: Vec<_> = ReplicaSet::members().filter(|member| *member != primary).collect();
        for other in &others {
            set.signal(other, Signal::Stop);
        }
        let (node, messages) = (nodes[0].clone(), servers.messages().await);
        let alone = tokio::spawn(async move { node.send(key, author, "alone").await });
        let written = async {
            while messages.count_documents(bson::doc! { "content.text": "alone" }).await.unwrap() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, written).await.expect("the primary does not write");
        assert_eq!(nodes[1].store.head(key).await.unwrap().seq, 1);
        assert_eq!(nodes[1].store.heads(&[key]).await.unwrap()[0].1.seq, 1);
        assert_eq!(nodes[1].store.changes(key, 1, 10).await.unwrap(), []);

        set.signal(&primary, Signal::Kill);
        for other in &others {
            set.signal(other, Signal::Continue);
        }
        let second = until_answered(|| nodes[1].send(key, author, "second")).await.message;
        set.start_again(&primary).await;
        let alone = alone.await.unwrap();
        let third = until_answered(|| nodes[0].send(key, author, "third")).await.message;

        let stored = until_answered(|| nodes[0].store.changes(key, 0, 10)).await;
        assert!(stored.iter().map(|message| message.seq).eq(1..=third.seq), "{stored:?}");
        let stored: Vec<_> = stored.into_iter().map(|message| (message.seq, message.id)).collect();
        assert!(stored.contains(&(second.seq, second.id)) && stored.contains(&(third.seq, third.id)));
        // Its sender may have been told that it is done, if the driver tried again in time; then it is.
        if let Ok(alone) = alone {
            assert!(stored.contains(&(alone.message.seq, alone.message.id)));
        }
        goal.send_replace(Some(HashMap::from([(key, third.seq)])));
        let told = timeout(PATIENCE, follower).await.expect("the follower is not told the end").unwrap();
        let told: Vec<_> = told.into_iter().map(|(tick, id, _)| (tick, id)).collect();
        assert_eq!(told, stored[1..]);
    })
    .await;
}
