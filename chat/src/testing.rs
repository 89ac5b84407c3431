//! A domain for tests: the relational store is a fresh database, the message store only keeps ticks.
//!
//! Every test runs on `SQLite`, and on `MySQL` too where `DATABASE_URL` leads to a server on which databases may be made.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use quikapp_entities::{
    MessageId, SessionId, Timestamp, UserId,
    users::{self, AccountStatus},
    workspace_members::MemberRole,
};
use sea_orm::{ActiveModelTrait, ConnectOptions, ConnectionTrait, EntityTrait, IntoActiveModel};
use uuid::Uuid;

use crate::{
    Chat, Error, Parts, Result,
    access::{Viewer, WorkspaceMember},
    clock::{Clock, Environment, SystemClock, SystemRandom},
    database::Database,
    live::Hub,
    messages::model::{ChannelKey, Message, ThreadSummary},
    store::{Conflict, Head, Inserted, MessageStore, PageQuery, Replaced, Scope, Unread, UnreadQuery},
};

/// Keeps messages in the order of their latest changes.
#[derive(Default)]
pub(crate) struct Messages {
    by_channel: Mutex<HashMap<ChannelKey, Vec<Message>>>,
    /// Whether it tells of no changes until the latest head is asked for, like a primary that has just taken over.
    pub(crate) lags: AtomicBool,
    /// Whether it writes nothing, and says that it does not answer.
    pub(crate) refuses: AtomicBool,
    /// How often it did so.
    pub(crate) refused: AtomicUsize,
    /// Whether it never answers to a write.
    pub(crate) hangs: AtomicBool,
    /// Whether it writes, and says that it does not answer.
    pub(crate) forgets: AtomicBool,
    /// Whether new messages fail as by a bug, like one whose id is there as somebody else's.
    pub(crate) fails: AtomicBool,
    /// How often one did.
    pub(crate) failed: AtomicUsize,
    /// Whether it does not answer to who asks for heads.
    pub(crate) looks_away: AtomicBool,
}

const UNAVAILABLE: Error = Error::Unavailable { store: "message store" };

