//! Random operations, on the store and on the model; both have to say the same at every step.

use quikapp_chat::{
    entities::{ChannelId, MessageId, Timestamp, UserId, WorkspaceId},
    messages::model::{ChannelKey, Message, MessageKind, ReactionGroup, Reactor},
    store::{PageQuery, Scope, UnreadQuery},
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use uuid::Uuid;

use crate::{
    fixture::Subject,
    model::Model,
    samples::{START, by_id, changed, message, tombstone},
};

const STEPS: usize = 1_500;
/// Tombstones go from this moment on, one a millisecond: far from now, since a server removes by its own clock.
const PURGE: i64 = 4_102_444_800_000;

/// Another run every time; one that failed prints its seed, and `CONTRACT_SEED=…` repeats it.
pub(crate) async fn behaves_like_the_model(subject: &Subject) {
    let seed =
        std::env::var("CONTRACT_SEED").ok().map(|seed| seed.parse().expect("CONTRACT_SEED is a number"));
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("CONTRACT_SEED={seed}");
    let mut run = Run::new(subject, StdRng::seed_from_u64(seed));
    for _ in 0..STEPS {
        run.step().await;
    }
}

struct Run<'a> {
    subject: &'a Subject,
    model: Model,
    random: StdRng,
    keys: Vec<ChannelKey>,
    people: Vec<UserId>,
}

