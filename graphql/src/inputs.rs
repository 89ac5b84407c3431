//! Input fields that can be left out, taken away, or set.

use async_graphql::MaybeUndefined;

/// The field's new value: none if it stays, an inner none if it goes.
pub(crate) fn change<T>(value: MaybeUndefined<T>) -> Option<Option<T>> {
    match value {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}
