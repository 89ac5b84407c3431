//! Listeners that are cut off at any place, and go on with what they kept: all that they are told has to fit together as if
//! they had never been cut.

use std::collections::HashMap;

use super::*;
use crate::{
    live::{event::Item, position::Position},
    log::{Alteration, Aspect},
    messages::model::SystemEvent,
};

impl Channel {
    async fn alter(&self, id: MessageId, aspect: Aspect) {
        let now = Environment::default().now();
        let alteration = Alteration::new(move |message| {
            if message.is_deleted() && aspect != Aspect::Thread {
                return Ok(None);
            }
            if aspect == Aspect::Deleted {
                message.deleted_at = Some(now);
            }
            Ok(Some(aspect))
        });
        self.log.alter(self.key, id, alteration).await.unwrap();
    }

    async fn line(&self) -> MessageId {
        let event = SystemEvent::ChannelUpdated { changed: vec!["topic".into()] };
        let user = UserId(Uuid::now_v7());
        self.log.system(self.key, user, event, MessageId(Uuid::now_v7())).await.unwrap().id
    }

    /// From here on listeners come back to another node: it has read nothing yet, and knows the present head.
    fn move_on(&mut self) {
        self.topics = Arc::new(Topics::new(Arc::clone(&self.messages) as _, None));
    }

    /// A listener who comes back with what it kept, written and read.
    async fn back(&self, kept: &Position) -> Flow {
        let kept = Position::from_offsets(kept.tick(), &kept.offsets()).unwrap();
        let mut flow = Flow::new(self.follow().await, Arc::default(), None, &Environment::default());
        flow.resume_after(&kept);
        flow
    }
}

/// In short, up to the end of what was missed.
async fn missed(mut flow: Flow) -> (Vec<String>, Vec<Position>) {
    let (mut told, mut kept) = (Vec::new(), Vec::new());
    loop {
        let item = flow.next().await;
        kept.push(item.position.unwrap());
        told.push(match item.event {
            Event::Created(message) => format!("created {}", message.ts),
            Event::Updated(message, changed) => format!("updated {} {changed:?}", message.ts),
            Event::Deleted(message) => format!("deleted {}", message.ts),
            Event::ChannelUpdated(_) => "channel".into(),
            Event::CaughtUp(_) => return (told, kept),
            other => panic!("{other:?}"),
        });
    }
}

#[tokio::test]
async fn a_cut_in_a_replay_changes_nothing_of_what_is_told() {
    let channel = Channel::new();
    let known = channel.append(3, "words").await;
    let start = Position::from(channel.append(1, "here it is cut").await[0].seq);
    // New and changed meanwhile; changed in two ways, one behind the other; a tombstone whose thread changes.
    let away = channel.append(1, "away").await[0].id;
    channel.alter(known[1].id, Aspect::Content).await;
    channel.alter(known[2].id, Aspect::Deleted).await;
    channel.append(1, "between").await;
    channel.alter(away, Aspect::Reactions).await;
    channel.alter(known[1].id, Aspect::Reactions).await;
    channel.alter(known[2].id, Aspect::Thread).await;
    channel.alter(known[0].id, Aspect::Thread).await;
    let (told, kept) = missed(channel.back(&start).await).await;
    let wanted =
        ["created 8", "created 5", "updated 2 [Content, Reactions]", "deleted 3", "updated 1 [Thread]"];
    assert_eq!(told, wanted);
    assert!(kept[..4].iter().all(|position| !position.offsets().is_empty()));
    assert!(kept[4..].iter().all(|position| position.offsets().is_empty()), "everything is known again");
    for (index, position) in kept[..5].iter().enumerate() {
        let (rest, again) = missed(channel.back(position).await).await;
        assert_eq!(rest, wanted[index + 1..]);
        assert_eq!(again, kept[index + 1..], "cut once more it is as well");
    }
}

#[tokio::test]
async fn what_was_told_before_the_cut_and_changes_behind_it_is_not_told_as_new() {
    let mut channel = Channel::new();
    let messages = channel.append(3, "words").await;
    channel.alter(messages[1].id, Aspect::Reactions).await;
    let (told, kept) = missed(channel.back(&0.into()).await).await;
    assert_eq!(told, ["created 1", "created 3", "created 2"]);
    // Told, then changed; never told, and changed again.
    channel.alter(messages[0].id, Aspect::Content).await;
    channel.alter(messages[1].id, Aspect::Content).await;
    channel.move_on();
    let (told, _) = missed(channel.back(&kept[1]).await).await;
    assert_eq!(told, ["updated 1 [Content]", "created 2"]);
    let (told, _) = missed(channel.back(&kept[0]).await).await;
    assert_eq!(told, ["created 3", "updated 1 [Content]", "created 2"]);
}

#[tokio::test]
async fn a_line_is_told_once_although_what_it_tells_comes_behind_a_cut() {
    let mut channel = Channel::new();
    let first = channel.append(1, "words").await[0].id;
    let line = channel.line().await;
    let (told, kept) = missed(channel.back(&0.into()).await).await;
    assert_eq!(told, ["created 1", "created 2", "channel"]);
    assert_eq!(missed(channel.back(&kept[1]).await).await.0, ["channel"]);
    assert_eq!(kept[2], 2.into());
    // The line has been moved back meanwhile, behind what is told first.
    channel.alter(line, Aspect::Reactions).await;
    channel.alter(first, Aspect::Content).await;
    channel.alter(line, Aspect::Reactions).await;
    channel.move_on();
    let (told, again) = missed(channel.back(&kept[1]).await).await;
    assert_eq!(told, ["updated 1 [Content]", "updated 2 [Reactions]", "channel"]);
    for (index, position) in again.iter().enumerate() {
        assert_eq!(missed(channel.back(position).await).await.0, told[(index + 1).min(told.len())..]);
    }
}

