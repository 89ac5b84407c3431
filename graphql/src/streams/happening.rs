//! An event on its way from the log to one subscriber.

use std::sync::Arc;

use quikapp_chat::{
    access::Viewer,
    entities::{ChannelId, Timestamp, WorkspaceId},
    live::{
        event::{self as domain, Event, Item},
        notes::Notes,
        viewer::ViewerItem,
    },
};

use crate::{cursors, messages::Message, scalars::EventCursor};

/// An event of a channel on its way to one subscriber.
#[derive(Clone)]
pub(crate) struct Happening {
    pub(super) channel: ChannelId,
    pub(super) item: Item,
    pub(super) cursor: Option<EventCursor>,
}

impl Happening {
    /// An event of a stream that goes on after a cursor given out at `since`.
    pub(super) fn new(channel: ChannelId, since: Option<Timestamp>, now: Timestamp, item: Item) -> Self {
        let is_behind = item.replayed && !matches!(item.event, Event::CaughtUp(_));
        let at = since.filter(|_| is_behind).unwrap_or(now);
        let cursor = item.position.as_ref().map(|position| cursors::channel_at(channel, position, at));
        Self { channel, item, cursor }
    }

    /// An event of a viewer's stream that goes on after a cursor given out at `since`.
    pub(super) fn of_viewer(
        viewer: &Viewer,
        workspace: Option<WorkspaceId>,
        since: Option<Timestamp>,
        now: Timestamp,
        told: ViewerItem,
    ) -> Self {
        let at = since.unwrap_or(now);
        let cursor = told.positions.map(|positions| cursors::viewer_at(viewer, workspace, &positions, at));
        Self { channel: told.channel, item: told.item, cursor }
    }

    /// The subscriber's own cursor.
    pub(crate) fn cursor(&self) -> Option<EventCursor> {
        self.cursor.clone()
    }

    /// The same with another cursor.
    pub(crate) fn with_cursor(&self, cursor: EventCursor) -> Self {
        Self { cursor: Some(cursor), ..self.clone() }
    }

    /// Where to find what others made of it, and what tells it from other events that come of the same change; none where
    /// it is this subscriber's alone.
    pub(crate) fn shared(&self) -> Option<(&Notes, u32)> {
        let kind = match &self.item.event {
            Event::Created(_) => 1,
            Event::Updated(_, changed) => {
                0x100 | changed.iter().fold(0, |bits, aspect| bits | 1 << *aspect as u32)
            }
            Event::Deleted(_) => 2,
            Event::MemberJoined(_) => 3,
            Event::MemberLeft(..) => 4,
            Event::MemberChanged(_) => 5,
            Event::ChannelUpdated(_) => 6,
            Event::ChannelCreated(_) => 7,
            Event::WorkspaceUpdated(_) => 8,
            Event::UserUpdated(_) => 9,
            // These are the viewer's alone, and must not make the selection so for what others share.
            Event::MembershipChanged(..)
            | Event::ReadStateChanged(_)
            | Event::CaughtUp(_)
            | Event::Reset(_) => return None,
        };
        let replayed = if self.item.replayed { 0x1000 } else { 0 };
        self.cursor.as_ref()?;
        Some((self.item.notes.as_deref()?, kind | replayed))
    }

    /// The message, if the event is that a person wrote it.
    pub(super) fn written(&self) -> Option<Message> {
        match &self.item.event {
            Event::Created(message) if domain::is_written(message) => Some(Arc::clone(message).into()),
            _ => None,
        }
    }
}
