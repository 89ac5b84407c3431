//! Holds a folded state against what queries give.

use std::collections::HashSet;

use super::{Fold, Target};
use crate::checker::truth::{ChannelTruth, Found};

impl Fold {
    /// Whether no query gave the reply when the stream began, although it was there: until a root knows its first reply,
    /// it has no thread that one could ask for.
    fn was_out_of_reach(&self, found: &Found) -> bool {
        found.root.as_ref().is_some_and(|root| self.without_thread.contains(root))
            && self.first.is_none_or(|first| found.state.ts < first)
    }

    /// What the folded state lacks of what a query gives. An event that is still to come is no violation yet.
    pub(in crate::checker) fn compare(&self, truth: &ChannelTruth) -> Differences {
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
pub(in crate::checker) struct Differences {
    /// Passed over: can never come any more.
    pub(in crate::checker) lost: Vec<String>,
    /// May still come.
    pub(in crate::checker) missing: Vec<String>,
    /// The query is older than the folded state, or the other way round: to be looked at again.
    pub(in crate::checker) stale: Vec<String>,
    /// People whose membership the stream did not tell, or not yet.
    pub(in crate::checker) members: Vec<(String, String)>,
    /// Replies that no query gave in time; no differences.
    pub(in crate::checker) out_of_reach: usize,
}

impl Differences {
    pub(in crate::checker) fn add(&mut self, other: Self) {
        self.lost.extend(other.lost);
        self.missing.extend(other.missing);
        self.stale.extend(other.stale);
        self.members.extend(other.members);
        self.out_of_reach += other.out_of_reach;
    }

    pub(in crate::checker) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(in crate::checker) fn count(&self) -> usize {
        self.lost.len() + self.missing.len() + self.stale.len() + self.members.len()
    }
}
