//! One channel of a folded state.

use std::collections::{HashMap, HashSet};

use crate::checker::{
    state::{Own, State},
    truth::{ChannelTruth, Found},
};

/// A channel, or a thread of it, as a stream told it.
#[derive(Default)]
pub(super) struct ChannelFold {
    /// By id.
    pub(super) messages: HashMap<String, State>,
    /// What they are to the viewer, as of the tick at which the stream was asked for that.
    pub(super) own: HashMap<String, (i64, Own)>,
    pub(super) members: HashSet<String>,
    /// The last tick told.
    pub(super) last: i64,
    /// Whether of the two items of that tick only the first came: the line in the timeline, without what it tells.
    is_half: bool,
    told: HashSet<(String, i64)>,
    /// Those told as created, with the connection that did it last.
    created: HashMap<String, u32>,
    /// Connections so far.
    connections: u32,
    /// The first tick told.
    first: Option<i64>,
    /// Roots that nobody had replied to when all was asked for.
    without_thread: HashSet<String>,
    /// What the stream did wrong.
    pub(super) violations: Vec<String>,
    /// Messages told as created once more after a cut. Allowed where the server cannot know better.
    pub(super) repeated: u64,
}

/// A message as an event told it.
pub(super) struct Told<'a> {
    pub(super) kind: &'a str,
    pub(super) state: State,
    pub(super) own: Option<Own>,
    /// The aspects that the event says have changed.
    pub(super) changed: Vec<String>,
}

impl ChannelFold {
    /// Begins with what a query gave, as far as `is_part` takes it.
    pub(super) fn begin(&mut self, truth: &ChannelTruth, is_part: impl Fn(&str, &Found) -> bool) {
        for (id, found) in truth.messages.iter().filter(|(id, found)| is_part(id, found)) {
            if found.state.thread.is_none() {
                self.without_thread.insert(id.clone());
            }
            self.messages.insert(id.clone(), found.state.clone());
        }
        self.members.clone_from(&truth.members);
    }

    pub(super) fn connected(&mut self) {
        self.connections += 1;
    }

    fn violation(&mut self, text: impl std::fmt::Display) {
        self.violations.push(text.to_string());
    }

    /// Whether no query gave the reply when the stream began, although it was there: until a root knows its first reply,
    /// it has no thread that one could ask for.
    pub(super) fn was_out_of_reach(&self, found: &Found) -> bool {
        found.root.as_ref().is_some_and(|root| self.without_thread.contains(root))
            && self.first.is_none_or(|first| found.state.ts < first)
    }

    pub(super) fn message(&mut self, told: Told<'_>) {
        let Told { kind, state, own, changed } = told;
        let first = *self.first.get_or_insert(state.seq);
        self.order(kind, &state);
        let known = self.messages.get(&state.id);
        let mut wrong = Vec::new();
        if known.is_none() && kind == "MessageUpdated" && state.ts > first {
            wrong.push(format!("never told as created or deleted: {state:?}"));
        }
        match (kind, state.is_deleted) {
            ("MessageCreated" | "MessageUpdated", false) | ("MessageDeleted", true) => {}
            // Of a tombstone its thread still changes.
            ("MessageUpdated", true) if known.is_none_or(|known| known.is_deleted) => {}
            _ => wrong.push(format!("told as {kind}: {state:?}")),
        }
        if let Some(known) = known.filter(|_| kind == "MessageUpdated" && !state.is_deleted) {
            let differs = [
                ("CONTENT", known.text != state.text),
                ("REACTIONS", known.reactions != state.reactions),
                ("THREAD", known.thread != state.thread),
            ];
            let is_silent =
                |(aspect, differs): &(&str, bool)| *differs && !changed.iter().any(|said| said == aspect);
            if known.seq < state.seq && differs.iter().any(is_silent) {
                wrong.push(format!("said less than had changed: {changed:?} from {known:?} to {state:?}"));
            }
        }
        self.violations.extend(wrong);
        if let Some(own) = own {
            self.own.insert(state.id.clone(), (state.seq, own));
        }
        if self.messages.get(&state.id).is_none_or(|known| known.seq <= state.seq) {
            self.messages.insert(state.id.clone(), state);
        }
    }

    /// Each state once, and in the order of its tick.
    fn order(&mut self, kind: &str, state: &State) {
        let is_line = kind == "MessageCreated" && state.is_system();
        let last = self.last;
        let was_half = std::mem::replace(&mut self.is_half, is_line);
        self.last = last.max(state.seq);
        if was_half {
            self.violation(format_args!("what the line at tick {last} tells was not told; then {state:?}"));
        }
        if !self.told.insert((state.id.clone(), state.seq)) {
            self.violation(format_args!("told twice: {kind} {state:?}"));
        } else if state.seq <= last {
            self.violation(format_args!("out of order: after tick {last} {kind} {state:?}"));
        }
        if kind != "MessageCreated" {
            return;
        }
        match self.created.insert(state.id.clone(), self.connections) {
            None => {}
            Some(connection) if connection < self.connections => self.repeated += 1,
            Some(_) => self.violation(format_args!("created twice: {state:?}")),
        }
    }

    /// What a line in the timeline tells; of a membership, whose, and whether they are in.
    pub(super) fn line(&mut self, seq: i64, membership: Option<(&str, bool)>) {
        if self.last != seq || !std::mem::take(&mut self.is_half) {
            let last = self.last;
            self.violation(format_args!("not behind its line: tick {seq} after {last}, {membership:?}"));
        }
        match membership {
            Some((user, true)) => drop(self.members.insert(user.to_owned())),
            Some((user, false)) => drop(self.members.remove(user)),
            None => {}
        }
    }
}
