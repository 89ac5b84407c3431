#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use quikapp_entities::{SessionId, spent_refresh_tokens, user_sessions, users::AccountStatus};
use sea_orm::{EntityTrait, PaginatorTrait};
use uuid::Uuid;

use super::{ClientInfo, SESSION_LIFE, SessionStates, SignedIn};
use crate::{
    Chat, Error, Result,
    accounts::fixture::{PASSWORD, World},
    live::Control,
    tokens::ACCESS_TOKEN_LIFE,
};

async fn refresh(chat: &Chat, token: &str) -> Result<SignedIn> {
    chat.refresh_session(token, ClientInfo::default()).await
}

fn is_refused<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Unauthenticated(_)))
}

#[tokio::test]
async fn a_good_token_asks_the_database_once() {
    for world in World::all().await {
        let chat = &world.chat;
        let signed_in = world.register("ada@example.org").await.unwrap();
        chat.authenticate(&signed_in.access_token).await.unwrap();
        let (before, _) = chat.store_queries();
        for _ in 0..100 {
            assert_eq!(chat.authenticate(&signed_in.access_token).await, Ok(signed_in.viewer));
        }
        assert_eq!(chat.store_queries().0, before);
        assert!(is_refused(&chat.authenticate(&signed_in.refresh_token).await));
        assert!(is_refused(&chat.authenticate("").await));
        world.remove().await;
    }
}

#[tokio::test]
async fn tokens_end_with_their_time() {
    for world in World::all().await {
        let chat = &world.chat;
        let signed_in = world.register("ada@example.org").await.unwrap();
        assert_eq!(signed_in.expires_at, world.chat.env.now().plus(ACCESS_TOKEN_LIFE));
        world.clock.advance(ACCESS_TOKEN_LIFE.checked_sub(Duration::from_millis(1)).unwrap());
        chat.authenticate(&signed_in.access_token).await.unwrap();
        world.clock.advance(Duration::from_millis(1));
        assert!(is_refused(&chat.authenticate(&signed_in.access_token).await));

        let refreshed = refresh(chat, &signed_in.refresh_token).await.unwrap();
        assert_eq!(refreshed.viewer.session(), signed_in.viewer.session());
        assert_eq!(chat.authenticate(&refreshed.access_token).await, Ok(refreshed.viewer));
        // Another node finds the new end in the database.
        let live = world.other_node().check_sessions(&[refreshed.session.id]).await.unwrap().live;
        assert_eq!(live, [(refreshed.session.id, refreshed.expires_at)]);
        assert!(refreshed.expires_at > signed_in.expires_at);
        assert_eq!(chat.sessions(&refreshed.viewer).await.unwrap(), std::slice::from_ref(&refreshed.session));
        world.clock.advance(SESSION_LIFE);
        assert!(is_refused(&refresh(chat, &refreshed.refresh_token).await));
        assert_eq!(chat.sessions(&refreshed.viewer).await.unwrap(), []);
        assert_eq!(chat.check_sessions(&[refreshed.session.id]).await.unwrap().ended, [refreshed.session.id]);

        // What is kept for re-use to be noticed goes in time, too.
        assert_eq!(chat.purge_sessions().await.unwrap(), 0);
        world.clock.advance(SESSION_LIFE + Duration::from_secs(1));
        assert_eq!(chat.purge_sessions().await.unwrap(), 2);
        assert_eq!(chat.purge_sessions().await.unwrap(), 0);
        assert_eq!(user_sessions::Entity::find().count(chat.db.pool()).await.unwrap(), 0);
        world.remove().await;
    }
}

