//! A server whose gap filling is switched off. It exists in this test binary only: the message store it runs on keeps
//! back, from everything that reads on after a tick, all but the newest change. So what a node was not told, and what a
//! client missed, stays missed.

use std::{process::ExitCode, sync::Arc};

use async_trait::async_trait;
use clap::Parser;
use quikapp::{cli::Cli, config::Config, logging, open, serve};
use quikapp_chat::{
    Result,
    entities::{MessageId, Timestamp, UserId},
    messages::model::{ChannelKey, Message, ThreadSummary},
    store::{Head, Inserted, MessageStore, PageQuery, Replaced, Unread, UnreadQuery},
};

/// The argument by which this binary becomes that server.
pub(crate) const ARGUMENT: &str = "serve-without-gap-filling";

struct Forgetful(Arc<dyn MessageStore>);

#[async_trait]
impl MessageStore for Forgetful {
    async fn changes(&self, key: ChannelKey, after: i64, limit: usize) -> Result<Vec<Message>> {
        let mut changes = self.0.changes(key, after, limit).await?;
        Ok(changes.pop().into_iter().collect())
    }

    async fn head(&self, key: ChannelKey) -> Result<Head> {
        self.0.head(key).await
    }

    async fn latest_head(&self, key: ChannelKey) -> Result<Head> {
        self.0.latest_head(key).await
    }

    async fn heads(&self, keys: &[ChannelKey]) -> Result<Vec<(ChannelKey, Head)>> {
        self.0.heads(keys).await
    }

    async fn insert(&self, key: ChannelKey, messages: &[Message]) -> Result<Inserted> {
        self.0.insert(key, messages).await
    }

    async fn replace(&self, message: &Message, expected_seq: i64) -> Result<Replaced> {
        self.0.replace(message, expected_seq).await
    }

    async fn clear_thread_pending(&self, key: ChannelKey, replies: &[MessageId]) -> Result<()> {
        self.0.clear_thread_pending(key, replies).await
    }

    async fn get(&self, ids: &[(ChannelKey, MessageId)]) -> Result<Vec<Message>> {
        self.0.get(ids).await
    }

    async fn by_client_ids(&self, key: ChannelKey, ids: &[(UserId, String)]) -> Result<Vec<Message>> {
        self.0.by_client_ids(key, ids).await
    }

    async fn page(&self, key: ChannelKey, query: PageQuery) -> Result<Vec<Message>> {
        self.0.page(key, query).await
    }

    async fn newest(&self, keys: &[(ChannelKey, i64)]) -> Result<Vec<Message>> {
        self.0.newest(keys).await
    }

    async fn unread(
        &self,
        reader: UserId,
        queries: &[UnreadQuery],
        limit: u32,
    ) -> Result<Vec<(ChannelKey, Unread)>> {
        self.0.unread(reader, queries, limit).await
    }

    async fn thread_summary(&self, key: ChannelKey, root: MessageId) -> Result<ThreadSummary> {
        self.0.thread_summary(key, root).await
    }

    async fn pending_replies(&self, key: ChannelKey) -> Result<Vec<Message>> {
        self.0.pending_replies(key).await
    }

    async fn pending_channels(&self, before: Timestamp) -> Result<Vec<ChannelKey>> {
        self.0.pending_channels(before).await
    }

    async fn delete_channel(&self, key: ChannelKey) -> Result<()> {
        self.0.delete_channel(key).await
    }

    async fn purge(&self, now: Timestamp) -> Result<u64> {
        self.0.purge(now).await
    }

    async fn ping(&self) -> Result<()> {
        self.0.ping().await
    }

    fn queries(&self) -> u64 {
        self.0.queries()
    }
}

/// Is that server, until it is killed.
pub(crate) fn serve() -> ExitCode {
    let serving = async {
        let config = Config::new(Cli::parse_from(["quikapp", "serve"]).options)?;
        logging::init(&config)?;
        let chat = open::open_with(&config, |store| Arc::new(Forgetful(store))).await?;
        serve::serve(chat, &config).await.map_err(|error| error.to_string().into())
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match runtime.block_on(serving) as std::result::Result<(), Box<dyn std::error::Error>> {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
