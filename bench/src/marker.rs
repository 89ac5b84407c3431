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
/// With the two words that a marker is to an index, as many as a message has different ones on the average of 200,000 of a
/// public chat: nine.
const WORDS: u64 = 7;
/// How many different words there are.
const VOCABULARY: f64 = 10_000.0;

static START: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"text\":\"#"));

/// A message's own number and when it was sent, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) number: u64,
    pub(crate) sent: u64,
}

/// The first of the numbers of a sender's messages, which follow each other.
pub(crate) fn first_of(sender: usize) -> u64 {
    sender as u64 * 100_000_000
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
        let mut text = self.tag();
        for place in 0..WORDS {
            text.push(' ');
            text.push_str(&word(self.number.wrapping_mul(WORDS) + place));
        }
        text
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

/// A made-up word, the same for the same number; some are frequent and most are rare, as in a language (Zipf's law).
fn word(number: u64) -> String {
    const SYLLABLES: [&str; 16] =
        ["an", "be", "co", "de", "er", "fi", "go", "he", "in", "ka", "lo", "me", "no", "or", "ta", "us"];
    // As SplitMix64 ends: neighbours have nothing in common.
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let even = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
    let mut rank = VOCABULARY.powf(even) as usize;
    let mut word = String::new();
    while rank > 0 {
        word.push_str(SYLLABLES[rank % SYLLABLES.len()]);
        rank /= SYLLABLES.len();
    }
    word
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
    fn some_words_are_frequent_and_most_are_rare() {
        let mut times = std::collections::HashMap::new();
        for number in 0..100_000 {
            *times.entry(word(number)).or_insert(0) += 1;
        }
        let most = times.values().max().copied().unwrap_or_default();
        let rare = times.values().filter(|times| **times < 20).count();
        assert!((5_000..20_000).contains(&most), "{most}");
        assert!(times.len() > 5_000 && rare > times.len() / 2, "{} words, {rare} of them rare", times.len());
    }

    #[test]
    fn what_is_cut_short_is_no_marker() {
        assert_eq!(Marker::find(br#""text":"#), None);
        assert_eq!(Marker::find(br##""text":"#0000"##), None);
    }
}
