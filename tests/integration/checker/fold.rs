//! A subscriber: folds what one stream tells, over any number of connections, into a state, and holds the stream to its
//! promises on the way.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::Value;

use super::{
    state::{Observed, Own, State},
    truth::{ChannelTruth, Found},
};

/// What a stream is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Channel { channel: String },
    Thread { channel: String, root: String },
}

impl Target {
    pub(super) fn channel(&self) -> &str {
        match self {
            Self::Channel { channel } | Self::Thread { channel, .. } => channel,
        }
    }
}

/// Where the stream of one channel stands.
#[derive(Default)]
struct Position {
    /// The last tick told.
    last: i64,
    /// Whether of the two items of that tick only the first came: the line in the timeline, without what it tells.
    is_half: bool,
}

/// What a connection has told so far.
#[derive(Default)]
struct Connection {
    replayed: u64,
    is_caught_up: bool,
    /// Whether it has told an event.
    has_begun: bool,
}

/// The folded state of one subscriber.
pub(super) struct Fold {
    name: String,
    viewer: String,
    target: Target,
    observed: Arc<Observed>,
    /// By id.
    messages: HashMap<String, State>,
    /// What they are to the viewer, as far as the stream was asked for it.
    own: HashMap<String, (i64, Own)>,
    /// By channel and user.
    members: HashMap<(String, String), bool>,
    /// By channel.
    positions: HashMap<String, Position>,
    told: HashSet<(String, i64)>,
    created: HashSet<String>,
    connection: Connection,
    cursor: Option<String>,
    violations: Vec<String>,
    events: u64,
    /// Tombstones that were told as something less.
    inexact: u64,
    /// The first tick told.
    first: Option<i64>,
    /// Roots that nobody had replied to when all was asked for.
    without_thread: HashSet<String>,
    /// All that came, in short.
    trail: Vec<String>,
}

/// How a stream ended that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing: go on reading.
    More,
    /// It was too slow: go on after its cursor.
    Slow,
}

impl Fold {
    pub(super) fn new(name: String, viewer: &str, target: Target, observed: Arc<Observed>) -> Self {
        Self {
            name,
            viewer: viewer.to_owned(),
            target,
            observed,
            messages: HashMap::new(),
            own: HashMap::new(),
            members: HashMap::new(),
            positions: HashMap::new(),
            told: HashSet::new(),
            created: HashSet::new(),
            connection: Connection::default(),
            cursor: None,
            violations: Vec::new(),
            events: 0,
            inexact: 0,
            first: None,
            without_thread: HashSet::new(),
            trail: Vec::new(),
        }
    }

    /// Begins with what a query gave, and the cursor that was read before it.
    pub(super) fn begin(&mut self, cursor: String, truth: &ChannelTruth) {
        self.trail.push(format!("begins with {} messages and the cursor {cursor}", truth.messages.len()));
        self.cursor = Some(cursor);
        for (id, found) in &truth.messages {
            if self.concerns(id, found.root.as_deref()) {
                if found.state.thread.is_none() {
                    self.without_thread.insert(id.clone());
                }
                self.messages.insert(id.clone(), found.state.clone());
            }
        }
        if let Target::Channel { channel } = &self.target {
            for user in &truth.members {
                self.members.insert((channel.clone(), user.clone()), true);
            }
        }
    }

    /// The channel whose events it tells.
    pub(super) fn channel(&self) -> &str {
        self.target.channel()
    }

    pub(super) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    pub(super) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn inexact(&self) -> u64 {
        self.inexact
    }

    /// Whether no query gave the reply when the stream began, although it was there: until a root knows its first reply,
    /// it has no thread that one could ask for.
    fn was_out_of_reach(&self, found: &Found) -> bool {
        found.root.as_ref().is_some_and(|root| self.without_thread.contains(root))
            && self.first.is_none_or(|first| found.state.ts < first)
    }

    /// Whether the message belongs to the stream.
    fn concerns(&self, id: &str, root_of_it: Option<&str>) -> bool {
        match &self.target {
            Target::Channel { .. } => true,
            Target::Thread { root, .. } => root == id || root_of_it == Some(root),
        }
    }

    pub(super) fn violation(&mut self, text: impl std::fmt::Display) {
        self.violations.push(format!("{}: {text}", self.name));
    }

