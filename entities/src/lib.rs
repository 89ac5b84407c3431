//! The tables of `QuikApp` as `SeaORM` entities, one file a table, with the typed ids and the time type that every
//! other package shares.

// The entity macros generate the items of a table; each file's own header says what the table is for.
#![allow(missing_docs)]

pub mod channel_members;
pub mod channels;
pub mod ids;
pub mod invitations;
pub mod outbox;
pub mod presence_choices;
pub mod spent_refresh_tokens;
pub mod timestamp;
pub mod user_sessions;
pub mod users;
pub mod workspace_members;
pub mod workspaces;

pub use ids::{ChannelId, InvitationId, MessageId, SessionId, UserId, WorkspaceId};
pub use timestamp::Timestamp;
