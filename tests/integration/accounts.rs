//! Accounts and sessions.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Answer, Item, Mode, Server, Socket, User, World, both_modes, email, eventually, unique,
};

both_modes!(
    a_registered_user_reads_everything_back,
    a_second_account_of_an_address_is_refused,
    of_many_registrations_at_once_one_wins,
    every_bad_field_is_named_at_once,
    signing_in_wants_the_right_password,
    a_refresh_token_works_once,
    a_reused_refresh_token_ends_the_whole_family,
    a_revoked_session_ends_everywhere,
    nobody_revokes_the_session_of_another,
    a_suspended_user_is_out_within_five_seconds,
    a_profile_changes_and_keeps_to_its_limits,
    a_token_that_is_none_is_refused,
    a_deleted_account_leaves_its_messages,
);

const VIEWER: &str =
    "{ viewer { email user { id displayName status timezone locale statusText createdAt } } }";

async fn register(server: &Server, email: &str, password: &str, name: &str) -> Answer {
    let document = "mutation($email: String!, $password: String!, $name: String!) {
        register(email: $email, password: $password, displayName: $name) { viewer { user { id } } }
    }";
    server.anonymous().query(document, json!({ "email": email, "password": password, "name": name })).await
}

async fn sign_in(server: &Server, email: &str, password: &str) -> Answer {
    let document = "mutation($email: String!, $password: String!) {
        signIn(email: $email, password: $password) { accessToken }
    }";
    server.anonymous().query(document, json!({ "email": email, "password": password })).await
}

async fn refresh(server: &Server, token: &str) -> Answer {
    let document = "mutation($token: String!) {
        refreshSession(refreshToken: $token) { accessToken refreshToken session { id } }
    }";
    server.anonymous().query(document, json!({ "token": token })).await
}

async fn a_registered_user_reads_everything_back(mode: Mode) {
    let server = Server::shared(mode).await;
    let user = User::register(&server).await;
    let data = user.query(VIEWER, json!({})).await.ok();
    let viewer = &data["viewer"];
    assert_eq!(viewer["email"], user.email);
    assert_eq!(viewer["user"]["id"], user.id);
    assert_eq!(viewer["user"]["displayName"], user.name);
    assert_eq!(viewer["user"]["status"], "ACTIVE");
    assert_eq!(viewer["user"]["timezone"], "UTC");
    assert_eq!(viewer["user"]["locale"], "en-US");
    assert_eq!(viewer["user"]["statusText"], Value::Null);
    assert!(viewer["user"]["createdAt"].as_str().unwrap().ends_with('Z'));

    let anonymous = server.anonymous().query(VIEWER, json!({})).await;
    assert_eq!(anonymous.data["viewer"], Value::Null);
    assert!(anonymous.errors.is_empty() || anonymous.code() == "UNAUTHENTICATED");
}

async fn a_second_account_of_an_address_is_refused(mode: Mode) {
    let server = Server::shared(mode).await;
    let user = User::register(&server).await;
    let again = register(&server, &user.email.to_uppercase(), "a-long-password", "Other").await;
    assert_eq!(again.code(), "ALREADY_EXISTS");
    assert_eq!(again.fields(), ["email"]);
    sign_in(&server, &user.email.to_uppercase(), &user.password).await.ok();
}

async fn of_many_registrations_at_once_one_wins(mode: Mode) {
    let server = Server::shared(mode).await;
    let address = email();
    let attempts = (0..10).map(|_| register(&server, &address, "a-long-password", "Twin"));
    let answers = futures_util::future::join_all(attempts).await;
    assert_eq!(answers.iter().filter(|answer| answer.errors.is_empty()).count(), 1);
    for refused in answers.iter().filter(|answer| !answer.errors.is_empty()) {
        assert_eq!(refused.code(), "ALREADY_EXISTS");
    }
}

async fn every_bad_field_is_named_at_once(mode: Mode) {
    let server = Server::shared(mode).await;
    let bad = register(&server, "no address", "short", &"x".repeat(101)).await;
    assert_eq!(bad.code(), "INVALID");
    assert_eq!(bad.fields(), ["displayName", "email", "password"]);
    assert_eq!(bad.data, Value::Null);
    let empty = register(&server, &email(), "a-long-password", "").await;
    assert_eq!((empty.code().as_str(), empty.fields()), ("INVALID", vec!["displayName".to_owned()]));
}

