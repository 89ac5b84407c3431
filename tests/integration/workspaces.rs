//! Workspaces, invitations and roles.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Answer, Mode, User, World, both_modes, email, unique};

both_modes!(
    a_workspace_reads_everything_back,
    a_slug_is_taken_once,
    every_bad_field_of_a_workspace_is_named,
    an_invitation_lets_people_in,
    an_invitation_for_one_is_for_nobody_else,
    guests_see_only_what_they_were_added_to,
    the_owner_stays_until_the_ownership_goes,
    roles_reach_downwards_only,
    counts_follow_people_and_channels,
    a_removed_member_loses_everything,
    unknown_settings_come_back,
);

const WORKSPACE: &str = "id name slug plan memberCount channelCount viewerRole settings owner { id }";

async fn create(user: &User, name: &str, slug: &str) -> Answer {
    let document = format!(
        "mutation($name: String!, $slug: String!) {{ createWorkspace(name: $name, slug: $slug) {{
            workspace {{ {WORKSPACE} }}
        }} }}"
    );
    user.query(&document, json!({ "name": name, "slug": slug })).await
}

async fn accept(user: &User, token: &str) -> Answer {
    let document =
        "mutation($token: String!) { acceptInvitation(token: $token) { workspace { id viewerRole } } }";
    user.query(document, json!({ "token": token })).await
}

/// The workspace as `user` sees it.
async fn read(user: &User, world: &World) -> Answer {
    let document = format!("query($id: ID!) {{ workspace(id: $id) {{ {WORKSPACE} }} }}");
    user.query(&document, json!({ "id": world.workspace })).await
}

/// The id of the membership of `user`.
async fn membership(world: &World, user: &User) -> Value {
    let document =
        "query($id: ID!) { workspace(id: $id) { members(first: 100) { nodes { id user { id } } } } }";
    let data = world.owner.query(document, json!({ "id": world.workspace })).await.ok();
    let members = data["workspace"]["members"]["nodes"].as_array().unwrap();
    members.iter().find(|member| member["user"]["id"] == user.id).unwrap()["id"].clone()
}

async fn set_role(by: &User, membership: &Value, role: &str) -> Answer {
    let document = "mutation($id: ID!, $role: MemberRole!) {
        updateWorkspaceMember(id: $id, role: $role) { member { role } }
    }";
    by.query(document, json!({ "id": membership, "role": role })).await
}

async fn remove(by: &User, membership: &Value) -> Answer {
    let document = "mutation($id: ID!) { removeWorkspaceMember(id: $id) { memberId } }";
    by.query(document, json!({ "id": membership })).await
}

async fn a_workspace_reads_everything_back(mode: Mode) {
    let world = World::new(mode).await;
    let by_id = read(&world.owner, &world).await.ok()["workspace"].take();
    let expected = json!({
        "id": world.workspace, "name": "Team", "slug": world.slug, "plan": "FREE", "memberCount": 1,
        "channelCount": 1, "viewerRole": "OWNER", "settings": {}, "owner": { "id": world.owner.id },
    });
    assert_eq!(by_id, expected);
    let document = format!("query($slug: String!) {{ workspace(slug: $slug) {{ {WORKSPACE} }} }}");
    let data = world.owner.query(&document, json!({ "slug": world.slug })).await.ok();
    assert_eq!(data["workspace"], expected);
    let data = world.owner.query("{ viewer { workspaces { nodes { id } } } }", json!({})).await.ok();
    assert_eq!(data["viewer"]["workspaces"]["nodes"], json!([{ "id": world.workspace }]));

    let stranger = World::new(mode).await.owner;
    assert_eq!(read(&stranger, &world).await.code(), "NOT_FOUND");
    assert_eq!(stranger.query(&document, json!({ "slug": world.slug })).await.code(), "NOT_FOUND");
}

async fn a_slug_is_taken_once(mode: Mode) {
    let world = World::new(mode).await;
    let taken = create(&world.owner, "Other", &world.slug).await;
    assert_eq!((taken.code().as_str(), taken.fields()), ("ALREADY_EXISTS", vec!["slug".to_owned()]));
    let slug = unique("race");
    let answers = join_all((0..8).map(|_| create(&world.owner, "Race", &slug))).await;
    assert_eq!(answers.iter().filter(|answer| answer.errors.is_empty()).count(), 1);
    for answer in answers.iter().filter(|answer| !answer.errors.is_empty()) {
        assert_eq!(answer.code(), "ALREADY_EXISTS");
    }
}

async fn every_bad_field_of_a_workspace_is_named(mode: Mode) {
    let world = World::new(mode).await;
    let bad = create(&world.owner, &"x".repeat(101), "Not A Slug!").await;
    assert_eq!((bad.code().as_str(), bad.fields()), ("INVALID", vec!["name".to_owned(), "slug".to_owned()]));
}

