//! The checker itself is put to the test: for each thing that it is there to notice, a fault of that kind is planted.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Value, json};

use super::{
    fold::{Fold, Said, Target},
    ledger::{Ledger, Outcome, Sent},
    state::{Observed, State},
    truth::{ChannelTruth, Found},
};
use crate::support::{Mode, Suite};

const CHANNEL: &str = "channel";
const VIEWER: &str = "viewer";

macro_rules! register {
    ($($name:ident),+ $(,)?) => {
        pub(super) fn register(suite: &mut Suite) {
            $(suite.add(Mode::Embedded, "checker", stringify!($name), |_| Box::pin(async { $name() }));)+
        }
    };
}

register!(
    a_sound_stream_is_believed,
    a_lost_event_is_noticed,
    a_repeated_event_is_noticed,
    a_wrong_order_is_noticed,
    two_stories_about_one_tick_are_noticed,
    a_line_without_its_event_is_noticed,
    a_wrong_count_of_the_replay_is_noticed,
    somebody_elses_view_is_noticed,
    a_lost_write_is_noticed,
    a_doubled_write_is_noticed,
    a_lost_edit_deletion_reaction_or_move_is_noticed,
    what_nobody_asked_for_is_noticed,
    an_acknowledgement_out_of_order_is_noticed,
    a_root_that_miscounts_its_replies_is_noticed,
);

