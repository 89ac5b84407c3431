//! The server around the schema: configuration, transports, the explorer, health and metrics.
//!
//! Only [`open`] knows the stores, and only [`serve`] the schema. [`app::App`] takes any [`async_graphql::Executor`] and anything that can tell who
//! holds an access token, which is also what lets the transports be tested with a schema of ten lines.

mod answers;
pub mod app;
mod arrival;
pub mod cli;
pub mod config;
pub mod demo;
mod expiry;
pub mod failure;
pub mod graphiql;
pub mod guard;
pub mod health;
pub mod http;
pub mod identity;
pub mod import;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod open;
pub mod operation;
pub mod origins;
mod pace;
pub mod presence;
mod resume;
pub mod serve;
pub mod server;
pub mod sessions;
pub mod shutdown;
pub mod ws;

#[cfg(test)]
mod tests;
