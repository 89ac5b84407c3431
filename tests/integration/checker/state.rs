//! A message as everybody sees it, and the record of what was seen at which tick.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Mutex,
};

use serde::Deserialize;
use serde_json::Value;

/// What is asked of a message wherever one is told: nothing that depends on who asks.
pub(super) const FIELDS: &str = "id seq ts kind text isEdited isDeleted author { id }
    reactionGroups { emoji count } thread { replyCount lastReplyAt }";

/// The same and what depends on who asks.
pub(super) const OWN_FIELDS: &str = "id seq ts kind text isEdited isDeleted author { id }
    reactionGroups { emoji count viewerHasReacted } thread { replyCount lastReplyAt } clientMessageId";

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    pub(super) id: String,
    pub(super) seq: i64,
    pub(super) ts: i64,
    pub(super) kind: String,
    pub(super) text: String,
    pub(super) is_edited: bool,
    pub(super) is_deleted: bool,
    pub(super) author: Author,
    #[serde(rename = "reactionGroups")]
    pub(super) reactions: Vec<Reactions>,
    pub(super) thread: Option<Thread>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Author {
    pub(super) id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Reactions {
    pub(super) emoji: String,
    pub(super) count: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Thread {
    pub(super) reply_count: usize,
    pub(super) last_reply_at: Option<String>,
}

/// What a message is to the one who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    /// The emojis that the asker put.
    pub(super) reacted: Vec<String>,
    pub(super) has_client_message_id: bool,
}

impl State {
    pub(super) fn read(message: &Value) -> Result<Self, String> {
        Self::deserialize(message).map_err(|error| format!("no message, {error}: {message}"))
    }

    pub(super) fn is_system(&self) -> bool {
        self.kind == "SYSTEM"
    }
}

impl Own {
    /// Of a message that was asked for with [`OWN_FIELDS`].
    pub(super) fn read(message: &Value) -> Option<Self> {
        let groups = message["reactionGroups"].as_array()?;
        message.get("clientMessageId")?;
        let reacted = groups.iter().filter(|group| group["viewerHasReacted"] == true);
        Some(Self {
            reacted: reacted.filter_map(|group| group["emoji"].as_str().map(str::to_owned)).collect(),
            has_client_message_id: message["clientMessageId"].is_string(),
        })
    }
}

/// Every state that anybody was told, by channel and tick. A tick belongs to one change of one message, so whoever told it
/// has to tell the same: to all listeners, in all answers, for ever. Each stream's ticks grow, so the order is the same too.
#[derive(Default)]
pub(super) struct Observed(Mutex<Record>);

#[derive(Default)]
struct Record {
    states: HashMap<(String, i64), State>,
    contradictions: Vec<String>,
}

impl Observed {
    pub(super) fn tell(&self, channel: &str, state: &State) {
        let mut record = self.0.lock().unwrap();
        match record.states.entry((channel.to_owned(), state.seq)) {
            Entry::Vacant(entry) => {
                entry.insert(state.clone());
            }
            Entry::Occupied(entry) if entry.get() == state => {}
            Entry::Occupied(entry) => {
                let text =
                    format!("tick {} was told of two things:\n  {:?}\n  {state:?}", state.seq, entry.get());
                record.contradictions.push(text);
            }
        }
    }

    pub(super) fn contradictions(&self) -> Vec<String> {
        self.0.lock().unwrap().contradictions.clone()
    }
}
