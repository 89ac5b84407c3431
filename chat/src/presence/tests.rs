#![allow(clippy::unwrap_used, clippy::expect_used)]

use quikapp_entities::{ChannelId, channels::ChannelType, workspace_members::MemberRole};
use uuid::Uuid;

use super::*;
use crate::{access::WorkspaceMember, accounts::fixture::World, channels::NewChannel};

const MINUTE: Duration = Duration::from_mins(1);

/// A workspace with its owner and some more people in it.
struct Team {
    owner: WorkspaceMember,
    people: Vec<Viewer>,
}

impl Team {
    async fn new(world: &World, people: usize, role: MemberRole) -> Self {
        let slug = format!("w{}", Uuid::now_v7().simple());
        let owner = person(world).await;
        let owner = world.chat.create_workspace(&owner, "Team", &slug).await.unwrap();
        let mut team = Self { owner, people: Vec::new() };
        for _ in 0..people {
            let viewer = person(world).await;
            let invitation = world.chat.create_invitation(&team.owner, None, role, None).await.unwrap();
            world.chat.accept_invitation(&viewer, &invitation.token).await.unwrap();
            team.people.push(viewer);
        }
        team
    }

    async fn channel(&self, chat: &Chat, members: &[UserId]) -> ChannelId {
        let new = NewChannel {
            kind: ChannelType::Private,
            name: Some(format!("c{}", Uuid::now_v7().simple())),
            topic: None,
            description: None,
            entity_type: None,
            entity_id: None,
            history_visibility: None,
            member_ids: members.to_vec(),
        };
        chat.create_channel(&self.owner, new).await.unwrap().channel().id
    }
}

async fn person(world: &World) -> Viewer {
    let email = format!("{}@example.org", Uuid::now_v7().simple());
    world.register(&email).await.unwrap().viewer
}

async fn status(chat: &Chat, viewer: &Viewer, user: UserId) -> Option<PresenceStatus> {
    chat.presences(viewer, &[user]).await.unwrap().get(&user).map(|presence| presence.status)
}

async fn last_seen(chat: &Chat, user: UserId) -> Option<Timestamp> {
    users::Entity::find_by_id(user).one(chat.db.pool()).await.unwrap().unwrap().last_seen_at
}

