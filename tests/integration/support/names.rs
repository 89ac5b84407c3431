//! Names that no other test uses: tests share servers.

use uuid::Uuid;

/// `prefix-` and something that is nowhere else.
pub(crate) fn unique(prefix: &str) -> String {
    let id = Uuid::new_v4().simple().to_string();
    format!("{prefix}-{}", &id[..12])
}

/// An address of nobody yet.
pub(crate) fn email() -> String {
    format!("{}@example.com", unique("someone"))
}

/// A client's own id for a message.
pub(crate) fn client_message_id() -> String {
    Uuid::new_v4().to_string()
}