impl<'a> Run<'a> {
    fn new(subject: &'a Subject, mut random: StdRng) -> Self {
        let mut id = || Uuid::from_u128(random.random());
        let (workspace, channel) = (WorkspaceId(id()), ChannelId(id()));
        let keys = vec![
            ChannelKey { workspace, channel },
            ChannelKey { workspace, channel: ChannelId(id()) },
            ChannelKey { workspace: WorkspaceId(id()), channel },
        ];
        let people = (0..12).map(|_| UserId(id())).collect();
        Self { subject, model: Model::default(), random, keys, people }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn key(&mut self) -> ChannelKey {
        *self.keys.choose(&mut self.random).unwrap()
    }

    fn person(&mut self) -> UserId {
        // The first ones talk more.
        let at = self.random.random_range(0..self.people.len()).min(self.random.random_range(0..20));
        self.people[at]
    }

    fn client_id(&mut self) -> String {
        format!("c{}", self.random.random_range(0..60))
    }

    fn known(&mut self, key: ChannelKey) -> Option<Message> {
        self.model.of(key).choose(&mut self.random).cloned()
    }

    /// A tick above `present`: mostly the next one, now and then one that is taken or forgotten, as a node would try that
    /// knows an old head. A message never goes down: a lane changes what it has read, by a head that is not below it, and
    /// every tick in between is listed. Were the one that holds the head put at a lower free tick, the clock of a store
    /// that takes the greatest `seq` for the head would run backwards.
    fn tick(&mut self, key: ChannelKey, present: i64) -> i64 {
        let head = self.model.head(key).seq;
        let tick = if self.chance(85) { head + 1 } else { self.random.random_range(present + 1..=head + 1) };
        // The head's own tick is never written twice, with two counts: a lane goes by the head.
        if tick == head { head + 1 } else { tick }
    }

    fn draft(&mut self, key: ChannelKey, tick: i64) -> Message {
        let root = if self.chance(40) {
            self.known(key).map(|root| root.thread_root.unwrap_or(root.id))
        } else {
            None
        };
        Message {
            id: MessageId(Uuid::from_u128(self.random.random())),
            author: self.person(),
            visible_count: self.random.random_range(0..1_000),
            kind: if self.chance(10) { MessageKind::System } else { MessageKind::Text },
            client_message_id: if self.chance(30) { Some(self.client_id()) } else { None },
            thread_root: root,
            broadcast: root.is_some() && self.chance(20),
            thread_pending: root.is_some() && self.chance(70),
            created_at: Timestamp(START + self.random.random_range(0..1_000)),
            ..message(key, tick)
        }
    }

    fn change(&mut self, old: &Message) -> Message {
        let tick = self.tick(old.key, old.seq);
        let at = Timestamp(PURGE + self.random.random_range(0..2_000));
        let mut next = if self.chance(25) { tombstone(old, tick, at) } else { changed(old, tick) };
        next.visible_count = self.random.random_range(0..1_000);
        if self.chance(30) {
            let reactor = Reactor { user: self.person(), at };
            next.reactions.push(ReactionGroup { emoji: "👍".into(), users: vec![reactor] });
        }
        // Old ticks are dropped now and then. The present one stays, and that of its creation: two messages with the same
        // `ts` have no order.
        while next.ticks.len() > 2 && self.chance(30) {
            next.ticks.remove(1);
        }
        next
    }

    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..45 => self.write().await,
            45..96 => self.read().await,
            96..99 => {
                let now = Timestamp(PURGE + self.random.random_range(0..2_000));
                self.model.expire(now);
                self.subject.expire(now).await;
            }
            _ => {
                let key = self.key();
                self.model.delete_channel(key);
                self.subject.store.delete_channel(key).await.unwrap();
            }
        }
    }

    async fn write(&mut self) {
        let store = &self.subject.store;
        let key = self.key();
        match self.random.random_range(0..10) {
            0..5 => {
                let first = self.tick(key, 0);
                let count = self.random.random_range(1..=6);
                let group: Vec<_> = (first..first + count).map(|tick| self.draft(key, tick)).collect();
                assert_eq!(store.insert(key, &group).await.unwrap(), self.model.insert(key, &group));
            }
            5..9 => {
                let Some(old) = self.known(key) else { return };
                let next = self.change(&old);
                let expected = if self.chance(90) { old.seq } else { old.seq - 1 };
                let model = self.model.replace(&next, expected);
                assert_eq!(store.replace(&next, expected).await.unwrap(), model);
            }
            _ => {
                let replies: Vec<_> = (0..3).filter_map(|_| self.known(key)).map(|reply| reply.id).collect();
                self.model.clear_thread_pending(key, &replies);
                store.clear_thread_pending(key, &replies).await.unwrap();
            }
        }
    }

    fn page_query(&mut self, key: ChannelKey) -> PageQuery {
        let head = self.model.head(key).seq;
        let root = self.known(key).map(|message| message.thread_root.unwrap_or(message.id));
        let scope = match root {
            Some(root) if self.chance(50) => Scope::Thread(root),
            _ => Scope::Timeline,
        };
        PageQuery {
            scope,
            after: if self.chance(50) { 0 } else { self.random.random_range(0..=head) },
            before: if self.chance(50) { i64::MAX } else { self.random.random_range(0..=head + 1) },
            limit: self.random.random_range(0..30),
            newest_first: self.chance(50),
        }
    }

    async fn read(&mut self) {
        let store = &self.subject.store;
        let model = &self.model;
        let key = *self.keys.choose(&mut self.random).unwrap();
        match self.random.random_range(0..10) {
            0 => assert_eq!(store.head(key).await.unwrap(), model.head(key)),
            1 => {
                let mut heads = store.heads(&self.keys).await.unwrap();
                heads.sort_by_key(|(key, _)| *key);
                assert_eq!(heads, model.heads());
            }
            2 => {
                let ids: Vec<_> = (0..10)
                    .filter_map(|_| {
                        let (asked, home) = (self.key(), self.key());
                        self.known(home).map(|message| (asked, message.id))
                    })
                    .collect();
                let stored = by_id(self.subject.store.get(&ids).await.unwrap());
                assert_eq!(stored, by_id(self.model.get(&ids)));
            }
            3 => {
                let ids: Vec<_> = (0..10).map(|_| (self.person(), self.client_id())).collect();
                let stored = by_id(self.subject.store.by_client_ids(key, &ids).await.unwrap());
                assert_eq!(stored, by_id(self.model.by_client_ids(key, &ids)));
            }
            4 => {
                let query = self.page_query(key);
                let stored = self.subject.store.page(key, query).await.unwrap();
                assert_eq!(stored, self.model.page(key, query), "{query:?}");
            }
            5 => {
                let after = self.random.random_range(0..=model.head(key).seq);
                let limit = self.random.random_range(0..50);
                assert_eq!(store.changes(key, after, limit).await.unwrap(), model.changes(key, after, limit));
            }
            6 => {
                let floor = |key: &ChannelKey| (*key, self.random.random_range(0..=model.head(*key).seq));
                let keys: Vec<_> = self.keys.iter().map(floor).collect();
                assert_eq!(by_id(store.newest(&keys).await.unwrap()), by_id(model.newest(&keys)));
            }
            7 => {
                let Some(root) = self.known(key) else { return };
                let root = root.thread_root.unwrap_or(root.id);
                let summary = self.subject.store.thread_summary(key, root).await.unwrap();
                assert_eq!(summary, self.model.thread_summary(key, root));
            }
            8 => {
                let query = |key: &ChannelKey| {
                    let head = model.head(*key).seq;
                    let after = self.random.random_range(0..=head);
                    UnreadQuery { key: *key, after, up_to: self.random.random_range(0..=head + 1) }
                };
                let queries: Vec<_> = self.keys.iter().map(query).collect();
                let (reader, limit) = (self.person(), self.random.random_range(0..30));
                let mut stored = self.subject.store.unread(reader, &queries, limit).await.unwrap();
                stored.sort_by_key(|(key, _)| *key);
                let mut expected = self.model.unread(reader, &queries, limit as usize);
                expected.sort_by_key(|(key, _)| *key);
                assert_eq!(stored, expected, "{reader} {queries:?} {limit}");
            }
            _ => {
                assert_eq!(store.pending_replies(key).await.unwrap(), model.pending_replies(key));
                let before = Timestamp(START + self.random.random_range(0..1_000));
                let channels = store.pending_channels(before).await.unwrap();
                let expected = model.pending_channels(before);
                assert_eq!(channels.len(), expected.len());
                assert!(channels.iter().all(|key| expected.contains(key)));
            }
        }
    }
}