/// Waits until `probe` holds; what is waited for goes on in tasks beside.
async fn eventually(mut probe: impl AsyncFnMut() -> bool) {
    for _ in 0..2_000 {
        if probe().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within ten seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_is_for_those_who_share_a_channel() {
    for world in World::all().await {
        let chat = &world.chat;
        let team = Team::new(&world, 2, MemberRole::Member).await;
        let (owner, stranger) = (*team.owner.viewer(), person(&world).await);
        let [ada, bob] = [team.people[0], team.people[1]];
        for viewer in [&ada, &bob, &owner, &stranger] {
            chat.connections_opened(&[(viewer.user(), Uuid::now_v7())]).await.unwrap();
        }
        let online = Some(PresenceStatus::Online);
        for other in [&ada, &bob, &owner] {
            assert_eq!(status(chat, &ada, other.user()).await, online);
        }
        assert_eq!(status(chat, &stranger, stranger.user()).await, online);
        assert_eq!(status(chat, &stranger, ada.user()).await, None);
        assert!(chat.watch_presence(&stranger, &[stranger.user(), ada.user()]).await.is_err());
        let all = [ada, bob, owner, stranger].map(|viewer| viewer.user());
        assert_eq!(chat.presences(&owner, &all).await.unwrap().len(), 3);

        // Nothing is told of who is not seen any more, even if it happened before that.
        let mut watch = chat.watch_presence(&ada, &[bob.user(), owner.user()]).await.unwrap();
        chat.set_presence(&bob, PresenceStatus::Dnd, None).await.unwrap();
        chat.remove_workspace_member(&team.owner, bob.user()).await.unwrap();
        assert_eq!(status(chat, &ada, bob.user()).await, None);
        chat.set_presence(&owner, PresenceStatus::Away, None).await.unwrap();
        let told = watch.next().await.unwrap();
        assert_eq!(told.iter().map(|presence| presence.user).collect::<Vec<_>>(), [owner.user()]);
        chat.remove_workspace_member(&team.owner, ada.user()).await.unwrap();
        assert_eq!(watch.next().await, None, "nobody is left to watch");
        assert_eq!(chat.presence.board.size().0, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_together_and_each_once() {
    for world in World::all().await {
        let chat = &world.chat;
        let team = Team::new(&world, 3, MemberRole::Member).await;
        let owner = *team.owner.viewer();
        let users: Vec<UserId> = team.people.iter().map(Viewer::user).collect();
        let connections: Vec<_> = users.iter().map(|user| (*user, Uuid::now_v7())).collect();
        let mut watch = chat.watch_presence(&owner, &users).await.unwrap();
        chat.connections_opened(&connections).await.unwrap();
        let mut told = watch.next().await.unwrap();
        told.sort_by_key(|presence| presence.user);
        assert_eq!(told.iter().map(|presence| presence.user).collect::<Vec<_>>(), users);
        assert!(told.iter().all(|presence| presence.status == PresenceStatus::Online));

        // However often things change, lists of those whose status is another one come twice a second.
        let changing = {
            let (chat, one) = (chat.clone(), team.people[0]);
            tokio::spawn(async move {
                for turn in 0_usize.. {
                    let status = [PresenceStatus::Away, PresenceStatus::Dnd][turn % 2];
                    chat.set_presence(&one, status, None).await.unwrap();
                    chat.confirm_connections(&connections).await.unwrap();
                }
            })
        };
        let mut before = PresenceStatus::Online;
        let mut last = tokio::time::Instant::now();
        for batch in 0..3 {
            let told = watch.next().await.unwrap();
            assert_eq!(told.len(), 1, "only one of them changed");
            assert_eq!(told[0].user, users[0]);
            assert_ne!(told[0].status, before);
            assert!(batch == 0 || last.elapsed() > Duration::from_millis(400), "{:?}", last.elapsed());
            (before, last) = (told[0].status, tokio::time::Instant::now());
        }
        changing.abort();
        drop(watch);
        assert_eq!(chat.presence.board.size(), (0, 0), "somebody stays on the board");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn choices_and_rest_decide_how_somebody_is_reached() {
    for world in World::all().await {
        let (chat, clock) = (&world.chat, &world.clock);
        let ada = person(&world).await;
        let connection = [(ada.user(), Uuid::now_v7())];
        let now = async || status(chat, &ada, ada.user()).await.unwrap();
        let rest = async |minutes: u32| {
            for _ in 0..minutes {
                clock.advance(MINUTE);
                chat.confirm_connections(&connection).await.unwrap();
            }
        };
        assert_eq!(now().await, PresenceStatus::Offline);
        chat.connections_opened(&connection).await.unwrap();
        rest(9).await;
        assert_eq!(now().await, PresenceStatus::Online);
        rest(1).await;
        assert_eq!(now().await, PresenceStatus::Away);
        chat.note_act(ada.user());
        eventually(async || now().await == PresenceStatus::Online).await;

        // What was chosen holds through rest, and over a loss of all connections.
        let end = chat.now().plus(20 * MINUTE);
        let presence = chat.set_presence(&ada, PresenceStatus::Dnd, Some(end)).await.unwrap();
        assert_eq!(presence.status, PresenceStatus::Dnd);
        rest(15).await;
        assert_eq!(now().await, PresenceStatus::Dnd);
        let other = world.other_node();
        assert_eq!(status(&other, &ada, ada.user()).await, Some(PresenceStatus::Offline));
        other.connections_opened(&connection).await.unwrap();
        assert_eq!(status(&other, &ada, ada.user()).await, Some(PresenceStatus::Dnd));
        rest(5).await;
        assert_eq!(now().await, PresenceStatus::Away, "DND ended by itself");
        let presence = chat.set_presence(&ada, PresenceStatus::Online, None).await.unwrap();
        assert_eq!(presence.status, PresenceStatus::Online);

        let past = Some(chat.now());
        for (status, until, field) in [
            (PresenceStatus::Offline, None, "status"),
            (PresenceStatus::Dnd, past, "dndUntil"),
            (PresenceStatus::Away, Some(end.plus(MINUTE)), "dndUntil"),
        ] {
            match chat.set_presence(&ada, status, until).await {
                Err(Error::Invalid(fields)) => assert_eq!(fields[0].field, field),
                other => panic!("expected Invalid, got {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn last_seen_is_written_for_many_at_once_and_once_a_minute() {
    for world in World::all().await {
        let (chat, clock) = (&world.chat, &world.clock);
        let mut people = Vec::new();
        for _ in 0..5 {
            people.push((person(&world).await.user(), Uuid::now_v7()));
        }
        let written = async |people: &[(UserId, Uuid)], at: Timestamp| {
            for (user, _) in people {
                if last_seen(chat, *user).await != Some(at) {
                    return false;
                }
            }
            true
        };
        // What one costs, five cost.
        let mut costs = Vec::new();
        for count in [1, 5] {
            clock.advance(MINUTE);
            let before = chat.db.queries();
            chat.confirm_connections(&people[..count]).await.unwrap();
            chat.flush_last_seen().await.unwrap();
            eventually(async || chat.presence.seen.is_settled()).await;
            costs.push(chat.db.queries() - before);
            assert!(written(&people[..count], chat.now()).await);
        }
        assert_eq!(costs[0], costs[1]);
        // Within the minute nothing is written, neither by this node nor by another one.
        let first = chat.now();
        clock.advance(MINUTE / 2);
        let other = world.other_node();
        for node in [chat, &other] {
            node.connections_closed(&people).await.unwrap();
            node.flush_last_seen().await.unwrap();
        }
        assert!(written(&people, first).await);
        clock.advance(MINUTE / 2);
        other.confirm_connections(&people).await.unwrap();
        other.flush_last_seen().await.unwrap();
        eventually(async || written(&people, other.now()).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_with_a_connection_are_counted() {
    for world in World::all().await {
        let (chat, clock) = (&world.chat, &world.clock);
        let team = Team::new(&world, 4, MemberRole::Member).await;
        let users: Vec<UserId> = team.people.iter().map(Viewer::user).collect();
        let channels = [team.channel(chat, &users).await, team.channel(chat, &users[..2]).await];
        let connections: Vec<_> = users[..3].iter().map(|user| (*user, Uuid::now_v7())).collect();
        chat.connections_opened(&connections).await.unwrap();
        let count = async |size: i32| {
            let found = chat.online_in_channels(&channels.map(|channel| (channel, size))).await.unwrap();
            channels.map(|channel| found[&channel])
        };
        let (small, large) = (counts::SMALL, counts::SMALL + 1);
        assert_eq!(count(small).await, [3, 2]);
        assert_eq!(count(large).await, [3, 2]);
        let workspace = team.owner.id();
        assert_eq!(chat.online_in_workspaces(&[(workspace, small)]).await.unwrap()[&workspace], 3);

        // The silenced are no ACTIVE members, and who left is none.
        let member = chat.channel_member(team.owner.viewer(), channels[0]).await.unwrap();
        let muted = Some(channel_members::MembershipStatus::Muted);
        chat.update_channel_member(&member, users[0], None, muted).await.unwrap();
        chat.remove_channel_member(&member, users[1]).await.unwrap();
        chat.connections_closed(&connections[2..]).await.unwrap();
        assert_eq!(count(small).await, [1, 2]);
        assert_eq!(count(large).await, [3, 2], "remembered");
        clock.advance(Duration::from_secs(10));
        assert_eq!(count(large).await, [1, 2]);
        clock.advance(Duration::from_secs(20));
        assert_eq!(count(small).await, [0, 2], "the grace is over");

        let before = chat.db.queries();
        count(small).await;
        assert_eq!(chat.db.queries() - before, 1, "two channels cost more than one query");
    }
}
