//! Tests of the whole system from outside: the real server, over real HTTP and WebSocket, on both kinds of store.
//!
//! `cargo test --test integration -- embedded::` runs those on the embedded stores, `servers::` those on `MySQL`, `MongoDB`
//! and Redis. The servers are found by `DATABASE_URL`, `MONGODB_URL` and `REDIS_URL`, or started by `scripts/servers`.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Variables are written where they are passed, and a time limit has only one way to fail.
#![allow(clippy::needless_pass_by_value, clippy::match_wild_err_arm)]
// Tests are deeply nested futures.
#![recursion_limit = "256"]

mod abuse;
mod accounts;
mod backpressure;
mod browser;
mod channels;
mod checker;
mod consistency;
mod cuts;
mod demo;
mod fanout;
mod faults;
mod faulty;
mod import;
mod isolation;
mod live;
mod messages;
mod outbox;
mod presence;
mod query_counts;
mod reads;
mod schema;
mod single_connection;
mod streams;
mod support;
mod threads;
mod tokens;
mod two_nodes;
mod viewer_events;
mod workspaces;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(ended) = faulty::serve(std::env::args().nth(1).as_deref()) {
        return ended;
    }
    let mut suite = support::Suite::default();
    for module in [
        accounts::in_both_modes,
        workspaces::in_both_modes,
        channels::in_both_modes,
        channels::members::in_both_modes,
        channels::direct::in_both_modes,
        channels::lists::in_both_modes,
        messages::in_both_modes,
        messages::reactions::in_both_modes,
        messages::history::in_both_modes,
        messages::rights::in_both_modes,
        live::in_both_modes,
        presence::in_both_modes,
        threads::in_both_modes,
        streams::in_both_modes,
        viewer_events::in_both_modes,
        reads::in_both_modes,
        reads::streams::in_both_modes,
        reads::model::in_both_modes,
        fanout::in_both_modes,
        backpressure::in_both_modes,
        consistency::in_both_modes,
        cuts::in_both_modes,
        single_connection::in_both_modes,
        tokens::in_both_modes,
        isolation::in_both_modes,
        schema::in_both_modes,
        query_counts::in_both_modes,
        abuse::in_both_modes,
        abuse::documents::in_both_modes,
        abuse::sockets::in_both_modes,
        import::in_both_modes,
        outbox::in_both_modes,
        demo::in_both_modes,
        reads::streams::on_servers,
        two_nodes::on_servers,
        faults::on_servers,
        checker::register,
        browser::in_both_modes,
    ] {
        module(&mut suite);
    }
    suite.run()
}
