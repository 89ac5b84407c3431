//! Messages: what they are, and what members do with them.

pub mod model;

pub use model::{Block, ChannelKey, Message, MessageKind, ReactionGroup, SystemEvent};