async fn signing_in_wants_the_right_password(mode: Mode) {
    let server = Server::shared(mode).await;
    let user = User::register(&server).await;
    let wrong = sign_in(&server, &user.email, "not-the-password").await;
    let unknown = sign_in(&server, &email(), "not-the-password").await;
    assert_eq!(wrong.code(), "UNAUTHENTICATED");
    assert_eq!(unknown.code(), "UNAUTHENTICATED");
    assert_eq!(wrong.errors[0]["message"], unknown.errors[0]["message"], "tells whether an address is known");
    sign_in(&server, &user.email, &user.password).await.ok();
}

async fn a_refresh_token_works_once(mode: Mode) {
    let server = Server::shared(mode).await;
    let user = User::register(&server).await;
    let fresh = refresh(&server, &user.refresh_token).await.ok();
    let fresh = &fresh["refreshSession"];
    assert_eq!(fresh["session"]["id"], user.session, "a refresh goes on with the session");
    assert_ne!(fresh["refreshToken"], user.refresh_token.as_str());
    assert_eq!(refresh(&server, "nothing-like-a-token").await.code(), "UNAUTHENTICATED");
    refresh(&server, fresh["refreshToken"].as_str().unwrap()).await.ok();
}

async fn a_reused_refresh_token_ends_the_whole_family(mode: Mode) {
    let server = Server::shared(mode).await;
    let user = User::register(&server).await;
    let other = User::sign_in(&server, &user.email, &user.password).await;
    let socket = user.socket().await;
    let fresh = refresh(&server, &user.refresh_token).await.ok();
    assert_eq!(refresh(&server, &user.refresh_token).await.code(), "UNAUTHENTICATED");
    let newest = fresh["refreshSession"]["refreshToken"].as_str().unwrap();
    assert_eq!(refresh(&server, newest).await.code(), "UNAUTHENTICATED", "the stolen family lives on");
    assert_eq!(user.query(VIEWER, json!({})).await.code(), "UNAUTHENTICATED");
    assert_eq!(socket.closed().await, 4403);
    other.query(VIEWER, json!({})).await.ok();
    refresh(&server, &other.refresh_token).await.ok();
}

async fn a_revoked_session_ends_everywhere(mode: Mode) {
    let server = Server::shared(mode).await;
    let user = User::register(&server).await;
    let other = User::sign_in(&server, &user.email, &user.password).await;
    assert_ne!(user.session, other.session);
    let socket = other.socket().await;
    let data = user.query("{ viewer { sessions { id isCurrent } } }", json!({})).await.ok();
    let sessions = data["viewer"]["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    for session in sessions {
        assert_eq!(session["isCurrent"], session["id"] == user.session.as_str());
    }

    let document = "mutation($id: ID!) { revokeSession(id: $id) { sessionId } }";
    let data = user.query(document, json!({ "id": other.session })).await.ok();
    assert_eq!(data["revokeSession"]["sessionId"], other.session);
    assert_eq!(socket.closed().await, 4403);
    assert_eq!(other.query(VIEWER, json!({})).await.code(), "UNAUTHENTICATED");
    assert_eq!(refresh(&server, &other.refresh_token).await.code(), "UNAUTHENTICATED");
    assert!(matches!(Socket::try_open(&other).await, Err(4401 | 4403)));

    let data = user.query("{ viewer { sessions { id } } }", json!({})).await.ok();
    assert_eq!(data["viewer"]["sessions"], json!([{ "id": user.session }]));
}

async fn nobody_revokes_the_session_of_another(mode: Mode) {
    let server = Server::shared(mode).await;
    let (user, other) = (User::register(&server).await, User::register(&server).await);
    let document = "mutation($id: ID!) { revokeSession(id: $id) { sessionId } }";
    assert_eq!(other.query(document, json!({ "id": user.session })).await.code(), "NOT_FOUND");
    user.query(VIEWER, json!({})).await.ok();
}

