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
    /// Whether the present connection has told anything of the channel.
    has_begun: bool,
    told: HashSet<(String, i64)>,
    created: HashSet<String>,
    /// The first tick told.
    first: Option<i64>,
    /// Roots that nobody had replied to when all was asked for.
    without_thread: HashSet<String>,
    /// What the stream did wrong.
    pub(super) violations: Vec<String>,
    /// Events that said less than what had changed: deletions told as updates, aspects left out.
    pub(super) inexact: u64,
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
        self.has_begun = false;
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
        self.first.get_or_insert(state.seq);
        self.order(kind, &state);
        let known = self.messages.get(&state.id);
        match (kind, state.is_deleted) {
            ("MessageCreated" | "MessageUpdated", false) | ("MessageDeleted", true) => {}
            // Of a tombstone its thread still changes. Whoever was cut off in the middle of a replay may not be told more.
            ("MessageUpdated", true) => {
                self.inexact += u64::from(!known.is_some_and(|known| known.is_deleted));
            }
            _ => self.violations.push(format!("told as {kind}: {state:?}")),
        }
        if let Some(known) =
            self.messages.get(&state.id).filter(|_| kind == "MessageUpdated" && !state.is_deleted)
        {
            let differs = [
                ("CONTENT", known.text != state.text),
                ("REACTIONS", known.reactions != state.reactions),
                ("THREAD", known.thread != state.thread),
            ];
            let is_silent =
                |(aspect, differs): &(&str, bool)| *differs && !changed.iter().any(|said| said == aspect);
            self.inexact += u64::from(known.seq < state.seq && differs.iter().any(is_silent));
        }
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
        // Whoever was cut off between a line and what it tells gets both again.
        let is_again = self.is_half && !self.has_begun && self.last == state.seq && is_line;
        let last = self.last;
        let was_half = std::mem::replace(&mut self.is_half, is_line);
        self.last = last.max(state.seq);
        self.has_begun = true;
        if is_again {
            return;
        }
        if was_half {
            self.violation(format_args!("what the line at tick {last} tells was not told; then {state:?}"));
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
