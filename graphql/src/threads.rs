//! Threads: a root and its replies.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, SimpleObject};
use quikapp_chat::{messages, store::Scope};

use crate::{
    context::ContextExt,
    error::Result,
    history::{HistoryArguments, MessageConnection},
    messages::Message,
    scalars::DateTime,
    users::User,
};

/// A root and its replies. Threads have one level: a reply to a reply goes to the same root.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Thread {
    /// Replies that are not deleted.
    reply_count: i64,
    /// When the newest of them was written; null if none is left.
    last_reply_at: Option<DateTime>,
    #[graphql(skip)]
    root: Arc<messages::Message>,
}

impl Thread {
    pub(crate) fn of(root: Arc<messages::Message>) -> Self {
        Self {
            reply_count: root.thread.reply_count,
            last_reply_at: root.thread.last_reply_at.map(DateTime),
            root,
        }
    }
}

#[ComplexObject]
impl Thread {
    /// The message that began it.
    async fn root(&self) -> Message {
        Arc::clone(&self.root).into()
    }

    /// The first eight people who replied, in that order.
    async fn participants(&self, ctx: &Context<'_>) -> Result<Vec<User>> {
        User::load_all(ctx, &self.root.thread.participants).await
    }

    /// The replies, oldest first. `first` with `after` goes forward, `last` with `before` goes back; without any of them
    /// the first 50.
    async fn replies(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size forward, 1 to 100.")] first: Option<i32>,
        #[graphql(desc = "Only replies after this cursor.")] after: Option<String>,
        #[graphql(desc = "Page size back from the end, 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only replies before this cursor.")] before: Option<String>,
    ) -> async_graphql::Result<MessageConnection> {
        let reader = ctx.loaders()?.channel(self.root.key.channel).await?;
        let first = first.or(if last.is_none() && before.is_none() { Some(50) } else { None });
        let arguments = HistoryArguments { first, after, last, before, around: None };
        MessageConnection::read(
            ctx,
            &reader,
            Scope::Thread(self.root.id),
            Some(self.root.as_ref()),
            arguments,
        )
        .await
    }
}
