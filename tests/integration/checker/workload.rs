//! What people do: each one thing after the other, all of them at once.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use super::{
    Run,
    ledger::{Outcome, Sent},
    people::{Person, Reply},
    state::{FIELDS, State},
};
use crate::support::client_message_id;

const EMOJIS: [&str; 4] = ["👍", "🎉", "🤔", ":party:"];
/// How often an operation is tried whose outcome is not known.
const ATTEMPTS: usize = 8;
/// Reactions and replies go to one of so many newest messages, so that people meet.
pub(super) const NEWEST: usize = 40;

/// A message that can be acted upon.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) channel: String,
    pub(super) id: String,
    /// Whether it can be replied to as it is: replies to replies go to the root.
    pub(super) is_root: bool,
}

/// Somebody who acts.
pub(super) struct Actor {
    person: Person,
    random: StdRng,
    /// Own messages that were acknowledged.
    own: Vec<Known>,
    /// Whether the actor is in each channel; none where that is not known.
    is_in: HashMap<String, Option<bool>>,
    /// Own sends that were acknowledged, to be sent again.
    sent: Vec<Sent>,
    count: u64,
}

/// What came of an operation, with the answer if there was one.
struct Done {
    outcome: Outcome,
    data: Option<Value>,
    /// The code of a refusal.
    refusal: Option<String>,
}

impl Actor {
    pub(super) fn new(person: &Person, run: &Run, seed: u64) -> Self {
        Self {
            person: person.clone(),
            random: StdRng::seed_from_u64(seed),
            own: Vec::new(),
            is_in: run.channels.iter().map(|channel| (channel.clone(), Some(true))).collect(),
            sent: Vec::new(),
            count: 0,
        }
    }

    /// Writes one last message in every channel and in every followed thread, so that each stream has something to end with.
    pub(super) async fn close(&mut self, run: &Run) {
        for channel in &run.channels {
            self.send_for_sure(run, channel, None).await;
        }
        for root in &run.roots {
            self.send_for_sure(run, &root.channel, Some(root)).await;
        }
    }

    async fn send_for_sure(&mut self, run: &Run, channel: &str, root: Option<&Known>) {
        let count = self.own.len();
        while self.own.len() == count {
            self.send(run, channel.to_owned(), root.cloned()).await;
        }
    }

    /// Begins one thread in every channel; gives their roots.
    pub(super) async fn begin_threads(&mut self, run: &Run) -> Vec<Known> {
        for channel in &run.channels {
            self.send_for_sure(run, channel, None).await;
        }
        self.own.clone()
    }

    /// Takes its part of the operations until all are done.
    pub(super) async fn act(mut self, run: Arc<Run>) {
        while run.done.fetch_add(1, Ordering::SeqCst) < run.plan.operations {
            match self.random.random_range(0..100) {
                0..42 => self.write(&run).await,
                42..55 => self.reply(&run).await,
                55..67 => self.edit(&run).await,
                67..73 => self.delete(&run).await,
                73..84 => self.react(&run, true).await,
                84..92 => self.react(&run, false).await,
                92..95 => self.send_again(&run).await,
                _ => self.move_about(&run).await,
            }
        }
        // Whoever is out comes back, so that the end of the run finds everybody able to write.
        for channel in &run.channels {
            if self.is_in[channel] != Some(true) {
                self.join_or_leave(&run, channel, true).await;
            }
        }
    }

    /// Runs an operation until it is answered. Now and then the answer is lost on purpose.
    async fn run(&mut self, document: &str, variables: Value) -> Done {
        let mut done = Done { outcome: Outcome::default(), data: None, refusal: None };
        for attempt in 0..ATTEMPTS {
            let hasty = attempt == 0 && self.random.random_bool(0.05);
            let limit = hasty.then(|| Duration::from_millis(self.random.random_range(0..20)));
            match self.person.call(document, &variables, limit).await {
                Reply::Done(data) => {
                    let field = data.as_object().and_then(|fields| fields.values().next());
                    let field = field.cloned().unwrap_or(Value::Null);
                    done.outcome.acknowledged = Some(field["message"]["seq"].as_i64().unwrap_or(0));
                    done.data = Some(field);
                    return done;
                }
                Reply::Refused(code) => {
                    done.refusal = Some(code);
                    return done;
                }
                Reply::Unknown(_) => {
                    done.outcome.is_loose = true;
                    // Some give up, and never find out.
                    if self.random.random_bool(0.1) {
                        return done;
                    }
                    self.person.pause().await;
                }
            }
        }
        done
    }

