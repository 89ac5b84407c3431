//! Where a viewer's stream stands in each of the logs that it follows, small enough to go with every item.

use std::collections::BTreeMap;

use quikapp_entities::ChannelId;

/// The random end of a channel's id: enough to tell the logs of one viewer from each other.
type Tag = [u8; 6];

/// The last tick told of each log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<Tag, i64>);

fn tag(channel: ChannelId) -> Tag {
    let mut tag = Tag::default();
    tag.copy_from_slice(&channel.0.as_bytes()[10..]);
    tag
}

impl Positions {
    /// The position in a log; none if it was not followed.
    #[must_use]
    pub fn get(&self, channel: ChannelId) -> Option<i64> {
        self.0.get(&tag(channel)).copied()
    }

    /// Moves on in a log, or begins with it.
    pub fn set(&mut self, channel: ChannelId, tick: i64) {
        self.0.insert(tag(channel), tick);
    }

    /// Leaves a log.
    pub fn remove(&mut self, channel: ChannelId) {
        self.0.remove(&tag(channel));
    }

    /// Whether every log in here is one of `channels`.
    #[must_use]
    pub fn are_among(&self, channels: impl Iterator<Item = ChannelId>) -> bool {
        let mut others: Vec<&Tag> = self.0.keys().collect();
        let known: std::collections::HashSet<Tag> = channels.map(tag).collect();
        others.retain(|tag| !known.contains(*tag));
        others.is_empty()
    }

    /// Nine bytes or so for each log.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * 10);
        for (tag, tick) in &self.0 {
            bytes.extend_from_slice(tag);
            let mut rest = tick.unsigned_abs();
            while rest >= 0x80 {
                bytes.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push((rest & 0x7f) as u8);
        }
        bytes
    }

    /// What [`Positions::to_bytes`] wrote; none of anything else.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut positions = BTreeMap::new();
        while !bytes.is_empty() {
            let (tag, rest) = bytes.split_first_chunk::<6>()?;
            bytes = rest;
            let mut tick = 0_u64;
            let mut shift = 0;
            loop {
                let (byte, rest) = bytes.split_first()?;
                bytes = rest;
                tick |= u64::from(byte & 0x7f).checked_shl(shift)?;
                if byte & 0x80 == 0 {
                    break;
                }
                shift += 7;
                if shift > 56 {
                    return None;
                }
            }
            // In order and each once, as it is written.
            if positions.last_key_value().is_some_and(|(last, _)| last >= tag) {
                return None;
            }
            positions.insert(*tag, i64::try_from(tick).ok()?);
        }
        Some(Self(positions))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use uuid::Uuid;

    use super::*;

    #[test]
    fn bytes_give_back_what_was_written_and_nothing_else() {
        let mut positions = Positions::default();
        for tick in [0, 1, 127, 128, 300, 1 << 40] {
            positions.set(ChannelId(Uuid::now_v7()), tick);
        }
        let bytes = positions.to_bytes();
        assert_eq!(Positions::from_bytes(&bytes), Some(positions));
        for end in 1..bytes.len() {
            assert_ne!(Positions::from_bytes(&bytes[..end]).map(|some| some.to_bytes()), Some(bytes.clone()));
        }
        assert_eq!(Positions::from_bytes(&[0xff; 40]), None);
        assert_eq!(Positions::from_bytes(&[]), Some(Positions::default()));
    }
}
