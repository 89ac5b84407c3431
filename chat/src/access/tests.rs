//! The authorisation matrix: every mutation by every role.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use futures_util::future::join_all;
use quikapp_entities::{channel_members::MembershipStatus, channels::ChannelType};

use super::*;
use crate::{
    channel_members::ChannelPreferences,
    channels::{ChannelChanges, NewChannel},
    testing::{World, queries},
    workspaces::WorkspaceChanges,
};

/// What became of an attempt, in one letter: `+` done, `F` forbidden, `N` not found, `I` invalid.
fn letter<T>(result: &Result<T>) -> char {
    match result {
        Ok(_) => '+',
        Err(Error::Forbidden(_)) => 'F',
        Err(Error::NotFound(_)) => 'N',
        Err(Error::Invalid(_)) => 'I',
        Err(error) => panic!("{error:?}"),
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

/// By OWNER, ADMIN, MEMBER and GUEST of the workspace, and by a stranger.
const IN_WORKSPACE: &[(&str, &str)] = &[
    ("update the workspace", "++FFN"),
    ("invite a member", "+++FN"),
    ("invite an admin", "++FFN"),
    ("invite an owner", "IIIFN"),
    ("demote a member", "++FFN"),
    ("promote a member to admin", "++FFN"),
    ("promote a member to owner", "FFFFN"),
    ("demote an admin", "+FFFN"),
    ("demote the owner", "FFFFN"),
    ("remove a member", "++FFN"),
    ("remove an admin", "+FFFN"),
    ("remove the owner", "FFFFN"),
    ("leave", "F+++N"),
    ("transfer the ownership", "+FFFN"),
    ("create a channel", "+++FN"),
    ("create a channel where only admins may", "++FFN"),
    ("open a direct conversation", "++++N"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_of_a_workspace_by_every_role() {
    for world in World::all().await {
        for (act, expected) in IN_WORKSPACE {
            let attempts = (0..expected.len()).map(|column| attempt_in_workspace(&world, act, column));
            let found: String = join_all(attempts).await.into_iter().collect();
            assert_eq!(found, *expected, "{act}");
        }
    }
}

async fn attempt_in_workspace(world: &World, act: &str, column: usize) -> char {
    let chat = &world.chat;
    let mut owner = world.workspace(&world.user("owner").await).await;
    if act.ends_with("where only admins may") {
        let settings = Some(serde_json::json!({"whoCanCreateChannels": "ADMINS"}));
        let changes = WorkspaceChanges { settings, ..Default::default() };
        owner = chat.update_workspace(&owner, changes).await.unwrap();
    }
    let (member, _) = world.member(&owner, "member", MemberRole::Member).await;
    let (admin, _) = world.member(&owner, "admin", MemberRole::Admin).await;
    let viewer = match column {
        0 => *owner.viewer(),
        1 => world.member(&owner, "actor", MemberRole::Admin).await.0,
        2 => world.member(&owner, "actor", MemberRole::Member).await.0,
        3 => world.member(&owner, "actor", MemberRole::Guest).await.0,
        _ => world.user("stranger").await,
    };
    let me = match chat.workspace_member(&viewer, owner.id()).await {
        Ok(me) => me,
        refused => return letter(&refused),
    };
    let (member, admin, owner) = (member.user(), admin.user(), owner.viewer().user());
    let invite = async |role| letter(&chat.create_invitation(&me, None, role, None).await);
    let change = async |user, role| letter(&chat.update_workspace_member(&me, user, role).await);
    let remove = async |user| letter(&chat.remove_workspace_member(&me, user).await);
    match act {
        "update the workspace" => {
            let changes = WorkspaceChanges { name: Some("new".into()), ..Default::default() };
            letter(&chat.update_workspace(&me, changes).await)
        }
        "invite a member" => invite(MemberRole::Member).await,
        "invite an admin" => invite(MemberRole::Admin).await,
        "invite an owner" => invite(MemberRole::Owner).await,
        "demote a member" => change(member, MemberRole::Guest).await,
        "promote a member to admin" => change(member, MemberRole::Admin).await,
        "promote a member to owner" => change(member, MemberRole::Owner).await,
        "demote an admin" => change(admin, MemberRole::Member).await,
        "demote the owner" => change(owner, MemberRole::Admin).await,
        "remove a member" => remove(member).await,
        "remove an admin" => remove(admin).await,
        "remove the owner" => remove(owner).await,
        "leave" => remove(viewer.user()).await,
        "transfer the ownership" => letter(&chat.transfer_workspace_ownership(&me, admin).await),
        "open a direct conversation" => letter(&chat.open_direct_channel(&me, &[member]).await),
        _ => letter(&chat.create_channel(&me, channel(ChannelType::Private, "new")).await),
    }
}

/// By OWNER, ADMIN, MEMBER and GUEST of the channel, a silenced member, a member who administers the workspace; a member
/// and a guest of the workspace who are not in the channel, one who was removed from it, and a stranger.
const IN_CHANNEL: &[(&str, &str, &str)] = &[
    // act, in a PUBLIC channel, in a PRIVATE one
    ("read", "+++++++NNN", "++++++NNNN"),
    ("act", "++++F+FNNN", "++++F+NNNN"),
    ("join", "+++++++NFN", "++++++NNNN"),
    ("leave", "+++++++NNN", "++++++NNNN"),
    ("set preferences", "++++++FNNN", "++++++NNNN"),
    ("update the channel", "++FFF+FNNN", "++FFF+NNNN"),
    ("archive the channel", "++FFF+FNNN", "++FFF+NNNN"),
    ("add a member", "++++F+FNNN", "++++F+NNNN"),
    ("remove a member", "++FFF+FNNN", "++FFF+NNNN"),
    ("remove an admin", "+FFFFFFNNN", "+FFFFFNNNN"),
    ("remove an owner", "+FFFFFFNNN", "+FFFFFNNNN"),
    ("silence a member", "++FFF+FNNN", "++FFF+NNNN"),
    ("promote a member to admin", "++FFF+FNNN", "++FFF+NNNN"),
    ("promote a member to owner", "+FFFFFFNNN", "+FFFFFNNNN"),
    ("promote oneself to owner", "+FFFFFFNNN", "+FFFFFNNNN"),
    ("demote an admin", "+FFFFFFNNN", "+FFFFFNNNN"),
    ("demote an owner", "+FFFFFFNNN", "+FFFFFNNNN"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_of_a_channel_by_every_role() {
    for world in World::all().await {
        for (act, public, private) in IN_CHANNEL {
            for (kind, expected) in [(ChannelType::Public, public), (ChannelType::Private, private)] {
                let attempts =
                    (0..expected.len()).map(|column| attempt_in_channel(&world, act, kind, column));
                let found: String = join_all(attempts).await.into_iter().collect();
                assert_eq!(found, **expected, "{act} in {kind:?}");
            }
        }
    }
}

async fn attempt_in_channel(world: &World, act: &str, kind: ChannelType, column: usize) -> char {
    let chat = &world.chat;
    let owner = world.workspace(&world.user("owner").await).await;
    // The channel's owner is a plain member of the workspace.
    let (_, founder) = world.member(&owner, "founder", MemberRole::Member).await;
    let (member, _) = world.member(&owner, "member", MemberRole::Member).await;
    let (admin, _) = world.member(&owner, "admin", MemberRole::Member).await;
    let (newcomer, _) = world.member(&owner, "newcomer", MemberRole::Member).await;
    let role = match column {
        5 => MemberRole::Admin,
        7 => MemberRole::Guest,
        _ => MemberRole::Member,
    };
    let viewer = match column {
        9 => world.user("stranger").await,
        _ => world.member(&owner, "actor", role).await.0,
    };
    let me = viewer.user();
    let made = chat.create_channel(&founder, channel(kind, "channel")).await.unwrap();
    let id = made.channel().id;
    let founding = chat.channel_member(founder.viewer(), id).await.unwrap();
    let (member, admin, founder) = (member.user(), admin.user(), founder.viewer().user());
    chat.add_channel_members(&founding, &[member, admin]).await.unwrap();
    let set = async |user, role, status| {
        chat.update_channel_member(&founding, user, role, status).await.unwrap();
    };
    set(admin, Some(MemberRole::Admin), None).await;
    if !matches!(column, 6 | 7 | 9) {
        chat.add_channel_members(&founding, &[me]).await.unwrap();
    }
    match column {
        0 => set(me, Some(MemberRole::Owner), None).await,
        1 => set(me, Some(MemberRole::Admin), None).await,
        3 => set(me, Some(MemberRole::Guest), None).await,
        4 => set(me, None, Some(MembershipStatus::Muted)).await,
        8 => drop(chat.remove_channel_member(&founding, me).await.unwrap()),
        _ => {}
    }

    match act {
        "read" => return letter(&chat.channel_reader(&viewer, id).await),
        "join" => return letter(&chat.join_channel(&viewer, id).await),
        "leave" | "set preferences" => {
            let reader = match chat.channel_reader(&viewer, id).await {
                Ok(reader) => reader,
                refused => return letter(&refused),
            };
            if act == "leave" {
                return letter(&chat.leave_channel(&reader).await);
            }
            let preferences = ChannelPreferences { is_muted: Some(true), ..Default::default() };
            return letter(&chat.set_channel_preferences(&reader, preferences).await);
        }
        _ => {}
    }
    let actor = match chat.channel_member(&viewer, id).await {
        Ok(actor) => actor,
        refused => return letter(&refused),
    };
    let remove = async |user| letter(&chat.remove_channel_member(&actor, user).await);
    let change = async |user, role| letter(&chat.update_channel_member(&actor, user, Some(role), None).await);
    match act {
        "act" => letter(&actor.writable()),
        "update the channel" => {
            let changes = ChannelChanges { topic: Some(Some("new".into())), ..Default::default() };
            letter(&chat.update_channel(&actor, changes).await)
        }
        "archive the channel" => letter(&chat.archive_channel(&actor, true).await),
        "add a member" => letter(&chat.add_channel_members(&actor, &[newcomer.user()]).await),
        "remove a member" => remove(member).await,
        "remove an admin" => remove(admin).await,
        "remove an owner" => remove(founder).await,
        "silence a member" => {
            let status = Some(MembershipStatus::Muted);
            letter(&chat.update_channel_member(&actor, member, None, status).await)
        }
        "promote a member to admin" => change(member, MemberRole::Admin).await,
        "promote a member to owner" => change(member, MemberRole::Owner).await,
        "promote oneself to owner" => change(me, MemberRole::Owner).await,
        "demote an admin" => change(admin, MemberRole::Member).await,
        _ => change(founder, MemberRole::Admin).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn general_direct_and_archived_channels_have_rules_of_their_own() {
    const TOPIC: fn() -> ChannelChanges =
        || ChannelChanges { topic: Some(Some("new".into())), ..Default::default() };
    for world in World::all().await {
        let chat = &world.chat;
        let owner = world.workspace(&world.user("owner").await).await;
        let (bob, _) = world.member(&owner, "bob", MemberRole::Member).await;
        let (carol, _) = world.member(&owner, "carol", MemberRole::Member).await;
        let mine =
            chat.viewer_channels(owner.viewer(), None, &crate::paging::Window::first(9)).await.unwrap();
        let general = chat.channel_member(owner.viewer(), mine.items[0].channel().id).await.unwrap();
        assert_eq!(letter(&chat.leave_channel(&general).await), 'F');
        assert_eq!(letter(&chat.archive_channel(&general, true).await), 'F');
        assert_eq!(letter(&chat.remove_channel_member(&general, bob.user()).await), 'F');

        for others in [&[bob.user()][..], &[bob.user(), carol.user()]] {
            let (direct, _) = chat.open_direct_channel(&owner, others).await.unwrap();
            let direct = chat.channel_member(owner.viewer(), direct.channel().id).await.unwrap();
            assert_eq!(letter(&chat.update_channel(&direct, TOPIC()).await), 'F');
            assert_eq!(letter(&chat.archive_channel(&direct, true).await), 'F');
            assert_eq!(letter(&chat.add_channel_members(&direct, &[carol.user()]).await), 'F');
            assert_eq!(letter(&chat.remove_channel_member(&direct, bob.user()).await), 'F');
            let muted = Some(MembershipStatus::Muted);
            assert_eq!(letter(&chat.update_channel_member(&direct, bob.user(), None, muted).await), 'F');
            assert_eq!(letter(&chat.leave_channel(&direct).await), if others.len() == 1 { 'F' } else { '+' });
        }

        let made = chat.create_channel(&owner, channel(ChannelType::Public, "old")).await.unwrap();
        let member = chat.channel_member(owner.viewer(), made.channel().id).await.unwrap();
        // The last owner stays.
        let last = chat.update_channel_member(&member, owner.viewer().user(), Some(MemberRole::Member), None);
        assert_eq!(letter(&last.await), 'F');
        chat.archive_channel(&member, true).await.unwrap();
        chat.archive_channel(&member, true).await.unwrap();
        assert_eq!(world.messages.of(member.key()).len(), 1);
        let archived = Error::Archived;
        assert_eq!(chat.update_channel(&member, TOPIC()).await.unwrap_err(), archived);
        assert_eq!(chat.join_channel(&bob, member.key().channel).await.unwrap_err(), archived);
        let fresh = chat.channel_member(owner.viewer(), member.key().channel).await.unwrap();
        assert_eq!(fresh.writable().unwrap_err(), archived);
        assert_eq!(chat.add_channel_members(&fresh, &[bob.user()]).await.unwrap_err(), archived);
        chat.archive_channel(&fresh, false).await.unwrap();
        chat.join_channel(&bob, member.key().channel).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_cost_one_query_however_many() {
    for world in World::all().await {
        let chat = &world.chat;
        let owner = world.workspace(&world.user("owner").await).await;
        let mut ids = Vec::new();
        for n in 0..20 {
            let made = chat.create_channel(&owner, channel(ChannelType::Private, &format!("c{n}"))).await;
            ids.push(made.unwrap().channel().id);
        }
        let (bob, _) = world.member(&owner, "bob", MemberRole::Member).await;
        let all = || chat.visible_channels(owner.viewer(), &ids);
        assert_eq!(all().await.unwrap().len(), 20);
        assert_eq!(queries(chat, all).await, 1);
        assert!(chat.visible_channels(&bob, &ids).await.unwrap().is_empty());
        let one = || chat.channel_member(owner.viewer(), ids[0]);
        one().await.unwrap();
        assert_eq!(queries(chat, one).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_asked_for_together_share_queries_and_are_each_of_their_own() {
    for world in World::all().await {
        let chat = &world.chat;
        let owner = world.workspace(&world.user("owner").await).await;
        let stranger = world.user("stranger").await;
        let (bob, _) = world.member(&owner, "bob", MemberRole::Member).await;
        let mut ids = Vec::new();
        for n in 0..20 {
            let kind = if n % 2 == 0 { ChannelType::Public } else { ChannelType::Private };
            ids.push(
                chat.create_channel(&owner, channel(kind, &format!("c{n}"))).await.unwrap().channel().id,
            );
        }
        let viewers = [(*owner.viewer(), "++"), (bob, "+N"), (stranger, "NN")];
        let asked: Vec<_> = (0..240).map(|n| (n % 20, viewers[n / 20 % 3])).collect();
        let before = chat.store_queries().0;
        let found = join_all(asked.iter().map(|(n, (viewer, _))| chat.channel_reader(viewer, ids[*n]))).await;
        let queries = chat.store_queries().0 - before;
        assert!(queries <= 60, "240 look-ups took {queries} queries");
        let before = chat.store_queries().0;
        let shown =
            join_all(asked.iter().map(|(n, (viewer, _))| chat.visible_channel(viewer, ids[*n]))).await;
        let queries = chat.store_queries().0 - before;
        assert!(queries <= 60, "240 look-ups to show took {queries} queries");
        for (((n, (viewer, expected)), found), shown) in asked.iter().zip(found).zip(shown) {
            assert_eq!(letter(&found), char::from(expected.as_bytes()[n % 2]), "channel {n}");
            assert_eq!(shown.as_ref().map(VisibleChannel::reader), found.as_ref(), "channel {n}");
            if let (Ok(reader), Ok(shown)) = (found, shown) {
                let is_member = viewer == owner.viewer();
                assert_eq!((reader.key().channel, reader.viewer()), (ids[*n], viewer));
                assert_eq!(reader.joined_seq().is_some(), is_member);
                assert_eq!((shown.channel().id, shown.membership().is_some()), (ids[*n], is_member));
            }
        }
        // Nothing is remembered.
        let general = chat.channel_member(owner.viewer(), ids[0]).await.unwrap();
        chat.join_channel(&bob, ids[0]).await.unwrap();
        chat.channel_member(&bob, ids[0]).await.unwrap();
        chat.remove_channel_member(&general, bob.user()).await.unwrap();
        let after = join_all((0..40).map(|_| chat.channel_reader(&bob, ids[0]))).await;
        assert!(after.iter().all(|found| letter(found) == 'N'));
    }
}