/// Good enough for tests, and the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }
}

/// What a client makes of what it is told.
#[derive(Default)]
struct Client {
    known: HashMap<MessageId, (i64, bool)>,
    lines: HashMap<MessageId, u32>,
    half: Option<MessageId>,
    /// The tick of a line that was told alone, as the client's position says.
    half_at: Option<i64>,
    position: Position,
    /// Whether it was cut more often in one replay than is kept apart: then it may be told too much, never too little.
    is_often_cut: bool,
    exact: usize,
}

impl Client {
    /// Takes what comes until it has taken `most`, or all that was missed; tells how many these were.
    async fn follow(&mut self, channel: &Channel, most: usize) -> usize {
        let mut flow = channel.back(&self.position).await;
        for count in 0..most {
            let item = flow.next().await;
            let offsets = self.position.offsets();
            let half = offsets.get(1).filter(|half| **half > 0);
            self.half_at = half.map(|half| self.position.tick() - offsets[0] + half);
            self.fold(&item);
            self.position = item.position.unwrap();
            let offsets = self.position.offsets().len();
            self.is_often_cut = offsets > 0 && (self.is_often_cut || offsets > 16);
            if matches!(item.event, Event::CaughtUp(_)) {
                assert_eq!(offsets, 0, "everything is known at the end of what was missed");
                return count;
            }
        }
        most
    }

    fn fold(&mut self, item: &Item) {
        let (message, kind) = match &item.event {
            Event::Created(message) => (message, "created"),
            Event::Updated(message, _) => (message, "updated"),
            Event::Deleted(message) => (message, "deleted"),
            Event::ChannelUpdated(_) => {
                let line = self.half.take().expect("a line comes before what it tells");
                *self.lines.entry(line).or_default() += 1;
                assert!(self.lines[&line] == 1 || self.is_often_cut, "what a line tells comes once");
                return;
            }
            _ => return,
        };
        let known = self.known.insert(message.id, (message.seq, message.is_deleted()));
        // Of two lines that were told alone, as the client was cut at each, and of which one was moved back, the other comes
        // again.
        let is_other_half = message.system.is_some() && self.half_at.is_some_and(|tick| tick != message.seq);
        if known.is_some_and(|(seq, _)| seq == message.seq) && is_other_half {
            self.half = Some(message.id);
            return;
        }
        assert!(known.is_none_or(|(seq, _)| seq < message.seq), "told twice: {known:?} {message:?}");
        if message.system.is_some() && (kind == "created" || !self.lines.contains_key(&message.id)) {
            self.half = Some(message.id);
        }
        let wanted = match known {
            Some((_, false)) | None if message.is_deleted() => "deleted",
            None => "created",
            Some(_) => "updated",
        };
        if self.is_often_cut && wanted == "updated" && kind != "updated" {
            return;
        }
        self.exact += 1;
        assert_eq!(kind, wanted, "{known:?} {message:?}");
        if let (Some((seq, _)), Event::Updated(_, told)) = (known, &item.event) {
            let ticks = &message.changes;
            let all = [Aspect::Content, Aspect::Reactions, Aspect::Thread];
            let changed = all.into_iter().zip([ticks.content, ticks.reactions, ticks.thread]);
            let changed: Vec<_> = changed.filter(|(_, tick)| *tick > seq).map(|(aspect, _)| aspect).collect();
            assert!(changed.iter().all(|aspect| told.contains(aspect)), "known at {seq}: {message:?}");
            assert!(self.is_often_cut || *told == changed, "known at {seq}: {message:?}");
        }
    }
}

/// With pages that are full, pages that others have read already, and a log that moves on all the while.
#[tokio::test]
async fn any_number_of_cuts_changes_nothing_of_what_is_told() {
    for seed in 0..12 {
        let (mut channel, mut dice) = (Channel::new(), Dice(seed));
        let mut ids: Vec<MessageId> = Vec::new();
        let mut clients: [Client; 3] = Default::default();
        for round in 0..60 {
            for _ in 0..dice.below(if round % 20 == 0 { 300 } else { 20 }) {
                let aspects = [Aspect::Content, Aspect::Reactions, Aspect::Thread, Aspect::Deleted];
                match dice.below(16) {
                    0 => ids.push(channel.line().await),
                    1..6 => ids.push(channel.append(1, "words").await[0].id),
                    6..15 if !ids.is_empty() => {
                        let (id, aspect) = (ids[dice.below(ids.len())], aspects[dice.below(3)]);
                        channel.alter(id, aspect).await;
                    }
                    _ if !ids.is_empty() => {
                        let id = ids[dice.below(ids.len())];
                        let message = channel.messages.get(&[(channel.key, id)]).await.unwrap().remove(0);
                        if message.system.is_none() {
                            channel.alter(id, aspects[3]).await;
                        }
                    }
                    _ => {}
                }
            }
            channel.deliver(Raw::Check);
            for client in &mut clients {
                // Mostly cut within what was missed.
                client.follow(&channel, dice.below(if round % 7 == 0 { 400 } else { 30 })).await;
            }
        }
        channel.move_on();
        for mut client in clients {
            client.follow(&channel, usize::MAX).await;
            assert!(client.exact > 500, "{}", client.exact);
            for message in channel.messages.of(channel.key) {
                assert_eq!(client.known.get(&message.id), Some(&(message.seq, message.is_deleted())));
                assert_eq!(client.lines.contains_key(&message.id), message.system.is_some());
            }
        }
    }
}