#[tokio::test]
async fn a_spent_refresh_token_ends_its_session() {
    for world in World::all().await {
        let chat = &world.chat;
        let first = world.register("ada@example.org").await.unwrap();
        let bystander = chat.sign_in("ada@example.org", PASSWORD, ClientInfo::default()).await.unwrap();
        let second = refresh(chat, &first.refresh_token).await.unwrap();
        let third = refresh(chat, &second.refresh_token).await.unwrap();
        chat.authenticate(&third.access_token).await.unwrap();
        let mut controls = chat.hub().controls();
        assert!(is_refused(&refresh(chat, &first.refresh_token).await));
        assert_eq!(controls.try_recv(), Ok(Control::SessionRevoked { session: first.session.id }));
        for token in [&first, &second, &third].map(|tokens| &tokens.refresh_token) {
            assert!(is_refused(&refresh(chat, token).await));
        }
        assert!(controls.try_recv().is_err());
        assert!(is_refused(&chat.authenticate(&third.access_token).await));
        chat.authenticate(&bystander.access_token).await.unwrap();

        // A token that was never issued ends nothing.
        let forged = crate::tokens::refresh_token(bystander.session.id, &[1; 32]);
        for token in ["", "x.y", &forged] {
            assert!(is_refused(&refresh(chat, token).await));
        }
        refresh(chat, &bystander.refresh_token).await.unwrap();
        world.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_refreshes_at_once_one_wins() {
    for world in World::all().await {
        let signed_in = world.register("ada@example.org").await.unwrap();
        let attempts = (0..4).map(|_| {
            let (chat, token) = (world.chat.clone(), signed_in.refresh_token.clone());
            tokio::spawn(async move { refresh(&chat, &token).await })
        });
        let results = futures_util::future::join_all(attempts).await;
        let results: Vec<_> = results.into_iter().map(std::result::Result::unwrap).collect();
        let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        assert_eq!(results.iter().filter(|result| is_refused(result)).count(), 3);
        // One of the two may be a thief: neither goes on.
        assert!(is_refused(&refresh(&world.chat, &won[0].refresh_token).await));
        assert!(is_refused(&world.chat.authenticate(&won[0].access_token).await));
        assert_eq!(spent_refresh_tokens::Entity::find().count(world.chat.db.pool()).await.unwrap(), 1);
        world.remove().await;
    }
}

#[tokio::test]
async fn a_session_is_revoked_by_its_owner_only_and_at_once() {
    for world in World::all().await {
        let chat = &world.chat;
        let ada = world.register("ada@example.org").await.unwrap();
        let phone = chat.sign_in("ada@example.org", PASSWORD, ClientInfo::default()).await.unwrap();
        let bob = world.register("bob@example.org").await.unwrap();
        chat.authenticate(&phone.access_token).await.unwrap();
        let listed: Vec<_> =
            chat.sessions(&ada.viewer).await.unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!(listed, [phone.session.id, ada.session.id]);

        let not_found = Err(Error::NotFound("session"));
        assert_eq!(chat.revoke_session(&bob.viewer, phone.session.id).await, not_found);
        assert_eq!(chat.revoke_session(&ada.viewer, SessionId(Uuid::now_v7())).await, not_found);
        chat.authenticate(&phone.access_token).await.unwrap();

        for _ in 0..2 {
            assert_eq!(chat.revoke_session(&ada.viewer, phone.session.id).await, Ok(phone.session.id));
            assert!(is_refused(&chat.authenticate(&phone.access_token).await));
        }
        assert!(is_refused(&refresh(chat, &phone.refresh_token).await));
        chat.authenticate(&ada.access_token).await.unwrap();
        assert_eq!(chat.sessions(&ada.viewer).await.unwrap().len(), 1);
        world.remove().await;
    }
}

#[tokio::test]
async fn a_suspended_account_is_out_at_once_here_and_soon_elsewhere() {
    for world in World::all().await {
        let (chat, other) = (&world.chat, world.other_node());
        let ada = world.register("ada@example.org").await.unwrap();
        let bob = world.register("bob@example.org").await.unwrap();
        for node in [chat, &other] {
            node.authenticate(&ada.access_token).await.unwrap();
            node.authenticate(&bob.access_token).await.unwrap();
        }
        chat.set_account_status("ada@example.org", AccountStatus::Suspended).await.unwrap();
        assert!(is_refused(&chat.authenticate(&ada.access_token).await));
        assert!(is_refused(&refresh(chat, &ada.refresh_token).await));
        // The refused refresh spent nothing.
        assert_eq!(spent_refresh_tokens::Entity::find().count(chat.db.pool()).await.unwrap(), 0);
        // The other node heard nothing; its sweep finds it, or else two seconds.
        let both = [ada.session.id, bob.session.id];
        let (before, _) = other.store_queries();
        assert_eq!(
            other.check_sessions(&both).await.unwrap(),
            SessionStates { live: vec![(bob.session.id, bob.expires_at)], ended: vec![ada.session.id] }
        );
        assert_eq!(other.store_queries().0, before + 1);
        assert!(is_refused(&other.authenticate(&ada.access_token).await));
        other.authenticate(&bob.access_token).await.unwrap();

        world.by_hand("DELETE FROM user_sessions WHERE revoked_at IS NULL").await;
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        for node in [chat, &other] {
            assert!(is_refused(&node.authenticate(&bob.access_token).await));
        }
        assert_eq!(other.check_sessions(&both).await.unwrap().ended, both);
        assert_eq!(other.check_sessions(&[]).await.unwrap().ended, []);
        world.remove().await;
    }
}
