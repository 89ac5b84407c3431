//! Altering: read, change, compare and swap. Alterations of one message that wait together are one write and one tick.

use std::sync::Arc;

use quikapp_entities::MessageId;
use tokio::time::Instant;

use crate::{
    Error, Result,
    log::{
        TICK_MEMORY,
        lane::{Altering, Lane},
        rivals::Contest,
    },
    messages::model::{ChangeTicks, Message, ThreadSummary},
    store::{Head, Replaced},
};

/// What of a message an alteration changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// Text or blocks.
    Content,
    /// Reactions.
    Reactions,
    /// What it knows of its replies.
    Thread,
    /// It is a tombstone now.
    Deleted,
}

/// A change of one message: sees its present state, changes it and says what changed (nothing: no tick is taken), or
/// refuses. Runs again when another node was faster, so it must have no other effect. Ticks and counters are the lane's.
pub struct Alteration(Kind);

enum Kind {
    Function(Box<Alter>),
    /// The root of a thread learns of its replies.
    Thread,
}

type Alter = dyn Fn(&mut Message) -> Result<Option<Aspect>> + Send + Sync;

impl Alteration {
    /// An alteration by a function.
    pub fn new(alter: impl Fn(&mut Message) -> Result<Option<Aspect>> + Send + Sync + 'static) -> Self {
        Self(Kind::Function(Box::new(alter)))
    }

    /// Sets a root's summary to what its replies give.
    pub(super) fn of_thread() -> Self {
        Self(Kind::Thread)
    }

    fn counts_replies(&self) -> bool {
        matches!(self.0, Kind::Thread)
    }

    fn apply(&self, message: &mut Message, summary: &ThreadSummary) -> Result<Option<Aspect>> {
        match &self.0 {
            Kind::Function(alter) => alter(message),
            Kind::Thread if message.thread == *summary => Ok(None),
            Kind::Thread => {
                message.thread.clone_from(summary);
                Ok(Some(Aspect::Thread))
            }
        }
    }
}

impl Lane {
    pub(super) async fn alter(&mut self, id: MessageId, alterations: Vec<Altering>) {
        match self.try_alter(id, &alterations).await {
            Ok((message, results)) => {
                let lost_reply = message.is_deleted() && message.thread_pending;
                if let (true, Some(root)) = (lost_reply, message.thread_root) {
                    self.refresh_thread(root, std::slice::from_ref(&message)).await;
                }
                for ((_, done), result) in alterations.into_iter().zip(results) {
                    let _ = done.send(result.map(|()| Arc::clone(&message)));
                }
            }
            Err(error) => {
                for (_, done) in alterations {
                    let _ = done.send(Err(error.clone()));
                }
            }
        }
    }

    async fn try_alter(
        &mut self,
        id: MessageId,
        alterations: &[Altering],
    ) -> Result<(Arc<Message>, Vec<Result<()>>)> {
        let mut contest = Contest::new();
        loop {
            let stored = self.shared.store.get(&[(self.key, id)]).await?;
            let Some(present) = stored.into_iter().next() else { return Err(Error::NotFound("message")) };
            // Counted after the root was read: whoever tells it of another reply meanwhile moves it on, and it is counted
            // again. Otherwise the older of two counts could be written last.
            let summary = if alterations.iter().any(|(alteration, _)| alteration.counts_replies()) {
                self.shared.store.thread_summary(self.key, id).await?
            } else {
                ThreadSummary::default()
            };
            let head = self.head_from(present.seq).await?;
            let now = self.shared.env.now();
            let mut next = present.clone();
            let mut aspects = Vec::new();
            let mut results = Vec::with_capacity(alterations.len());
            for (alteration, _) in alterations {
                let mut candidate = next.clone();
                match alteration.apply(&mut candidate, &summary) {
                    Ok(Some(aspect)) => {
                        // From here on an alteration that expects the old tick finds the new one.
                        candidate.seq = head.seq + 1;
                        next = candidate;
                        aspects.push(aspect);
                        results.push(Ok(()));
                    }
                    Ok(None) => results.push(Ok(())),
                    Err(error) => results.push(Err(error)),
                }
            }
            if aspects.is_empty() {
                return Ok((Arc::new(present), results));
            }
            take_tick(&mut next, &present, head, now, &aspects);
            let begun = Instant::now();
            let replaced = self.shared.store.replace(&next, present.seq).await;
            self.wrote(begun.elapsed());
            match replaced {
                Ok(Replaced::Done) => {
                    let next = Arc::new(next);
                    self.committed(&next);
                    return Ok((next, results));
                }
                Ok(Replaced::Stale | Replaced::TickTaken) => {
                    if !self.lose(&mut contest).await {
                        return Err(Error::Unavailable { store: "message store" });
                    }
                }
                Err(error) => {
                    self.lose_head();
                    self.owe();
                    return Err(error);
                }
            }
        }
    }
}

/// Moves `next` on to the tick after `head`.
fn take_tick(
    next: &mut Message,
    present: &Message,
    head: Head,
    now: quikapp_entities::Timestamp,
    aspects: &[Aspect],
) {
    let seq = head.seq + 1;
    next.seq = seq;
    next.changed_at = now;
    let ChangeTicks { content, reactions, thread, deleted } = &mut next.changes;
    for aspect in aspects {
        match aspect {
            Aspect::Content => *content = seq,
            Aspect::Reactions => *reactions = seq,
            Aspect::Thread => *thread = seq,
            Aspect::Deleted => *deleted = seq,
        }
    }
    next.visible_count = head.visible_count + i64::from(next.counts()) - i64::from(present.counts());
    if now > next.ticks_mark_at.plus(TICK_MEMORY) {
        let mark = next.ticks_mark;
        // Its place in history is never given away.
        let ts = next.ts;
        next.ticks.retain(|tick| *tick > mark || *tick == ts);
        next.ticks_mark = seq;
        next.ticks_mark_at = now;
    }
    next.ticks.push(seq);
}
