//! Live delivery: the hub that wakes listeners, and the relay that carries its messages between nodes.

use quikapp_entities::{ChannelId, SessionId, UserId, WorkspaceId};
use serde::{Deserialize, Serialize};

/// Something every node has to know at once, because it ends or changes what open connections may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Control {
    /// The session was revoked: its connections close.
    SessionRevoked {
        /// Which one.
        session: SessionId,
    },
    /// The account was suspended, deactivated or deleted: its connections close.
    UserDisabled {
        /// Whose.
        user: UserId,
    },
    /// The user's access to a channel (or, without one, to the whole workspace) ended or shrank: streams check again.
    AccessChanged {
        /// Whose.
        user: UserId,
        /// Where.
        workspace: WorkspaceId,
        /// In which channel; in all of them if none.
        channel: Option<ChannelId>,
    },
}

/// Live delivery of one node. Cheap to clone.
#[derive(Clone)]
pub struct Hub;

impl Hub {
    /// Tells every node, this one included.
    pub fn announce(&self, _control: Control) {}
}
