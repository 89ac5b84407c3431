//! A subscriber: folds what one stream tells, over any number of connections, into a state, and holds the stream to its
//! promises on the way.

mod channel;
mod compare;

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;

use self::channel::{ChannelFold, Told};
pub(super) use self::compare::Differences;
use super::{
    state::{Observed, Own, State},
    truth::{ChannelTruth, Found},
};

/// What a stream is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Channel {
        channel: String,
    },
    Thread {
        channel: String,
        root: String,
    },
    /// All that its viewer is a member of in a workspace.
    Viewer {
        workspace: String,
    },
}

impl Target {
    /// Whether events of the channel are told.
    pub(super) fn covers(&self, channel: &str) -> bool {
        match self {
            Self::Channel { channel: own } | Self::Thread { channel: own, .. } => own == channel,
            Self::Viewer { .. } => true,
        }
    }

    /// Whether the message of a covered channel belongs to it.
    fn concerns(&self, id: &str, found: &Found) -> bool {
        match self {
            Self::Channel { .. } | Self::Viewer { .. } => true,
            Self::Thread { root, .. } => root == id || found.root.as_ref() == Some(root),
        }
    }
}

/// What a connection has told so far.
#[derive(Default)]
struct Connection {
    events: u64,
    is_caught_up: bool,
}

/// The folded state of one subscriber.
pub(super) struct Fold {
    name: String,
    viewer: String,
    target: Target,
    observed: Arc<Observed>,
    channels: HashMap<String, ChannelFold>,
    connection: Connection,
    cursor: Option<String>,
    violations: Vec<String>,
    events: u64,
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
            channels: HashMap::new(),
            connection: Connection::default(),
            cursor: None,
            violations: Vec::new(),
            events: 0,
            trail: Vec::new(),
        }
    }

    /// Begins with what queries gave, by channel, and the cursor that was read before them.
    pub(super) fn begin(&mut self, cursor: String, truths: &[(String, ChannelTruth)]) {
        self.trail.push(format!("begins after {cursor}"));
        self.cursor = Some(cursor);
        for (channel, truth) in truths {
            let fold = self.channels.entry(channel.clone()).or_default();
            fold.begin(truth, |id, found| self.target.concerns(id, found));
        }
    }

    pub(super) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    pub(super) fn violations(&self) -> Vec<String> {
        let of_channels = self.channels.values().flat_map(|channel| channel.violations.iter());
        of_channels.map(|text| format!("{}: {text}", self.name)).chain(self.violations.clone()).collect()
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Messages told as created once more after a cut.
    pub(super) fn repeated(&self) -> u64 {
        self.channels.values().map(|channel| channel.repeated).sum()
    }

    /// What came so far, for people.
    pub(super) fn trail(&self) -> String {
        format!("{}\n{}\n", self.name, self.trail.join("\n"))
    }

    pub(super) fn violation(&mut self, text: impl std::fmt::Display) {
        self.violations.push(format!("{}: {text}", self.name));
    }

    /// A connection goes on after the cursor; `how` is for people.
    pub(super) fn connected(&mut self, how: &str) {
        self.connection = Connection::default();
        self.channels.values_mut().for_each(ChannelFold::connected);
        self.trail.push(format!("{how} after {:?}", self.cursor));
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
            let told = self.connection.events;
            if self.connection.is_caught_up || event["replayedCount"].as_u64() != Some(told) {
                self.violation(format_args!("caught up after {told} events, said: {item}"));
            }
            self.connection.is_caught_up = true;
        } else {
            // What changed again while the replay ran stands behind where it began, and comes before its end.
            if item["replayed"] != false && self.connection.is_caught_up {
                self.violation(format_args!("wrong in `replayed`: {item}"));
            }
            self.events += 1;
            self.connection.events += 1;
            if let Err(error) = self.event(kind, item) {
                self.violation(format_args!("{error}: {item}"));
            }
        }
        self.cursor = Some(cursor.to_owned());
        Said::More
    }

    fn event(&mut self, kind: &str, item: &Value) -> Result<(), String> {
        let event = &item["event"];
        let channel = event["message"]["channelId"].as_str().or(event["channelId"].as_str());
        let channel = channel.ok_or("of no channel")?;
        if !self.target.covers(channel) {
            return Err("of a channel that was not asked for".into());
        }
        let seq = item["seq"].as_i64().ok_or("without a tick")?;
        let fold = self.channels.entry(channel.to_owned()).or_default();
        match kind {
            "MessageCreated" | "MessageUpdated" | "MessageDeleted" => {
                let state = State::read(&event["message"])?;
                if state.seq != seq {
                    return Err("the item's tick is not its message's".into());
                }
                self.observed.tell(channel, &state);
                let aspects = event["changed"].as_array().into_iter().flatten();
                let changed = aspects.filter_map(|aspect| aspect.as_str().map(str::to_owned)).collect();
                fold.message(Told { kind, state, own: Own::read(&event["message"]), changed });
            }
            "MemberJoined" | "MemberLeft" | "MemberUpdated" => {
                let user = event["userId"].as_str().ok_or("of nobody")?;
                fold.line(seq, Some((user, kind != "MemberLeft")));
            }
            "ChannelUpdated" => fold.line(seq, None),
            _ => return Err("an unknown event".into()),
        }
        Ok(())
    }
}