    /// The channels to write to: those that the actor is in for sure.
    fn channel(&mut self, run: &Run) -> Option<String> {
        let own: Vec<_> = run.channels.iter().filter(|channel| self.is_in[*channel] == Some(true)).collect();
        own.choose(&mut self.random).map(|channel| (*channel).clone())
    }

    /// One of the newest messages, or one of the followed roots, in a channel that the actor is in.
    fn some_known(&mut self, run: &Run, is_right: impl Fn(&Known) -> bool) -> Option<Known> {
        let newest = run.newest.lock().unwrap();
        let known = newest.iter().chain(&run.roots);
        let found: Vec<_> = known.filter(|known| is_right(known) && self.is_in(&known.channel)).collect();
        found.choose(&mut self.random).map(|known| (*known).clone())
    }

    fn is_in(&self, channel: &str) -> bool {
        self.is_in.get(channel).is_some_and(|is_in| *is_in == Some(true))
    }

    async fn write(&mut self, run: &Run) {
        if let Some(channel) = self.channel(run) {
            self.send(run, channel, None).await;
        }
    }

    async fn send(&mut self, run: &Run, channel: String, root: Option<Known>) {
        self.count += 1;
        let mut sent = Sent {
            text: format!("{} {}", self.person.id, self.count),
            own_id: client_message_id(),
            author: self.person.id.clone(),
            channel: channel.clone(),
            root: root.as_ref().map(|root| root.id.clone()),
            ..Sent::default()
        };
        let before = run.ledger.lock().unwrap().tick(&channel);
        let done = self.run(&send_document(), send_variables(&sent)).await;
        sent.outcome = done.outcome;
        let mut ledger = run.ledger.lock().unwrap();
        if let Some(data) = &done.data {
            match State::read(&data["message"]) {
                Ok(state) => {
                    run.observed.tell(&channel, &state);
                    if !done.outcome.is_loose {
                        ledger.acknowledged(&channel, before, state.seq, &sent.text);
                        if data["deduplicated"] != false {
                            ledger.violation(format!("sent once and said to be there already: {sent:?}"));
                        }
                    }
                    sent.ids.insert(state.id.clone());
                    let known = Known { channel, id: state.id, is_root: root.is_none() };
                    run.meet(&known);
                    self.own.push(known);
                    self.sent.push(sent.clone());
                }
                Err(error) => ledger.violation(error),
            }
        }
        if let Some(code) = done.refusal {
            if code == "FORBIDDEN" && ledger.may_be_out(&sent.channel, &self.person.id) {
                self.is_in.insert(sent.channel.clone(), None);
            } else {
                ledger.violation(format!("a member's message was refused with {code}: {sent:?}"));
            }
        }
        ledger.sent(sent);
    }

    async fn reply(&mut self, run: &Run) {
        let root = self.some_known(run, |known| known.is_root);
        if let Some(root) = root {
            self.send(run, root.channel.clone(), Some(root)).await;
        }
    }

    /// Sends something again that was acknowledged: it is the same message.
    async fn send_again(&mut self, run: &Run) {
        let Some(sent) = self.sent.choose(&mut self.random).cloned() else { return };
        if !self.is_in(&sent.channel) {
            return;
        }
        let done = self.run(&send_document(), send_variables(&sent)).await;
        let Some(data) = done.data else { return };
        let id = data["message"]["id"].as_str().unwrap_or_default();
        if !sent.ids.contains(id) || data["deduplicated"] != true {
            run.ledger.lock().unwrap().violation(format!("sent again it was another: {sent:?}, now {data}"));
        }
    }

    async fn edit(&mut self, run: &Run) {
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

    async fn delete(&mut self, run: &Run) {
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

    async fn react(&mut self, run: &Run, is_there: bool) {
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
    async fn move_about(&mut self, run: &Run) {
        let out = run.channels.iter().find(|channel| self.is_in[*channel] != Some(true)).cloned();
        if let Some(channel) = out {
            self.join_or_leave(run, &channel, true).await;
        } else if let Some(channel) = self.channel(run) {
            self.join_or_leave(run, &channel, false).await;
        }
    }

    async fn join_or_leave(&mut self, run: &Run, channel: &str, join: bool) {
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

fn send_document() -> String {
    format!(
        "mutation($input: SendMessageInput!) {{ sendMessage(input: $input) {{ deduplicated message {{ {FIELDS} }} }} }}"
    )
}

fn send_variables(sent: &Sent) -> Value {
    json!({ "input": {
        "channelId": sent.channel, "clientMessageId": sent.own_id, "text": sent.text, "threadRootId": sent.root,
    } })
}
