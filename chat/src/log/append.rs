//! Appending: what is sent together is one grouped write.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use quikapp_entities::{MessageId, UserId};
use tokio::time::Instant;

use crate::{
    Error,
    log::{
        Appended, Draft,
        lane::{Appending, Lane},
        rivals::Contest,
    },
    messages::model::{ChangeTicks, ChannelKey, Message, ThreadSummary},
    store::{Conflict, Head, Inserted},
};

/// A draft that waits to be committed, with everybody who sent it.
struct Waiting {
    draft: Draft,
    senders: Vec<tokio::sync::oneshot::Sender<crate::Result<Appended>>>,
}

impl Waiting {
    fn answer(self, result: &crate::Result<Arc<Message>>, deduplicated: bool) {
        for (index, sender) in self.senders.into_iter().enumerate() {
            let _ = sender.send(
                result.clone().map(|message| Appended { message, deduplicated: deduplicated || index > 0 }),
            );
        }
    }
}

impl Lane {
    pub(super) async fn append(&mut self, drafts: Vec<Appending>) {
        let mut waiting = merge(drafts);
        let mut replied: Vec<(Waiting, Arc<Message>)> = Vec::new();
        let mut roots: Vec<MessageId> = Vec::new();
        let mut contest = Contest::new();
        while !waiting.is_empty() {
            match self.try_append(&waiting).await {
                Ok((messages, conflict)) => {
                    if !messages.is_empty() {
                        contest = Contest::new();
                    }
                    for message in messages {
                        let Some(sent) = waiting.pop_front() else { break };
                        self.committed(&message);
                        // A reply is acknowledged when its root knows it, so that its sender reads the right count.
                        if let Some(root) = message.thread_root {
                            if !roots.contains(&root) {
                                roots.push(root);
                            }
                            replied.push((sent, message));
                        } else {
                            sent.answer(&Ok(message), false);
                        }
                    }
                    let goes_on = match conflict {
                        None => true,
                        Some(Conflict::Tick) => self.lose(&mut contest).await,
                        Some(Conflict::ClientMessageId) => {
                            // A step ahead too, as one of them is answered.
                            contest = Contest::new();
                            self.answer_with_existing(&mut waiting).await;
                            true
                        }
                    };
                    if !goes_on {
                        fail(&mut waiting, &Error::Unavailable { store: "message store" });
                    }
                }
                Err(error) => {
                    // Whether it was written is not known; the senders find out by their own ids.
                    self.lose_head();
                    self.owe();
                    fail(&mut waiting, &error);
                }
            }
        }
        for root in roots {
            self.refresh_thread(
                root,
                &replied.iter().map(|(_, message)| Arc::clone(message)).collect::<Vec<_>>(),
            )
            .await;
        }
        for (sent, message) in replied {
            sent.answer(&Ok(message), false);
        }
    }

    /// Writes what waits with the next ticks; tells what was committed and what stopped the rest.
    async fn try_append(
        &mut self,
        waiting: &VecDeque<Waiting>,
    ) -> crate::Result<(Vec<Arc<Message>>, Option<Conflict>)> {
        let mut head = self.head().await?;
        let now = self.shared.env.now();
        let mut messages: Vec<Message> = Vec::with_capacity(waiting.len());
        for waiting in waiting {
            let message = message(self.key, waiting.draft.clone(), head, now);
            head = Head { seq: message.seq, visible_count: message.visible_count };
            messages.push(message);
        }
        let begun = Instant::now();
        let Inserted { committed, conflict } = self.shared.store.insert(self.key, &messages).await?;
        self.wrote(begun.elapsed());
        messages.truncate(committed);
        Ok((messages.into_iter().map(Arc::new).collect(), conflict))
    }

    /// The first draft was sent before: its senders get the message of that time.
    async fn answer_with_existing(&mut self, waiting: &mut VecDeque<Waiting>) {
        let Some(first) = waiting.pop_front() else { return };
        let result = match &first.draft.client_message_id {
            Some(id) => self.shared.store.by_client_ids(self.key, &[(first.draft.author, id.clone())]).await,
            None => Ok(Vec::new()),
        };
        match result.map(|found| found.into_iter().next()) {
            Ok(Some(message)) => first.answer(&Ok(Arc::new(message)), true),
            // It was there a moment ago and is gone for good: its time to be purged had come.
            Ok(None) => {
                first.answer(&Err(Error::Conflict("a message with this clientMessageId was purged")), false);
            }
            Err(error) => first.answer(&Err(error), false),
        }
    }
}

/// Joins drafts that are the same message.
fn merge(drafts: Vec<Appending>) -> VecDeque<Waiting> {
    let mut merged: VecDeque<Waiting> = VecDeque::with_capacity(drafts.len());
    let mut seen: HashMap<(UserId, String), usize> = HashMap::new();
    for (draft, sender) in drafts {
        if let Some(id) = &draft.client_message_id {
            let own_id = (draft.author, id.clone());
            if let Some(index) = seen.get(&own_id) {
                merged[*index].senders.push(sender);
                continue;
            }
            seen.insert(own_id, merged.len());
        }
        merged.push_back(Waiting { draft, senders: vec![sender] });
    }
    merged
}

fn fail(waiting: &mut VecDeque<Waiting>, error: &Error) {
    for waiting in waiting.drain(..) {
        waiting.answer(&Err(error.clone()), false);
    }
}

/// The message that a draft becomes right after `head`.
fn message(key: ChannelKey, draft: Draft, head: Head, now: quikapp_entities::Timestamp) -> Message {
    let ts = head.seq + 1;
    let mut message = Message {
        id: draft.id,
        key,
        ts,
        seq: ts,
        changes: ChangeTicks::default(),
        ticks: vec![ts],
        ticks_mark: ts,
        ticks_mark_at: now,
        visible_count: head.visible_count,
        author: draft.author,
        kind: draft.kind,
        text: draft.text,
        blocks: draft.blocks,
        mentions: draft.mentions,
        mentions_everyone: draft.mentions_everyone,
        client_message_id: draft.client_message_id,
        thread_root: draft.thread_root,
        reply_to: draft.reply_to,
        broadcast: draft.broadcast,
        thread_pending: draft.thread_root.is_some(),
        reactions: Vec::new(),
        thread: ThreadSummary::default(),
        system: draft.system,
        edited_at: None,
        deleted_at: None,
        deleted_by: None,
        purge_at: None,
        created_at: draft.created_at,
        updated_at: draft.created_at,
        changed_at: draft.created_at,
    };
    message.visible_count += i64::from(message.counts());
    message
}
