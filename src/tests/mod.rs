//! The transports over real connections, with a schema of a few lines.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bounds;
mod client;
mod closing;
mod connections;
mod frames;
mod http;
mod pages;
mod single;
mod socket;
mod streams;
mod tokens;
pub(crate) mod toy;
