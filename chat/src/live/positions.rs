//! Where a viewer's stream stands in each of the logs that it follows, small enough to go with every item.

use std::collections::BTreeMap;

use quikapp_entities::ChannelId;

use crate::live::position::Position;

/// The random end of a channel's id: enough to tell the logs of one viewer from each other.
type Tag = [u8; 6];

/// In place of a position: the channel's end was told, and the entry in the viewer's own log that says the same was not come
/// to. No log is as long.
const GONE: i64 = 1 << 60;

/// Where the stream stands in each log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<Tag, Position>);

fn tag(channel: ChannelId) -> Tag {
    let mut tag = Tag::default();
    tag.copy_from_slice(&channel.0.as_bytes()[10..]);
    tag
}

impl Positions {
    /// The position in a log; none if it was not followed.
    #[must_use]
    pub fn get(&self, channel: ChannelId) -> Option<Position> {
        self.0.get(&tag(channel)).filter(|position| position.tick() != GONE).cloned()
    }

    /// Notes that the viewer was told that they are out of a channel, so that they are not told again.
    pub fn set_gone(&mut self, channel: ChannelId) {
        self.set(channel, GONE);
    }

    /// Whether that was noted.
    #[must_use]
    pub fn is_gone(&self, channel: ChannelId) -> bool {
        self.0.get(&tag(channel)).is_some_and(|position| position.tick() == GONE)
    }

    /// Drops all such notes.
    pub fn forget_gone(&mut self) {
        self.0.retain(|_, position| position.tick() != GONE);
    }

    /// Moves on in a log, or begins with it.
    pub fn set(&mut self, channel: ChannelId, position: impl Into<Position>) {
        self.0.insert(tag(channel), position.into());
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

    /// Whether nothing but ticks is to be written: no log is in the midst of a replay.
    #[must_use]
    pub fn are_plain(&self) -> bool {
        self.0.values().all(|position| position.offsets().is_empty())
    }

    /// Nine bytes or so for each log, and some more for one in the midst of a replay.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let are_plain = self.are_plain();
        let mut bytes = Vec::with_capacity(self.0.len() * 10);
        for (tag, position) in &self.0 {
            bytes.extend_from_slice(tag);
            let tick = position.tick().unsigned_abs();
            if are_plain {
                write(&mut bytes, tick);
                continue;
            }
            let offsets = position.offsets();
            write(&mut bytes, (tick << 1) | u64::from(!offsets.is_empty()));
            if !offsets.is_empty() {
                write(&mut bytes, offsets.len() as u64);
                for offset in offsets {
                    write(&mut bytes, offset.unsigned_abs());
                }
            }
        }
        bytes
    }

    /// What [`Positions::to_bytes`] wrote of positions that were plain, or were not; none of anything else.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8], are_plain: bool) -> Option<Self> {
        let mut positions = BTreeMap::new();
        while !bytes.is_empty() {
            let (tag, rest) = bytes.split_first_chunk::<6>()?;
            bytes = rest;
            let number = read(&mut bytes)?;
            let position = if are_plain || number & 1 == 0 {
                Position::from(if are_plain { number } else { number >> 1 })
            } else {
                let count = read(&mut bytes)?;
                // Each takes a byte at least. None at all would be written otherwise.
                if count < 1 || usize::try_from(count).ok()? > bytes.len() {
                    return None;
                }
                let offsets: Option<Vec<i64>> = (0..count).map(|_| read(&mut bytes)).collect();
                Position::from_offsets(number >> 1, &offsets?)?
            };
            // In order and each once, as it is written.
            if positions.last_key_value().is_some_and(|(last, _)| last >= tag) {
                return None;
            }
            positions.insert(*tag, position);
        }
        Some(Self(positions))
    }
}

/// Seven bits a byte, the lowest first.
fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

fn read(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    let mut shift = 0;
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return i64::try_from(number).ok();
        }
        shift += 7;
        if shift > 56 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use uuid::Uuid;

    use super::*;

    fn ids() -> impl Iterator<Item = ChannelId> {
        std::iter::repeat_with(|| ChannelId(Uuid::now_v7()))
    }

    #[test]
    fn who_is_gone_has_no_position() {
        let mut positions = Positions::default();
        let channels: Vec<_> = ids().take(3).collect();
        positions.set_gone(channels[0]);
        positions.set(channels[1], 7);
        for are_plain in [true, false] {
            if !are_plain {
                positions.set(channels[2], Position::from_offsets(1_000, &[3, 0, 90]).unwrap());
            }
            assert_eq!(positions.are_plain(), are_plain);
            let read = Positions::from_bytes(&positions.to_bytes(), are_plain).unwrap();
            assert!(read.is_gone(channels[0]) && !read.is_gone(channels[1]) && !read.is_gone(channels[2]));
            assert_eq!((read.get(channels[0]), read.get(channels[1])), (None, Some(7.into())));
        }
        positions.forget_gone();
        assert!(!positions.is_gone(channels[0]) && positions.get(channels[1]).is_some());
    }

    #[test]
    fn bytes_give_back_what_was_written_and_nothing_else() {
        let mut plain = Positions::default();
        for (id, tick) in ids().zip([0, 1, 127, 128, 300, 1 << 40]) {
            plain.set(id, tick);
        }
        let mut others = plain.clone();
        for (id, offsets) in ids().zip([&[3, 0, 90][..], &[0, 1], &[8, 2, 200, 5, 300]]) {
            others.set(id, Position::from_offsets(1_000, offsets).unwrap());
        }
        for positions in [plain, others] {
            let (bytes, are_plain) = (positions.to_bytes(), positions.are_plain());
            assert_eq!(Positions::from_bytes(&bytes, are_plain), Some(positions));
            for end in 1..bytes.len() {
                let read = Positions::from_bytes(&bytes[..end], are_plain);
                assert_ne!(read.map(|some| some.to_bytes()), Some(bytes.clone()));
            }
        }
        for are_plain in [true, false] {
            assert_eq!(Positions::from_bytes(&[0xff; 40], are_plain), None);
            assert_eq!(Positions::from_bytes(&[], are_plain), Some(Positions::default()));
        }
        // Says that there is a base, and has none.
        assert_eq!(Positions::from_bytes(&[0, 0, 0, 0, 0, 0, 9, 0], false), None);
    }
}
