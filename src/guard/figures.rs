//! Figures of a selection set that depend on the page around it: linear, so that a fragment on a connection weighs the same
//! whatever page it is spread in.

/// `once`, and `each` for each item of the page around.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    once: u64,
    each: u64,
}

impl Count {
    pub(super) const ONE: Self = Self::once(1);

    /// As many, whatever page is around.
    pub(super) const fn once(once: u64) -> Self {
        Self { once, each: 0 }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self { once: self.once.saturating_add(other.once), each: self.each.saturating_add(other.each) }
    }

    /// With a page of `items` around it.
    pub(super) fn of_page(self, items: u64) -> u64 {
        self.once.saturating_add(self.each.saturating_mul(items))
    }

    /// The same as a count that does not depend on a page any more.
    pub(super) fn of_page_as_count(self, items: u64) -> Self {
        Self { once: self.of_page(items), each: 0 }
    }

    pub(super) fn times(self, items: u64) -> Self {
        Self { once: self.once.saturating_mul(items), each: self.each.saturating_mul(items) }
    }

    /// As often as the page around has items; one within it has `stray`.
    pub(super) fn per_item(self, stray: u64) -> Self {
        Self { once: 0, each: self.of_page(stray) }
    }
}

/// Thousandths of a query.
const QUERY: u64 = 1_000;

/// Queries of a selection set, in thousandths.
///
/// Loaders read for all objects of a list together, but objects that come from queries of their own come at times of their own:
/// in the worst case the loaders read once for each of those queries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Queries {
    /// Of loaders: once for all that come at a time.
    together: u64,
    /// For each object of the set.
    each: Count,
}

impl Queries {
    pub(super) fn and(self, other: Self) -> Self {
        Self { together: self.together.saturating_add(other.together), each: self.each.and(other.each) }
    }

    pub(super) fn of_page(self, items: u64) -> Self {
        Self { together: self.together, each: self.each.of_page_as_count(items) }
    }

    pub(super) fn times(self, items: u64) -> Self {
        Self { together: self.together, each: self.each.times(items) }
    }

    pub(super) fn per_item(self, stray: u64) -> Self {
        Self { together: self.together, each: self.each.per_item(stray) }
    }

    /// Of a field that a loader reads. Loaders read 1,000 objects with a query, so that each costs a thousandth more.
    pub(super) fn beside(self, reads: u32) -> Self {
        let reads = u64::from(reads);
        let own = Self { together: reads.saturating_mul(QUERY), each: Count { once: reads, each: 0 } };
        self.and(own)
    }

    /// Of a field that reads for itself: what is below comes at a time of its own for each object.
    pub(super) fn behind(self, reads: u32) -> Self {
        let own = u64::from(reads).saturating_mul(QUERY).saturating_add(self.together);
        Self { together: 0, each: self.each.and(Count { once: own, each: 0 }) }
    }

    /// In whole queries. Nothing may depend on a page any more.
    pub(super) fn total(self) -> u64 {
        self.together.saturating_add(self.each.once).div_ceil(QUERY)
    }
}
