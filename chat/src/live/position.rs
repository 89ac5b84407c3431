//! Where a listener stands in a log, and what it knows of the messages on either side of that.
//!
//! What is read from the store is coalesced: each message stands at its latest tick only, and may be older than others that
//! were told before it. So within such a replay a tick alone does not say what its listener knows.

use std::sync::Arc;

use crate::messages::model::Message;

/// Most parts of a base: one for each time that the log moved on while a replay was read, or that it was cut. More are taken
/// together.
const PARTS: usize = 8;

/// Where a listener stands in a log: what has to be kept to go on from there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    tick: i64,
    /// None where the listener knows every message as of `tick`.
    base: Option<Arc<Base>>,
}

impl From<i64> for Position {
    fn from(tick: i64) -> Self {
        Self { tick, base: None }
    }
}

impl Position {
    pub(super) fn new(tick: i64, base: &Base) -> Self {
        let base = (!base.is_plain()).then(|| Arc::new(base.clone()));
        Self { tick, base }
    }

    /// What changed at this tick or before has been told, or comes again at a later one.
    #[must_use]
    pub fn tick(&self) -> i64 {
        self.tick
    }

    /// What the listener knows.
    pub(super) fn base(&self) -> Base {
        self.base.as_ref().map_or_else(|| Base::at(self.tick), |base| Base::clone(base))
    }

    /// The last tick that the listener has heard of.
    pub(super) fn head(&self) -> i64 {
        let of_base = self.base.as_ref().map(|base| base.head().max(base.half.unwrap_or(0)));
        of_base.map_or(self.tick, |head| head.max(self.tick))
    }

    /// What is to be written beside the tick, in small numbers; nothing outside of replays.
    #[must_use]
    pub fn offsets(&self) -> Vec<i64> {
        let Some(base) = &self.base else { return Vec::new() };
        let mut offsets = vec![self.tick - base.known, base.half.map_or(0, |half| half - base.known)];
        for (index, part) in base.parts.iter().enumerate() {
            offsets.push(part.head - base.known);
            // The last part ends at the position.
            if index + 1 < base.parts.len() {
                offsets.push(part.end - base.known);
            }
        }
        offsets
    }

    /// What [`Position::offsets`] belongs to; none of anything else.
    #[must_use]
    pub fn from_offsets(tick: i64, offsets: &[i64]) -> Option<Self> {
        let (told, half, mut rest) = match offsets {
            [] => return Some(tick.into()),
            [told, half, rest @ ..] => (*told, *half, rest),
            [_] => return None,
        };
        let known = tick.checked_sub(told).filter(|known| *known >= 0 && told >= 0 && half >= 0)?;
        let mut base = Base::at(known);
        base.half = if half == 0 { None } else { Some(known.checked_add(half)?) };
        while let Some((head, others)) = rest.split_first() {
            let (end, others) = match others.split_first() {
                Some((end, others)) => (known.checked_add(*end)?, others),
                None => (tick, others),
            };
            let head = known.checked_add(*head)?;
            let begin = base.parts.last().map_or(known, |part| part.end);
            // The last end is not written, so nothing but an end stands at the end.
            if end <= begin || end > tick || head < end || (end == tick) != others.is_empty() {
                return None;
            }
            base.parts.push(Part { end, head });
            rest = others;
        }
        let is_told = base.parts.last().map_or(known, |part| part.end) == tick;
        (is_told && !base.is_plain() && base.parts.len() <= PARTS)
            .then(|| Self { tick, base: Some(Arc::new(base)) })
    }
}

/// What a listener knows of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    /// The tick as of which it knows every message.
    known: i64,
    /// What it was told behind that, each part as the store had it at one time.
    parts: Vec<Part>,
    /// The tick of a line in the timeline that was told, while what the line tells was not.
    half: Option<i64>,
}

/// It was told the messages that stood up to `end`, from where the part before ended, when the log reached to `head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    end: i64,
    head: i64,
}

impl Base {
    /// Of who knows every message as of `tick`.
    pub(super) fn at(tick: i64) -> Self {
        Self { known: tick, parts: Vec::new(), half: None }
    }

    /// Whether there is nothing else to know.
    pub(super) fn is_plain(&self) -> bool {
        self.parts.is_empty() && self.half.is_none()
    }

    pub(super) fn known(&self) -> i64 {
        self.known
    }

    /// A message may have been moved behind the position as far as this.
    pub(super) fn head(&self) -> i64 {
        self.parts.iter().map(|part| part.head).max().unwrap_or(self.known)
    }

    /// Notes that what stood up to `end` was told, when the log reached to `head` at most.
    pub(super) fn tell(&mut self, end: i64, head: i64) {
        match self.parts.last_mut() {
            Some(part) if part.head == head => part.end = end,
            _ => self.parts.push(Part { end, head }),
        }
        if self.parts.len() > PARTS {
            // As if both had been read when the log was longer. What is taken for untold by that is told once more.
            let first = self.parts.remove(0);
            self.parts[0].head = self.parts[0].head.max(first.head);
        }
    }

    /// Notes that of the change at `tick` only the line was told. Nothing if that is so of another one already, which has
    /// been moved back meanwhile: then the line is told once more.
    pub(super) fn tell_half(&mut self, tick: i64) {
        self.half.get_or_insert(tick);
    }

    /// The tick at which the line of this message was told alone, and is to be completed now.
    pub(super) fn take_half(&mut self, message: &Message) -> Option<i64> {
        self.half.take_if(|tick| message.seq == *tick || message.ticks.contains(tick))
    }

    /// The tick as of which the message was told behind the base. None where it was not, or where that is not known any more:
    /// then it is judged against the base, and tells too much rather than too little.
    pub(super) fn told(&self, message: &Message) -> Option<i64> {
        // From the last part back: what was told twice is known as it was told last.
        (0..self.parts.len()).rev().find_map(|index| {
            let begin = index.checked_sub(1).map_or(self.known, |before| self.parts[before].end);
            let Part { end, head } = self.parts[index];
            stood_at(&message.ticks, message.ticks_mark, head).filter(|tick| begin < *tick && *tick <= end)
        })
    }
}

/// The tick at which a message with these ticks stood when the log reached to `head`. None where there was no such message
/// yet, or where that is forgotten.
fn stood_at(ticks: &[i64], mark: i64, head: i64) -> Option<i64> {
    let first = *ticks.first()?;
    let tick = ticks.iter().copied().filter(|tick| *tick <= head).max()?;
    // Those right behind the first one are dropped after a while: see `log::TICK_MEMORY`.
    (tick > first || mark == first).then_some(tick)
}

#[cfg(test)]
mod tests;
