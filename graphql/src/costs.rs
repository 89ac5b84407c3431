//! What fields cost that their types do not tell, for whoever bounds documents before they are executed.
//!
//! A field that is not named here is taken for what its type suggests: see `guard::shape` in the server. A test measures every
//! field of the schema against the estimate, so a new field that costs more shows itself there.

/// How a field reads from the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Not at all: its parent has it.
    Nothing,
    /// Through a loader: so many queries for all parents of one list together.
    Together(u32),
    /// By itself: so many queries for each parent.
    Each(u32),
}

/// A field that costs other than its type suggests.
#[derive(Debug, Clone, Copy)]
pub struct FieldCost {
    /// The type it is a field of.
    pub parent: &'static str,
    /// Its name.
    pub field: &'static str,
    /// How it reads.
    pub reads: Reads,
    /// How many items its list has at most, or usually where their fields are cheap.
    pub items: Option<u64>,
}

const fn reads(parent: &'static str, field: &'static str, reads: Reads) -> FieldCost {
    FieldCost { parent, field, reads, items: None }
}

const fn list(parent: &'static str, field: &'static str, reads: Reads, items: u64) -> FieldCost {
    FieldCost { parent, field, reads, items: Some(items) }
}

/// All of them.
pub const FIELD_COSTS: &[FieldCost] = &[
    // Of many kinds, each with a loader of its own; a membership takes a query for each workspace.
    list("Query", "nodes", Reads::Each(20), 100),
    reads("Query", "serverInfo", Reads::Nothing),
    reads("Viewer", "syncCursor", Reads::Each(3)),
    // The positions, a workspace's membership, the channels, and three to count in all of them.
    reads("Viewer", "unread", Reads::Each(8)),
    list("UnreadSummary", "channels", Reads::Nothing, 100),
    reads("Viewer", "email", Reads::Together(1)),
    reads("Viewer", "emailVerified", Reads::Together(1)),
    reads("Viewer", "mfaEnabled", Reads::Together(1)),
    list("Viewer", "sessions", Reads::Each(1), 20),
    reads("Channel", "displayName", Reads::Together(2)),
    reads("Channel", "syncCursor", Reads::Together(3)),
    reads("Channel", "viewerMembership", Reads::Nothing),
    reads("ChannelMembership", "lastMessagePreview", Reads::Together(2)),
    reads("ChannelMembership", "lastReadMessageId", Reads::Together(4)),
    reads("ChannelMembership", "lastReadAt", Reads::Together(4)),
    reads("ChannelMembership", "unreadCount", Reads::Together(4)),
    reads("ReadStateChanged", "unread", Reads::Together(4)),
    reads("MarkChannelReadPayload", "unread", Reads::Each(7)),
    reads("MarkChannelUnreadPayload", "unread", Reads::Each(7)),
    reads("ChannelMembership", "removedBy", Reads::Together(3)),
    reads("Message", "blocks", Reads::Nothing),
    reads("Message", "systemEvent", Reads::Nothing),
    reads("Message", "thread", Reads::Nothing),
    reads("Message", "reactionGroups", Reads::Nothing),
    // A message has them all in itself.
    reads("Message", "reactions", Reads::Nothing),
    reads("MessageConnection", "syncCursor", Reads::Each(1)),
    reads("Thread", "root", Reads::Nothing),
    list("Thread", "participants", Reads::Together(1), 8),
    list("ReactionGroup", "topUsers", Reads::Together(1), 5),
    // From one membership on to everything in its channel, so it is counted in full.
    list("AddChannelMembersPayload", "memberships", Reads::Nothing, 100),
];
