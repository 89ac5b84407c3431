//! Relay connections: `first`/`after` and `last`/`before` over opaque cursors, at most 100 items a page.

use async_graphql::SimpleObject;
use data_encoding::BASE64URL_NOPAD;
use quikapp_chat::{Error, FieldError};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::Result;

/// Most items of a page.
pub(crate) const MAX_PAGE: usize = 100;

/// The longest cursor of a page.
const CURSOR_BYTES: usize = 1_024;

/// Where a page stands in its list.
#[derive(Debug, Clone, SimpleObject)]
pub struct PageInfo {
    /// Whether there are items after this page.
    pub has_next_page: bool,
    /// Whether there are items before this page.
    pub has_previous_page: bool,
    /// The cursor of the first item; null on an empty page.
    pub start_cursor: Option<String>,
    /// The cursor of the last item; null on an empty page.
    pub end_cursor: Option<String>,
}

/// Writes an opaque cursor.
pub(crate) fn cursor<T: Serialize>(position: &T) -> String {
    BASE64URL_NOPAD.encode(&serde_json::to_vec(position).unwrap_or_default())
}

/// Reads a cursor given as argument `field`.
pub(crate) fn parse_cursor<T: DeserializeOwned>(cursor: Option<&str>, field: &str) -> Result<Option<T>> {
    let Some(cursor) = cursor else { return Ok(None) };
    Some(cursor.as_bytes())
        .filter(|text| text.len() <= CURSOR_BYTES)
        .and_then(|text| BASE64URL_NOPAD.decode(text).ok())
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .map(Some)
        .ok_or_else(|| Error::invalid(field, "is no cursor of this list").into())
}

/// A page size given as argument `field`.
pub(crate) fn size(wanted: i32, field: &str) -> Result<usize> {
    usize::try_from(wanted)
        .ok()
        .filter(|wanted| (1..=MAX_PAGE).contains(wanted))
        .ok_or_else(|| Error::Invalid(vec![FieldError::new(field, "must be from 1 to 100")]).into())
}

/// Declares a connection and its edge.
macro_rules! connection {
    ($connection:ident, $edge:ident, $node:ty, $of:literal) => {
        #[doc = concat!("A page of ", $of, ".")]
        #[derive(Clone, async_graphql::SimpleObject)]
        pub struct $connection {
            /// The items of the page.
            pub nodes: Vec<$node>,
            /// The items with their cursors.
            pub edges: Vec<$edge>,
            /// Where the page stands in the list.
            pub page_info: $crate::paging::PageInfo,
        }

        #[doc = concat!("One of ", $of, " with its place in the list.")]
        #[derive(Clone, async_graphql::SimpleObject)]
        pub struct $edge {
            /// The item's place, for `after` and `before`.
            pub cursor: String,
            /// The item.
            pub node: $node,
        }

        impl $connection {
            /// Makes a connection of items with their cursors.
            pub(crate) fn new(
                items: Vec<(String, $node)>,
                has_previous_page: bool,
                has_next_page: bool,
            ) -> Self {
                Self {
                    page_info: $crate::paging::PageInfo {
                        has_next_page,
                        has_previous_page,
                        start_cursor: items.first().map(|(cursor, _)| cursor.clone()),
                        end_cursor: items.last().map(|(cursor, _)| cursor.clone()),
                    },
                    nodes: items.iter().map(|(_, node)| node.clone()).collect(),
                    edges: items.into_iter().map(|(cursor, node)| $edge { cursor, node }).collect(),
                }
            }
        }
    };
}
pub(crate) use connection;
