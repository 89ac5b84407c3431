//! Faults of what a stream tells.

use std::sync::Arc;

use serde_json::json;

use super::{CHANNEL, VIEWER, caught_up, created, fold, found, item, message, notices, truth, violations};
use crate::checker::{
    fold::Said,
    state::{Observed, State},
    truth::{ChannelTruth, Found},
};

pub(super) fn a_sound_stream_is_believed() {
    let observed = Arc::default();
    let mut fold = fold(&observed);
    let mut edited = item("MessageUpdated", 3, &message("a", 3, "a, edited"));
    edited["event"]["changed"] = json!(["CONTENT"]);
    for item in [created("a", 1), created("b", 2), edited] {
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
    assert!(fold.compare(CHANNEL, &truth(all)).is_empty());
    assert_eq!(fold.cursor(), Some("c"));
}

pub(super) fn a_lost_event_is_noticed() {
    let mut fold = fold(&Arc::default());
    fold.item(&created("a", 1), None);
    fold.item(&created("c", 3), None);
    let mut all = vec![message("a", 1, "a"), message("b", 2, "b"), message("c", 3, "c")];
    let differences = fold.compare(CHANNEL, &truth(all.clone()));
    assert_eq!((differences.lost.len(), differences.count()), (1, 1), "{differences:?}");
    // What may still come is not lost yet.
    fold.item(&item("MessageUpdated", 4, &message("b", 4, "b")), None);
    all[1] = message("b", 4, "b");
    all.push(message("d", 5, "d"));
    let differences = fold.compare(CHANNEL, &truth(all));
    assert_eq!((differences.missing.len(), differences.count()), (1, 1), "{differences:?}");
    // An old state is a lost event as well.
    let differences = fold
        .compare(CHANNEL, &truth([message("a", 2, "edited"), message("b", 4, "b"), message("c", 3, "c")]));
    assert_eq!((differences.lost.len(), differences.count()), (1, 1), "{differences:?}");
}

pub(super) fn a_repeated_event_is_noticed() {
    notices(&violations([created("a", 1), created("a", 1)]), "told twice");
    // After a cut too.
    let mut fold = fold(&Arc::default());
    fold.item(&created("a", 1), None);
    fold.connected("again");
    let mut again = created("a", 1);
    again["replayed"] = json!(true);
    fold.item(&again, None);
    notices(&fold.violations(), "told twice");
    let twice = [created("a", 1), item("MessageCreated", 2, &message("a", 2, "a"))];
    notices(&violations(twice), "created twice");
}

pub(super) fn a_wrong_order_is_noticed() {
    notices(&violations([created("a", 2), created("b", 1)]), "out of order");
    notices(&violations([item("MessageCreated", 7, &message("a", 1, "a"))]), "not its message's");
}

pub(super) fn two_stories_about_one_tick_are_noticed() {
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

pub(super) fn a_line_without_its_event_is_noticed() {
    let line = |seq: i64| {
        let mut line = created("line", seq);
        line["event"]["message"]["kind"] = json!("SYSTEM");
        line
    };
    let joined = |seq: i64| {
        let event = json!({ "__typename": "MemberJoined", "channelId": CHANNEL, "userId": "somebody" });
        json!({ "cursor": format!("c{seq}"), "seq": seq, "replayed": false, "event": event })
    };
    assert_eq!(violations([line(1), joined(1), created("a", 2)]), <[String; 0]>::default());
    notices(&violations([line(1), created("a", 2)]), "was not told");
    notices(&violations([joined(1)]), "not behind its line");
    notices(&violations([line(1), line(1)]), "told twice");
    // Cut in between, the second comes alone.
    let mut fold = fold(&Arc::default());
    fold.item(&line(1), None);
    fold.connected("again");
    let mut again = joined(1);
    again["replayed"] = json!(true);
    fold.item(&again, None);
    fold.item(&caught_up(1), None);
    assert_eq!(fold.violations(), <[String; 0]>::default());
    let differences = fold.compare(CHANNEL, &truth([line(1)["event"]["message"].clone()]));
    assert_eq!((differences.members.len(), differences.count()), (1, 1), "{differences:?}");
}

pub(super) fn a_change_that_is_not_announced_is_noticed() {
    let of = |kind: &str, seq: i64, ts: i64, changed: &[&str], text: &str| {
        let mut item = item(kind, seq, &message("m", seq, text));
        item["event"]["message"]["ts"] = json!(ts);
        item["event"]["changed"] = json!(changed);
        item
    };
    let new = of("MessageCreated", 2, 2, &[], "m");
    let unannounced = [created("a", 1), of("MessageUpdated", 3, 2, &["REACTIONS"], "m")];
    notices(&violations(unannounced), "never told as created");
    let silent = [created("a", 1), new.clone(), of("MessageUpdated", 3, 2, &["REACTIONS"], "edited")];
    notices(&violations(silent), "said less than had changed");
    let mut deleted = of("MessageUpdated", 3, 2, &["THREAD"], "");
    deleted["event"]["message"]["isDeleted"] = json!(true);
    notices(&violations([created("a", 1), new.clone(), deleted.clone()]), "told as MessageUpdated");
    deleted["event"]["__typename"] = json!("MessageDeleted");
    let sound = [created("a", 1), new, deleted];
    assert_eq!(violations(sound), <[String; 0]>::default());
}

pub(super) fn a_wrong_count_of_the_replay_is_noticed() {
    let mut fold = fold(&Arc::default());
    fold.connected("again");
    fold.item(&caught_up(1), None);
    notices(&fold.violations(), "caught up after 0 events");
    let mut replayed = created("a", 1);
    replayed["replayed"] = json!(true);
    notices(&violations([replayed]), "wrong in `replayed`");
    let mut fold = super::fold(&Arc::default());
    fold.item(&created("a", 1), Some("another cursor"));
    notices(&fold.violations(), "is not its cursor");
}

pub(super) fn somebody_elses_view_is_noticed() {
    let mut told = message("a", 1, "a");
    told["reactionGroups"] = json!([{ "emoji": "👍", "count": 1, "viewerHasReacted": true }]);
    told["clientMessageId"] = json!("mine");
    let mut fold = fold(&Arc::default());
    fold.item(&item("MessageCreated", 1, &told), None);
    let mut found = found(&told);
    found.reactors = vec![("👍".into(), VIEWER.into())];
    let truth =
        |found: &Found| ChannelTruth { messages: [("a".into(), found.clone())].into(), ..Default::default() };
    assert!(fold.compare(CHANNEL, &truth(&found)).is_empty());
    found.reactors = vec![("👍".into(), "somebody else".into())];
    assert_eq!(fold.compare(CHANNEL, &truth(&found)).lost.len(), 1);
}
