//! Holds a folded state against what queries give.

use super::{ChannelFold, Fold, Target};
use crate::checker::truth::ChannelTruth;

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
    pub(in crate::checker) members: Vec<String>,
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

impl Fold {
    /// What the folded state lacks of what a query of the channel gives. An event that is still to come is no violation
    /// yet.
    pub(in crate::checker) fn compare(&self, channel: &str, truth: &ChannelTruth) -> Differences {
        let mut differences = Differences::default();
        if !self.target.covers(channel) {
            return differences;
        }
        let nothing = ChannelFold::default();
        let fold = self.channels.get(channel).unwrap_or(&nothing);
        self.compare_messages(fold, truth, &mut differences);
        if !matches!(self.target, Target::Thread { .. }) {
            for user in fold.members.symmetric_difference(&truth.members) {
                let is_in = if truth.members.contains(user) { "in" } else { "not in" };
                let text = format!("{}: {user} is {is_in} {channel}", self.name);
                differences.members.push(text);
            }
        }
        differences
    }

    fn compare_messages(&self, fold: &ChannelFold, truth: &ChannelTruth, differences: &mut Differences) {
        let mut count = 0;
        for (id, found) in truth.messages.iter().filter(|(id, found)| self.target.concerns(id, found)) {
            count += 1;
            let state = &found.state;
            match fold.messages.get(id) {
                Some(folded) if folded == state => {}
                Some(folded) if folded.seq > state.seq => differences.stale.push(format!("{id} moved on")),
                None if fold.was_out_of_reach(found) => differences.out_of_reach += 1,
                folded => {
                    let text = format!(
                        "{} stands at tick {} and lacks a change:\n  is {found:?}\n  folded {folded:?}",
                        self.name, fold.last
                    );
                    // Ticks grow, so what is behind the last one will never come.
                    let is_lost = state.seq <= fold.last;
                    if is_lost { &mut differences.lost } else { &mut differences.missing }.push(text);
                }
            }
            if let Some((seq, own)) = fold.own.get(id)
                && *seq == state.seq
                && *own != found.own(&self.viewer)
            {
                let right = found.own(&self.viewer);
                let text = format!("{}: {own:?} of {state:?}, which is {right:?}", self.name);
                differences.lost.push(text);
            }
        }
        if fold.messages.len() + differences.out_of_reach > count {
            let extra = fold.messages.keys().find(|id| !truth.messages.contains_key(*id));
            let text = format!("{}: a message that the query does not give: {extra:?}", self.name);
            differences.stale.push(text);
        }
    }
}