impl Messages {
    pub(crate) fn of(&self, key: ChannelKey) -> Vec<Message> {
        self.by_channel.lock().unwrap().get(&key).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl MessageStore for Messages {
    async fn head(&self, key: ChannelKey) -> Result<Head> {
        let of_last = |last: &Message| Head { seq: last.seq, visible_count: last.visible_count };
        Ok(self.of(key).last().map(of_last).unwrap_or_default())
    }
    async fn latest_head(&self, key: ChannelKey) -> Result<Head> {
        self.lags.store(false, Ordering::SeqCst);
        self.head(key).await
    }
    async fn heads(&self, keys: &[ChannelKey]) -> Result<Vec<(ChannelKey, Head)>> {
        if self.looks_away.load(Ordering::SeqCst) {
            return Err(UNAVAILABLE);
        }
        let mut heads = Vec::new();
        for key in keys {
            heads.push((*key, self.head(*key).await?));
        }
        Ok(heads)
    }
    async fn insert(&self, key: ChannelKey, messages: &[Message]) -> Result<Inserted> {
        if self.refuses.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(UNAVAILABLE);
        }
        if self.hangs.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        let mut by_channel = self.by_channel.lock().unwrap();
        let stored = by_channel.entry(key).or_default();
        let mut inserted = Inserted { committed: 0, conflict: None };
        for message in messages {
            let own_id = |one: &Message| one.client_message_id.clone().map(|id| (one.author, id));
            if own_id(message).is_some_and(|id| stored.iter().any(|one| own_id(one).as_ref() == Some(&id))) {
                inserted.conflict = Some(Conflict::ClientMessageId);
                break;
            }
            if self.fails.load(Ordering::SeqCst) || stored.iter().any(|one| one.id == message.id) {
                self.failed.fetch_add(1, Ordering::SeqCst);
                return Err(Error::Internal);
            }
            if stored.last().is_some_and(|last| last.seq >= message.seq) {
                inserted.conflict = Some(Conflict::Tick);
                break;
            }
            stored.push(message.clone());
            inserted.committed += 1;
        }
        if self.forgets.load(Ordering::SeqCst) { Err(UNAVAILABLE) } else { Ok(inserted) }
    }
    async fn replace(&self, message: &Message, expected_seq: i64) -> Result<Replaced> {
        if self.refuses.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(UNAVAILABLE);
        }
        let mut by_channel = self.by_channel.lock().unwrap();
        let stored = by_channel.entry(message.key).or_default();
        let Some(index) = stored.iter().position(|one| one.id == message.id && one.seq == expected_seq)
        else {
            return Ok(Replaced::Stale);
        };
        if stored.last().is_some_and(|last| last.seq >= message.seq) {
            return Ok(Replaced::TickTaken);
        }
        stored.remove(index);
        stored.push(message.clone());
        Ok(Replaced::Done)
    }
    async fn clear_thread_pending(&self, _: ChannelKey, _: &[MessageId]) -> Result<()> {
        Ok(())
    }
    async fn get(&self, ids: &[(ChannelKey, MessageId)]) -> Result<Vec<Message>> {
        let found = ids.iter().filter_map(|(key, id)| self.of(*key).into_iter().find(|one| one.id == *id));
        Ok(found.collect())
    }
    async fn by_client_ids(&self, key: ChannelKey, ids: &[(UserId, String)]) -> Result<Vec<Message>> {
        let mut found = self.of(key);
        found.retain(|one| one.client_message_id.clone().is_some_and(|id| ids.contains(&(one.author, id))));
        Ok(found)
    }
    async fn page(&self, key: ChannelKey, query: PageQuery) -> Result<Vec<Message>> {
        assert_eq!(query.scope, Scope::Timeline);
        let mut page = self.of(key);
        page.sort_by_key(|message| message.ts);
        Ok(page)
    }
    async fn changes(&self, key: ChannelKey, after: i64, limit: usize) -> Result<Vec<Message>> {
        if self.lags.load(Ordering::SeqCst) {
            return Ok(Vec::new());
        }
        Ok(self.of(key).into_iter().filter(|message| message.seq > after).take(limit).collect())
    }
    async fn newest(&self, _: &[(ChannelKey, i64)]) -> Result<Vec<Message>> {
        Ok(Vec::new())
    }
    async fn unread(&self, _: UserId, _: &[UnreadQuery], _: u32) -> Result<Vec<(ChannelKey, Unread)>> {
        Ok(Vec::new())
    }
    async fn thread_summary(&self, _: ChannelKey, _: MessageId) -> Result<ThreadSummary> {
        Ok(ThreadSummary::default())
    }
    async fn pending_replies(&self, _: ChannelKey) -> Result<Vec<Message>> {
        Ok(Vec::new())
    }
    async fn pending_channels(&self, _: Timestamp) -> Result<Vec<ChannelKey>> {
        Ok(Vec::new())
    }
    async fn delete_channel(&self, _: ChannelKey) -> Result<()> {
        Ok(())
    }
    async fn purge(&self, _: Timestamp) -> Result<u64> {
        Ok(0)
    }
    async fn ping(&self) -> Result<()> {
        Ok(())
    }
    fn queries(&self) -> u64 {
        0
    }
}

/// The machine's clock, moved on by so many milliseconds.
#[derive(Clone, Default)]
struct Moved(Arc<AtomicI64>);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }
}

/// A domain with an empty database.
pub(crate) struct World {
    pub(crate) chat: Chat,
    pub(crate) messages: Arc<Messages>,
    clock: Moved,
    /// The database is gone with it.
    _directory: tempfile::TempDir,
}

