//! New messages of all channels, written together: what waits goes in one ordered insert, as each command and each flush to
//! the disk costs the server far more than a further document.
//!
//! An ordered insert stops at the first document that is refused. Channels in front of it are written then, the one that it
//! belongs to in part, and those behind it were not tried: they go first in the next insert. So each channel gets a prefix
//! of what it brought, whatever became of the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bson::{RawDocumentBuf, Uuid};
use mongodb::Collection;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    call::{Calls, Refusal, TIME_LIMIT, tell, unavailable},
    indexes,
    writes::is_repeat,
};
use crate::{
    Error, Result,
    messages::model::ChannelKey,
    store::{Conflict, Inserted},
    together::{Together, Worker},
};

/// Inserts under way at once. More only split what waits into smaller ones; with one, those who wait would hang with it when
/// it gets no answer.
const INSERTS: usize = 2;
/// The most documents of one insert: they bound how long the first of them waits for the last.
const DOCUMENTS: usize = 512;
/// The most bytes of them.
const BYTES: usize = 2 << 20;
/// From how many documents on a group is written by itself: it gains nothing from company, and would delay the others.
const LARGE: usize = 256;
/// From how many bytes on.
const LARGE_BYTES: usize = 512 << 10;
/// How long a channel in which another node was faster is written by itself. A conflict costs all behind it one more round
/// trip, and nodes that contend for a channel have many.
const CONTENDED: Duration = Duration::from_secs(1);
/// Channels remembered for that before the list is cleared of old ones.
const CONTENDED_CHANNELS: usize = 1_024;

/// What one channel brings.
pub(super) struct Content {
    pub(super) key: ChannelKey,
    pub(super) documents: Vec<RawDocumentBuf>,
    /// The author of each, and their own id for it.
    pub(super) client_ids: Vec<(Uuid, Option<String>)>,
}

impl Content {
    fn bytes(&self) -> usize {
        self.documents.iter().map(|document| document.as_bytes().len()).sum()
    }
}

/// A group that waits, and who waits for it.
struct Group {
    content: Arc<Content>,
    bytes: usize,
    done: oneshot::Sender<Result<Inserted>>,
}

impl Group {
    fn len(&self) -> usize {
        self.content.documents.len()
    }

    /// Somebody who does not wait any more knows no less by that.
    fn answer(self, result: Result<Inserted>) {
        let _ = self.done.send(result);
    }

    fn confirm(self) {
        let committed = self.len();
        self.answer(Ok(Inserted { committed, conflict: None }));
    }
}

/// What became of an insert, as far as it is known.
enum Outcome {
    Written,
    Refused(Refusal),
}

/// Writes new messages. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    messages: Collection<RawDocumentBuf>,
    calls: Arc<Calls>,
    queue: Arc<Together<Group>>,
    contended: Arc<Mutex<HashMap<ChannelKey, Instant>>>,
}

impl Writer {
    pub(super) fn new(messages: Collection<RawDocumentBuf>, calls: Arc<Calls>) -> Self {
        Self { messages, calls, queue: Together::new(INSERTS), contended: Arc::default() }
    }

    /// Writes with whatever else waits. What has not been begun when the caller goes away is left out.
    pub(super) async fn write(&self, content: Content) -> Result<Inserted> {
        let (done, answer) = oneshot::channel();
        let group = Group { bytes: content.bytes(), content: Arc::new(content), done };
        if group.len() >= LARGE || group.bytes >= LARGE_BYTES || self.is_contended(group.content.key) {
            self.insert_alone(group);
        } else if let Some(worker) = self.queue.put(group) {
            tokio::spawn(self.clone().work(worker));
        }
        match timeout(TIME_LIMIT, answer).await {
            Ok(Ok(result)) => result,
            // Whoever was to answer is gone with the runtime, or by a bug.
            Ok(Err(_)) => Err(Error::Internal),
            Err(_) => {
                tracing::warn!("the message store did not write in time");
                Err(unavailable())
            }
        }
    }

    async fn work(self, mut worker: Worker<Group>) {
        loop {
            // Those who were just answered have the next ones ready in a moment.
            tokio::task::yield_now().await;
            let (mut documents, mut bytes) = (0, 0);
            let fits = |group: &Group| {
                documents += group.len();
                bytes += group.bytes;
                documents <= DOCUMENTS && bytes <= BYTES
            };
            let Some(mut groups) = worker.take(fits) else { return };
            groups.retain(|group| !group.done.is_closed());
            if !groups.is_empty() {
                let rest = self.insert(groups).await;
                worker.put_back(rest);
            }
        }
    }

