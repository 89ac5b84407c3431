//! Event cursors: a channel and a tick, or a viewer's positions in all of their channels; and when they were given out.

use async_graphql::Context;
use data_encoding::BASE64URL_NOPAD;
use quikapp_chat::{
    Error,
    access::Viewer,
    entities::{ChannelId, Timestamp, WorkspaceId},
    live::positions::Positions,
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

/// A viewer's positions as a client holds them.
pub(crate) enum ViewerPosition {
    /// Go on after these; with when they were given out.
    After(Positions, Timestamp),
    /// Given out longer ago than tombstones are kept.
    Expired,
}

/// Tells a viewer's cursor from a channel's, which is JSON.
const VIEWER: u8 = 1;
/// For a stream of all workspaces.
const EVERYWHERE: WorkspaceId = WorkspaceId(uuid::Uuid::nil());

/// Writes a viewer's positions in one workspace or in all. Some twelve symbols for each channel.
pub(crate) fn viewer_at(
    viewer: &Viewer,
    workspace: Option<WorkspaceId>,
    positions: &Positions,
    at: Timestamp,
) -> EventCursor {
    let mut bytes = vec![VIEWER];
    bytes.extend_from_slice(viewer.user().0.as_bytes());
    bytes.extend_from_slice(workspace.unwrap_or(EVERYWHERE).0.as_bytes());
    bytes.extend_from_slice(&at.0.to_be_bytes());
    bytes.extend_from_slice(&positions.to_bytes());
    EventCursor(BASE64URL_NOPAD.encode(&bytes))
}

/// Reads a viewer's positions for a stream of one workspace or of all. Those in all workspaces will do for one.
pub(crate) fn read_viewer(
    viewer: &Viewer,
    workspace: Option<WorkspaceId>,
    cursor: &EventCursor,
    now: Timestamp,
) -> Result<ViewerPosition> {
    let parse = || {
        let bytes = BASE64URL_NOPAD.decode(cursor.0.as_bytes()).ok()?;
        let (kind, bytes) = bytes.split_first()?;
        let (user, bytes) = bytes.split_first_chunk::<16>()?;
        let (of, bytes) = bytes.split_first_chunk::<16>()?;
        let (at, bytes) = bytes.split_first_chunk::<8>()?;
        let of = WorkspaceId(uuid::Uuid::from_bytes(*of));
        let is_known = *kind == VIEWER && user == viewer.user().0.as_bytes();
        let is_of_scope = of == EVERYWHERE || Some(of) == workspace;
        let positions = Positions::from_bytes(bytes)?;
        (is_known && is_of_scope).then_some((positions, Timestamp(i64::from_be_bytes(*at))))
    };
    let (positions, at) =
        parse().ok_or_else(|| Error::invalid("after", "is no cursor of this stream of yours"))?;
    let is_expired = Timestamp(at.0.clamp(0, i64::MAX / 2)).plus(SOFT_DELETE) < now;
    Ok(if is_expired { ViewerPosition::Expired } else { ViewerPosition::After(positions, at) })
}
