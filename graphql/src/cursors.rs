//! Event cursors: a channel, a tick, and when it was given out.

use async_graphql::Context;
use quikapp_chat::{
    Error,
    entities::{ChannelId, Timestamp},
    messages::change::SOFT_DELETE,
};

use crate::{context::ContextExt, error::Result, paging, scalars::EventCursor};

/// A position as a client holds it.
pub(crate) enum Position {
    /// Go on after this tick.
    After(i64),
    /// Given out longer ago than tombstones are kept.
    Expired,
}

/// Writes a channel's position.
pub(crate) fn channel(ctx: &Context<'_>, channel: ChannelId, seq: i64) -> Result<EventCursor> {
    let now = ctx.chat()?.now();
    Ok(EventCursor(paging::cursor(&(channel.0.simple().to_string(), seq, now.0))))
}

/// Reads a position in this channel.
pub(crate) fn read_channel(ctx: &Context<'_>, channel: ChannelId, cursor: &EventCursor) -> Result<Position> {
    let parsed: Option<(String, i64, i64)> = paging::parse_cursor(Some(&cursor.0), "after")?;
    match parsed {
        Some((of, seq, at)) if of == channel.0.simple().to_string() && seq >= 0 => {
            let expired = Timestamp(at).plus(SOFT_DELETE) < ctx.chat()?.now();
            Ok(if expired { Position::Expired } else { Position::After(seq) })
        }
        _ => Err(Error::invalid("after", "is no cursor of this channel").into()),
    }
}
