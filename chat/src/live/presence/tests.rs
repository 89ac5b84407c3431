#![allow(clippy::unwrap_used, clippy::expect_used)]

use tokio::sync::broadcast::Receiver;

use super::*;
use crate::accounts::fixture::FixedClock;

const TTL: Duration = Duration::from_mins(5);
const GRACE: Duration = Duration::from_secs(30);

fn person(user: UserId, connections: &[Uuid]) -> Connected {
    Connected { user, connections: connections.to_vec(), active_at: Timestamp(0) }
}

fn told(changes: &mut Receiver<Option<UserId>>) -> Vec<UserId> {
    std::iter::from_fn(|| changes.try_recv().ok()).flatten().collect()
}

/// In memory, and in the Redis that `REDIS_URL` names.
async fn both(clock: &FixedClock) -> Vec<Presences> {
    let env = Environment::new(clock.clone(), crate::clock::SystemRandom);
    let mut both = vec![Presences::new(None, env.clone())];
    if let Ok(url) = std::env::var("REDIS_URL") {
        let (relay, _) = Relay::connect(&url, &format!("test-{}:", Uuid::now_v7().simple())).await.unwrap();
        both.push(Presences::new(Some(relay), env));
    }
    both
}

#[tokio::test]
async fn only_what_changes_is_told() {
    let clock = FixedClock::default();
    for presences in both(&clock).await {
        what_changes_is_told(&clock, &presences).await;
    }
}

async fn what_changes_is_told(clock: &FixedClock, presences: &Presences) {
    let mut changes = presences.changes();
    let [ada, bob] = [UserId(Uuid::now_v7()), UserId(Uuid::now_v7())];
    let [phone, desk] = [Uuid::now_v7(), Uuid::now_v7()];
    let online = async || presences.are_connected(&[ada, bob]).await.unwrap();

    presences.confirm(&[person(ada, &[phone])], TTL).await.unwrap();
    assert_eq!(told(&mut changes), [ada]);
    // Neither a second device nor any number of heartbeats changes anything.
    presences.confirm(&[person(ada, &[desk])], TTL).await.unwrap();
    for _ in 0..5 {
        clock.advance(Duration::from_mins(1));
        presences.confirm(&[person(ada, &[phone, desk])], TTL).await.unwrap();
    }
    assert_eq!(told(&mut changes), []);
    assert_eq!(online().await, [true, false]);

    // The first of two to leave changes nothing; the last one starts the grace.
    presences.release(&[(ada, phone)], GRACE).await.unwrap();
    assert_eq!(told(&mut changes), []);
    clock.advance(GRACE);
    assert_eq!(online().await, [true, false]);
    presences.release(&[(ada, desk)], GRACE).await.unwrap();
    assert_eq!(told(&mut changes), [ada]);
    assert_eq!(presences.of(&[ada]).await.unwrap()[0].until, Some(presences.env.now().plus(GRACE)));
    clock.advance(GRACE);
    assert_eq!(online().await, [false, false]);

    // Who falls silent ends after the time to live.
    presences.confirm(&[person(bob, &[phone])], TTL).await.unwrap();
    clock.advance(TTL.saturating_sub(Duration::from_millis(1)));
    assert_eq!(online().await, [false, true]);
    clock.advance(Duration::from_millis(1));
    assert_eq!(online().await, [false, false]);
}

#[tokio::test]
async fn doing_something_is_told_after_a_long_rest_only() {
    let clock = FixedClock::default();
    let idle = Some(Duration::from_mins(10));
    for presences in both(&clock).await {
        let mut changes = presences.changes();
        let ada = UserId(Uuid::now_v7());
        for (rest, is_told) in [(0, false), (9, false), (10, true), (1, false)] {
            clock.advance(Duration::from_mins(rest));
            presences.act(&[ada], idle).await.unwrap();
            assert_eq!(told(&mut changes).len(), usize::from(is_told), "after {rest} minutes");
            assert_eq!(presences.of(&[ada]).await.unwrap()[0].active_at, Some(presences.env.now()));
        }
    }
}
