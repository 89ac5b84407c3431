//! A checker in the manner of Jepsen: people write, subscribers follow, and servers, stores and sockets are killed all the
//! while. At the end every subscriber's folded state has to be what a fresh query gives, nothing acknowledged may be lost,
//! and no stream may have told anything twice or in another order than the others.
//!
//! `CHECKER=long cargo test --test integration -- checker::` is the long run. Every run prints its seed; `CHECKER_SEED` gives
//! one. `CHECKER_OPERATIONS`, `CHECKER_SUBSCRIBERS` and `CHECKER_FAULTS` change its size, `CHECKER_LOG` what the nodes log.
//! A seed fixes what goes wrong and when, and what is asked for in which order by each of the people, not how all that
//! falls together in time.
//!
//! [`fold`] is a subscriber, [`ledger`] knows what was asked for, [`truth`] what queries give, and [`state::Observed`] holds
//! all that was ever told against each other. [`planted`] shows that each of them notices what it is there for.

mod chaos;
mod cluster;
mod fold;
mod follower;
mod ledger;
mod people;
mod plan;
mod planted;
mod settle;
mod state;
mod transport;
mod truth;
mod workload;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::sync::{broadcast, watch};

use self::{
    cluster::Cluster,
    fold::Target,
    follower::{Connections, Follower},
    ledger::Ledger,
    people::Person,
    plan::Plan,
    state::Observed,
    workload::{Actor, Known, NEWEST},
};
use crate::{
    faulty,
    support::{Mode, Program, Suite, World},
};

/// How long a run may take.
const TIME_LIMIT: Duration = Duration::from_mins(5);
const LONG_TIME_LIMIT: Duration = Duration::from_hours(2);

/// Registers the runs, and the tests of the checker itself.
pub(crate) fn register(suite: &mut Suite) {
    let limit = if plan::is_long() { LONG_TIME_LIMIT } else { TIME_LIMIT };
    for mode in [Mode::Embedded, Mode::Servers] {
        let name = "nothing_is_lost_or_repeated_whatever_is_killed";
        suite.add_within(limit, mode, module_path!(), name, |mode| {
            Box::pin(nothing_is_lost_or_repeated_whatever_is_killed(mode))
        });
        let name = "it_turns_red_without_gap_filling";
        suite.add(mode, module_path!(), name, |mode| Box::pin(it_turns_red_without_gap_filling(mode)));
    }
    planted::register(suite);
}

/// What a run is about, for all who take part in it.
struct Run {
    plan: Plan,
    channels: Vec<String>,
    /// The first messages of the threads that are followed.
    roots: Vec<Known>,
    observed: Arc<Observed>,
    ledger: Mutex<Ledger>,
    newest: Mutex<VecDeque<Known>>,
    /// Operations that were begun.
    done: AtomicUsize,
    /// Cuts all connections of subscribers.
    cuts: broadcast::Sender<()>,
    /// Whether everything is well again, and nothing is cut any more.
    calm: watch::Sender<bool>,
    over: watch::Sender<bool>,
    connections: Connections,
    began: Instant,
    story: Mutex<Vec<String>>,
}

impl Run {
    fn new(plan: Plan, channels: Vec<String>) -> Self {
        Self {
            plan,
            channels,
            roots: Vec::new(),
            observed: Arc::default(),
            ledger: Mutex::default(),
            newest: Mutex::default(),
            done: AtomicUsize::new(0),
            cuts: broadcast::channel(16).0,
            calm: watch::channel(false).0,
            over: watch::channel(false).0,
            connections: Connections::default(),
            began: Instant::now(),
            story: Mutex::default(),
        }
    }

    /// Notes what happens.
    fn say(&self, text: String) {
        let seconds = self.began.elapsed().as_secs_f64();
        let done = self.done.load(Ordering::SeqCst);
        let line = format!("{seconds:8.2} s, {done:6} operations: {text}");
        if self.plan.is_long {
            println!("{line}");
        }
        self.story.lock().unwrap().push(line);
    }

    /// A message was acknowledged that others may act upon.
    fn meet(&self, known: &Known) {
        let mut newest = self.newest.lock().unwrap();
        newest.push_back(known.clone());
        if newest.len() > NEWEST {
            newest.pop_front();
        }
    }
}

async fn nothing_is_lost_or_repeated_whatever_is_killed(mode: Mode) {
    let plan = Plan::new(mode);
    let seed = plan.seed;
    println!("checker, {}: CHECKER_SEED={seed}", mode.name());
    let cluster = Cluster::up(mode, Program::Real, mode == Mode::Servers).await;
    let outcome = check(plan, &cluster).await;
    println!("checker, {}: CHECKER_SEED={seed}: {}", mode.name(), outcome.summary);
    if !outcome.violations.is_empty() {
        let folder = outcome.keep(&cluster);
        let first: Vec<_> = outcome.violations.iter().take(10).map(String::as_str).collect();
        panic!(
            "CHECKER_SEED={seed}: {} violations; all of them, and the logs, are in {folder}. The first:\n{}\n{}",
            outcome.violations.len(),
            first.join("\n"),
            outcome.summary
        );
    }
}

