#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{sync::atomic::Ordering, time::Duration};

use quikapp_entities::{UserId, WorkspaceId, outbox, workspace_members::MemberRole};
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, PaginatorTrait, Set};

use super::*;
use crate::{
    access::{Viewer, VisibleChannel, WorkspaceMember},
    channel_members::rows,
    channels::NewChannel,
    live::{
        event::{Event, ResetReason},
        viewer::workspace_log,
    },
    messages::model::{ChannelKey, SystemEvent},
    testing::World,
    workspaces::WorkspaceChanges,
};

/// A public channel with somebody in it, and nothing left over.
struct Scene {
    world: World,
    owner: WorkspaceMember,
    bob: Viewer,
    channel: VisibleChannel,
    left_over: LeftOver,
}

impl Scene {
    async fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for world in World::all().await {
            let owner = world.workspace(&world.user("Ada").await).await;
            let (bob, _) = world.member(&owner, "Bob", MemberRole::Member).await;
            let new = NewChannel {
                kind: quikapp_entities::channels::ChannelType::Public,
                name: Some("ships".into()),
                topic: None,
                description: None,
                entity_type: None,
                entity_id: None,
                history_visibility: None,
                member_ids: vec![bob.user()],
            };
            let channel = world.chat.create_channel(&owner, new).await.unwrap();
            let left_over = world.chat.left_over();
            let scene = Self { world, owner, bob, channel, left_over };
            scene.all_is_crossed_out().await;
            all.push(scene);
        }
        all
    }

    fn key(&self) -> ChannelKey {
        self.channel.key()
    }

    fn refuse(&self, refuses: bool) {
        self.world.messages.refuses.store(refuses, Ordering::SeqCst);
    }

    async fn leave(&self) {
        let reader = self.world.chat.channel_reader(&self.bob, self.key().channel).await.unwrap();
        self.world.chat.leave_channel(&reader).await.unwrap();
    }

    async fn join(&self) {
        self.world.chat.join_channel(&self.bob, self.key().channel).await.unwrap();
    }

    fn told_in(&self, key: ChannelKey) -> Vec<SystemEvent> {
        self.world.messages.of(key).into_iter().filter_map(|message| message.system).collect()
    }

    fn told(&self) -> Vec<SystemEvent> {
        self.told_in(self.key())
    }

    async fn rows(&self) -> u64 {
        outbox::Entity::find().count(self.world.chat.db.pool()).await.unwrap()
    }

    async fn all_is_crossed_out(&self) {
        self.come_to(0).await;
    }

    /// Waits until so many rows are left.
    async fn come_to(&self, rows: u64) {
        let waiting = async {
            while self.rows().await != rows {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("rows stay");
    }

    /// As if the node had been killed behind the commit.
    async fn commit(&self, untold: Vec<Untold>) {
        let now = self.world.chat.env.now();
        let kept = self.world.chat.db.write(move |tx| {
            let untold = untold.clone();
            Box::pin(async move { keep(tx, &untold, now).await })
        });
        kept.await.unwrap();
    }

    /// Bob is removed by the owner, whose node is killed behind the commit.
    async fn remove(&self) {
        let (key, user, actor) = (self.key(), self.bob.user(), self.owner.viewer().user());
        let now = self.world.chat.env.now();
        let removed = self.world.chat.db.write(move |tx| {
            Box::pin(async move {
                rows::lock_channel(tx, key.channel).await?;
                let member = rows::find(tx, key.channel, &[user]).await?.remove(&user).unwrap();
                let (_, heir) = rows::depart(tx, member, Some(actor), now).await?;
                let mut untold = Untold::departed(key, actor, (user, Some(actor)), heir);
                untold.push(Untold::of_membership(key, user));
                keep(tx, &untold, now).await
            })
        });
        removed.await.unwrap();
    }

    fn left(&self) -> SystemEvent {
        SystemEvent::MemberLeft { user: self.bob.user(), removed_by: None }
    }

    fn joined(&self) -> SystemEvent {
        SystemEvent::MemberJoined { user: self.bob.user() }
    }

    fn line(&self, event: SystemEvent) -> Untold {
        Untold::line(self.key(), self.bob.user(), event)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_message_store_refused_comes_by_itself_once_and_in_order() {
    for mut scene in Scene::all().await {
        scene.refuse(true);
        scene.leave().await;
        scene.join().await;
        scene.leave().await;
        let changes = WorkspaceChanges { name: Some("Ships".into()), ..WorkspaceChanges::default() };
        scene.world.chat.update_workspace(&scene.owner, changes).await.unwrap();
        let log = workspace_log(scene.owner.id());
        let before = scene.told_in(log);
        scene.left_over.tell().await.unwrap();
        // Whoever leaves has an entry in their own log too.
        assert_eq!((scene.told(), scene.rows().await), (Vec::new(), 6));
        scene.refuse(false);
        for _ in 0..2 {
            scene.left_over.tell().await.unwrap();
            assert_eq!(scene.told(), [scene.left(), scene.joined(), scene.left()]);
            assert_eq!(scene.told_in(log), [before.clone(), vec![SystemEvent::WorkspaceUpdated]].concat());
        }
        scene.all_is_crossed_out().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_workspace_is_told_whoever_changes_it() {
    for scene in Scene::all().await {
        let log = workspace_log(scene.owner.id());
        let entry = || {
            let all = scene.world.messages.of(log).into_iter();
            let mut entries = all.filter(|message| message.system == Some(SystemEvent::WorkspaceUpdated));
            let entry = entries.next().map(|entry| entry.seq);
            assert!(entries.next().is_none(), "two entries");
            entry
        };
        let (_, admin) = scene.world.member(&scene.owner, "Eve", MemberRole::Admin).await;
        let mut before = None;
        for (by, name) in [(&scene.owner, "Ships"), (&admin, "Boats"), (&scene.owner, "Rafts")] {
            let changes = WorkspaceChanges { name: Some(name.into()), ..WorkspaceChanges::default() };
            scene.world.chat.update_workspace(by, changes).await.unwrap();
            assert!(entry() > before, "{name} was not told");
            before = entry();
        }
        scene.all_is_crossed_out().await;

        // At the same time, and nobody was first.
        let part = UserId(Uuid::now_v7());
        let event = SystemEvent::UserUpdated { user: part };
        let authors = (0..8).map(|_| UserId(Uuid::now_v7()));
        let untold = authors.map(|author| Untold::of_workspace(scene.owner.id(), author, event.clone()));
        let telling = untold.map(|one| {
            let chat = scene.world.chat.clone();
            tokio::spawn(async move { chat.tell_one(&one).await })
        });
        for told in futures_util::future::join_all(telling).await {
            told.unwrap().unwrap();
        }
        assert_eq!(scene.told_in(log).iter().filter(|one| **one == event).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_line_about_the_same_person_is_told_before_a_later_one() {
    for scene in Scene::all().await {
        scene.refuse(true);
        scene.leave().await;
        // Somebody else's does not keep anybody waiting.
        scene
            .commit(vec![Untold::line(
                scene.key(),
                UserId(Uuid::nil()),
                SystemEvent::MemberJoined { user: UserId(Uuid::nil()) },
            )])
            .await;
        scene.refuse(false);
        scene.join().await;
        assert_eq!(scene.told(), [scene.left(), scene.joined()]);
        // A line that the store kept although it did not say so is no second one.
        scene.world.messages.forgets.store(true, Ordering::SeqCst);
        scene.leave().await;
        scene.world.messages.forgets.store(false, Ordering::SeqCst);
        scene.join().await;
        assert_eq!(scene.told(), [scene.left(), scene.joined(), scene.left(), scene.joined()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_node_left_is_told_once_by_all_who_find_it() {
    for scene in Scene::all().await {
        let chat = &scene.world.chat;
        let mut controls = chat.hub().controls();
        scene.commit(vec![scene.line(scene.left()), scene.line(scene.joined())]).await;
        let telling = (0..4).map(|_| {
            let mut left_over = chat.left_over();
            tokio::spawn(async move { left_over.tell().await })
        });
        for told in futures_util::future::join_all(telling).await {
            told.unwrap().unwrap();
        }
        assert_eq!(scene.told(), [scene.left(), scene.joined()]);
        let ChannelKey { workspace, channel } = scene.key();
        let expected = Control::AccessChanged { user: scene.bob.user(), workspace, channel: Some(channel) };
        assert_eq!(controls.try_recv(), Ok(expected));
        scene.all_is_crossed_out().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_access_is_announced_while_the_message_store_is_away_and_once_by_each_node() {
    for mut scene in Scene::all().await {
        scene.refuse(true);
        let workspace = scene.owner.id();
        scene.commit(vec![scene.line(scene.left())]).await;
        scene.commit(vec![Untold::access(workspace, None, [scene.bob.user()], scene.bob.user())]).await;
        let mut controls = scene.world.chat.hub().controls();
        scene.left_over.tell().await.unwrap();
        let expected = Control::AccessChanged { user: scene.bob.user(), workspace, channel: None };
        assert_eq!(controls.try_recv(), Ok(expected));
        scene.left_over.tell().await.unwrap();
        assert!(controls.try_recv().is_err(), "announced twice");
        scene.refuse(false);
        scene.left_over.tell().await.unwrap();
        assert_eq!(scene.told(), [scene.left()]);
        scene.all_is_crossed_out().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_changes_of_access_are_announced_before_the_message_store_is_waited_for() {
    for scene in Scene::all().await {
        scene.world.messages.hangs.store(true, Ordering::SeqCst);
        let workspace = scene.owner.id();
        // More than are looked at together.
        scene.commit((0..300).map(|_| scene.line(scene.left())).collect()).await;
        scene.commit(vec![Untold::access(workspace, None, [scene.bob.user()], scene.bob.user())]).await;
        let mut controls = scene.world.chat.hub().controls();
        let mut left_over = scene.world.chat.left_over();
        let telling = tokio::spawn(async move { left_over.tell().await });
        let expected = Control::AccessChanged { user: scene.bob.user(), workspace, channel: None };
        let announced = async { while controls.recv().await != Ok(expected) {} };
        tokio::time::timeout(Duration::from_secs(10), announced).await.expect("it was not announced");
        assert!(!telling.is_finished());
        telling.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_just_now_is_left_to_its_own_node() {
    for mut scene in Scene::all().await {
        scene.left_over.tell().await.unwrap();
        scene.commit(vec![scene.line(scene.left())]).await;
        scene.left_over.tell().await.unwrap();
        assert_eq!(scene.told(), []);
        scene.left_over.tell().await.unwrap();
        assert_eq!(scene.told(), [scene.left()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_place_any_more_is_dropped_and_what_is_not_understood_stays() {
    for mut scene in Scene::all().await {
        let gone = ChannelKey { channel: ChannelId(Uuid::now_v7()), ..scene.key() };
        let nowhere = WorkspaceId(Uuid::now_v7());
        let event = SystemEvent::WorkspaceUpdated;
        scene
            .commit(vec![
                Untold::line(gone, scene.bob.user(), scene.left()),
                Untold::of_workspace(nowhere, scene.bob.user(), event),
            ])
            .await;
        scene.left_over.tell().await.unwrap();
        scene.all_is_crossed_out().await;
        assert_eq!(scene.told_in(gone), []);
        assert_eq!(scene.told_in(workspace_log(nowhere)), []);

        // Of a version that is newer than this node.
        scene.commit(vec![scene.line(scene.left()), scene.line(scene.joined())]).await;
        let db = scene.world.chat.db.pool();
        let first = outbox::Entity::find().order_by_asc(Column::Position).one(db).await.unwrap().unwrap();
        let mut strange = first.into_active_model();
        strange.notice = Set(serde_json::json!({ "telepathy": 1 }));
        strange.update(db).await.unwrap();
        let mut left_over = scene.world.chat.left_over();
        left_over.tell().await.unwrap();
        scene.leave().await;
        // Nothing about the same person in the channel gets ahead of it; the entry in their own log is told.
        scene.come_to(3).await;
        assert_eq!(scene.told(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_is_tried_while_the_message_store_is_away_and_all_when_it_is_back() {
    for mut scene in Scene::all().await {
        scene.refuse(true);
        let people: Vec<_> = (0..300).map(|_| UserId(Uuid::now_v7())).collect();
        let access = Untold::access(scene.owner.id(), None, [scene.bob.user()], scene.bob.user());
        scene.commit(vec![access]).await;
        scene.commit(Untold::entered(scene.key(), scene.bob.user(), &people)).await;
        scene.left_over = scene.world.chat.left_over();
        scene.left_over.is_away = true;
        scene.left_over.tell().await.unwrap();
        assert_eq!(scene.world.messages.refused.load(Ordering::SeqCst), 1);
        let before = scene.world.messages.refused.load(Ordering::SeqCst);
        scene.left_over.tell().await.unwrap();
        assert_eq!(scene.world.messages.refused.load(Ordering::SeqCst) - before, 1);
        scene.refuse(false);
        scene.left_over.tell().await.unwrap();
        assert_eq!(scene.told().len(), people.len());
        scene.all_is_crossed_out().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_does_not_wait_for_each_of_its_lines_while_the_message_store_is_away() {
    for scene in Scene::all().await {
        scene.refuse(true);
        // Each in its own lane, as these are written together.
        let untold: Vec<_> = (0..300)
            .map(|_| {
                let key = ChannelKey { channel: ChannelId(Uuid::now_v7()), ..scene.key() };
                Untold::line(key, scene.bob.user(), scene.left())
            })
            .collect();
        scene.commit(untold.clone()).await;
        scene.world.chat.tell(untold).await;
        let refused = || scene.world.messages.refused.load(Ordering::SeqCst);
        assert!((1..=TOLD_AT_ONCE).contains(&refused()), "{} were tried", refused());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_told_rests_and_keeps_nobody_else_waiting() {
    for mut scene in Scene::all().await {
        let fails = |fails| scene.world.messages.fails.store(fails, Ordering::SeqCst);
        let failed = || scene.world.messages.failed.load(Ordering::SeqCst);
        fails(true);
        scene.leave().await;
        // The line once; the entry in their own log a few times, as somebody else might have been faster.
        let tried = failed();
        assert!(tried >= 1);
        scene.left_over.tell().await.unwrap();
        assert_eq!(failed(), tried, "it was tried again at once");
        fails(false);
        scene.join().await;
        let other = SystemEvent::MemberJoined { user: UserId(Uuid::nil()) };
        scene.commit(vec![scene.line(other.clone())]).await;
        let mut left_over = scene.world.chat.left_over();
        left_over.tell().await.unwrap();
        assert_eq!(scene.told(), std::slice::from_ref(&other));
        scene.world.pass(Duration::from_secs(11));
        left_over.tell().await.unwrap();
        assert_eq!(scene.told(), [other, scene.left(), scene.joined()]);
        scene.all_is_crossed_out().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_although_the_node_is_gone_that_put_its_viewer_out() {
    for mut scene in Scene::all().await {
        let chat = scene.world.chat.clone();
        let reader = chat.channel_reader(&scene.bob, scene.key().channel).await.unwrap();
        let mut stream =
            std::pin::pin!(chat.channel_events(&reader, None).await.unwrap().flat_map(stream::iter));
        scene.remove().await;
        scene.left_over.tell().await.unwrap();
        let ended = async {
            while let Some(item) = stream.next().await {
                if matches!(item.event, Event::Reset(ResetReason::AccessChanged)) {
                    return;
                }
            }
            panic!("ended without a word");
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the stream goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_by_the_line_of_their_viewers_removal_although_nothing_was_announced() {
    for scene in Scene::all().await {
        let chat = scene.world.chat.clone();
        let reader = chat.channel_reader(&scene.bob, scene.key().channel).await.unwrap();
        let root = MessageId(Uuid::now_v7());
        let mut channel =
            std::pin::pin!(chat.channel_events(&reader, None).await.unwrap().flat_map(stream::iter));
        let mut thread =
            std::pin::pin!(chat.thread_events(&reader, root, None).await.unwrap().flat_map(stream::iter));
        let mut viewer =
            std::pin::pin!(chat.viewer_events(&scene.bob, None, None).await.unwrap().flat_map(stream::iter));
        // About others: the streams go on.
        let actor = scene.owner.viewer().user();
        let changed = SystemEvent::MemberChanged { user: actor, role: MemberRole::Owner };
        chat.log.system(scene.key(), actor, changed, MessageId(Uuid::now_v7())).await.unwrap();
        scene.remove().await;
        let event = SystemEvent::MemberLeft { user: scene.bob.user(), removed_by: Some(actor) };
        chat.log.system(scene.key(), actor, event, MessageId(Uuid::now_v7())).await.unwrap();

        let told = async {
            let mut events = Vec::new();
            while let Some(item) = channel.next().await {
                events.push(item.event);
            }
            assert!(
                matches!(&events[..], [
                Event::Created(_),
                Event::MemberChanged(user),
                Event::Reset(ResetReason::AccessChanged),
            ] if *user == actor),
                "{events:?}"
            );
            let only = thread.next().await.map(|item| item.event);
            assert_eq!(only, Some(Event::Reset(ResetReason::AccessChanged)));
            assert!(thread.next().await.is_none());
            let mut events = Vec::new();
            for _ in 0..3 {
                events.push(viewer.next().await.unwrap().item);
            }
            assert_eq!(events[2].event, Event::MemberLeft(scene.bob.user(), Some(actor)));
            assert_eq!(events[2].position, None, "told by the line");
        };
        tokio::time::timeout(Duration::from_secs(10), told).await.expect("a stream goes on");
    }
}
