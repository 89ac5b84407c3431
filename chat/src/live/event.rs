//! What streams tell: the events of a channel's log, as one listener sees them.

use std::{collections::VecDeque, sync::Arc};

use quikapp_entities::{ChannelId, Timestamp, UserId, WorkspaceId};

use crate::{
    live::{Told, notes::Notes, position::Position},
    log::Aspect,
    messages::model::{Message, MessageKind, SystemEvent},
};

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    /// The cursor is older than tombstones are kept: read afresh.
    CursorExpired,
    /// The cursor is of another life of the server's data: read afresh.
    EpochChanged,
    /// The viewer may not see the channel any more.
    AccessChanged,
    /// The subscriber reads too slowly: go on after its last cursor.
    SlowConsumer,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message is new.
    Created(Arc<Message>),
    /// A message changed.
    Updated(Arc<Message>, Vec<Aspect>),
    /// A message became a tombstone.
    Deleted(Arc<Message>),
    /// Somebody came in.
    MemberJoined(UserId),
    /// Somebody went or was removed.
    MemberLeft(UserId, Option<UserId>),
    /// Somebody's role or silence changed.
    MemberChanged(UserId),
    /// The channel's own fields changed.
    ChannelUpdated(Vec<String>),
    /// A channel was made.
    ChannelCreated(ChannelId),
    /// A workspace's own fields changed.
    WorkspaceUpdated(WorkspaceId),
    /// Somebody's profile changed.
    UserUpdated(UserId),
    /// The viewer's own membership of a channel changed, by its settings or its end; with the viewer.
    MembershipChanged(ChannelId, UserId),
    /// What the viewer has read of a channel changed.
    ReadStateChanged(ChannelId),
    /// Everything that was missed has been told.
    CaughtUp(u64),
    /// The stream ends.
    Reset(ResetReason),
}

impl Event {
    /// Whose access a new line says to have changed. Its announcement may have been lost with the node that made the change;
    /// the line is not.
    pub(super) fn changes_access_of(&self) -> Option<UserId> {
        let Self::Created(message) = self else { return None };
        match message.system {
            Some(SystemEvent::MemberLeft { user, .. } | SystemEvent::MemberChanged { user, .. }) => {
                Some(user)
            }
            _ => None,
        }
    }
}

/// About how many bytes the rest of a message comes to that has more than words.
const BLOCKS: usize = 16 << 10;

impl Event {
    /// About how many bytes there are to tell.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Created(message) | Self::Updated(message, _) | Self::Deleted(message) => {
                message.text.len() + if message.blocks.is_empty() { 0 } else { BLOCKS }
            }
            _ => 0,
        }
    }
}

/// An event with its place in the channel's log.
#[derive(Debug, Clone)]
pub struct Item {
    /// Go on from here to miss nothing behind the event; none where the position does not move.
    pub position: Option<Position>,
    /// The tick of the change.
    pub seq: Option<i64>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// Whether it had happened before the stream began.
    pub replayed: bool,
    /// What happened.
    pub event: Event,
    /// What other listeners made of the change; none on items that are no change.
    pub notes: Option<Arc<Notes>>,
}

/// What changed of a message after tick `after`, seen from there: one event, and one more for what a SYSTEM message tells.
pub(super) fn events(told: &Told, replayed: bool) -> VecDeque<Item> {
    let Told { after, message, notes, .. } = told;
    let item = |event, occurred_at| Item {
        position: Some(told.position.clone()),
        seq: Some(message.seq),
        occurred_at,
        replayed,
        event,
        notes: Some(Arc::clone(notes)),
    };
    // The logs beside the channels have nothing that somebody wrote.
    let beside_channels = match &message.system {
        Some(SystemEvent::ChannelCreated { channel }) => Some(Event::ChannelCreated(*channel)),
        Some(SystemEvent::WorkspaceUpdated) => Some(Event::WorkspaceUpdated(message.key.workspace)),
        Some(SystemEvent::UserUpdated { user }) => Some(Event::UserUpdated(*user)),
        Some(SystemEvent::MembershipChanged { channel }) => {
            Some(Event::MembershipChanged(*channel, message.author))
        }
        Some(SystemEvent::ReadUpTo { channel, .. }) => Some(Event::ReadStateChanged(*channel)),
        _ => None,
    };
    if let Some(event) = beside_channels {
        return VecDeque::from([item(event, message.changed_at)]);
    }
    if message.is_deleted() && message.changes.deleted.max(message.ts) > *after {
        return VecDeque::from([item(Event::Deleted(Arc::clone(message)), message.changed_at)]);
    }
    let mut items = VecDeque::with_capacity(2);
    let is_known = message.ts <= *after;
    if !is_known {
        items.push_back(item(Event::Created(Arc::clone(message)), message.created_at));
    } else if message.seq > *after {
        let ticks = &message.changes;
        let changed = [
            (Aspect::Content, ticks.content),
            (Aspect::Reactions, ticks.reactions),
            (Aspect::Thread, ticks.thread),
        ];
        let changed =
            changed.into_iter().filter(|(_, tick)| tick > after).map(|(aspect, _)| aspect).collect();
        items.push_back(item(Event::Updated(Arc::clone(message), changed), message.changed_at));
    }
    if is_known && !told.is_half {
        return items;
    }
    let line = message.system.as_ref().and_then(|event| match event {
        SystemEvent::MemberJoined { user } => Some(Event::MemberJoined(*user)),
        SystemEvent::MemberLeft { user, removed_by } => Some(Event::MemberLeft(*user, *removed_by)),
        SystemEvent::MemberChanged { user, .. } => Some(Event::MemberChanged(*user)),
        SystemEvent::ChannelUpdated { changed } => Some(Event::ChannelUpdated(changed.clone())),
        _ => None,
    });
    if let Some(event) = line {
        // Whoever is cut off between the two is told the second one only.
        if let Some(first) = items.front_mut() {
            first.position.clone_from(&told.before);
        }
        items.push_back(item(event, message.created_at));
    }
    items
}

/// An item that ends a stream.
#[must_use]
pub fn reset(now: Timestamp, reason: ResetReason) -> Item {
    Item {
        position: None,
        seq: None,
        occurred_at: now,
        replayed: false,
        event: Event::Reset(reason),
        notes: None,
    }
}

/// Whether `message` is something that a person wrote.
#[must_use]
pub fn is_written(message: &Message) -> bool {
    message.kind != MessageKind::System
}
