//! Changes of messages, and of who is in a channel.

use rand::{Rng, seq::IndexedRandom};
use serde_json::json;

use super::{Actor, Done, Known};
use crate::checker::{
    Run,
    ledger::Outcome,
    state::{FIELDS, State},
};

const EMOJIS: [&str; 4] = ["👍", "🎉", "🤔", ":party:"];

impl Actor {
    pub(super) async fn edit(&mut self, run: &Run) {
        let Some(known) = self.own.choose(&mut self.random).cloned() else { return };
        self.count += 1;
        let text = format!("{} {} edited", self.person.id, self.count);
        let document = format!(
            "mutation($id: ID!, $text: String!) {{ editMessage(id: $id, text: $text) {{ message {{ {FIELDS} }} }} }}"
        );
        let before = run.ledger.lock().unwrap().tick(&known.channel);
        let done = self.run(&document, json!({ "id": known.id, "text": text })).await;
        self.note(run, &known, &done, Some(before), "an edit");
        if done.outcome.acknowledged.is_some() || done.outcome.is_loose {
            run.ledger.lock().unwrap().edited(&known.id, &text, done.outcome);
        }
    }

    pub(super) async fn delete(&mut self, run: &Run) {
        if self.own.is_empty() {
            return;
        }
        let index = self.random.random_range(0..self.own.len());
        let known = self.own.swap_remove(index);
        // Said beforehand: from now on others may be refused because of it.
        run.ledger.lock().unwrap().deleted(&known.id, Outcome { acknowledged: None, is_loose: false });
        let document =
            format!("mutation($id: ID!) {{ deleteMessage(id: $id) {{ message {{ {FIELDS} }} }} }}");
        let done = self.run(&document, json!({ "id": known.id })).await;
        self.note(run, &known, &done, None, "a deletion");
        run.ledger.lock().unwrap().deleted(&known.id, done.outcome);
    }

    pub(super) async fn react(&mut self, run: &Run, is_there: bool) {
        let known = self.some_known(run, |_| true);
        let Some(known) = known else { return };
        let Some(emoji) = EMOJIS.choose(&mut self.random) else { return };
        let field = if is_there { "addReaction" } else { "removeReaction" };
        let document = format!(
            "mutation($id: ID!, $emoji: String!) {{ {field}(messageId: $id, emoji: $emoji) {{ message {{ {FIELDS} }} }} }}"
        );
        let done = self.run(&document, json!({ "id": known.id, "emoji": emoji })).await;
        self.note(run, &known, &done, None, field);
        let mut ledger = run.ledger.lock().unwrap();
        ledger.reacted(&known.id, emoji, &self.person.id, is_there, done.outcome);
    }

    /// What every change of a message has in common.
    fn note(&self, run: &Run, known: &Known, done: &Done, before: Option<i64>, what: &str) {
        let mut ledger = run.ledger.lock().unwrap();
        if let Some(data) = &done.data {
            match State::read(&data["message"]) {
                Ok(state) => {
                    run.observed.tell(&known.channel, &state);
                    if let Some(before) = before.filter(|_| !done.outcome.is_loose) {
                        ledger.acknowledged(&known.channel, before, state.seq, what);
                    }
                }
                Err(error) => ledger.violation(error),
            }
        }
        let Some(code) = &done.refusal else { return };
        let is_right = match code.as_str() {
            "CONFLICT" => ledger.may_be_deleted(&known.id),
            "FORBIDDEN" => !self.is_in(&known.channel) || ledger.may_be_out(&known.channel, &self.person.id),
            _ => false,
        };
        if !is_right {
            ledger.violation(format!("{what} was refused with {code}: {known:?}"));
        }
    }

    /// Leaves a channel, or comes back into one.
    pub(super) async fn move_about(&mut self, run: &Run) {
        let out = run.channels.iter().find(|channel| self.is_in[*channel] != Some(true)).cloned();
        if let Some(channel) = out {
            self.join_or_leave(run, &channel, true).await;
        } else if let Some(channel) = self.channel(run) {
            self.join_or_leave(run, &channel, false).await;
        }
    }

    pub(super) async fn join_or_leave(&mut self, run: &Run, channel: &str, join: bool) {
        let document = if join {
            "mutation($id: ID!) { joinChannel(id: $id) { __typename } }"
        } else {
            "mutation($id: ID!) { leaveChannel(id: $id) { __typename } }"
        };
        let done = self.run(document, json!({ "id": channel })).await;
        self.is_in.insert(channel.to_owned(), done.outcome.acknowledged.is_some().then_some(join));
        let mut ledger = run.ledger.lock().unwrap();
        if let Some(code) = &done.refusal {
            ledger.violation(format!("joining or leaving was refused with {code}"));
        }
        ledger.moved(channel, &self.person.id, join, done.outcome);
    }
}
