//! Collects rows by channel, so that a channel is written in large groups, and whom a text addresses is looked for among
//! all who are in the same excerpt.

use std::{collections::HashMap, sync::Arc};

use crate::import::Row;

/// Rows of one channel that are handed on at the latest.
const LOT: usize = 4_096;
/// Rows of all channels together that are held at most.
const HELD: usize = 32_768;

/// Rows of one channel, in their order.
pub(super) struct Lot {
    /// The name that the history gives it: not yet a valid one.
    pub(super) channel: Arc<str>,
    pub(super) rows: Vec<Row>,
}

/// Rows that wait for their neighbours.
pub(super) struct Lots {
    /// The one channel of everything, where there is one.
    only: Option<Arc<str>>,
    waiting: HashMap<Arc<str>, (Vec<Row>, bool)>,
    /// The channels of `waiting` in order of their first row.
    order: Vec<Arc<str>>,
    held: usize,
}

impl Lots {
    pub(super) fn new(only: Option<String>) -> Self {
        Self { only: only.map(Into::into), waiting: HashMap::new(), order: Vec::new(), held: 0 }
    }

    /// Takes a row; hands out its channel's lot when that is full.
    pub(super) fn push(&mut self, row: Row) -> Option<Lot> {
        let name = self.only.clone().unwrap_or_else(|| row.entry.excerpt().into());
        self.held += 1;
        let Some((rows, touched)) = self.waiting.get_mut(&name) else {
            self.order.push(Arc::clone(&name));
            self.waiting.insert(name, (vec![row], true));
            return None;
        };
        rows.push(row);
        *touched = true;
        if rows.len() < LOT {
            return None;
        }
        self.order.retain(|known| *known != name);
        self.take(name)
    }

    /// Hands out what got nothing since the last call, and everything if that is not enough.
    pub(super) fn take_quiet(&mut self) -> Vec<Lot> {
        let all = self.held > HELD;
        let mut ready = Vec::new();
        for name in std::mem::take(&mut self.order) {
            match self.waiting.get_mut(&name) {
                Some((_, touched)) if *touched && !all => {
                    *touched = false;
                    self.order.push(name);
                }
                _ => ready.extend(self.take(name)),
            }
        }
        ready
    }

    /// Hands out everything.
    pub(super) fn take_all(&mut self) -> Vec<Lot> {
        std::mem::take(&mut self.order).into_iter().filter_map(|name| self.take(name)).collect()
    }

    fn take(&mut self, channel: Arc<str>) -> Option<Lot> {
        let (rows, _) = self.waiting.remove(&channel)?;
        self.held -= rows.len();
        Some(Lot { channel, rows })
    }
}

#[cfg(test)]
mod tests {
    use quikapp_entities::{Timestamp, UserId};
    use uuid::Uuid;

    use super::*;
    use crate::import::{Entry, EntryKind};

    fn row(id: &str) -> Row {
        let entry = Entry {
            line: 0,
            id: id.into(),
            at: Timestamp(0),
            kind: EntryKind::Message,
            user: "x".into(),
            text: String::new(),
            reply_to: None,
        };
        Row { entry, author: UserId(Uuid::nil()) }
    }

    fn shape(lots: &[Lot]) -> Vec<(&str, usize)> {
        lots.iter().map(|lot| (&*lot.channel, lot.rows.len())).collect()
    }

    #[test]
    fn a_channel_is_handed_out_when_it_is_quiet_or_full() {
        let mut lots = Lots::new(None);
        for id in ["a:1", "b:1", "a:2"] {
            assert!(lots.push(row(id)).is_none());
        }
        assert!(lots.take_quiet().is_empty());
        assert!(lots.push(row("b:2")).is_none());
        assert_eq!(shape(&lots.take_quiet()), [("a", 2)]);
        let full: Vec<Lot> = (0..LOT - 2).filter_map(|n| lots.push(row(&format!("b:{n}")))).collect();
        assert_eq!(shape(&full), [("b", LOT)]);
        assert!(lots.push(row("c:1")).is_none());
        assert_eq!(shape(&lots.take_all()), [("c", 1)]);
        assert_eq!((lots.held, lots.order.len(), lots.waiting.len()), (0, 0, 0));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut lots = Lots::new(None);
        for n in 0..=HELD {
            assert!(lots.push(row(&format!("{n}:0"))).is_none());
        }
        assert_eq!(lots.take_quiet().len(), HELD + 1);
    }

    #[test]
    fn one_channel_takes_everything() {
        let mut lots = Lots::new(Some("x".into()));
        assert!(lots.push(row("a:1")).is_none() && lots.push(row("b:1")).is_none());
        assert_eq!(shape(&lots.take_all()), [("x", 2)]);
    }
}