    /// A connection goes on after the cursor; `how` is for people.
    pub(super) fn connected(&mut self, how: &str) {
        self.connection = Connection::default();
        self.trail.push(format!("{how} after {:?}", self.cursor));
    }

    /// What came so far, for people.
    pub(super) fn trail(&self) -> String {
        format!("{}\n{}\n", self.name, self.trail.join("\n"))
    }

    /// An item came; with the id of the event that brought it, where the transport has one.
    pub(super) fn item(&mut self, item: &Value, event_id: Option<&str>) -> Said {
        let event = &item["event"];
        let kind = event["__typename"].as_str().unwrap_or_default();
        self.trail.push(format!(
            "{kind} at {} of {}, replayed {}, cursor {}",
            item["seq"], event["message"]["id"], item["replayed"], item["cursor"]
        ));
        if kind == "StreamReset" {
            if event["reason"] == "SLOW_CONSUMER" {
                return Said::Slow;
            }
            self.violation(format_args!("the stream was reset: {item}"));
            return Said::More;
        }
        let Some(cursor) = item["cursor"].as_str() else {
            self.violation(format_args!("an item without a cursor: {item}"));
            return Said::More;
        };
        if event_id.is_some_and(|id| id != cursor) {
            self.violation(format_args!("the event's id is not its cursor: {event_id:?}, {item}"));
        }
        if kind == "StreamCaughtUp" {
            let count = event["replayedCount"].as_u64();
            if self.connection.is_caught_up || count != Some(self.connection.replayed) {
                let replayed = self.connection.replayed;
                self.violation(format_args!("caught up after {replayed} replayed items, said: {item}"));
            }
            self.connection.is_caught_up = true;
        } else {
            self.events += 1;
            // What changed again while the replay ran stands behind where it began, and comes before its end.
            if item["replayed"] != false && self.connection.is_caught_up {
                self.violation(format_args!("wrong in `replayed`: {item}"));
            }
            self.connection.replayed += 1;
            self.event(kind, item);
            self.connection.has_begun = true;
        }
        self.cursor = Some(cursor.to_owned());
        Said::More
    }

    fn event(&mut self, kind: &str, item: &Value) {
        let event = &item["event"];
        let channel = self.target.channel().to_owned();
        let Some(seq) = item["seq"].as_i64() else {
            return self.violation(format_args!("an event without a tick: {item}"));
        };
        match kind {
            "MessageCreated" | "MessageUpdated" | "MessageDeleted" => match State::read(&event["message"]) {
                Ok(state) if state.seq == seq => {
                    let own = Own::read(&event["message"]);
                    self.message(&channel, kind, state, own);
                }
                Ok(_) => self.violation(format_args!("the item's tick is not its message's: {item}")),
                Err(error) => self.violation(error),
            },
            "MemberJoined" | "MemberLeft" | "MemberUpdated" | "ChannelUpdated" => {
                let position = self.positions.entry(channel.clone()).or_default();
                if position.last == seq && position.is_half {
                    position.is_half = false;
                } else {
                    let last = position.last;
                    self.violation(format_args!("not behind its line: last tick {last}, {item}"));
                }
                if let Some(user) = event["userId"].as_str() {
                    self.members.insert((channel, user.to_owned()), kind != "MemberLeft");
                }
            }
            _ => self.violation(format_args!("an unknown event: {item}")),
        }
    }