fn message(id: &str, seq: i64, text: &str) -> Value {
    json!({
        "id": id, "seq": seq, "ts": 1, "kind": "TEXT", "text": text, "isEdited": false, "isDeleted": false,
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
    fold.begin("c0".into(), &ChannelTruth::default());
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
    fold.violations().to_vec()
}

#[track_caller]
fn notices(violations: &[String], part: &str) {
    assert!(violations.iter().any(|text| text.contains(part)), "not noticed: {part}; but {violations:?}");
}

fn a_sound_stream_is_believed() {
    let observed = Arc::default();
    let mut fold = fold(&observed);
    for item in [created("a", 1), created("b", 2), item("MessageUpdated", 3, &message("a", 3, "a, edited"))] {
        assert_eq!(fold.item(&item, item["cursor"].as_str()), Said::More);
    }
    // Cut, and on after the last cursor: what was missed is replayed.
    fold.connected("again");
    let mut missed = created("c", 5);
    missed["replayed"] = json!(true);
    fold.item(&missed, None);
    fold.item(&caught_up(1), None);
    assert_eq!(fold.violations(), <[String; 0]>::default());
    assert_eq!(observed.contradictions(), <[String; 0]>::default());
    let all = [message("a", 3, "a, edited"), message("b", 2, "b"), message("c", 5, "c")];
    assert!(fold.compare(&truth(all)).is_empty());
    assert_eq!(fold.cursor(), Some("c"));
}

fn a_lost_event_is_noticed() {
    let mut fold = fold(&Arc::default());
    fold.item(&created("a", 1), None);
    fold.item(&created("c", 3), None);
    let mut all = vec![message("a", 1, "a"), message("b", 2, "b"), message("c", 3, "c")];
    let differences = fold.compare(&truth(all.clone()));
    assert_eq!((differences.lost.len(), differences.count()), (1, 1), "{differences:?}");
    // What may still come is not lost yet.
    fold.item(&item("MessageUpdated", 4, &message("b", 4, "b")), None);
    all[1] = message("b", 4, "b");
    all.push(message("d", 5, "d"));
    let differences = fold.compare(&truth(all));
    assert_eq!((differences.missing.len(), differences.count()), (1, 1), "{differences:?}");
    // An old state is a lost event as well.
    let differences =
        fold.compare(&truth([message("a", 2, "edited"), message("b", 4, "b"), message("c", 3, "c")]));
    assert_eq!((differences.lost.len(), differences.count()), (1, 1), "{differences:?}");
}

fn a_repeated_event_is_noticed() {
    notices(&violations([created("a", 1), created("a", 1)]), "told twice");
    // After a cut too.
    let mut fold = fold(&Arc::default());
    fold.item(&created("a", 1), None);
    fold.connected("again");
    let mut again = created("a", 1);
    again["replayed"] = json!(true);
    fold.item(&again, None);
    notices(fold.violations(), "told twice");
    let twice = [created("a", 1), item("MessageCreated", 2, &message("a", 2, "a"))];
    notices(&violations(twice), "created twice");
}

fn a_wrong_order_is_noticed() {
    notices(&violations([created("a", 2), created("b", 1)]), "out of order");
    notices(&violations([item("MessageCreated", 7, &message("a", 1, "a"))]), "not its message's");
}

fn two_stories_about_one_tick_are_noticed() {
    let observed = Arc::default();
    let (mut first, mut second) = (fold(&observed), fold(&observed));
    first.item(&created("a", 1), None);
    second.item(&created("a", 1), None);
    assert_eq!(observed.contradictions(), <[String; 0]>::default());
    first.item(&created("b", 2), None);
    second.item(&created("c", 2), None);
    notices(&observed.contradictions(), "told of two things");
    let observed = Observed::default();
    observed.tell(CHANNEL, &State::read(&message("a", 1, "one text")).unwrap());
    observed.tell(CHANNEL, &State::read(&message("a", 1, "another")).unwrap());
    notices(&observed.contradictions(), "told of two things");
}

fn a_line_without_its_event_is_noticed() {
    let line = |seq: i64| {
        let mut line = created("line", seq);
        line["event"]["message"]["kind"] = json!("SYSTEM");
        line
    };
    let joined = |seq: i64| {
        let event = json!({ "__typename": "MemberJoined", "userId": "somebody" });
        json!({ "cursor": format!("c{seq}"), "seq": seq, "replayed": false, "event": event })
    };
    assert_eq!(violations([line(1), joined(1), created("a", 2)]), <[String; 0]>::default());
    notices(&violations([line(1), created("a", 2)]), "was not told");
    notices(&violations([joined(1)]), "not behind its line");
    notices(&violations([line(1), line(1)]), "told twice");
    // Cut in between, both come again.
    let mut fold = fold(&Arc::default());
    fold.item(&line(1), None);
    fold.connected("again");
    for mut again in [line(1), joined(1)] {
        again["replayed"] = json!(true);
        fold.item(&again, None);
    }
    fold.item(&caught_up(2), None);
    assert_eq!(fold.violations(), <[String; 0]>::default());
    let differences = fold.compare(&truth([line(1)["event"]["message"].clone()]));
    assert_eq!((differences.members.len(), differences.count()), (1, 1), "{differences:?}");
}

fn a_wrong_count_of_the_replay_is_noticed() {
    let mut fold = fold(&Arc::default());
    fold.connected("again");
    fold.item(&caught_up(1), None);
    notices(fold.violations(), "caught up after 0");
    let mut replayed = created("a", 1);
    replayed["replayed"] = json!(true);
    notices(&violations([replayed]), "wrong in `replayed`");
    let mut fold = super::planted::fold(&Arc::default());
    fold.item(&created("a", 1), Some("another cursor"));
    notices(fold.violations(), "is not its cursor");
}

fn somebody_elses_view_is_noticed() {
    let mut told = message("a", 1, "a");
    told["reactionGroups"] = json!([{ "emoji": "👍", "count": 1, "viewerHasReacted": true }]);
    told["clientMessageId"] = json!("mine");
    let mut fold = fold(&Arc::default());
    fold.item(&item("MessageCreated", 1, &told), None);
    let mut found = found(&told);
    found.reactors = vec![("👍".into(), VIEWER.into())];
    let truth =
        |found: &Found| ChannelTruth { messages: [("a".into(), found.clone())].into(), ..Default::default() };
    assert!(fold.compare(&truth(&found)).is_empty());
    found.reactors = vec![("👍".into(), "somebody else".into())];
    assert_eq!(fold.compare(&truth(&found)).lost.len(), 1);
}

const ACKNOWLEDGED: Outcome = Outcome { acknowledged: Some(1), is_loose: false };
const UNKNOWN: Outcome = Outcome { acknowledged: None, is_loose: true };

fn sent(id: Option<&str>, text: &str) -> Sent {
    Sent {
        channel: CHANNEL.into(),
        author: VIEWER.into(),
        text: text.into(),
        ids: id.map(str::to_owned).into_iter().collect(),
        outcome: if id.is_some() { ACKNOWLEDGED } else { UNKNOWN },
        ..Sent::default()
    }
}

/// A ledger with one message, `a`, that was acknowledged.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.sent(sent(Some("a"), "a"));
    ledger
}

fn a_lost_write_is_noticed() {
    assert_eq!(ledger().check(CHANNEL, &truth([message("a", 1, "a")])), <[String; 0]>::default());
    notices(&ledger().check(CHANNEL, &truth([])), "acknowledged and lost");
    // One without an answer may be lost, or there once.
    let mut ledger = ledger();
    ledger.sent(sent(None, "b"));
    for there in [vec![message("a", 1, "a")], vec![message("a", 1, "a"), message("b", 2, "b")]] {
        assert_eq!(ledger.check(CHANNEL, &truth(there)), <[String; 0]>::default());
    }
}

fn a_doubled_write_is_noticed() {
    let twice = truth([message("a", 1, "a"), message("b", 2, "a")]);
    notices(&ledger().check(CHANNEL, &twice), "there twice");
    let mut ledger = ledger();
    ledger.sent(sent(None, "b"));
    let twice = truth([message("a", 1, "a"), message("b", 2, "b"), message("c", 3, "b")]);
    notices(&ledger.check(CHANNEL, &twice), "there twice");
    let ids = ["a", "b"].map(str::to_owned);
    ledger.sent(Sent { ids: ids.into(), ..sent(Some("a"), "a") });
    notices(ledger.violations(), "as several messages");
}

fn a_lost_edit_deletion_reaction_or_move_is_noticed() {
    let plain = || truth([message("a", 1, "a")]);
    let mut edited = message("a", 2, "edited");
    edited["isEdited"] = json!(true);
    let mut with_edit = ledger();
    with_edit.edited("a", "edited", ACKNOWLEDGED);
    assert_eq!(with_edit.check(CHANNEL, &truth([edited.clone()])), <[String; 0]>::default());
    notices(&with_edit.check(CHANNEL, &plain()), "text: possible");
    notices(&ledger().check(CHANNEL, &truth([edited.clone()])), "text: possible");
    let mut unsure = ledger();
    unsure.edited("a", "edited", UNKNOWN);
    for either in [plain(), truth([edited])] {
        assert_eq!(unsure.check(CHANNEL, &either), <[String; 0]>::default());
    }

    let mut deleted = message("a", 2, "");
    deleted["isDeleted"] = json!(true);
    let mut with_deletion = ledger();
    with_deletion.deleted("a", ACKNOWLEDGED);
    assert_eq!(with_deletion.check(CHANNEL, &truth([deleted.clone()])), <[String; 0]>::default());
    notices(&with_deletion.check(CHANNEL, &plain()), "deleted: possible");
    notices(&ledger().check(CHANNEL, &truth([deleted])), "deleted: possible");

    let mut with_reaction = ledger();
    with_reaction.reacted("a", "👍", VIEWER, true, ACKNOWLEDGED);
    notices(&with_reaction.check_reactions(&[&plain()]), "possible [true]");
    with_reaction.reacted("a", "👍", VIEWER, false, ACKNOWLEDGED);
    assert_eq!(with_reaction.check_reactions(&[&plain()]), <[String; 0]>::default());

    let mut with_move = ledger();
    with_move.moved(CHANNEL, VIEWER, true, ACKNOWLEDGED);
    notices(&with_move.check(CHANNEL, &plain()), "possible [true]");
}

fn what_nobody_asked_for_is_noticed() {
    let strange = truth([message("a", 1, "a"), message("b", 2, "strange")]);
    notices(&ledger().check(CHANNEL, &strange), "nobody sent this");
    let mut reacted = truth([message("a", 1, "a")]);
    reacted.messages.get_mut("a").unwrap().reactors.push(("👍".into(), VIEWER.into()));
    notices(&ledger().check_reactions(&[&reacted]), "nobody put");
    let mut another = truth([message("a", 1, "a")]);
    another.messages.get_mut("a").unwrap().root = Some("b".into());
    notices(&ledger().check(CHANNEL, &another), "not as it was sent");
}

fn an_acknowledgement_out_of_order_is_noticed() {
    let mut ledger = Ledger::default();
    ledger.acknowledged(CHANNEL, ledger.tick(CHANNEL), 5, "a");
    ledger.acknowledged(CHANNEL, ledger.tick(CHANNEL), 6, "b");
    assert_eq!(ledger.violations(), <[String; 0]>::default());
    ledger.acknowledged(CHANNEL, ledger.tick(CHANNEL), 4, "c");
    notices(ledger.violations(), "c took tick 4");
}

fn a_root_that_miscounts_its_replies_is_noticed() {
    let mut root = message("a", 2, "a");
    root["thread"] = json!({ "replyCount": 1, "lastReplyAt": "then" });
    let mut both = truth([root, message("b", 1, "b")]);
    both.messages.get_mut("b").unwrap().root = Some("a".into());
    assert_eq!(both.contradictions(), <[String; 0]>::default());
    both.messages.remove("b");
    notices(&both.contradictions(), "0 replies");
    let mut reacted = message("a", 2, "a");
    reacted["reactionGroups"] = json!([{ "emoji": "👍", "count": 2 }]);
    notices(&truth([reacted]).contradictions(), "the message says");
}
