//! Servers with a fault between them and the message store. They exist in this test binary only.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use async_trait::async_trait;
use clap::Parser;
use quikapp::{cli::Cli, config::Config, logging, open, serve};
use quikapp_chat::{
    Error, Result,
    entities::{MessageId, Timestamp, UserId},
    messages::model::{ChannelKey, Message, ThreadSummary},
    store::{Head, Inserted, MessageStore, PageQuery, Replaced, Unread, UnreadQuery},
};

/// The argument by which this binary becomes a server whose gap filling is switched off: its store keeps back, from
/// everything that reads on after a tick, all but the newest change. So what a node was not told, and what a client missed,
/// stays missed.
pub(crate) const FORGETFUL: &str = "serve-without-gap-filling";
/// The argument by which it becomes a server whose store takes no lines, as if it were away between a change and its line,
/// while there is a file called [`NO_LINES`] in its folder.
pub(crate) const WITHOUT_LINES: &str = "serve-without-lines";
/// See [`WITHOUT_LINES`].
pub(crate) const NO_LINES: &str = "no-lines";

enum Fault {
    Forgets,
    RefusesLines { while_there_is: PathBuf },
}

struct Faulty(Arc<dyn MessageStore>, Fault);

impl Faulty {
    fn accept(&self, messages: &[Message]) -> Result<()> {
        match &self.1 {
            Fault::RefusesLines { while_there_is }
                if messages.iter().any(|message| message.system.is_some()) && while_there_is.exists() =>
            {
                Err(Error::Unavailable { store: "message store" })
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl MessageStore for Faulty {
    async fn changes(&self, key: ChannelKey, after: i64, limit: usize) -> Result<Vec<Message>> {
        let mut changes = self.0.changes(key, after, limit).await?;
        match self.1 {
            Fault::Forgets => Ok(changes.pop().into_iter().collect()),
            Fault::RefusesLines { .. } => Ok(changes),
        }
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
        self.accept(messages)?;
        self.0.insert(key, messages).await
    }

    async fn replace(&self, message: &Message, expected_seq: i64) -> Result<Replaced> {
        self.accept(std::slice::from_ref(message))?;
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

/// Is the server that `argument` stands for, until it is killed; none for anything else.
pub(crate) fn serve(argument: Option<&str>) -> Option<ExitCode> {
    let argument = argument.filter(|argument| [FORGETFUL, WITHOUT_LINES].contains(argument))?;
    let serving = async {
        let config = Config::new(Cli::parse_from(["quikapp", "serve"]).options)?;
        logging::init(&config)?;
        let fault = match argument {
            FORGETFUL => Fault::Forgets,
            _ => Fault::RefusesLines {
                while_there_is: PathBuf::from(std::env::var_os("DATA_DIR").unwrap()).join(NO_LINES),
            },
        };
        let chat = open::open_with(&config, |store| Arc::new(Faulty(store, fault))).await?;
        serve::serve(chat, &config).await.map_err(|error| error.to_string().into())
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    Some(match runtime.block_on(serving) as std::result::Result<(), Box<dyn std::error::Error>> {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}