async fn a_suspended_user_is_out_within_five_seconds(mode: Mode) {
    let world = World::new(mode).await;
    let user = world.member().await;
    let socket = user.socket().await;
    let mut stream = socket.subscribe(
        "subscription($id: ID!) { channelEvents(channelId: $id) { seq } }",
        json!({ "id": world.general }),
    );
    world.server.run(&["user", "suspend", &user.email]).await;
    let suspended = Instant::now();
    let limit = Duration::from_secs(5);
    eventually("the suspended user's token to fail", limit, || async {
        let answer = user.query(VIEWER, json!({})).await;
        answer.codes().iter().any(|code| code == "UNAUTHENTICATED" || code == "FORBIDDEN").then_some(())
    })
    .await;
    assert!(matches!(socket.closed().await, 4401 | 4403));
    assert!(suspended.elapsed() < limit, "the socket closed after {:?}", suspended.elapsed());
    loop {
        match stream.item().await {
            Item::Closed(_) => break,
            Item::Next(_) | Item::Complete => {}
            other @ Item::Errors(_) => panic!("{other:?}"),
        }
    }
    let answer = sign_in(&world.server, &user.email, &user.password).await;
    assert!(matches!(answer.code().as_str(), "UNAUTHENTICATED" | "FORBIDDEN"));

    world.server.run(&["user", "activate", &user.email]).await;
    sign_in(&world.server, &user.email, &user.password).await.ok();
}

async fn a_profile_changes_and_keeps_to_its_limits(mode: Mode) {
    let server = Server::shared(mode).await;
    let user = User::register(&server).await;
    let document = "mutation($input: UpdateProfileInput!) { updateProfile(input: $input) {
        user { displayName statusText statusEmoji timezone locale avatarUrl }
    } }";
    let wanted = json!({
        "displayName": unique("New"), "statusText": "in a meeting", "statusEmoji": "📅",
        "timezone": "Europe/Berlin", "locale": "de-DE", "avatarUrl": "https://example.com/me.png",
    });
    let data = user.query(document, json!({ "input": wanted })).await.ok();
    assert_eq!(data["updateProfile"]["user"], wanted);
    let bad = json!({
        "displayName": "", "statusText": "x".repeat(101), "statusEmoji": "x".repeat(11),
        "avatarUrl": format!("https://example.com/{}", "x".repeat(512)),
    });
    let refused = user.query(document, json!({ "input": bad })).await;
    assert_eq!(refused.code(), "INVALID");
    assert_eq!(
        refused.fields(),
        ["input.avatarUrl", "input.displayName", "input.statusEmoji", "input.statusText"]
    );
    let data = user.query("{ viewer { user { displayName } } }", json!({})).await.ok();
    assert_eq!(data["viewer"]["user"]["displayName"], wanted["displayName"], "a refused change was made");
}

async fn a_token_that_is_none_is_refused(mode: Mode) {
    let server = Server::shared(mode).await;
    let forged = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.";
    let stranger = crate::support::Client::new(&server, Some(forged.into()));
    assert_eq!(stranger.query("{ viewer { email } }", json!({})).await.code(), "UNAUTHENTICATED");
    assert!(matches!(Socket::try_open(&stranger).await, Err(4401 | 4403)));
}

async fn a_deleted_account_leaves_its_messages(mode: Mode) {
    let world = World::new(mode).await;
    let leaver = world.member().await;
    let message = leaver.send(&world.general, "mine").await;
    let document = "mutation($password: String!) { deleteAccount(password: $password) { userId deletedAt } }";

    let wrong = leaver.query(document, json!({ "password": "not this one" })).await;
    assert_eq!(wrong.code(), "INVALID");
    let owner = world.owner.query(document, json!({ "password": world.owner.password })).await;
    assert_eq!(owner.code(), "CONFLICT", "the owner of a workspace hands it over first");

    let deleted = leaver.query(document, json!({ "password": leaver.password })).await.ok();
    assert_eq!(deleted["deleteAccount"]["userId"], leaver.id);
    assert_eq!(leaver.query(VIEWER, json!({})).await.code(), "UNAUTHENTICATED");
    assert_eq!(sign_in(&world.server, &leaver.email, &leaver.password).await.code(), "UNAUTHENTICATED");

    let document = "query($message: ID!, $workspace: ID!) {
        message(id: $message) { text author { displayName deletedAt } }
        workspace(id: $workspace) { memberCount members { nodes { user { id } } } }
    }";
    let variables = json!({ "message": message["id"], "workspace": world.workspace });
    let data = world.owner.query(document, variables).await.ok();
    assert_eq!(data["message"]["text"], "mine");
    assert_eq!(data["message"]["author"]["displayName"], "Deleted user");
    assert!(data["message"]["author"]["deletedAt"].is_string());
    assert_eq!(data["workspace"]["memberCount"], 1);
    assert_eq!(data["workspace"]["members"]["nodes"], json!([{ "user": { "id": world.owner.id } }]));

    // The address is free again.
    register(&world.server, &leaver.email, "another password", "Newcomer").await.ok();
}
