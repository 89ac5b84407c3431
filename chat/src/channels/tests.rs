#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::HashSet, sync::Arc};

use quikapp_entities::channel_members::MembershipStatus;

use super::*;
use crate::{
    live::Control,
    paging::Window,
    testing::{World, queries},
};

fn channel(kind: ChannelType, name: &str) -> NewChannel {
    NewChannel {
        kind,
        name: Some(name.into()),
        topic: None,
        description: None,
        entity_type: None,
        entity_id: None,
        history_visibility: None,
        member_ids: Vec::new(),
    }
}

fn fields(result: Result<VisibleChannel>) -> Vec<String> {
    match result {
        Err(Error::Invalid(fields)) => fields.into_iter().map(|field| field.field).collect(),
        other => panic!("expected Invalid, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_round_trips_and_every_bad_field_is_named() {
    for world in World::all().await {
        let chat = &world.chat;
        let owner = world.workspace(&world.user("Ada").await).await;
        let (bob, _) = world.member(&owner, "Bob", MemberRole::Member).await;
        let new = NewChannel {
            topic: Some(" Ships ".into()),
            description: Some("d".repeat(4_000)),
            entity_type: Some("order".into()),
            entity_id: Some("4711".into()),
            member_ids: vec![bob.user(), bob.user(), owner.viewer().user()],
            ..channel(ChannelType::Topic, "  Order 4711 ")
        };
        let made = chat.create_channel(&owner, new.clone()).await.unwrap();
        let row = made.channel();
        assert_eq!((row.name.as_str(), row.topic.as_deref()), ("Order 4711", Some("Ships")));
        assert_eq!((row.member_count, row.history_visibility), (2, HistoryVisibility::Shared));
        assert_eq!(made.membership().unwrap().role, MemberRole::Owner);
        let found = chat.channel_by_entity(&owner, "order", "4711").await.unwrap();
        assert_eq!(found.channel().id, row.id);
        let again = NewChannel { name: Some("another".into()), ..new.clone() };
        match chat.create_channel(&owner, again).await {
            Err(Error::AlreadyExists(field)) => assert_eq!(field.field, "input.entityId"),
            other => panic!("{other:?}"),
        }
        match chat.create_channel(&owner, channel(ChannelType::Public, "Order 4711")).await {
            Err(Error::AlreadyExists(field)) => assert_eq!(field.field, "input.name"),
            other => panic!("{other:?}"),
        }
        let bad = NewChannel {
            topic: Some("t".repeat(251)),
            description: Some("d".repeat(4_001)),
            ..channel(ChannelType::Topic, "dm:\u{7}")
        };
        assert_eq!(
            fields(chat.create_channel(&owner, bad).await),
            [
                "input.name",
                "input.name",
                "input.topic",
                "input.description",
                "input.entityType",
                "input.entityId"
            ]
        );
        assert_eq!(
            fields(chat.create_channel(&owner, channel(ChannelType::Direct, "")).await),
            ["input.type", "input.name"]
        );
        let stranger = world.user("Eve").await;
        let with = NewChannel { member_ids: vec![stranger.user()], ..channel(ChannelType::Private, "p") };
        assert_eq!(chat.create_channel(&owner, with).await.unwrap_err(), Error::NotFound("user"));
        // Nothing of the refused ones is left.
        let owner = chat.workspace_member(owner.viewer(), owner.id()).await.unwrap();
        assert_eq!(owner.workspace().channel_count, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_name_at_the_same_time_is_made_once() {
    for world in World::all().await {
        let owner = Arc::new(world.workspace(&world.user("Ada").await).await);
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (chat, owner) = (world.chat.clone(), Arc::clone(&owner));
                tokio::spawn(async move {
                    chat.create_channel(&owner, channel(ChannelType::Public, "same")).await
                })
            })
            .collect();
        let mut made = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => made += 1,
                Err(Error::AlreadyExists(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(made, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_channel_is_single_however_many_open_it() {
    for world in World::all().await {
        let ada = world.workspace(&world.user("Ada").await).await;
        let (_, bob) = world.member(&ada, "Bob", MemberRole::Member).await;
        let tasks: Vec<_> = (0..50)
            .map(|n| {
                let (chat, ada, bob) = (world.chat.clone(), ada.clone(), bob.clone());
                tokio::spawn(async move {
                    let (me, other) = if n % 2 == 0 { (&ada, &bob) } else { (&bob, &ada) };
                    chat.open_direct_channel(me, &[other.viewer().user()]).await.unwrap()
                })
            })
            .collect();
        let (mut ids, mut created) = (HashSet::new(), 0);
        for task in tasks {
            let (reader, new) = task.await.unwrap();
            assert_eq!(reader.channel().member_count, 2);
            ids.insert(reader.channel().id);
            created += i32::from(new);
        }
        assert_eq!((ids.len(), created), (1, 1));
        let id = *ids.iter().next().unwrap();
        let chat = &world.chat;
        let between = chat.members_of_direct(ada.viewer(), &[id]).await.unwrap();
        let mut both = vec![ada.viewer().user(), bob.viewer().user()];
        both.sort_unstable();
        assert_eq!(between[&id], both);
        let eve = world.user("Eve").await;
        assert!(chat.members_of_direct(&eve, &[id]).await.unwrap().is_empty());

        let (notes, _) = chat.open_direct_channel(&ada, &[ada.viewer().user()]).await.unwrap();
        assert_eq!((notes.channel().kind, notes.channel().member_count), (ChannelType::Direct, 1));
        assert_eq!(chat.open_direct_channel(&ada, &[eve.user()]).await.unwrap_err(), Error::NotFound("user"));
        let (_, carol) = world.member(&ada, "Carol", MemberRole::Guest).await;
        let people = [bob.viewer().user(), carol.viewer().user()];
        let (group, _) = chat.open_direct_channel(&ada, &people).await.unwrap();
        assert_eq!(group.channel().kind, ChannelType::GroupDirect);
        // Who left it is in it again when it is opened, and does not see what was written meanwhile.
        let reader = chat.channel_reader(carol.viewer(), group.channel().id).await.unwrap();
        chat.leave_channel(&reader).await.unwrap();
        assert_eq!(
            chat.channel_reader(carol.viewer(), group.channel().id).await.unwrap_err(),
            Error::NotFound("channel")
        );
        let people = [carol.viewer().user(), ada.viewer().user()];
        let (again, new) = chat.open_direct_channel(&bob, &people).await.unwrap();
        assert_eq!((again.channel().id, again.channel().member_count, new), (group.channel().id, 3, false));
        let back = chat.channel_reader(carol.viewer(), group.channel().id).await.unwrap();
        assert_eq!(back.floor(), 1, "the line about leaving is hidden, the one about coming back is not");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_viewers_list_is_ordered_pages_and_costs_one_query() {
    for world in World::all().await {
        let chat = &world.chat;
        let ada = world.workspace(&world.user("Ada").await).await;
        let mut activity = Vec::new();
        for n in 0..12_i64 {
            let made = chat.create_channel(&ada, channel(ChannelType::Private, &format!("c{n:02}"))).await;
            let made = made.unwrap();
            let preferences = crate::channel_members::ChannelPreferences {
                is_pinned: Some(n % 5 == 0),
                ..Default::default()
            };
            chat.set_channel_preferences(&made, preferences).await.unwrap();
            if n % 3 != 0 {
                activity.push(ChannelActivity {
                    channel: made.channel().id,
                    message_count: n,
                    last_message_at: Some(Timestamp(n / 2)),
                    log_seq: 5,
                });
            }
            if n == 11 {
                let member = chat.channel_member(ada.viewer(), made.channel().id).await.unwrap();
                chat.archive_channel(&member, true).await.unwrap();
            }
        }
        chat.set_channel_activity(&activity).await.unwrap();
        // An older state of the log changes nothing.
        let stale: Vec<_> =
            activity.iter().map(|one| ChannelActivity { message_count: 999, log_seq: 5, ..*one }).collect();
        chat.set_channel_activity(&stale).await.unwrap();

        let window = Window::first(200);
        let list = || chat.viewer_channels(ada.viewer(), Some(ada.id()), &window);
        assert_eq!(queries(chat, list).await, 1);
        let all = list().await.unwrap();
        assert_eq!((all.items.len(), all.has_more), (12, false));
        assert!(all.items.iter().all(|reader| reader.channel().message_count < 999));
        let keys: Vec<_> = all
            .items
            .iter()
            .map(|reader| {
                let at = reader.channel().last_message_at;
                let pinned = reader.membership().unwrap().is_pinned;
                (!pinned, at.is_none(), std::cmp::Reverse(at), reader.channel().id)
            })
            .collect();
        assert!(keys.is_sorted(), "{keys:?}");
        for size in [1, 2, 5] {
            let (mut ids, mut after) = (Vec::new(), None);
            loop {
                let window = Window { after, limit: size };
                let page = chat.viewer_channels(ada.viewer(), None, &window).await.unwrap();
                after = page.items.last().map(ViewerChannelsCursor::of);
                ids.extend(page.items.iter().map(|reader| reader.channel().id));
                if !page.has_more {
                    break;
                }
            }
            assert_eq!(ids, all.items.iter().map(|reader| reader.channel().id).collect::<Vec<_>>());
        }
        let listed =
            chat.workspace_channels(&ada, None, false, &Window::after("c03".into(), 3)).await.unwrap();
        let names: Vec<_> = listed.items.iter().map(|reader| reader.channel().name.as_str()).collect();
        assert_eq!((names, listed.has_more), (vec!["c04", "c05", "c06"], true));
        let with = chat.workspace_channels(&ada, None, true, &Window::first(50)).await.unwrap();
        assert_eq!(with.items.len(), 13);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn membership_changes_are_told_and_keep_one_row() {
    for world in World::all().await {
        let chat = &world.chat;
        let ada = world.workspace(&world.user("Ada").await).await;
        let (bob, bob_there) = world.member(&ada, "Bob", MemberRole::Member).await;
        let open = chat.create_channel(&ada, channel(ChannelType::Public, "open")).await.unwrap();
        let (id, key) = (open.channel().id, open.key());
        let member = chat.channel_member(ada.viewer(), id).await.unwrap();
        let mut controls = chat.hub.controls();

        let joins: Vec<_> = (0..8)
            .map(|_| {
                let chat = chat.clone();
                tokio::spawn(async move { chat.join_channel(&bob, id).await.unwrap() })
            })
            .collect();
        for join in joins {
            assert_eq!(join.await.unwrap().channel().member_count, 2);
        }
        assert_eq!(world.messages.of(key).len(), 1, "joined once, told once");
        let joined = chat.channel_reader(&bob, id).await.unwrap();
        chat.leave_channel(&joined).await.unwrap();
        let outside = chat.channel_reader(&bob, id).await.unwrap();
        assert_eq!(outside.joined_seq(), None);
        assert_eq!(
            chat.channel_member(&bob, id).await.unwrap_err(),
            Error::Forbidden("join the channel first")
        );
        let back = chat.join_channel(&bob, id).await.unwrap();
        assert_eq!(back.membership().unwrap().joined_seq, 2);

        let removed = chat.remove_channel_member(&member, bob.user()).await.unwrap();
        assert_eq!(
            (removed.status, removed.removed_by),
            (MembershipStatus::Removed, Some(ada.viewer().user()))
        );
        assert_eq!(chat.channel_reader(&bob, id).await.unwrap_err(), Error::NotFound("channel"));
        assert!(matches!(chat.join_channel(&bob, id).await, Err(Error::Forbidden(_))));
        let listed = chat.workspace_channels(&bob_there, None, true, &Window::first(50)).await.unwrap();
        assert!(listed.items.iter().all(|reader| reader.channel().is_general));
        // Said twice is done once.
        chat.remove_channel_member(&member, bob.user()).await.unwrap();
        chat.add_channel_members(&member, &[bob.user(), bob.user()]).await.unwrap();
        chat.add_channel_members(&member, &[bob.user()]).await.unwrap();
        let muted = chat
            .update_channel_member(&member, bob.user(), None, Some(MembershipStatus::Muted))
            .await
            .unwrap();
        assert_eq!(muted.status, MembershipStatus::Muted);
        assert_eq!(
            chat.channel_member(&bob, id).await.unwrap_err(),
            Error::Forbidden("you are muted in this channel")
        );
        let shown = chat.visible_channel(&bob, id).await.unwrap();
        assert_eq!(shown.channel().member_count, 1, "only ACTIVE members count");
        let told: Vec<_> = world.messages.of(key).into_iter().filter_map(|message| message.system).collect();
        let user = bob.user();
        let left = |removed_by| SystemEvent::MemberLeft { user, removed_by };
        assert_eq!(
            told,
            [
                SystemEvent::MemberJoined { user },
                left(None),
                SystemEvent::MemberJoined { user },
                left(Some(ada.viewer().user())),
                SystemEvent::MemberJoined { user },
                SystemEvent::MemberChanged { user, role: MemberRole::Member },
            ]
        );
        let mut announced = 0;
        while let Ok(control) = controls.try_recv() {
            assert_eq!(
                control,
                crate::live::Control::AccessChanged { user, workspace: ada.id(), channel: Some(id) }
            );
            announced += 1;
        }
        assert_eq!(announced, 6);
        // The owner goes: the channel does not stay without one.
        chat.update_channel_member(&member, bob.user(), None, Some(MembershipStatus::Active)).await.unwrap();
        chat.leave_channel(member.reader()).await.unwrap();
        let heir = chat.channel_member(&bob, id).await.unwrap();
        assert_eq!(heir.role(), MemberRole::Owner);
        let ids = [(id, bob.user()), (id, ada.viewer().user())];
        let rows = chat.memberships_by_ids(&bob, &ids).await.unwrap();
        assert_eq!(rows[&ids[1]].status, MembershipStatus::Left);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_for_all_members_is_announced_once() {
    for world in World::all().await {
        let chat = &world.chat;
        let ada = world.workspace(&world.user("Ada").await).await;
        let (bob, _) = world.member(&ada, "Bob", MemberRole::Member).await;
        let open = chat.create_channel(&ada, channel(ChannelType::Public, "open")).await.unwrap();
        let id = open.channel().id;
        chat.join_channel(&bob, id).await.unwrap();
        let member = chat.channel_member(ada.viewer(), id).await.unwrap();
        let mut controls = chat.hub.controls();
        let visibility = Some(HistoryVisibility::SinceJoin);
        let changes = ChannelChanges { history_visibility: visibility, ..ChannelChanges::default() };
        chat.update_channel(&member, changes.clone()).await.unwrap();
        let told = Control::ChannelAccessChanged { workspace: ada.id(), channel: id };
        assert_eq!(controls.try_recv(), Ok(told));
        // Neither what changes nothing, nor what concerns no access, is announced.
        chat.update_channel(&member, changes).await.unwrap();
        let topic = ChannelChanges { topic: Some(Some("news".into())), ..ChannelChanges::default() };
        chat.update_channel(&member, topic).await.unwrap();
        assert!(controls.try_recv().is_err());
    }
}