/// The same run against servers that do not read on from the store where they were not told something.
async fn it_turns_red_without_gap_filling(mode: Mode) {
    let cluster = Cluster::up(mode, Program::Faulty(faulty::FORGETFUL), false).await;
    let outcome = check(Plan::of_cuts(mode), &cluster).await;
    let lost = outcome.violations.iter().filter(|text| text.contains("lacks a change")).count();
    assert!(
        lost > 0,
        "the checker does not notice that events are lost: {:?}\n{}",
        outcome.violations,
        outcome.summary
    );
}

/// What came of a run.
#[derive(Debug)]
struct Outcome {
    violations: Vec<String>,
    summary: String,
    story: Vec<String>,
    /// What each subscriber was told.
    trails: Vec<String>,
}

impl Outcome {
    /// Writes down all that may explain the violations; gives the folder.
    fn keep(&self, cluster: &Cluster) -> String {
        let folder =
            std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("checker-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut files = cluster.logs();
        files.push(("violations".into(), self.violations.join("\n")));
        files.push(("story".into(), self.story.join("\n")));
        let trails = self.trails.iter().enumerate();
        files.extend(trails.map(|(turn, trail)| (format!("subscriber{turn}"), trail.clone())));
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        folder.display().to_string()
    }
}

/// Lets a run take place.
async fn check(plan: Plan, cluster: &Arc<Cluster>) -> Outcome {
    let world = World::on(&cluster.node(0)).await;
    let users = join_all((0..plan.actors).map(|_| world.member())).await;
    let members: Vec<_> = users.iter().collect();
    let channels = join_all((0..plan.channels).map(|_| world.channel(&members))).await;
    let seed = plan.seed;
    let person = |user, turn| Person::new(user, cluster, seed.wrapping_add(turn));
    let owner = person(&world.owner, 1_000);
    let people: Vec<_> = users.iter().zip(2_000..).map(|(user, turn)| person(user, turn)).collect();

    let mut run = Run::new(plan, channels);
    let mut closer = Actor::new(&owner, &run, seed.wrapping_add(3_000));
    run.roots = closer.begin_threads(&run).await;
    let run = Arc::new(run);

    let mut folds = Vec::new();
    let mut following = Vec::new();
    for turn in 0..run.plan.subscribers {
        let channel = run.channels[turn % run.channels.len()].clone();
        let root = run.roots.iter().find(|root| root.channel == channel);
        // Some follow a thread, and some all that the owner is in, who never leaves.
        let (person, target) = match root {
            _ if turn % 4 == 3 => (&owner, Target::Viewer { workspace: world.workspace.clone() }),
            Some(root) if turn % 3 == 2 => {
                (&people[turn % people.len()], Target::Thread { root: root.id.clone(), channel })
            }
            _ => (&people[turn % people.len()], Target::Channel { channel }),
        };
        let name = format!("subscriber {turn} of {target:?}");
        let follower = Follower::new(name, person, target, &run, seed.wrapping_add(4_000 + turn as u64));
        folds.push(Arc::clone(&follower.fold));
        // Half of them come in on the way.
        let start = if turn % 2 == 0 { 0 } else { run.plan.operations * turn / run.plan.subscribers };
        let run = Arc::clone(&run);
        following.push(tokio::spawn(async move {
            while run.done.load(Ordering::SeqCst) < start {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            follower.follow(run).await;
        }));
    }
    let chaos = tokio::spawn(chaos::unfold(Arc::clone(&run), Arc::clone(cluster)));
    let acting = people.iter().zip(5_000..).map(|(person, turn)| {
        let actor = Actor::new(person, &run, seed.wrapping_add(turn));
        tokio::spawn(actor.act(Arc::clone(&run)))
    });
    for actor in join_all(acting).await {
        actor.unwrap();
    }
    chaos.await.unwrap();
    run.say("all is asked for, and all is well again".into());
    let acted = run.began.elapsed();
    let _ = run.calm.send(true);
    closer.close(&run).await;
    let mut violations = settle::settle(&run, &owner, &folds).await;
    run.say("settled".into());
    let _ = run.over.send(true);
    for follower in join_all(following).await {
        follower.unwrap();
    }

    violations.extend(folds.iter().flat_map(|fold| fold.lock().unwrap().violations()));
    violations.extend(run.observed.contradictions());
    violations.extend(people.iter().chain([&owner]).flat_map(Person::complaints));
    let ledger = run.ledger.lock().unwrap();
    violations.extend(ledger.violations().iter().cloned());
    let events: u64 = folds.iter().map(|fold| fold.lock().unwrap().events()).sum();
    let repeated: u64 = folds.iter().map(|fold| fold.lock().unwrap().repeated()).sum();
    let Connections { made, failed, resets } = &run.connections;
    let summary = format!(
        "{} operations in {acted:.1?}, settled after {:.1?}: {}; {} faults; {} subscribers, {events} events over {} \
         connections ({} refused, {} reset), {repeated} created once more; {} violations",
        run.plan.operations,
        run.began.elapsed(),
        ledger.counts(),
        run.plan.faults.len(),
        run.plan.subscribers,
        made.load(Ordering::Relaxed),
        failed.load(Ordering::Relaxed),
        resets.load(Ordering::Relaxed),
        violations.len(),
    );
    let story = run.story.lock().unwrap().clone();
    let trails = folds.iter().map(|fold| fold.lock().unwrap().trail()).collect();
    Outcome { violations, summary, story, trails }
}
