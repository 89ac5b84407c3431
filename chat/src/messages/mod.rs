//! Messages: what they are, and what members do with them.

pub mod change;
pub mod content;
pub mod history;
pub mod mentions;
pub mod model;
pub mod reactions;
pub mod send;

pub use content::NewBlock;
pub use history::{HistoryPage, HistoryRequest};
pub use model::{Block, ChannelKey, Message, MessageKind, ReactionGroup, SystemEvent};
pub use send::NewMessage;
