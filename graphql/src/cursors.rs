//! Event cursors: a channel and a position, or a viewer's positions in all of their channels; and when they were given out.

use async_graphql::Context;
use data_encoding::BASE64URL_NOPAD;
use quikapp_chat::{
    Error,
    access::Viewer,
    entities::{ChannelId, Timestamp, WorkspaceId},
    live::{position::Position, positions::Positions},
    messages::change::SOFT_DELETE,
};
use serde::{Deserialize, Serialize};

use crate::{context::ContextExt, error::Result, paging, scalars::EventCursor};

/// A channel's position as a client holds it.
pub(crate) enum ChannelPosition {
    /// Go on after this; with when it was given out.
    After(Position, Timestamp),
    /// Given out longer ago than tombstones are kept.
    Expired,
}

/// A channel's cursor: which one, the tick, when it was given out, and what else there is to know of the position, if
/// there is anything.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Plain(String, i64, i64),
    InReplay(String, i64, i64, Vec<i64>),
}

/// Writes a channel's present position.
pub(crate) fn channel(ctx: &Context<'_>, channel: ChannelId, seq: i64) -> Result<EventCursor> {
    Ok(channel_at(channel, &seq.into(), ctx.chat()?.now()))
}

/// The same for what is given out with the knowledge of an earlier moment: a replay is behind the present, and tombstones
/// that it has not come to are kept from their deletion on, not from now on.
pub(crate) fn channel_at(channel: ChannelId, position: &Position, at: Timestamp) -> EventCursor {
    let (channel, tick) = (channel.0.simple().to_string(), position.tick());
    let offsets = position.offsets();
    EventCursor(paging::cursor(&if offsets.is_empty() {
        Written::Plain(channel, tick, at.0)
    } else {
        Written::InReplay(channel, tick, at.0, offsets)
    }))
}

/// Reads a position in this channel.
pub(crate) fn read_channel(
    ctx: &Context<'_>,
    channel: ChannelId,
    cursor: &EventCursor,
) -> Result<ChannelPosition> {
    let now = ctx.chat()?.now();
    let (position, at) = parse_channel(channel, cursor)?;
    let expired = Timestamp(at).plus(SOFT_DELETE) < now;
    Ok(if expired { ChannelPosition::Expired } else { ChannelPosition::After(position, Timestamp(at)) })
}

fn parse_channel(channel: ChannelId, cursor: &EventCursor) -> Result<(Position, i64)> {
    let (of, tick, at, offsets) = match paging::parse_cursor(Some(&cursor.0), "after")? {
        Some(Written::Plain(of, tick, at)) => (of, tick, at, Vec::new()),
        Some(Written::InReplay(of, tick, at, offsets)) => (of, tick, at, offsets),
        None => return Err(Error::invalid("after", "is no cursor of this channel").into()),
    };
    let position = Position::from_offsets(tick, &offsets)
        .filter(|_| of == channel.0.simple().to_string() && tick >= 0)
        .ok_or_else(|| Error::invalid("after", "is no cursor of this channel"))?;
    Ok((position, at))
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
/// The same while some of the channels are in the midst of a replay.
const VIEWER_IN_REPLAY: u8 = 2;
/// For a stream of all workspaces.
const EVERYWHERE: WorkspaceId = WorkspaceId(uuid::Uuid::nil());

/// Writes a viewer's positions in one workspace or in all. Some twelve symbols for each channel.
pub(crate) fn viewer_at(
    viewer: &Viewer,
    workspace: Option<WorkspaceId>,
    positions: &Positions,
    at: Timestamp,
) -> EventCursor {
    let mut bytes = vec![if positions.are_plain() { VIEWER } else { VIEWER_IN_REPLAY }];
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
        let is_known = matches!(*kind, VIEWER | VIEWER_IN_REPLAY) && user == viewer.user().0.as_bytes();
        let is_of_scope = of == EVERYWHERE || Some(of) == workspace;
        let positions = Positions::from_bytes(bytes, *kind == VIEWER)?;
        (is_known && is_of_scope).then_some((positions, Timestamp(i64::from_be_bytes(*at))))
    };
    let (positions, at) =
        parse().ok_or_else(|| Error::invalid("after", "is no cursor of this stream of yours"))?;
    let is_expired = Timestamp(at.0.clamp(0, i64::MAX / 2)).plus(SOFT_DELETE) < now;
    Ok(if is_expired { ViewerPosition::Expired } else { ViewerPosition::After(positions, at) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(channel: ChannelId, cursor: &Value) -> Option<Position> {
        parse_channel(channel, &EventCursor(paging::cursor(cursor))).ok().map(|(position, _)| position)
    }

    #[test]
    fn cursors_within_a_replay_are_read_as_they_were_written() {
        let channel = ChannelId(uuid::Uuid::now_v7());
        let name = channel.0.simple().to_string();
        // As they have been written ever since.
        assert_eq!(read(channel, &json!([name, 7, 5])), Some(Position::from(7)));
        for offsets in [&[][..], &[0, 1], &[3, 0, 90], &[3, 0, 90, 2, 95]] {
            let position = Position::from_offsets(7, offsets);
            let cursor = position.as_ref().map(|position| channel_at(channel, position, Timestamp(5)));
            let read = cursor.and_then(|cursor| parse_channel(channel, &cursor).ok());
            assert_eq!(read.map(|(position, at)| (Some(position), at)), Some((position, 5)), "{offsets:?}");
        }
        let malformed = [
            json!([name, -1, 5]),
            json!([name, 7, 5, [8, 0, 9]]),
            json!([name, 7, 5, [1]]),
            json!([name, 7, 5, "base"]),
            json!([name, 7, 5, [3, 0, 90], 1]),
            json!(["another", 7, 5, [3, 0, 90]]),
            json!([name, 7, 5, [3, 0, 1.5]]),
            json!([name, i64::MAX, 5, [3, i64::MAX, i64::MAX]]),
        ];
        for cursor in malformed {
            assert_eq!(read(channel, &cursor), None, "{cursor}");
        }
    }
}
