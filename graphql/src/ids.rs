//! Ids at the API's edge: text outside, types inside.

use std::str::FromStr;

use async_graphql::ID;
use quikapp_chat::Error;

use crate::error::Result;

/// Reads the id given as argument `field`; one of another kind is INVALID.
pub(crate) fn parse<T: FromStr>(id: &ID, field: &str) -> Result<T> {
    id.parse().map_err(|_| Error::invalid(field, "is no id of this kind").into())
}

/// The same for an argument that may be absent.
pub(crate) fn parse_option<T: FromStr>(id: Option<&ID>, field: &str) -> Result<Option<T>> {
    id.map(|id| parse(id, field)).transpose()
}

/// Reads a list of ids; every bad one is named.
pub(crate) fn parse_all<T: FromStr>(ids: &[ID], field: &str) -> Result<Vec<T>> {
    let mut bad = Vec::new();
    let mut good = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        match id.parse() {
            Ok(id) => good.push(id),
            Err(_) => {
                bad.push(quikapp_chat::FieldError::new(format!("{field}.{index}"), "is no id of this kind"));
            }
        }
    }
    if bad.is_empty() { Ok(good) } else { Err(Error::Invalid(bad).into()) }
}

/// Writes an id.
pub(crate) fn id(id: impl std::fmt::Display) -> ID {
    ID(id.to_string())
}
