//! The checker itself is put to the test: for each thing that it is there to notice, a fault of that kind is planted.

mod stream;
mod writes;

use std::{collections::HashSet, sync::Arc};

use serde_json::{Value, json};

use super::{
    fold::{Fold, Target},
    state::{Observed, State},
    truth::{ChannelTruth, Found},
};
use crate::support::{Mode, Suite};

const CHANNEL: &str = "channel";
const VIEWER: &str = "viewer";

macro_rules! register {
    ($($module:ident::$name:ident),+ $(,)?) => {
        pub(super) fn register(suite: &mut Suite) {
            $(suite.add(Mode::Embedded, "checker", stringify!($name), |_| Box::pin(async { $module::$name() }));)+
        }
    };
}

register!(
    stream::a_sound_stream_is_believed,
    stream::a_lost_event_is_noticed,
    stream::a_repeated_event_is_noticed,
    stream::a_wrong_order_is_noticed,
    stream::two_stories_about_one_tick_are_noticed,
    stream::a_line_without_its_event_is_noticed,
    stream::a_change_that_is_not_announced_is_noticed,
    stream::a_wrong_count_of_the_replay_is_noticed,
    stream::somebody_elses_view_is_noticed,
    writes::a_lost_write_is_noticed,
    writes::a_doubled_write_is_noticed,
    writes::a_lost_edit_deletion_reaction_or_move_is_noticed,
    writes::what_nobody_asked_for_is_noticed,
    writes::an_acknowledgement_out_of_order_is_noticed,
    writes::a_root_that_miscounts_its_replies_is_noticed,
);

fn message(id: &str, seq: i64, text: &str) -> Value {
    json!({
        "id": id, "channelId": CHANNEL, "seq": seq, "ts": 1, "kind": "TEXT", "text": text, "isEdited": false, "isDeleted": false,
        "author": { "id": VIEWER }, "reactionGroups": [], "thread": null,
    })
}

fn item(kind: &str, seq: i64, message: &Value) -> Value {
    json!({
        "cursor": format!("c{seq}"), "seq": seq, "replayed": false,
        "event": { "__typename": kind, "message": message },
    })
}

fn created(id: &str, seq: i64) -> Value {
    item("MessageCreated", seq, &message(id, seq, id))
}

fn caught_up(count: u64) -> Value {
    let event = json!({ "__typename": "StreamCaughtUp", "replayedCount": count });
    json!({ "cursor": "c", "seq": null, "replayed": true, "event": event })
}

fn found(message: &Value) -> Found {
    Found { state: State::read(message).unwrap(), root: None, reactors: Vec::new() }
}

fn truth(messages: impl IntoIterator<Item = Value>) -> ChannelTruth {
    let messages = messages.into_iter().map(|message| {
        let found = found(&message);
        (found.state.id.clone(), found)
    });
    ChannelTruth { messages: messages.collect(), members: HashSet::new() }
}

/// A subscriber that has caught up with an empty channel.
fn fold(observed: &Arc<Observed>) -> Fold {
    let target = Target::Channel { channel: CHANNEL.into() };
    let mut fold = Fold::new("subscriber".into(), VIEWER, target, Arc::clone(observed));
    fold.begin("c0".into(), &[(CHANNEL.into(), ChannelTruth::default())]);
    fold.connected("again");
    fold.item(&caught_up(0), None);
    fold
}

/// The violations of a stream that tells these items live.
fn violations(items: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut fold = fold(&Arc::default());
    for item in items {
        fold.item(&item, None);
    }
    fold.violations()
}

#[track_caller]
fn notices(violations: &[String], part: &str) {
    assert!(violations.iter().any(|text| text.contains(part)), "not noticed: {part}; but {violations:?}");
}
