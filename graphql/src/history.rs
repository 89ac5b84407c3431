//! Pages of history.

use std::sync::Arc;

use async_graphql::{Context, ID, SimpleObject};
use quikapp_chat::{
    Error,
    access::ChannelReader,
    entities::ids::MessageKey,
    messages::{self, HistoryPage, HistoryRequest},
    store::Scope,
};

use crate::{
    budget,
    context::ContextExt,
    cursors,
    error::Result,
    ids,
    messages::Message,
    paging::{self, PageInfo},
    scalars::EventCursor,
    sync,
};

/// Page size where none is given.
const DEFAULT_PAGE: usize = 50;

/// A page of messages, oldest first.
#[derive(Clone, SimpleObject)]
pub struct MessageConnection {
    /// The messages of the page, tombstones included.
    pub nodes: Vec<Message>,
    /// The messages with their cursors.
    pub edges: Vec<MessageEdge>,
    /// Where the page stands in the history.
    pub page_info: PageInfo,
    /// The channel's position, read before the page: follow `channelEvents` after it and nothing is missed.
    pub sync_cursor: EventCursor,
}

/// A message with its place in the history.
#[derive(Clone, SimpleObject)]
pub struct MessageEdge {
    /// The message's place, for `after` and `before`.
    pub cursor: String,
    /// The message.
    pub node: Message,
}

/// The arguments of a page of history.
pub(crate) struct HistoryArguments {
    pub(crate) first: Option<i32>,
    pub(crate) after: Option<String>,
    pub(crate) last: Option<i32>,
    pub(crate) before: Option<String>,
    pub(crate) around: Option<ID>,
}

impl HistoryArguments {
    fn request(self) -> Result<HistoryRequest> {
        let after: Option<i64> = paging::parse_cursor(self.after.as_deref(), "after")?;
        let before: Option<i64> = paging::parse_cursor(self.before.as_deref(), "before")?;
        let first = self.first.map(|first| paging::size(first, "first")).transpose()?;
        let last = self.last.map(|last| paging::size(last, "last")).transpose()?;
        if first.is_some() && last.is_some() {
            return Err(Error::invalid("last", "cannot be combined with first").into());
        }
        if let Some(around) = self.around {
            if after.is_some() || before.is_some() {
                return Err(Error::invalid("around", "cannot be combined with after or before").into());
            }
            let key: MessageKey = ids::parse(&around, "around")?;
            let limit = first.or(last).unwrap_or(DEFAULT_PAGE);
            return Ok(HistoryRequest::Around { limit, id: key.id });
        }
        Ok(match (first, last) {
            (Some(limit), _) => HistoryRequest::First { limit, after, before },
            (None, Some(limit)) => HistoryRequest::Last { limit, after, before },
            // Going forward from a place, else the newest.
            (None, None) if after.is_some() => HistoryRequest::First { limit: DEFAULT_PAGE, after, before },
            (None, None) => HistoryRequest::Last { limit: DEFAULT_PAGE, after, before },
        })
    }
}

impl MessageConnection {
    pub(crate) async fn read(
        ctx: &Context<'_>,
        reader: &ChannelReader,
        scope: Scope,
        root: Option<&messages::Message>,
        arguments: HistoryArguments,
    ) -> async_graphql::Result<Self> {
        let _turn = budget::turn(ctx).await;
        let (page, sync_cursor) = Self::load(ctx, reader, scope, root, arguments).await?;
        budget::count_page(ctx, &page.messages)?;
        Ok(Self::new(page, sync_cursor))
    }

    async fn load(
        ctx: &Context<'_>,
        reader: &ChannelReader,
        scope: Scope,
        root: Option<&messages::Message>,
        arguments: HistoryArguments,
    ) -> Result<(HistoryPage, EventCursor)> {
        let request = arguments.request()?;
        // Only who follows the channel from here needs the position, and it has to be the older of the two.
        let start = sync::channel(ctx, reader.key().channel).transpose()?;
        let position = match start {
            Some(start) => start,
            None if ctx.look_ahead().field("syncCursor").exists() => ctx.chat()?.position(reader).await?,
            None => 0,
        };
        let page = ctx.chat()?.history(reader, scope, request).await?;
        let position = match root {
            // What is shown of the thread beside its replies was read before the position.
            Some(root) if start.is_none() && position > 0 => {
                let now = ctx.chat()?.messages(reader.viewer(), &[root.api_id()]).await?;
                let is_same = now.values().any(|now| now.seq == root.seq);
                if is_same { position } else { position.min(root.seq) }
            }
            _ => position,
        };
        Ok((page, cursors::channel(ctx, reader.key().channel, position)?))
    }

    fn new(page: HistoryPage, sync_cursor: EventCursor) -> Self {
        let edges: Vec<MessageEdge> = page
            .messages
            .into_iter()
            .map(|message| MessageEdge {
                cursor: paging::cursor(&message.ts),
                node: Arc::new(message).into(),
            })
            .collect();
        Self {
            page_info: PageInfo {
                has_next_page: page.has_next,
                has_previous_page: page.has_previous,
                start_cursor: edges.first().map(|edge| edge.cursor.clone()),
                end_cursor: edges.last().map(|edge| edge.cursor.clone()),
            },
            nodes: edges.iter().map(|edge| edge.node.clone()).collect(),
            edges,
            sync_cursor,
        }
    }
}
