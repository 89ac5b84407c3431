//! Bringing a history from elsewhere into a workspace: people, channels, messages with their times and answers.
//!
//! Everything has an identity that does not depend on the run: people by an address made from workspace and nick, channels
//! by name, messages by their line's id as `clientMessageId`. So the same history imported again changes nothing, and an
//! import that was cut off is finished by another one.

mod channel;
mod entry;
mod lots;
mod nicks;
mod people;
mod place;

use std::{collections::HashMap, sync::Arc};

use quikapp_entities::UserId;
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinSet,
};

pub use entry::{Entry, EntryKind, ID_LIMIT};

use crate::{
    Chat, Error, Result,
    import::{
        channel::Writer,
        lots::{Lot, Lots},
        people::People,
        place::Place,
    },
};

/// Channels that are written at the same time.
const WRITERS: usize = 4;
/// Lots that wait for one of them.
const WAITING: usize = 2;

/// Where an import goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// The workspace's slug; it is made if there is none of this slug.
    pub workspace: String,
    /// The address of an account that owns the workspace when it is made, and becomes an admin of one that is there. A new
    /// workspace without one belongs to an account that nobody can sign in to.
    pub owner: Option<String>,
    /// The one channel for everything, instead of a channel per excerpt.
    pub channel: Option<String>,
}

/// What happens while an import runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportEvent {
    /// So many more entries are dealt with.
    Done(usize),
    /// An entry was left out.
    Skipped {
        /// Its line.
        line: u64,
        /// Why.
        reason: String,
    },
    /// An entry went in without its answered message.
    Unanswered {
        /// Its line.
        line: u64,
        /// The id that it names.
        reply_to: String,
    },
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportSummary {
    /// Accounts made.
    pub users: u64,
    /// Channels made.
    pub channels: u64,
    /// Messages written, actions not counted.
    pub messages: u64,
    /// Actions written.
    pub actions: u64,
    /// Messages and actions that were there.
    pub already_there: u64,
    /// Entries left out.
    pub skipped: u64,
    /// Entries that went in without the message that they answer.
    pub unanswered: u64,
}

impl ImportSummary {
    fn add(&mut self, other: Self) {
        self.users += other.users;
        self.channels += other.channels;
        self.messages += other.messages;
        self.actions += other.actions;
        self.already_there += other.already_there;
        self.skipped += other.skipped;
        self.unanswered += other.unanswered;
    }
}

/// Is told of [`ImportEvent`]s, from several tasks at once.
pub type ImportListener = Arc<dyn Fn(ImportEvent) + Send + Sync>;

/// An entry with the account of its user.
struct Row {
    entry: Entry,
    author: UserId,
}

impl Chat {
    /// Imports what comes through `entries`, in batches of any size (some thousands are best: nicks are looked up a batch at
    /// a time). The order of history is the order of entries. An entry that cannot go in is told to `listener`, the rest
    /// goes in. Entries are held until their channel is complete or some thousands wait, so memory is bounded, except for
    /// one small record per person and per message.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no account of the owner's address; [`Error::Invalid`] for a slug that is none;
    /// [`Error::Unavailable`] when a store stopped answering: what was written stays, and the same import goes on there.
    pub async fn import(
        &self,
        options: &ImportOptions,
        mut entries: Receiver<Vec<Entry>>,
        listener: ImportListener,
    ) -> Result<ImportSummary> {
        // Of nothing no workspace is made.
        let Some(first) = entries.recv().await else { return Ok(ImportSummary::default()) };
        let place = Arc::new(self.open_place(options).await?);
        let mut people = People::new(&place);
        let mut lots = Lots::new(options.channel.clone());
        let mut writers = Writers::start(self, &place, &listener);
        let mut summary = ImportSummary::default();
        let fed: Result<()> = async {
            let mut next = Some(first);
            while let Some(batch) = next {
                summary.users += people.make_sure_of(self, &batch).await?;
                for entry in batch {
                    let Some(author) = people.get(&entry.user) else { return Err(Error::Internal) };
                    if let Some(lot) = lots.push(Row { entry, author }) {
                        writers.give(lot).await?;
                    }
                }
                for lot in lots.take_quiet() {
                    writers.give(lot).await?;
                }
                next = entries.recv().await;
            }
            for lot in lots.take_all() {
                writers.give(lot).await?;
            }
            Ok(())
        }
        .await;
        // A writer that failed knows the reason better than the one who could not give it more.
        summary.add(writers.finish().await?);
        fed?;
        Ok(summary)
    }
}

/// The tasks that write channels; one channel is always written by the same one.
struct Writers {
    inputs: Vec<Sender<Lot>>,
    channels: HashMap<Arc<str>, usize>,
    tasks: JoinSet<Result<ImportSummary>>,
}

impl Writers {
    fn start(chat: &Chat, place: &Arc<Place>, listener: &ImportListener) -> Self {
        let mut tasks = JoinSet::new();
        let inputs = (0..WRITERS)
            .map(|_| {
                let (input, lots) = mpsc::channel(WAITING);
                tasks.spawn(Writer::new(chat.clone(), Arc::clone(place), Arc::clone(listener)).run(lots));
                input
            })
            .collect();
        Self { inputs, channels: HashMap::new(), tasks }
    }

    async fn give(&mut self, lot: Lot) -> Result<()> {
        let next = self.channels.len() % WRITERS;
        let writer = *self.channels.entry(Arc::clone(&lot.channel)).or_insert(next);
        // It does not take any more because it failed; `finish` tells why.
        self.inputs[writer].send(lot).await.map_err(|_| Error::Internal)
    }

    async fn finish(mut self) -> Result<ImportSummary> {
        self.inputs.clear();
        let mut summary = ImportSummary::default();
        let mut failure = None;
        while let Some(task) = self.tasks.join_next().await {
            match task {
                Ok(Ok(part)) => summary.add(part),
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(error) => {
                    tracing::error!(%error, "an import's writer stopped");
                    failure = failure.or(Some(Error::Internal));
                }
            }
        }
        failure.map_or(Ok(summary), Err)
    }
}
