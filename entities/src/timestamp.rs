//! The one time type: milliseconds since the Unix epoch, UTC.

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A moment with millisecond precision. A plain integer in every SQL store, because `SQLite` compares times as text (and
/// orders `12.5Z` before `12Z`), and because `MySQL`'s `TIMESTAMP` ends in 2038.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, DeriveValueType,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This moment and `duration` later.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// RFC 3339 in UTC with exactly three fractional digits.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        )
    }

    /// Reads any RFC 3339 time; digits beyond the millisecond are cut.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|time| i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok())
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trips_with_three_digits() {
        for (text, written) in [
            ("2004-12-25T09:14:00Z", "2004-12-25T09:14:00.000Z"),
            ("2026-11-21T04:53:12.1Z", "2026-11-21T04:53:12.100Z"),
            ("2026-11-21T05:53:12.123999+01:00", "2026-11-21T04:53:12.123Z"),
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text).map(Timestamp::to_rfc3339).as_deref(), Some(written));
        }
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }
}
