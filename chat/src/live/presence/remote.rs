//! Connections on all nodes, in Redis.

use std::time::Duration;

use quikapp_entities::{Timestamp, UserId};
use redis::Pipeline;
use uuid::Uuid;

use super::{Connected, KEPT, Live};
use crate::{Result, live::relay::Relay};

/// Ends one connection at its time, and the user at the latest end of all; both at once, because another node may open one
/// at the same moment. Gives the user's end before and after.
const RELEASE: &str = "
    local before = redis.call('ZSCORE', KEYS[2], ARGV[1])
    redis.call('ZADD', KEYS[1], ARGV[3], ARGV[2])
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[4])
    local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
    redis.call('PEXPIRE', KEYS[1], 2 * (last[2] - ARGV[4]))
    redis.call('ZADD', KEYS[2], last[2], ARGV[1])
    return {before, last[2]}";

/// A user's connections by their ends.
fn sessions(relay: &Relay, user: UserId) -> String {
    relay.key(&format!("presence:{}:sessions", user.0.simple()))
}

/// Users by the latest end of their connections.
fn online(relay: &Relay) -> String {
    relay.key("presence:online")
}

/// Users by when they last did something.
fn active(relay: &Relay) -> String {
    relay.key("presence:active")
}

fn names(users: impl Iterator<Item = UserId>) -> Vec<String> {
    users.map(|user| user.0.simple().to_string()).collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[allow(clippy::cast_possible_truncation)] // milliseconds of this age fit a double exactly
fn times(scores: Vec<Option<f64>>) -> impl Iterator<Item = Option<Timestamp>> {
    scores.into_iter().map(|score| score.map(|score| Timestamp(score as i64)))
}

fn ask(pipeline: &mut Pipeline, key: &str, names: &[String]) {
    pipeline.cmd("ZMSCORE").arg(key).arg(names);
}

pub(super) async fn confirm(
    relay: &Relay,
    people: &[Connected],
    now: Timestamp,
    lasts: Duration,
) -> Result<Vec<UserId>> {
    let until = now.plus(lasts);
    let names = names(people.iter().map(|person| person.user));
    let (online, active) = (online(relay), active(relay));
    let mut pipeline = redis::pipe();
    ask(&mut pipeline, &online, &names);
    for person in people {
        let key = sessions(relay, person.user);
        let ends = person.connections.iter().map(|one| (until.0, one.simple().to_string()));
        pipeline.zadd_multiple(&key, &ends.collect::<Vec<_>>()).ignore();
        // Its clock may differ from ours, so the key lasts longer than what is in it.
        pipeline.pexpire(&key, millis(2 * lasts)).ignore();
    }
    // Never back: another node may have confirmed the user for longer.
    let ends: Vec<_> = names.iter().map(|name| (until.0, name)).collect();
    pipeline.cmd("ZADD").arg(&online).arg("GT").arg(ends).ignore();
    pipeline.zrembyscore(&online, "-inf", now.0).ignore();
    // Only what was lost: whatever people do is noted when they do it.
    let acts: Vec<_> = people.iter().zip(&names).map(|(person, name)| (person.active_at.0, name)).collect();
    pipeline.cmd("ZADD").arg(&active).arg("NX").arg(acts).ignore();
    pipeline.zrembyscore(&active, "-inf", now.0.saturating_sub(millis(KEPT))).ignore();
    let (before,): (Vec<Option<f64>>,) = relay.run(&pipeline).await?;
    let is_new = |end: &Option<Timestamp>| end.is_none_or(|end| end <= now);
    let people = people.iter().zip(times(before));
    Ok(people.filter(|(_, end)| is_new(end)).map(|(person, _)| person.user).collect())
}

pub(super) async fn release(
    relay: &Relay,
    closed: &[(UserId, Uuid)],
    now: Timestamp,
    until: Timestamp,
) -> Result<Vec<UserId>> {
    let online = online(relay);
    let mut pipeline = redis::pipe();
    for (user, connection) in closed {
        let (user_name, connection) = (user.0.simple().to_string(), connection.simple().to_string());
        let command = pipeline.cmd("EVAL").arg(RELEASE).arg(2).arg(sessions(relay, *user)).arg(&online);
        command.arg(user_name).arg(connection).arg(until.0).arg(now.0);
    }
    let ends: Vec<(Option<f64>, Option<f64>)> = relay.run(&pipeline).await?;
    let changed = closed.iter().zip(ends).filter(|(_, (before, after))| before != after);
    Ok(changed.map(|((user, _), _)| *user).collect())
}

/// When each did something before.
pub(super) async fn act(relay: &Relay, users: &[UserId], now: Timestamp) -> Result<Vec<Option<Timestamp>>> {
    let names = names(users.iter().copied());
    let active = active(relay);
    let mut pipeline = redis::pipe();
    ask(&mut pipeline, &active, &names);
    let acts: Vec<_> = names.iter().map(|name| (now.0, name)).collect();
    pipeline.cmd("ZADD").arg(&active).arg("GT").arg(acts).ignore();
    let (before,): (Vec<Option<f64>>,) = relay.run(&pipeline).await?;
    Ok(times(before).collect())
}

pub(super) async fn of(relay: &Relay, users: &[UserId], now: Timestamp) -> Result<Vec<Live>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let names = names(users.iter().copied());
    let mut pipeline = redis::pipe();
    ask(&mut pipeline, &online(relay), &names);
    ask(&mut pipeline, &active(relay), &names);
    let (ends, acts): (Vec<Option<f64>>, Vec<Option<f64>>) = relay.run(&pipeline).await?;
    let both = times(ends).zip(times(acts));
    Ok(both.map(|(end, active_at)| Live { until: end.filter(|end| *end > now), active_at }).collect())
}

pub(super) async fn are_connected(relay: &Relay, users: &[UserId], now: Timestamp) -> Result<Vec<bool>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::pipe();
    ask(&mut pipeline, &online(relay), &names(users.iter().copied()));
    let (ends,): (Vec<Option<f64>>,) = relay.run(&pipeline).await?;
    Ok(times(ends).map(|end| end.is_some_and(|end| end > now)).collect())
}
