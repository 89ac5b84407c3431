//! How large a run is, and what goes wrong in it and when.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::support::Mode;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A node loses its power, and comes up again.
    KillNode,
    /// A node stands still for a while, as a machine out of memory does, and goes on as if nothing had been.
    PauseNode,
    /// The primary of MongoDB loses its power, and comes up again.
    KillPrimary,
    /// Redis loses its power, and comes up again.
    KillRedis,
    /// Redis loses all it holds.
    FlushRedis,
    /// All sockets are cut at once.
    CutAll,
}

/// How often each fault comes, of a hundred.
const MIX: [(Fault, u32); 6] = [
    (Fault::KillNode, 38),
    (Fault::PauseNode, 12),
    (Fault::KillPrimary, 15),
    (Fault::KillRedis, 12),
    (Fault::FlushRedis, 10),
    (Fault::CutAll, 13),
];

/// A run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) mode: Mode,
    pub(super) seed: u64,
    pub(super) operations: usize,
    pub(super) subscribers: usize,
    pub(super) actors: usize,
    pub(super) channels: usize,
    /// What goes wrong after how many operations, in that order.
    pub(super) faults: Vec<(usize, Fault)>,
    /// The longest that a subscriber stays on one connection, in milliseconds.
    pub(super) longest_connection: u64,
    /// The longest that anything is away, in milliseconds.
    pub(super) longest_outage: u64,
    /// For everything to be told, when everything is well again.
    pub(super) settling: Duration,
    /// Whether to tell what happens while it does.
    pub(super) is_long: bool,
}

/// A number from the environment.
fn given<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Whether the long run was asked for.
pub(super) fn is_long() -> bool {
    std::env::var("CHECKER").is_ok_and(|value| value == "long")
}

impl Plan {
    /// What `CHECKER` asks for, with the seed of `CHECKER_SEED`, else any.
    pub(super) fn new(mode: Mode) -> Self {
        let is_long = is_long();
        let mut plan = Self {
            mode,
            seed: given("CHECKER_SEED").unwrap_or_else(rand::random),
            operations: if is_long { 30_000 } else { 600 },
            subscribers: if is_long { 20 } else { 6 },
            actors: if is_long { 24 } else { 8 },
            channels: if is_long { 5 } else { 2 },
            faults: Vec::new(),
            longest_connection: if is_long { 8_000 } else { 2_000 },
            longest_outage: if is_long { 3_000 } else { 700 },
            settling: Duration::from_mins(if is_long { 3 } else { 1 }),
            is_long,
        };
        plan.operations = given("CHECKER_OPERATIONS").unwrap_or(plan.operations);
        plan.subscribers = given("CHECKER_SUBSCRIBERS").unwrap_or(plan.subscribers);
        let faults = given("CHECKER_FAULTS").unwrap_or(if is_long { 75 } else { 6 });
        plan.faults = plan.draw(faults);
        plan
    }

    /// A short run in which nothing goes wrong but that sockets are cut.
    pub(super) fn of_cuts(mode: Mode) -> Self {
        let mut plan = Self::new(mode);
        plan.operations = 300;
        plan.subscribers = 6;
        plan.faults = (1..6).map(|turn| (turn * 50, Fault::CutAll)).collect();
        plan.longest_connection = 1_000;
        plan
    }

    /// `count` faults between the beginning and the end. Each kind comes at least once if there are enough.
    fn draw(&self, count: usize) -> Vec<(usize, Fault)> {
        let mut random = StdRng::seed_from_u64(self.seed);
        let possible = |fault: &Fault| {
            self.mode == Mode::Servers || matches!(fault, Fault::KillNode | Fault::PauseNode | Fault::CutAll)
        };
        let mix: Vec<_> = MIX.into_iter().filter(|(fault, _)| possible(fault)).collect();
        let total: u32 = mix.iter().map(|(_, weight)| weight).sum();
        let mut faults: Vec<_> = mix.iter().map(|(fault, _)| *fault).collect();
        while faults.len() < count {
            let mut drawn = random.random_range(0..total);
            let found = mix.iter().find(|(_, weight)| {
                let is_it = drawn < *weight;
                drawn = drawn.saturating_sub(*weight);
                is_it
            });
            faults.extend(found.map(|(fault, _)| *fault));
        }
        faults.shuffle(&mut random);
        faults.truncate(count);
        let (from, to) = (self.operations / 20, self.operations * 9 / 10);
        let mut points: Vec<_> =
            (0..faults.len()).map(|_| random.random_range(from..to.max(from + 1))).collect();
        points.sort_unstable();
        points.into_iter().zip(faults).collect()
    }
}
