#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use quikapp_entities::{
    channel_members::{self, MembershipStatus},
    channels as channel_rows, users,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sea_orm::PaginatorTrait;
use serde_json::json;

use super::*;
use crate::{channels::NewChannel, testing::World};

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_round_trips_and_keeps_its_slug_to_itself() {
    for world in World::all().await {
        let chat = &world.chat;
        let ada = world.user("Ada").await;
        let slug = format!("acme-{}", uuid::Uuid::now_v7().simple());
        let made = chat.create_workspace(&ada, " Acme ", &slug).await.unwrap();
        let found = chat.workspace_by_slug(&ada, &slug).await.unwrap();
        assert_eq!(found.workspace(), made.workspace());
        let row = made.workspace();
        assert_eq!((row.name.as_str(), row.owner_id, made.role()), ("Acme", ada.user(), MemberRole::Owner));
        assert_eq!((row.member_count, row.channel_count, row.plan), (1, 1, WorkspacePlan::Free));
        let general = chat.workspace_channels(&made, None, false, &Window::first(10)).await.unwrap();
        assert!(general.items[0].channel().is_general && general.items[0].membership().is_some());
        match chat.create_workspace(&ada, "Other", &slug).await {
            Err(Error::AlreadyExists(field)) => assert_eq!(field.field, "slug"),
            other => panic!("{other:?}"),
        }
        for slug in ["", "a", "A-b", "a--b", "-ab", "ab-", "ä-b", "a_b", &"a".repeat(101)] {
            assert!(matches!(chat.create_workspace(&ada, "x", slug).await, Err(Error::Invalid(_))), "{slug}");
        }
        let stranger = world.user("Eve").await;
        let unseen = Error::NotFound("workspace");
        assert_eq!(chat.workspace_member(&stranger, made.id()).await.unwrap_err(), unseen);
        assert_eq!(chat.workspace_by_slug(&stranger, &slug).await.unwrap_err(), unseen);

        let settings =
            json!({"theme": {"x": [1, null]}, "defaultLocale": "de-AT", "whoCanCreateChannels": "ADMINS"});
        let changes = WorkspaceChanges {
            name: Some("Acme Inc".into()),
            domain: Some(Some("Acme.Example".into())),
            icon_url: Some(Some("https://acme.example/i.png".into())),
            settings: Some(settings.clone()),
            plan: Some(WorkspacePlan::Pro),
        };
        let updated = chat.update_workspace(&made, changes).await.unwrap();
        let row = updated.workspace();
        assert_eq!((&row.settings, row.domain.as_deref()), (&settings, Some("acme.example")));
        assert_eq!((row.plan, row.name.as_str()), (WorkspacePlan::Pro, "Acme Inc"));
        let bad = WorkspaceChanges {
            name: Some("  ".into()),
            domain: Some(Some("no host".into())),
            icon_url: Some(Some("javascript:alert(1)".into())),
            settings: Some(
                json!({"allowGuestInvites": 1, "whoCanCreateChannels": "ALL", "pad": "x".repeat(16_384)}),
            ),
            plan: None,
        };
        let Err(Error::Invalid(fields)) = chat.update_workspace(&made, bad).await else { panic!() };
        let mut fields: Vec<_> = fields.into_iter().map(|field| field.field).collect();
        fields.sort();
        assert_eq!(
            fields,
            [
                "input.domain",
                "input.iconUrl",
                "input.name",
                "input.settings",
                "input.settings.allowGuestInvites",
                "input.settings.whoCanCreateChannels"
            ]
        );
        let second = world.workspace(&ada).await;
        let mine = chat.viewer_workspaces(&ada, &Window::first(1)).await.unwrap();
        assert!(mine.has_more);
        let after = ViewerWorkspacesCursor::of(&mine.items[0]);
        let rest = chat.viewer_workspaces(&ada, &Window::after(after, 5)).await.unwrap();
        assert_eq!(rest.items.iter().map(WorkspaceMember::id).collect::<Vec<_>>(), [second.id()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invitations_let_in_whom_they_are_for_and_nobody_else() {
    for world in World::all().await {
        let chat = &world.chat;
        let ada = world.workspace(&world.user("Ada").await).await;
        let unknown = Error::NotFound("invitation");
        let (bob, eve) = (world.user("Bob").await, world.user("Eve").await);
        let bobs = users::Entity::find_by_id(bob.user()).one(chat.db.pool()).await.unwrap().unwrap().email;
        let letter =
            chat.create_invitation(&ada, Some(&bobs.to_uppercase()), MemberRole::Admin, None).await.unwrap();
        assert_eq!(chat.accept_invitation(&eve, &letter.token).await.unwrap_err(), unknown);
        assert_eq!(chat.accept_invitation(&eve, "nonsense").await.unwrap_err(), unknown);
        let accepted = chat.accept_invitation(&bob, &letter.token).await.unwrap();
        assert_eq!((accepted.role(), accepted.workspace().member_count), (MemberRole::Admin, 2));
        assert_eq!(accepted.membership().invited_by, Some(ada.viewer().user()));
        // Sent again because the first answer was lost.
        chat.accept_invitation(&bob, &letter.token).await.unwrap();
        chat.remove_workspace_member(&ada, bob.user()).await.unwrap();
        assert_eq!(chat.accept_invitation(&bob, &letter.token).await.unwrap_err(), unknown);

        let link = chat.create_invitation(&ada, None, MemberRole::Member, None).await.unwrap();
        let mut tasks = Vec::new();
        for n in 0..12 {
            let (chat, token) = (chat.clone(), link.token.clone());
            let viewer = world.user(&format!("user {n}")).await;
            for _ in 0..2 {
                let (chat, token) = (chat.clone(), token.clone());
                tasks.push(tokio::spawn(async move { chat.accept_invitation(&viewer, &token).await }));
            }
        }
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        check_counts(&world, ada.id()).await;
        let ada = chat.workspace_member(ada.viewer(), ada.id()).await.unwrap();
        assert_eq!(ada.workspace().member_count, 13);

        let now = chat.env.now();
        for at in [now, now.plus(Duration::from_hours(31 * 24))] {
            let bad = chat.create_invitation(&ada, None, MemberRole::Member, Some(at)).await;
            assert!(matches!(bad, Err(Error::Invalid(_))));
        }
        let soon = now.plus(Duration::from_millis(500));
        let short = chat.create_invitation(&ada, None, MemberRole::Member, Some(soon)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(chat.accept_invitation(&eve, &short.token).await.unwrap_err(), unknown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_removed_is_out_of_everything_and_comes_back_to_the_general_channel_only() {
    for world in World::all().await {
        let chat = &world.chat;
        let ada = world.workspace(&world.user("Ada").await).await;
        let (bob, bob_there) = world.member(&ada, "Bob", MemberRole::Member).await;
        let new = NewChannel { member_ids: vec![bob.user()], ..channel(ChannelType::Private, "secret") };
        let secret = chat.create_channel(&ada, new).await.unwrap();
        let (direct, _) = chat.open_direct_channel(&bob_there, &[ada.viewer().user()]).await.unwrap();
        let link = chat.create_invitation(&bob_there, None, MemberRole::Member, None).await.unwrap();
        chat.remove_workspace_member(&ada, bob.user()).await.unwrap();
        assert_eq!(chat.workspace_member(&bob, ada.id()).await.unwrap_err(), Error::NotFound("workspace"));
        for id in [secret.channel().id, direct.channel().id] {
            assert_eq!(chat.channel_reader(&bob, id).await.unwrap_err(), Error::NotFound("channel"));
        }
        let lines = world.messages.of(secret.key());
        assert_eq!(lines.len(), 1);
        // The link that Bob left behind lets nobody in.
        assert!(chat.accept_invitation(&bob, &link.token).await.is_err());
        // A proof from before is worth nothing.
        assert!(chat.create_channel(&bob_there, channel(ChannelType::Public, "mine")).await.is_err());
        assert!(chat.create_invitation(&bob_there, None, MemberRole::Member, None).await.is_err());
        check_counts(&world, ada.id()).await;

        let back = chat.create_invitation(&ada, None, MemberRole::Member, None).await.unwrap();
        let bob_there = chat.accept_invitation(&bob, &back.token).await.unwrap();
        let mine = chat.viewer_channels(&bob, None, &Window::first(10)).await.unwrap();
        assert_eq!(mine.items.len(), 1);
        assert!(mine.items[0].channel().is_general);
        // Both are in the conversation again once one of them opens it.
        let (again, created) = chat.open_direct_channel(&bob_there, &[ada.viewer().user()]).await.unwrap();
        assert_eq!(
            (again.channel().id, again.channel().member_count, created),
            (direct.channel().id, 2, false)
        );
        check_counts(&world, ada.id()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_listed_by_role_and_beginning_of_their_name() {
    for world in World::all().await {
        let chat = &world.chat;
        let ada = world.workspace(&world.user("Ada").await).await;
        for name in ["100%", "100 ways", "bert", "Bertha"] {
            world.member(&ada, name, MemberRole::Guest).await;
        }
        let count = async |role, query| {
            chat.workspace_members(&ada, role, query, &Window::first(50)).await.unwrap().items.len()
        };
        assert_eq!(count(None, None).await, 5);
        assert_eq!(count(Some(MemberRole::Guest), None).await, 4);
        assert_eq!(count(None, Some("BERT")).await, 2);
        assert_eq!(count(None, Some("100%")).await, 1);
        let page = chat.workspace_members(&ada, None, None, &Window::first(2)).await.unwrap();
        assert!(page.has_more);
        let rest = Window::after(page.items[1].user_id, 50);
        assert_eq!(chat.workspace_members(&ada, None, None, &rest).await.unwrap().items.len(), 3);
    }
}

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

/// The counters equal a fresh count.
async fn check_counts(world: &World, workspace: WorkspaceId) {
    let pool = world.chat.db.pool();
    let row = workspaces::Entity::find_by_id(workspace).one(pool).await.unwrap().unwrap();
    let members = workspace_members::Entity::find()
        .filter(workspace_members::Column::WorkspaceId.eq(workspace))
        .count(pool)
        .await
        .unwrap();
    let channels = channel_rows::Entity::find()
        .filter(channel_rows::Column::WorkspaceId.eq(workspace))
        .all(pool)
        .await
        .unwrap();
    assert_eq!(
        (i64::from(row.member_count), usize::try_from(row.channel_count).unwrap()),
        (i64::try_from(members).unwrap(), channels.len())
    );
    for channel in channels {
        let active = channel_members::Entity::find()
            .filter(channel_members::Column::ChannelId.eq(channel.id))
            .filter(channel_members::Column::Status.eq(MembershipStatus::Active))
            .count(pool)
            .await
            .unwrap();
        assert_eq!(u64::try_from(channel.member_count).unwrap(), active, "{}", channel.name);
    }
}

/// Random acts of six people at once; whatever was refused, the counters hold.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counters_equal_a_fresh_count_after_any_sequence() {
    for world in World::all().await {
        let chat = world.chat.clone();
        let ada = world.workspace(&world.user("Ada").await).await;
        let link = chat.create_invitation(&ada, None, MemberRole::Member, None).await.unwrap();
        let mut ids = Vec::new();
        for (n, kind) in
            [ChannelType::Public, ChannelType::Public, ChannelType::Private].into_iter().enumerate()
        {
            let made = chat.create_channel(&ada, channel(kind, &format!("c{n}"))).await.unwrap();
            ids.push(made.channel().id);
        }
        let mut people = vec![*ada.viewer()];
        for n in 0..5 {
            people.push(world.user(&format!("user {n}")).await);
        }
        let mut tasks = Vec::new();
        for seed in 0..6_u64 {
            let (chat, ada, ids, people, token) =
                (chat.clone(), ada.clone(), ids.clone(), people.clone(), link.token.clone());
            tasks.push(tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(seed);
                for step in 0..40 {
                    let me = people[random.random_range(0..people.len())];
                    let other = people[random.random_range(0..people.len())].user();
                    let id = ids[random.random_range(0..ids.len())];
                    let act = random.random_range(0..10);
                    let outcome =
                        act_at_random(&chat, &ada, &token, me, other, id, act, seed * 100 + step).await;
                    if let Err(error @ (Error::Internal | Error::Unavailable { .. })) = outcome {
                        panic!("act {act}: {error:?}");
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        check_counts(&world, ada.id()).await;
    }
}

#[allow(clippy::too_many_arguments)]
async fn act_at_random(
    chat: &Chat,
    ada: &WorkspaceMember,
    token: &str,
    me: Viewer,
    other: quikapp_entities::UserId,
    id: ChannelId,
    act: u32,
    number: u64,
) -> Result<()> {
    let workspace = ada.id();
    match act {
        0 | 1 => chat.accept_invitation(&me, token).await.map(drop),
        2 => {
            let member = chat.workspace_member(&me, workspace).await?;
            chat.remove_workspace_member(&member, other).await
        }
        3 | 4 => chat.join_channel(&me, id).await.map(drop),
        5 => chat.leave_channel(&chat.channel_reader(&me, id).await?).await,
        6 => {
            let member = chat.channel_member(&me, id).await?;
            chat.add_channel_members(&member, &[other, me.user()]).await.map(drop)
        }
        7 => {
            let member = chat.channel_member(&me, id).await?;
            chat.remove_channel_member(&member, other).await.map(drop)
        }
        8 => {
            let member = chat.channel_member(&me, id).await?;
            let status =
                if number.is_multiple_of(2) { MembershipStatus::Muted } else { MembershipStatus::Active };
            chat.update_channel_member(&member, other, None, Some(status)).await.map(drop)
        }
        _ => {
            let member = chat.workspace_member(&me, workspace).await?;
            chat.open_direct_channel(&member, &[other]).await?;
            let name = format!("new {number}");
            chat.create_channel(&member, channel(ChannelType::Public, &name)).await.map(drop)
        }
    }
}