async fn an_invitation_lets_people_in(mode: Mode) {
    let world = World::new(mode).await;
    let token = world.invitation("MEMBER").await;
    let user = User::register(&world.server).await;
    let data = accept(&user, &token).await.ok();
    assert_eq!(
        data["acceptInvitation"]["workspace"],
        json!({ "id": world.workspace, "viewerRole": "MEMBER" })
    );
    accept(&user, &token).await.ok();
    assert_eq!(accept(&user, "no-such-token").await.code(), "NOT_FOUND");
    let document = "query($id: ID!) { workspace(id: $id) { memberCount
        members(query: \"Name\") { nodes { role joinedAt user { id } invitedBy { id } } }
    } }";
    let data = user.query(document, json!({ "id": world.workspace })).await.ok();
    assert_eq!(data["workspace"]["memberCount"], 2);
    let members = data["workspace"]["members"]["nodes"].as_array().unwrap();
    let own = members.iter().find(|member| member["user"]["id"] == user.id).unwrap();
    assert_eq!((&own["role"], &own["invitedBy"]["id"]), (&json!("MEMBER"), &json!(world.owner.id)));
    // Everybody is in the general channel from the start.
    user.send(&world.general, "hello").await;
}

async fn an_invitation_for_one_is_for_nobody_else(mode: Mode) {
    let world = World::new(mode).await;
    let (invited, other) = (User::register(&world.server).await, User::register(&world.server).await);
    let document =
        "mutation($id: ID!, $email: String!) { createInvitation(workspaceId: $id, email: $email) { token } }";
    let invite =
        |email: String| world.owner.query(document, json!({ "id": world.workspace, "email": email }));
    let data = invite(invited.email.to_uppercase()).await.ok();
    let token = data["createInvitation"]["token"].as_str().unwrap().to_owned();
    assert_eq!(accept(&other, &token).await.code(), "NOT_FOUND");
    accept(&invited, &token).await.ok();
    assert_eq!(invite("no address".into()).await.code(), "INVALID");
    let member = world.member().await;
    let refused = member
        .query(
            "mutation($id: ID!) { createInvitation(workspaceId: $id, role: ADMIN) { token } }",
            json!({ "id": world.workspace }),
        )
        .await;
    assert_eq!(refused.code(), "FORBIDDEN");
    let data = invite(email()).await.ok();
    let waiting = data["createInvitation"]["token"].as_str().unwrap().to_owned();
    assert_eq!(accept(&other, &waiting).await.code(), "NOT_FOUND");
}

async fn guests_see_only_what_they_were_added_to(mode: Mode) {
    let world = World::new(mode).await;
    let guest = world.member_as("GUEST").await;
    let (open, added) = (world.channel(&[]).await, world.channel(&[&guest]).await);
    let document = "query($id: ID!) { channel(id: $id) { id } }";
    assert_eq!(guest.query(document, json!({ "id": open })).await.code(), "NOT_FOUND");
    guest.query(document, json!({ "id": added })).await.ok();
    guest.send(&added, "hello").await;
    let input = json!({ "workspaceId": world.workspace, "type": "PUBLIC", "name": unique("guest") });
    let document =
        "mutation($input: CreateChannelInput!) { createChannel(input: $input) { channel { id } } }";
    assert_eq!(guest.query(document, json!({ "input": input })).await.code(), "FORBIDDEN");
}

async fn the_owner_stays_until_the_ownership_goes(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let own = membership(&world, &world.owner).await;
    assert_eq!(remove(&world.owner, &own).await.code(), "FORBIDDEN");
    assert_eq!(set_role(&world.owner, &own, "MEMBER").await.code(), "FORBIDDEN");
    let document = "mutation($id: ID!, $user: ID!) { transferWorkspace(id: $id, userId: $user) {
        workspace { owner { id } viewerRole }
    } }";
    let variables = json!({ "id": world.workspace, "user": member.id });
    assert_eq!(member.query(document, variables.clone()).await.code(), "FORBIDDEN");
    let data = world.owner.query(document, variables).await.ok();
    assert_eq!(
        data["transferWorkspace"]["workspace"],
        json!({ "owner": { "id": member.id }, "viewerRole": "ADMIN" })
    );
    remove(&world.owner, &own).await.ok();
}

