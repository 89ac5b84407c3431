//! What the texts of measured messages begin with: a number of their own, by which each is accounted for, and the moment at
//! which they were sent. Of a fixed length and place, so that a client finds them without parsing JSON.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use memchr::memmem::Finder;

use crate::failure::{Failure, Result};

const NUMBER: usize = 12;
const MICROS: usize = 16;
/// As long as an ordinary message of a few words.
const WORDS: &str = "the quick brown fox jumps over the lazy dog, and the dog lets it, as it does every day";

static START: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"text\":\"#"));

/// A message's own number and when it was sent, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) number: u64,
    pub(crate) sent: u64,
}

/// Microseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_micros() as u64
}

impl Marker {
    /// Of a message that is sent now.
    pub(crate) fn now(number: u64) -> Self {
        Self { number, sent: now() }
    }

    /// The whole text.
    pub(crate) fn text(self) -> String {
        format!("{} {WORDS}", self.tag())
    }

    fn tag(self) -> String {
        format!("#{:0NUMBER$}@{:0MICROS$}#", self.number, self.sent)
    }

    /// Reads the first one in `json` and tells where what follows begins.
    pub(crate) fn find(json: &[u8]) -> Option<(Self, usize)> {
        let start = START.find(json)? + START.needle().len();
        let end = start + NUMBER + 1 + MICROS;
        let number = digits(json.get(start..start + NUMBER)?)?;
        let sent = digits(json.get(end - MICROS..end)?)?;
        Some((Self { number, sent }, end))
    }

    /// All in `json`, in their order.
    pub(crate) fn all(mut json: &[u8]) -> Vec<Self> {
        let mut all = Vec::new();
        while let Some((marker, end)) = Self::find(json) {
            all.push(marker);
            json = &json[end..];
        }
        all
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// A recorded frame in which the marker can be replaced: what the bare broadcaster sends has the same bytes as what the server
/// sends.
#[derive(Clone)]
pub(crate) struct Template {
    before: String,
    after: String,
}

impl Template {
    /// From a frame with a message in it.
    pub(crate) fn new(frame: &str) -> Result<Self> {
        let none = || Failure::new("a recorded frame holds no message");
        let (marker, _) = Marker::find(frame.as_bytes()).ok_or_else(none)?;
        let (before, after) = frame.split_once(&marker.tag()).ok_or_else(none)?;
        Ok(Self { before: before.to_owned(), after: after.to_owned() })
    }

    /// The frame with another marker.
    pub(crate) fn with(&self, marker: Marker) -> String {
        format!("{}{}{}", self.before, marker.tag(), self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_found_in_frames_and_replaced_in_templates() {
        let marker = Marker { number: 42, sent: 1_795_000_000_123_456 };
        let frame = format!(r#"{{"a":[{{"text":"{}"}},{{"text":"other"}}]}}"#, marker.text());
        assert_eq!(Marker::all(frame.as_bytes()), [marker]);

        let other = Marker { number: 43, ..marker };
        let replaced = Template::new(&frame).map(|template| template.with(other)).unwrap_or_default();
        assert_eq!(replaced.len(), frame.len());
        assert_eq!(Marker::all(replaced.as_bytes()), [other]);
        assert!(Template::new("{}").is_err());
    }

    #[test]
    fn what_is_cut_short_is_no_marker() {
        assert_eq!(Marker::find(br#""text":"#), None);
        assert_eq!(Marker::find(br##""text":"#0000"##), None);
    }
}
