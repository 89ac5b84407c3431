//! Whom a text addresses: `nick: …`, `nick, …` or `nick, other: …` at its start.

use std::collections::HashMap;

use quikapp_entities::UserId;

/// Most people that one text addresses.
const LIMIT: usize = 20;

/// The nicks of a channel.
#[derive(Debug, Default)]
pub(super) struct Nicks {
    exact: HashMap<String, UserId>,
    /// Trimmed and without regard to case; the first of several keeps the place.
    folded: HashMap<String, UserId>,
}

impl Nicks {
    pub(super) fn add(&mut self, nick: &str, user: UserId) {
        if self.exact.contains_key(nick) {
            return;
        }
        self.exact.insert(nick.to_owned(), user);
        self.folded.entry(nick.trim().to_lowercase()).or_insert(user);
    }

    fn get(&self, nick: &str) -> Option<UserId> {
        self.exact.get(nick).or_else(|| self.folded.get(&nick.to_lowercase())).copied()
    }

    /// The people that a text addresses at its start, each once.
    pub(super) fn addressed(&self, text: &str) -> Vec<UserId> {
        let mut found = Vec::new();
        let mut rest = text.trim_start();
        while let Some(at) = rest.find([':', ',']) {
            let (nick, behind) = (rest[..at].trim_end(), &rest[at + 1..]);
            // `http://…` or `3,5` address nobody.
            if found.len() == LIMIT || !(behind.is_empty() || behind.starts_with(char::is_whitespace)) {
                break;
            }
            let Some(user) = self.get(nick) else { break };
            if !found.contains(&user) {
                found.push(user);
            }
            if rest[at..].starts_with(':') {
                break;
            }
            rest = behind.trim_start();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn people_are_addressed_at_the_start_only() {
        let id = |n| UserId(Uuid::from_u128(n));
        let mut nicks = Nicks::default();
        for (n, nick) in ["Bob", "bob", "|QuaD-", "[FiDo] ", "amy", "http"].iter().enumerate() {
            nicks.add(nick, id(n as u128));
        }
        for (text, expected) in [
            ("Bob: hello", vec![0]),
            ("bob, hello", vec![1]),
            ("BOB: hello", vec![0]),
            ("|quad-: hi", vec![2]),
            ("[FiDo]: hi", vec![3]),
            (" amy : hi", vec![4]),
            ("amy:", vec![4]),
            ("amy, bob, Bob: hi", vec![4, 1, 0]),
            ("amy, AMY: hi", vec![4]),
            ("amy: bob: hi", vec![4]),
            ("amy, well, bob: hi", vec![4]),
            ("hello amy: hi", vec![]),
            ("amy hi", vec![]),
            ("amy:hi", vec![]),
            ("http://x", vec![]),
            (": hi", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(nicks.addressed(text), expected.into_iter().map(id).collect::<Vec<_>>(), "{text}");
        }
    }
}
