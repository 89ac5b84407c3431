//! What the server is compared with: the same work with nothing around it.

pub(crate) mod broadcaster;
pub(crate) mod inserts;
mod mongo;
pub(crate) mod reads;
mod sqlite;