async fn roles_reach_downwards_only(mode: Mode) {
    let world = World::new(mode).await;
    let (admin, member, other) = (world.member_as("ADMIN").await, world.member().await, world.member().await);
    let (of_admin, of_member, of_owner) = (
        membership(&world, &admin).await,
        membership(&world, &member).await,
        membership(&world, &world.owner).await,
    );
    assert_eq!(set_role(&member, &of_admin, "GUEST").await.code(), "FORBIDDEN");
    assert_eq!(remove(&other, &of_member).await.code(), "FORBIDDEN");
    assert_eq!(set_role(&admin, &of_owner, "MEMBER").await.code(), "FORBIDDEN");
    let data = set_role(&admin, &of_member, "GUEST").await.ok();
    assert_eq!(data["updateWorkspaceMember"]["member"]["role"], "GUEST");
    let document =
        "mutation($id: ID!) { updateWorkspace(id: $id, input: { name: \"New\" }) { workspace { name } } }";
    assert_eq!(member.query(document, json!({ "id": world.workspace })).await.code(), "FORBIDDEN");
    let data = admin.query(document, json!({ "id": world.workspace })).await.ok();
    assert_eq!(data["updateWorkspace"]["workspace"]["name"], "New");
}

async fn counts_follow_people_and_channels(mode: Mode) {
    let world = World::new(mode).await;
    let members = join_all((0..6).map(|_| world.member())).await;
    let channels = join_all((0..4).map(|_| world.channel(&[]))).await;
    let counts = || async {
        let data = read(&world.owner, &world).await.ok();
        (
            data["workspace"]["memberCount"].as_i64().unwrap(),
            data["workspace"]["channelCount"].as_i64().unwrap(),
        )
    };
    assert_eq!(counts().await, (7, 5));
    let leaving = join_all(members[..3].iter().map(|user| async {
        let own = membership(&world, user).await;
        remove(user, &own).await.ok();
    }));
    leaving.await;
    let document = "mutation($id: ID!) { archiveChannel(id: $id) { channel { isArchived } } }";
    for channel in &channels[..2] {
        world.owner.query(document, json!({ "id": channel })).await.ok();
        // Once more changes nothing.
        world.owner.query(document, json!({ "id": channel })).await.ok();
    }
    let document = "query($id: ID!) { workspace(id: $id) {
        channels(first: 100) { nodes { id } } all: channels(first: 100, includeArchived: true) { nodes { id isArchived } }
        members(first: 100) { nodes { id } }
    } }";
    let data = world.owner.query(document, json!({ "id": world.workspace })).await.ok();
    let length = |list: &Value| list["nodes"].as_array().unwrap().len();
    assert_eq!(length(&data["workspace"]["channels"]), 3);
    assert_eq!(length(&data["workspace"]["all"]), 5);
    assert_eq!(length(&data["workspace"]["members"]), 4);
    let (people, rooms) = counts().await;
    assert_eq!(people, 4);
    assert!(rooms == 3 || rooms == 5, "{rooms} channels of 3 and 2 archived ones");
}

async fn a_removed_member_loses_everything(mode: Mode) {
    let world = World::new(mode).await;
    let member = world.member().await;
    let channel = world.channel(&[&member]).await;
    let sent = member.send(&channel, "mine").await;
    let own = membership(&world, &member).await;
    remove(&world.owner, &own).await.ok();
    assert_eq!(read(&member, &world).await.code(), "NOT_FOUND");
    for document in
        ["query($id: ID!) { channel(id: $id) { id } }", "query($id: ID!) { node(id: $id) { id } }"]
    {
        assert_eq!(member.query(document, json!({ "id": channel })).await.code(), "NOT_FOUND");
    }
    let document = "query($id: ID!) { message(id: $id) { text author { id displayName } } }";
    assert_eq!(member.query(document, json!({ "id": sent["id"] })).await.code(), "NOT_FOUND");
    // What they wrote stays, with their name.
    let data = world.owner.query(document, json!({ "id": sent["id"] })).await.ok();
    assert_eq!(
        data["message"],
        json!({ "text": "mine", "author": { "id": member.id, "displayName": member.name } })
    );
    accept(&member, &world.invitation("MEMBER").await).await.ok();
    read(&member, &world).await.ok();
}

async fn unknown_settings_come_back(mode: Mode) {
    let world = World::new(mode).await;
    let document = "mutation($id: ID!, $settings: JSON!) {
        updateWorkspace(id: $id, input: { settings: $settings }) { workspace { settings } }
    }";
    let settings = json!({ "ours": { "deep": [1, null, "ü"] }, "defaultLocale": "de-DE" });
    let set = |settings: &Value| {
        world.owner.query(document, json!({ "id": world.workspace, "settings": settings }))
    };
    set(&settings).await.ok();
    assert_eq!(read(&world.owner, &world).await.ok()["workspace"]["settings"], settings);
    let refused = set(&json!({ "allowGuestInvites": "perhaps" })).await;
    assert_eq!(refused.code(), "INVALID");
    assert_eq!(refused.fields(), ["input.settings.allowGuestInvites"]);
}
