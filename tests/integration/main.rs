//! Tests of the whole system from outside: the real server, over real HTTP and WebSocket, on both kinds of store.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod accounts;
mod live;
mod messages;
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut suite = support::Suite::default();
    accounts::in_both_modes(&mut suite);
    messages::in_both_modes(&mut suite);
    live::in_both_modes(&mut suite);
    suite.run()
}
