//! Faults of what becomes of writes.

use serde_json::json;

use super::{CHANNEL, VIEWER, message, notices, truth};
use crate::checker::ledger::{Ledger, Outcome, Sent};

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

pub(super) fn a_lost_write_is_noticed() {
    assert_eq!(ledger().check(CHANNEL, &truth([message("a", 1, "a")])), <[String; 0]>::default());
    notices(&ledger().check(CHANNEL, &truth([])), "acknowledged and lost");
    // One without an answer may be lost, or there once.
    let mut ledger = ledger();
    ledger.sent(sent(None, "b"));
    for there in [vec![message("a", 1, "a")], vec![message("a", 1, "a"), message("b", 2, "b")]] {
        assert_eq!(ledger.check(CHANNEL, &truth(there)), <[String; 0]>::default());
    }
}

pub(super) fn a_doubled_write_is_noticed() {
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

pub(super) fn a_lost_edit_deletion_reaction_or_move_is_noticed() {
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

pub(super) fn what_nobody_asked_for_is_noticed() {
    let strange = truth([message("a", 1, "a"), message("b", 2, "strange")]);
    notices(&ledger().check(CHANNEL, &strange), "nobody sent this");
    let mut reacted = truth([message("a", 1, "a")]);
    reacted.messages.get_mut("a").unwrap().reactors.push(("👍".into(), VIEWER.into()));
    notices(&ledger().check_reactions(&[&reacted]), "nobody put");
    let mut another = truth([message("a", 1, "a")]);
    another.messages.get_mut("a").unwrap().root = Some("b".into());
    notices(&ledger().check(CHANNEL, &another), "not as it was sent");
}

pub(super) fn an_acknowledgement_out_of_order_is_noticed() {
    let mut ledger = Ledger::default();
    ledger.acknowledged(CHANNEL, ledger.tick(CHANNEL), 5, "a");
    ledger.acknowledged(CHANNEL, ledger.tick(CHANNEL), 6, "b");
    assert_eq!(ledger.violations(), <[String; 0]>::default());
    ledger.acknowledged(CHANNEL, ledger.tick(CHANNEL), 4, "c");
    notices(ledger.violations(), "c took tick 4");
}

pub(super) fn a_root_that_miscounts_its_replies_is_noticed() {
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
