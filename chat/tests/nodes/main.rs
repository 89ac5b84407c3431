//! Several nodes in one process, on real `MongoDB` and Redis: what the log and the hub promise between them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod contention;
mod failover;
mod fixture;
mod replica_set;
