//! What was asked for and what came of it: the other witness besides the server.

use std::collections::{HashMap, HashSet};

use super::truth::ChannelTruth;

/// What is known of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Outcome {
    /// The tick at which it was acknowledged.
    pub(super) acknowledged: Option<i64>,
    /// Whether an attempt went without an answer: its effect may come at any time, or never.
    pub(super) is_loose: bool,
}

impl Outcome {
    fn may_be(self) -> bool {
        self.acknowledged.is_some() || self.is_loose
    }
}

/// A message that somebody sent, with one id of their own however often.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    pub(super) channel: String,
    pub(super) author: String,
    pub(super) text: String,
    /// The `clientMessageId`.
    pub(super) own_id: String,
    /// The message whose thread it replies in.
    pub(super) root: Option<String>,
    /// The ids by which the server acknowledged it: one.
    pub(super) ids: HashSet<String>,
    pub(super) outcome: Outcome,
}

/// A state that somebody asked for: a text, a reaction that is there or not, a membership.
#[derive(Debug, Clone, Default)]
struct Wishes<T> {
    /// In the order in which they were asked for, by one person each after the other.
    wishes: Vec<(T, Outcome)>,
}

impl<T: Clone + PartialEq> Wishes<T> {
    /// What may have come of them, with `before` if none was acknowledged.
    fn possible(&self, before: T) -> Vec<T> {
        let last = self.wishes.iter().rev().find(|(_, outcome)| outcome.acknowledged.is_some());
        let mut possible = vec![last.map_or(before, |(wish, _)| wish.clone())];
        let loose = self.wishes.iter().filter(|(_, outcome)| outcome.is_loose);
        possible.extend(loose.map(|(wish, _)| wish.clone()));
        possible
    }
}

/// All operations of a run.
#[derive(Default)]
pub(super) struct Ledger {
    sent: Vec<Sent>,
    /// By message.
    edits: HashMap<String, Wishes<String>>,
    deletions: HashMap<String, Wishes<bool>>,
    /// By message, emoji and user.
    reactions: HashMap<(String, String, String), Wishes<bool>>,
    /// By channel and user.
    memberships: HashMap<(String, String), Wishes<bool>>,
    /// The last tick acknowledged, by channel.
    ticks: HashMap<String, i64>,
    violations: Vec<String>,
}

impl Ledger {
    pub(super) fn violation(&mut self, text: String) {
        self.violations.push(text);
    }

    pub(super) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(super) fn sent(&mut self, sent: Sent) {
        if sent.ids.len() > 1 {
            self.violations.push(format!("acknowledged as several messages: {sent:?}"));
        }
        self.sent.push(sent);
    }

    pub(super) fn edited(&mut self, message: &str, text: &str, outcome: Outcome) {
        self.edits.entry(message.to_owned()).or_default().wishes.push((text.to_owned(), outcome));
    }

    pub(super) fn deleted(&mut self, message: &str, outcome: Outcome) {
        self.deletions.entry(message.to_owned()).or_default().wishes.push((true, outcome));
    }

    pub(super) fn reacted(
        &mut self,
        message: &str,
        emoji: &str,
        user: &str,
        is_there: bool,
        outcome: Outcome,
    ) {
        let key = (message.to_owned(), emoji.to_owned(), user.to_owned());
        self.reactions.entry(key).or_default().wishes.push((is_there, outcome));
    }

    pub(super) fn moved(&mut self, channel: &str, user: &str, is_in: bool, outcome: Outcome) {
        let key = (channel.to_owned(), user.to_owned());
        self.memberships.entry(key).or_default().wishes.push((is_in, outcome));
    }

    /// The last tick that anybody was acknowledged: what is asked for from now on takes a later one.
    pub(super) fn tick(&self, channel: &str) -> i64 {
        self.ticks.get(channel).copied().unwrap_or(0)
    }

    /// A change was acknowledged at tick `seq` that was asked for when [`Ledger::tick`] gave `before`.
    pub(super) fn acknowledged(&mut self, channel: &str, before: i64, seq: i64, what: &str) {
        if seq <= before {
            self.violations.push(format!(
                "{what} took tick {seq}, and {before} had been acknowledged before it was asked for"
            ));
        }
        let tick = self.ticks.entry(channel.to_owned()).or_default();
        *tick = seq.max(*tick);
    }

    /// Whether somebody asked for the message's deletion, whatever came of it.
    pub(super) fn may_be_deleted(&self, message: &str) -> bool {
        self.deletions.contains_key(message)
    }

    /// Whether a leave that was never answered may put the user out at any time.
    pub(super) fn may_be_out(&self, channel: &str, user: &str) -> bool {
        let wishes = self.memberships.get(&(channel.to_owned(), user.to_owned()));
        wishes.is_some_and(|wishes| wishes.possible(true).contains(&false))
    }

