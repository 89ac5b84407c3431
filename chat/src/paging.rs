//! Pages of long lists, by key rather than by offset: what was inserted meanwhile neither repeats nor hides an item.

/// The most items of one page, whatever was asked for.
pub const MAX_PAGE: u64 = 200;

/// Which part of an ordered list is wanted. `C` is the position of an item in the list's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window<C> {
    /// Only what comes behind this position; from the beginning if none.
    pub after: Option<C>,
    /// At most so many items, and at most [`MAX_PAGE`].
    pub limit: u64,
}

impl<C> Window<C> {
    /// The first items of a list.
    #[must_use]
    pub fn first(limit: u64) -> Self {
        Self { after: None, limit }
    }

    /// The items behind `after`.
    #[must_use]
    pub fn after(after: C, limit: u64) -> Self {
        Self { after: Some(after), limit }
    }

    /// How many rows to ask the store for: one more than wanted tells whether more follow.
    pub(crate) fn rows(&self) -> u64 {
        self.limit.min(MAX_PAGE) + 1
    }
}

/// Part of an ordered list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// Whether the list goes on behind them.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// Makes a page of the rows that [`Window::rows`] asked for.
    pub(crate) fn cut<C>(mut items: Vec<T>, window: &Window<C>) -> Self {
        let limit = usize::try_from(window.limit.min(MAX_PAGE)).unwrap_or(usize::MAX);
        let has_more = items.len() > limit;
        items.truncate(limit);
        Self { items, has_more }
    }
}
