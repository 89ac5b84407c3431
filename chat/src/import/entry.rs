//! One line of a history.

use quikapp_entities::Timestamp;
use serde::Deserialize;

use crate::messages::{content::TEXT_LIMIT, send::CLIENT_ID_LIMIT};

/// Longest id of an entry, in characters: it becomes the message's `clientMessageId`.
pub const ID_LIMIT: usize = CLIENT_ID_LIMIT;
/// Longest nick, in bytes.
const USER_LIMIT: usize = 1_000;

/// What an entry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Somebody said something.
    Message,
    /// Somebody did something (`/me`).
    Action,
    /// Somebody came in.
    Join,
    /// Somebody went.
    Leave,
}

impl EntryKind {
    /// Whether it becomes a message.
    #[must_use]
    pub fn is_written(self) -> bool {
        matches!(self, Self::Message | Self::Action)
    }
}

/// One event of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its line in the file: for reports, and to tell earlier from later.
    pub line: u64,
    /// `EXCERPT:LINE`, unique in the history.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// What it tells.
    pub kind: EntryKind,
    /// The nick, as written.
    pub user: String,
    /// The words, unchanged; empty on joins and leaves.
    pub text: String,
    /// The id of the entry that it answers.
    pub reply_to: Option<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Raw {
    id: String,
    at: String,
    kind: EntryKind,
    user: String,
    text: Option<String>,
    reply_to: Option<String>,
}

impl Entry {
    /// Reads a line of JSON.
    ///
    /// # Errors
    /// What is wrong with it, for the person who has the file.
    pub fn parse(line: u64, json: &[u8]) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(json).map_err(|error| {
            // The file's line is known; the one that the parser counts is always the first.
            error.to_string().replace(" at line 1 column ", " at column ")
        })?;
        match raw.id.rsplit_once(':') {
            Some((excerpt, number)) if !excerpt.trim().is_empty() && !number.is_empty() => {}
            _ => return Err(format!("the id `{}` is not of the form EXCERPT:LINE", short(&raw.id))),
        }
        if raw.id.chars().count() > ID_LIMIT {
            return Err(format!("the id has more than {ID_LIMIT} characters"));
        }
        let at = Timestamp::parse_rfc3339(&raw.at)
            .ok_or_else(|| format!("the time `{}` is not RFC 3339", short(&raw.at)))?;
        if raw.user.trim().is_empty() {
            return Err("the user is empty".into());
        }
        if raw.user.len() > USER_LIMIT {
            return Err(format!("the user has more than {USER_LIMIT} bytes"));
        }
        let text = match (raw.text, raw.kind.is_written()) {
            (Some(text), true) => text,
            (None, true) => return Err("missing field `text`".into()),
            (_, false) => String::new(),
        };
        if text.chars().count() > TEXT_LIMIT {
            return Err(format!("the text has more than {TEXT_LIMIT} characters"));
        }
        Ok(Self { line, id: raw.id, at, kind: raw.kind, user: raw.user, text, reply_to: raw.reply_to })
    }

    /// The part of the id before its last colon.
    #[must_use]
    pub fn excerpt(&self) -> &str {
        self.id.rsplit_once(':').map_or("", |(excerpt, _)| excerpt)
    }
}

/// Enough of what the file says to find it again.
fn short(text: &str) -> String {
    let mut cut: String =
        text.chars().take(40).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(40).is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    const GOOD: &str = r#"{"id":"a:b:7","channel":"x","at":"2004-12-25T09:14:00Z","kind":"action","user":"Bob ","text":" \u0000\u0003waves 👋 ","reply_to":"a:b:6"}"#;

    #[test]
    fn a_line_is_read_as_it_is() {
        let entry = Entry::parse(9, GOOD.as_bytes()).expect("a good line");
        assert_eq!((entry.line, entry.excerpt(), entry.kind), (9, "a:b", EntryKind::Action));
        assert_eq!((entry.user.as_str(), entry.text.as_str()), ("Bob ", " \0\u{3}waves 👋 "));
        assert_eq!(entry.at.to_rfc3339(), "2004-12-25T09:14:00.000Z");
        assert_eq!(entry.reply_to.as_deref(), Some("a:b:6"));
        let join = r#"{"id":"a:1","at":"2004-12-25T10:14:00+01:00","kind":"join","user":"x"}"#;
        assert_eq!(Entry::parse(1, join.as_bytes()).map(|entry| entry.at), Ok(entry.at));
    }

    #[test]
    fn broken_lines_say_what_is_wrong() {
        for (from, to, said) in [
            ("\"id\"", "\"it\"", "missing field `id`"),
            ("a:b:7", "ab7", "not of the form EXCERPT:LINE"),
            ("a:b:7", " :7", "not of the form"),
            ("a:b:7", "a:", "not of the form"),
            ("2004-12-25T09:14:00Z", "Christmas", "the time `Christmas` is not RFC 3339"),
            ("2004-12-25", "2004-02-30", "is not RFC 3339"),
            ("\"action\"", "\"quit\"", "unknown variant `quit`"),
            ("Bob ", " ", "the user is empty"),
            ("\"text\"", "\"words\"", "missing field `text`"),
            ("{", "", "expected an object"),
            ("}", "", "EOF while parsing"),
            ("}", "} {}", "trailing characters"),
            ("\\u0003", "\\ud800", "hex escape"),
            ("\"Bob \"", "5", "invalid type: integer"),
        ] {
            let error = Entry::parse(1, GOOD.replacen(from, to, 1).as_bytes()).expect_err(to);
            assert!(error.contains(said) && !error.contains("line 1"), "{to}: {error}");
        }
        assert!(Entry::parse(1, b"{\"id\":\"a:\xff\"}").is_err());
        assert!(Entry::parse(1, GOOD.replace("waves", &"w".repeat(TEXT_LIMIT)).as_bytes()).is_err());
        assert!(
            Entry::parse(1, GOOD.replace("a:b:7", &format!("{}:7", "a".repeat(127))).as_bytes()).is_err()
        );
    }
}