    fn message(&mut self, channel: &str, kind: &str, state: State, own: Option<Own>) {
        let is_line = kind == "MessageCreated" && state.is_system();
        self.first.get_or_insert(state.seq);
        let has_begun = self.connection.has_begun;
        let position = self.positions.entry(channel.to_owned()).or_default();
        // Whoever was cut off between a line and what it tells gets both again.
        let is_again = position.is_half && !has_begun && position.last == state.seq && is_line;
        let last = position.last;
        let was_half = std::mem::replace(&mut position.is_half, is_line);
        position.last = position.last.max(state.seq);
        if !is_again {
            if was_half {
                self.violation(format_args!(
                    "what the line at tick {last} tells was not told; then {state:?}"
                ));
            }
            if !self.told.insert((state.id.clone(), state.seq)) {
                self.violation(format_args!("told twice: {kind} {state:?}"));
            } else if state.seq <= last {
                self.violation(format_args!("out of order: after tick {last} {kind} {state:?}"));
            }
            if kind == "MessageCreated" && !self.created.insert(state.id.clone()) {
                self.violation(format_args!("created twice: {state:?}"));
            }
        }
        match (kind, state.is_deleted) {
            ("MessageCreated", false) | ("MessageUpdated", false) | ("MessageDeleted", true) => {}
            // Of a tombstone its thread still changes. Whoever was cut off in the middle of a replay may not be told more.
            ("MessageUpdated", true) => {
                let is_known = self.messages.get(&state.id).is_some_and(|known| known.is_deleted);
                self.inexact += u64::from(!is_known);
            }
            _ => self.violation(format_args!("told as {kind}: {state:?}")),
        }
        self.observed.tell(channel, &state);
        if let Some(own) = own {
            self.own.insert(state.id.clone(), (state.seq, own));
        }
        let known = self.messages.get(&state.id).map_or(0, |known| known.seq);
        if state.seq >= known {
            self.messages.insert(state.id.clone(), state);
        }
    }

    /// What the folded state lacks of what a query gives. An event that is still to come is no violation yet.
    pub(super) fn compare(&self, truth: &ChannelTruth) -> Differences {
        let mut differences = Differences::default();
        let channel = self.target.channel();
        let last = self.positions.get(channel).map_or(0, |position| position.last);
        let mut count = 0;
        for (id, found) in &truth.messages {
            if !self.concerns(id, found.root.as_deref()) {
                continue;
            }
            count += 1;
            let state = &found.state;
            match self.messages.get(id) {
                Some(folded) if folded == state => {}
                Some(folded) if folded.seq > state.seq => differences.stale.push(format!("{id} moved on")),
                None if self.was_out_of_reach(found) => differences.out_of_reach += 1,
                folded => {
                    let text = format!(
                        "{} stands at tick {last} and lacks a change:\n  is {found:?}\n  folded {folded:?}",
                        self.name
                    );
                    // Ticks grow, so what is behind the last one will never come.
                    if state.seq <= last { &mut differences.lost } else { &mut differences.missing }
                        .push(text);
                }
            }
            if let Some((seq, own)) = self.own.get(id)
                && *seq == state.seq
                && *own != found.own(&self.viewer)
            {
                let right = found.own(&self.viewer);
                let text = format!("{}: {own:?} of {state:?}, which is {right:?}", self.name);
                differences.lost.push(text);
            }
        }
        if self.messages.len() + differences.out_of_reach > count {
            let extra = self.messages.keys().find(|id| !truth.messages.contains_key(*id));
            differences
                .stale
                .push(format!("{}: a message that the query does not give: {extra:?}", self.name));
        }
        if let Target::Channel { channel } = &self.target {
            let folded = self.members.iter().filter(|((of, _), is_in)| of == channel && **is_in);
            let folded: HashSet<_> = folded.map(|((_, user), _)| user.clone()).collect();
            for user in folded.symmetric_difference(&truth.members) {
                let is_in = truth.members.contains(user);
                let text =
                    format!("{}: {user} is {} the channel", self.name, if is_in { "in" } else { "not in" });
                differences.members.push((user.clone(), text));
            }
        }
        differences
    }
}

/// What is not equal between a folded state and a query.
#[derive(Debug, Default)]
pub(super) struct Differences {
    /// Passed over: can never come any more.
    pub(super) lost: Vec<String>,
    /// May still come.
    pub(super) missing: Vec<String>,
    /// The query is older than the folded state, or the other way round: to be looked at again.
    pub(super) stale: Vec<String>,
    /// People whose membership the stream did not tell, or not yet.
    pub(super) members: Vec<(String, String)>,
    /// Replies that no query gave in time; no differences.
    pub(super) out_of_reach: usize,
}

impl Differences {
    pub(super) fn add(&mut self, other: Self) {
        self.lost.extend(other.lost);
        self.missing.extend(other.missing);
        self.stale.extend(other.stale);
        self.members.extend(other.members);
        self.out_of_reach += other.out_of_reach;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(super) fn count(&self) -> usize {
        self.lost.len() + self.missing.len() + self.stale.len() + self.members.len()
    }
}
