#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use quikapp_entities::{UserId, users::AccountStatus};

use super::{
    ClientInfo, ProfileChange, Registration,
    fixture::{PASSWORD, World},
};
use crate::{Error, FieldError, live::Control};

fn fields(error: Error) -> Vec<String> {
    let Error::Invalid(fields) = error else { panic!("{error:?}") };
    fields.into_iter().map(|FieldError { field, .. }| field).collect()
}

async fn refused(world: &World, email: &str, password: &str) -> &'static str {
    match world.chat.sign_in(email, password, ClientInfo::default()).await {
        Err(Error::Unauthenticated(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_registered_account_signs_in_and_reads_back() {
    for world in World::all().await {
        let chat = &world.chat;
        let client = ClientInfo {
            ip: Some("2001:db8::1".into()),
            user_agent: Some(format!(" a\n{}", "b".repeat(600))),
        };
        let registration = Registration {
            email: "  Ada@Example.org ".into(),
            password: PASSWORD.into(),
            display_name: " Ada Lovelace ".into(),
        };
        let registered = chat.register(registration, client.clone()).await.unwrap();
        let account = chat.account(&registered.viewer).await.unwrap();
        assert_eq!(account, registered.user);
        assert_eq!(account.email, "ada@example.org");
        assert_eq!(account.display_name, "Ada Lovelace");
        assert_eq!((account.timezone.as_str(), account.locale.as_str()), ("UTC", "en-US"));
        assert!(account.password_hash.as_ref().unwrap().starts_with("$argon2id$"));

        let signed_in = chat.sign_in("ADA@example.org\t", PASSWORD, client).await.unwrap();
        assert_eq!(signed_in.user, account);
        assert_ne!(signed_in.session.id, registered.session.id);
        assert_eq!(signed_in.session.ip_address.as_deref(), Some("2001:db8::1"));
        assert_eq!(signed_in.session.user_agent.as_ref().unwrap().len(), 512);
        assert_eq!(chat.authenticate(&signed_in.access_token).await, Ok(signed_in.viewer));
        // Only hashes are kept.
        assert!(!signed_in.refresh_token.contains(&signed_in.session.token_hash));
        assert_eq!(signed_in.session.token_hash.len(), 64);

        let missing = UserId(uuid::Uuid::now_v7());
        let found = chat.users(&[account.id, missing, account.id]).await.unwrap();
        assert_eq!(found, [account]);
        assert_eq!(chat.users(&[]).await.unwrap(), []);
        world.remove().await;
    }
}

#[tokio::test]
async fn every_bad_field_is_named_at_once() {
    for world in World::all().await {
        let bad =
            Registration { email: "ada".into(), password: "short".into(), display_name: "\u{7} ".into() };
        let error = world.chat.register(bad, ClientInfo::default()).await.unwrap_err();
        assert_eq!(fields(error), ["email", "password", "displayName"]);
        let long = Registration {
            email: format!("{}@{}org", "a".repeat(64), "bcdefg.".repeat(28)),
            password: "p".repeat(257),
            display_name: "n".repeat(101),
        };
        let error = world.chat.register(long, ClientInfo::default()).await.unwrap_err();
        assert_eq!(fields(error), ["email", "password", "displayName"]);

        let viewer = world.register("ada@example.org").await.unwrap().viewer;
        let before = world.chat.account(&viewer).await.unwrap();
        let bad = ProfileChange {
            display_name: Some(String::new()),
            avatar_url: Some(Some("javascript:alert(1)".into())),
            status_text: Some(Some("s".repeat(101))),
            status_emoji: Some(Some("e".repeat(11))),
            timezone: Some("Europe/Atlantis".into()),
            locale: Some("english language".into()),
        };
        let error = world.chat.update_profile(&viewer, bad).await.unwrap_err();
        let names = ["displayName", "avatarUrl", "statusText", "statusEmoji", "timezone", "locale"];
        assert_eq!(fields(error), names.map(|name| format!("input.{name}")));
        assert_eq!(world.chat.account(&viewer).await.unwrap(), before);
        world.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_address_makes_one_account_under_races() {
    for world in World::all().await {
        let attempts = ["a@b.co", "A@B.co", " a@b.co", "a@B.CO"].map(|email| world.register(email));
        let results = futures_util::future::join_all(attempts).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for error in results.into_iter().filter_map(Result::err) {
            assert!(matches!(&error, Error::AlreadyExists(field) if field.field == "email"), "{error:?}");
        }
        world.remove().await;
    }
}

#[tokio::test]
async fn a_refused_sign_in_does_not_tell_why() {
    for world in World::all().await {
        let id = world.register("ada@example.org").await.unwrap().user.id;
        world.register("external@example.org").await.unwrap();
        world.by_hand("UPDATE users SET password_hash = NULL WHERE email = 'external@example.org'").await;
        let wrong = refused(&world, "ada@example.org", "correct horsf").await;
        let long = PASSWORD.repeat(10_000);
        for (email, password) in [
            ("nobody@example.org", PASSWORD),
            ("external@example.org", PASSWORD),
            ("ada@example.org", ""),
            ("ada@example.org", &long),
            (&long, PASSWORD),
            ("", ""),
        ] {
            assert_eq!(refused(&world, email, password).await, wrong);
        }

        let mut controls = world.chat.hub().controls();
        let suspended = world.chat.set_account_status("Ada@example.org", AccountStatus::Suspended).await;
        assert_eq!(suspended, Ok(id));
        assert_eq!(controls.try_recv(), Ok(Control::UserDisabled { user: id }));
        refused(&world, "ada@example.org", PASSWORD).await;
        assert_eq!(refused(&world, "ada@example.org", "correct horsf").await, wrong);
        world.chat.set_account_status("ada@example.org", AccountStatus::Active).await.unwrap();
        world.chat.sign_in("ada@example.org", PASSWORD, ClientInfo::default()).await.unwrap();
        let unknown = world.chat.set_account_status("nobody@example.org", AccountStatus::Active).await;
        assert_eq!(unknown, Err(Error::NotFound("account")));
        world.remove().await;
    }
}

#[tokio::test]
async fn a_profile_changes_field_by_field_and_its_time_advances() {
    for world in World::all().await {
        let viewer = world.register("ada@example.org").await.unwrap().viewer;
        let other = world.register("bob@example.org").await.unwrap().user;
        let first = world.chat.account(&viewer).await.unwrap();
        let change = ProfileChange {
            display_name: Some(" Ada ".into()),
            avatar_url: Some(Some("https://example.org/a.png".into())),
            status_text: Some(Some("away".into())),
            status_emoji: Some(Some("👩🏽‍🚀".into())),
            timezone: Some("europe/paris".into()),
            locale: Some("fr-FR".into()),
        };
        let second = world.chat.update_profile(&viewer, change).await.unwrap();
        assert_eq!(second, world.chat.account(&viewer).await.unwrap());
        assert_eq!(second.timezone, "Europe/Paris");
        // The clock stands still.
        assert!(second.updated_at > first.updated_at);
        assert_eq!(second.created_at, first.created_at);

        let change = ProfileChange {
            status_text: Some(None),
            status_emoji: Some(Some(" ".into())),
            ..Default::default()
        };
        let third = world.chat.update_profile(&viewer, change).await.unwrap();
        assert_eq!((&third.status_text, &third.status_emoji), (&None, &None));
        assert_eq!(third.avatar_url, second.avatar_url);
        assert!(third.updated_at > second.updated_at);
        world.clock.advance(Duration::from_mins(1));
        let fourth = world.chat.update_profile(&viewer, ProfileChange::default()).await.unwrap();
        assert_eq!(fourth.updated_at.0, first.updated_at.0 + 60_000);
        // Nobody else's.
        assert_eq!(world.chat.users(&[other.id]).await.unwrap(), [other]);
        world.remove().await;
    }
}

#[tokio::test]
async fn debug_output_holds_no_secrets() {
    let world = World::all().await.remove(0);
    let signed_in = world.register("ada@example.org").await.unwrap();
    let registration =
        Registration { email: "a@b.co".into(), password: PASSWORD.into(), display_name: "Ada".into() };
    let text = format!("{signed_in:?} {registration:?}");
    let secrets = [
        PASSWORD,
        &signed_in.access_token,
        &signed_in.refresh_token,
        &signed_in.session.token_hash,
        signed_in.user.password_hash.as_deref().unwrap(),
    ];
    for secret in secrets {
        assert!(!text.contains(secret), "{text}");
    }
    world.remove().await;
}
