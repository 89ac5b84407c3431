//! Roots and their replies. A reply is written first and marked; its root is told by counting afresh; then the mark goes.
//! Whoever finds marks left over by a stopped node does the same again, to the same effect.

use std::sync::Arc;

use quikapp_entities::MessageId;

use crate::{
    Error, Result,
    log::{Alteration, Log, lane::Lane},
    messages::model::{ChannelKey, Message},
};

impl Lane {
    /// Lets a root know its replies, among them those of `told` that are its own.
    pub(super) async fn refresh_thread(&mut self, root: MessageId, told: &[Arc<Message>]) {
        if let Err(error) = self.try_refresh_thread(root, told).await {
            // The marks stay, so that it can be done later, by whomever.
            self.owe();
            tracing::warn!(%error, "a thread's summary is late");
        }
    }

    async fn try_refresh_thread(&mut self, root: MessageId, told: &[Arc<Message>]) -> Result<()> {
        let (done, answer) = tokio::sync::oneshot::channel();
        // Boxed because a deleted reply comes here from an alteration.
        Box::pin(self.alter(root, vec![(Alteration::of_thread(), done)])).await;
        match answer.await {
            // A root that is purged has nobody to tell.
            Ok(Ok(_) | Err(Error::NotFound(_))) => {}
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(Error::Internal),
        }
        let own: Vec<_> =
            told.iter().filter(|reply| reply.thread_root == Some(root)).map(|reply| reply.id).collect();
        self.shared.store.clear_thread_pending(self.key, &own).await
    }

    /// Does what a node that stopped in the middle left over in this channel.
    pub(super) async fn finish_left_over_replies(&mut self) {
        match self.shared.store.pending_replies(self.key).await {
            Ok(replies) => {
                let replies: Vec<_> = replies.into_iter().map(Arc::new).collect();
                for root in roots(&replies) {
                    self.refresh_thread(root, &replies).await;
                }
            }
            Err(error) => {
                self.owe();
                tracing::warn!(%error, "left-over replies could not be looked for");
            }
        }
    }
}

/// The same from outside of a lane.
pub(super) async fn repair(log: &Log, key: ChannelKey, replies: &[Message]) -> Result<()> {
    let replies: Vec<_> = replies.iter().cloned().map(Arc::new).collect();
    for root in roots(&replies) {
        match log.alter(key, root, Alteration::of_thread()).await {
            Ok(_) | Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let ids: Vec<_> = replies.iter().map(|reply| reply.id).collect();
    log.inner.store.clear_thread_pending(key, &ids).await
}

fn roots(replies: &[Arc<Message>]) -> Vec<MessageId> {
    let mut roots: Vec<_> = replies.iter().filter_map(|reply| reply.thread_root).collect();
    roots.sort_unstable();
    roots.dedup();
    roots
}