    fn insert_alone(&self, group: Group) {
        let writer = self.clone();
        tokio::spawn(async move { writer.insert(vec![group]).await });
    }

    /// One insert; gives back what was not tried.
    async fn insert(&self, mut groups: Vec<Group>) -> Vec<Group> {
        let (collection, contents) = (
            self.messages.clone(),
            groups.iter().map(|group| Arc::clone(&group.content)).collect::<Vec<_>>(),
        );
        let call = async move {
            let documents = contents.iter().flat_map(|content| &content.documents);
            match collection.insert_many(documents).ordered(true).await {
                Ok(_) => Ok(Outcome::Written),
                Err(error) => Refusal::of(error).map(Outcome::Refused),
            }
        };
        let refusal = match self.calls.run("insert", call).await {
            Ok(Outcome::Written) => {
                groups.into_iter().for_each(Group::confirm);
                return Vec::new();
            }
            // Nobody knows how far it got.
            Err(error) => {
                for group in groups {
                    group.answer(Err(error.clone()));
                }
                return Vec::new();
            }
            Ok(Outcome::Refused(refusal)) => refusal,
        };
        let Some(at) = refusal.at else {
            // The server took nothing of it. One of them may be the reason, and the others are none the worse for it.
            if groups.len() > 1 {
                for group in groups {
                    self.insert_alone(group);
                }
            } else {
                let error = tell("insert", &refusal.failure);
                for group in groups {
                    group.answer(Err(error.clone()));
                }
            }
            return Vec::new();
        };
        let mut before = 0;
        let stopped = groups.iter().position(|group| {
            before += group.len();
            at < before
        });
        let Some(stopped) = stopped else {
            tracing::error!(at, "the message store refused a document that it was not given");
            for group in groups {
                group.answer(Err(Error::Internal));
            }
            return Vec::new();
        };
        let rest = groups.split_off(stopped + 1);
        if let Some(group) = groups.pop() {
            let committed = at - (before - group.len());
            // The others do not wait for it.
            tokio::spawn(self.clone().tell_conflict(group, committed, refusal));
        }
        groups.into_iter().for_each(Group::confirm);
        rest
    }

    /// Answers a group of which so many are written and the next one was refused.
    async fn tell_conflict(self, group: Group, committed: usize, refusal: Refusal) {
        let content = &group.content;
        let own_id = content.client_ids.get(committed).and_then(|(author, id)| Some((*author, id.clone()?)));
        // The server names only the first index that refused.
        let conflict = match (refusal.index.as_deref(), own_id) {
            (Some(indexes::CLIENT_MESSAGE_ID), _) => Ok(Conflict::ClientMessageId),
            (Some(indexes::TICKS), None) => Ok(Conflict::Tick),
            (Some(index @ (indexes::TICKS | indexes::ID)), Some((author, id))) => {
                let (messages, key) = (self.messages.clone(), content.key);
                let call = async move { Ok(is_repeat(&messages, key, author, &id).await?) };
                match self.calls.run("insert: whether it is a repeat", call).await {
                    Ok(true) => Ok(Conflict::ClientMessageId),
                    Ok(false) if index != indexes::ID => Ok(Conflict::Tick),
                    Ok(false) => Err(tell("insert", &refusal.failure)),
                    Err(error) => Err(error),
                }
            }
            _ => Err(tell("insert", &refusal.failure)),
        };
        if conflict == Ok(Conflict::Tick) {
            self.note_contended(content.key);
        }
        group.answer(conflict.map(|conflict| Inserted { committed, conflict: Some(conflict) }));
    }

    fn is_contended(&self, key: ChannelKey) -> bool {
        let contended = self.contended.lock().unwrap_or_else(PoisonError::into_inner);
        contended.get(&key).is_some_and(|since| since.elapsed() < CONTENDED)
    }

    fn note_contended(&self, key: ChannelKey) {
        let mut contended = self.contended.lock().unwrap_or_else(PoisonError::into_inner);
        if contended.len() >= CONTENDED_CHANNELS {
            contended.retain(|_, since| since.elapsed() < CONTENDED);
        }
        contended.insert(key, Instant::now());
    }
}
