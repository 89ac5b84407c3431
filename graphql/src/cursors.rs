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
    /// Go on after this tick; with when it was given out.
    After(i64, Timestamp),
    /// Given out longer ago than tombstones are kept.
    Expired,
}

/// Writes a channel's position.
pub(crate) fn channel(ctx: &Context<'_>, channel: ChannelId, seq: i64) -> Result<EventCursor> {
    Ok(channel_at(channel, seq, ctx.chat()?.now()))
}

/// The same for what is given out with the knowledge of an earlier moment: a replay is behind the present, and tombstones
/// that it has not come to are kept from their deletion on, not from now on.
pub(crate) fn channel_at(channel: ChannelId, seq: i64, at: Timestamp) -> EventCursor {
    EventCursor(paging::cursor(&(channel.0.simple().to_string(), seq, at.0)))
}

/// Reads a position in this channel.
pub(crate) fn read_channel(ctx: &Context<'_>, channel: ChannelId, cursor: &EventCursor) -> Result<Position> {
    let parsed: Option<(String, i64, i64)> = paging::parse_cursor(Some(&cursor.0), "after")?;
    match parsed {
        Some((of, seq, at)) if of == channel.0.simple().to_string() && seq >= 0 => {
            let expired = Timestamp(at).plus(SOFT_DELETE) < ctx.chat()?.now();
            Ok(if expired { Position::Expired } else { Position::After(seq, Timestamp(at)) })
        }
        _ => Err(Error::invalid("after", "is no cursor of this channel").into()),
    }
}