/// The least number of statements that `run` sends to the relational store in a few runs; others are of work in the
/// background.
pub(crate) async fn queries<F: Future>(chat: &Chat, run: impl Fn() -> F) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..5 {
        let (before, _) = chat.store_queries();
        run().await;
        least = least.min(chat.store_queries().0 - before);
    }
    least
}

impl World {
    /// One for each kind of database at hand.
    pub(crate) async fn all() -> Vec<Self> {
        let mut all = Vec::new();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("test.db");
        all.push(Self::open(format!("sqlite://{}?mode=rwc", path.display()), directory).await);
        if let Some(url) = std::env::var("DATABASE_URL").ok().filter(|url| url.starts_with("mysql://")) {
            let server = sea_orm::Database::connect(url.as_str()).await.unwrap();
            let name = format!("quikapp_{}", Uuid::now_v7().simple());
            server.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
            let base = url.split('?').next().unwrap_or_default();
            let slash = base.rfind('/').filter(|at| *at > "mysql://".len()).unwrap_or(base.len());
            all.push(Self::open(format!("{}/{name}", &base[..slash]), tempfile::tempdir().unwrap()).await);
        }
        all
    }

    async fn open(url: String, directory: tempfile::TempDir) -> Self {
        let mut options = ConnectOptions::new(url);
        options.max_connections(8).sqlx_logging(false);
        if options.get_url().starts_with("sqlite:") {
            options.map_sqlx_sqlite_opts(|options| {
                options
                    .journal_mode(sea_orm::sqlx::sqlite::SqliteJournalMode::Wal)
                    .busy_timeout(std::time::Duration::from_secs(3))
                    .foreign_keys(true)
            });
        }
        let connection = sea_orm::Database::connect(options).await.unwrap();
        quikapp_migration::migrate(&connection).await.unwrap();
        let messages = Arc::new(Messages::default());
        let store: Arc<dyn MessageStore> = Arc::clone(&messages) as _;
        let clock = Moved::default();
        let environment = Environment::new(clock.clone(), SystemRandom);
        let hub = Hub::alone(Arc::clone(&store), &environment);
        let parts = Parts {
            database: Database::new(connection),
            store,
            hub,
            environment,
            jwt_secret: vec![7; 32],
            presence: crate::presence::Timing::default(),
        };
        Self { chat: Chat::new(parts), messages, clock, _directory: directory }
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: std::time::Duration) {
        self.clock.0.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// A new account, signed in.
    pub(crate) async fn user(&self, name: &str) -> Viewer {
        let (id, now) = (UserId(self.chat.env.uuid()), self.chat.env.now());
        let row = users::Model {
            id,
            email: format!("{}-{}@example.org", name.to_lowercase(), id.0.simple()),
            password_hash: None,
            display_name: name.to_owned(),
            avatar_url: None,
            status: AccountStatus::Active,
            status_text: None,
            status_emoji: None,
            timezone: "UTC".into(),
            locale: "en".into(),
            email_verified: false,
            mfa_enabled: false,
            mfa_secret: None,
            last_seen_at: None,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        users::Entity::insert(row.into_active_model().reset_all())
            .exec_without_returning(self.chat.db.pool())
            .await
            .unwrap();
        Viewer::new(id, SessionId(self.chat.env.uuid()), Timestamp(i64::MAX))
    }

    /// A new workspace of `owner`.
    pub(crate) async fn workspace(&self, owner: &Viewer) -> WorkspaceMember {
        let slug = format!("w{}", Uuid::now_v7().simple());
        self.chat.create_workspace(owner, "A workspace", &slug).await.unwrap()
    }

    /// A new account in the owner's workspace.
    pub(crate) async fn member(
        &self,
        owner: &WorkspaceMember,
        name: &str,
        role: MemberRole,
    ) -> (Viewer, WorkspaceMember) {
        let viewer = self.user(name).await;
        let invitation = self.chat.create_invitation(owner, None, role, None).await.unwrap();
        let member = self.chat.accept_invitation(&viewer, &invitation.token).await.unwrap();
        (viewer, member)
    }
}