    pub(super) fn counts(&self) -> String {
        let loose = self.sent.iter().filter(|sent| sent.outcome.is_loose).count();
        let replies = self.sent.iter().filter(|sent| sent.root.is_some()).count();
        let edits: usize = self.edits.values().map(|wishes| wishes.wishes.len()).sum();
        let reactions: usize = self.reactions.values().map(|wishes| wishes.wishes.len()).sum();
        let moves: usize = self.memberships.values().map(|wishes| wishes.wishes.len()).sum();
        format!(
            "{} sends, {replies} of them replies ({loose} without an answer at first), {edits} edits, {} deletions, \
             {reactions} reactions on and off, {moves} joins and leaves",
            self.sent.len(),
            self.deletions.len(),
        )
    }

    /// What a channel shows that was never asked for, or lacks although it was acknowledged.
    pub(super) fn check(&self, channel: &str, truth: &ChannelTruth) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut expected: HashSet<&str> = HashSet::new();
        // Those whose id nobody was told are known by their texts, which are all different.
        let mut unnamed: HashMap<&str, &Sent> = HashMap::new();
        for sent in self.sent.iter().filter(|sent| sent.channel == channel) {
            match sent.ids.iter().next() {
                Some(id) => {
                    expected.insert(id);
                    match truth.messages.get(id) {
                        Some(found) => {
                            if found.state.author.id != sent.author || found.root != sent.root {
                                wrong.push(format!("not as it was sent: {sent:?}, is {found:?}"));
                            }
                            self.check_message(id, sent, truth, &mut wrong);
                        }
                        None => wrong.push(format!("acknowledged and lost: {sent:?}")),
                    }
                }
                None if sent.outcome.may_be() => {
                    unnamed.insert(&sent.text, sent);
                }
                None => {}
            }
        }
        for (id, found) in &truth.messages {
            if found.state.is_system() || expected.contains(id.as_str()) {
                continue;
            }
            // Taken out, so that a second one of the same text is one too many.
            if unnamed.remove(found.state.text.as_str()).is_none() {
                wrong.push(format!("nobody sent this, or it is there twice: {found:?}"));
            }
        }
        self.check_members(channel, truth, &mut wrong);
        wrong
    }

    fn check_message(&self, id: &str, sent: &Sent, truth: &ChannelTruth, wrong: &mut Vec<String>) {
        let Some(found) = truth.messages.get(id) else { return };
        let state = &found.state;
        let deletions = self.deletions.get(id).map_or(vec![false], |wishes| wishes.possible(false));
        if !deletions.contains(&state.is_deleted) {
            wrong.push(format!("deleted: possible {deletions:?}, is {state:?}"));
        }
        if state.is_deleted {
            if !state.text.is_empty() || !state.reactions.is_empty() {
                wrong.push(format!("a tombstone that says something: {state:?}"));
            }
            return;
        }
        let texts = self.edits.get(id).map(|wishes| wishes.possible(sent.text.clone()));
        let texts = texts.unwrap_or_else(|| vec![sent.text.clone()]);
        if !texts.contains(&state.text) || state.is_edited != (state.text != sent.text) {
            wrong.push(format!("text: possible {texts:?}, is {state:?}"));
        }
    }

    /// Reactions of all channels are checked at once, with the messages of all.
    pub(super) fn check_reactions(&self, truths: &[&ChannelTruth]) -> Vec<String> {
        let mut wrong = Vec::new();
        let find = |id: &String| truths.iter().find_map(|truth| truth.messages.get(id));
        for ((id, emoji, user), wishes) in &self.reactions {
            let Some(found) = find(id).filter(|found| !found.state.is_deleted) else { continue };
            let is_there = found.reactors.iter().any(|(of, by)| of == emoji && by == user);
            let possible = wishes.possible(false);
            if !possible.contains(&is_there) {
                wrong.push(format!("{emoji} of {user}: possible {possible:?}, is {is_there} on {found:?}"));
            }
        }
        for found in truths.iter().flat_map(|truth| truth.messages.values()) {
            for (emoji, user) in &found.reactors {
                if !self.reactions.contains_key(&(found.state.id.clone(), emoji.clone(), user.clone())) {
                    wrong.push(format!("nobody put {emoji} of {user} on {found:?}"));
                }
            }
        }
        wrong
    }

    fn check_members(&self, channel: &str, truth: &ChannelTruth, wrong: &mut Vec<String>) {
        for ((of, user), wishes) in &self.memberships {
            let is_in = truth.members.contains(user);
            let possible = wishes.possible(true);
            if of == channel && !possible.contains(&is_in) {
                wrong.push(format!("{user} in {channel}: possible {possible:?}, is {is_in}"));
            }
        }
    }
}
