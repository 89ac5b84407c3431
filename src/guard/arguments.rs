//! What the arguments of a field come to, with the variables of the operation.

use std::collections::HashMap;

use async_graphql::{Name, Positioned, Variables};
use async_graphql_parser::types::{Field, VariableDefinition};
use async_graphql_value::{ConstValue, Value};

/// The largest page that the API gives. A larger one is refused by its field, which costs nothing.
const LARGEST_PAGE: u64 = 200;

/// Bytes of text that weigh as much as a value: in memory a value takes some 64 without its text.
const VALUE_BYTES: usize = 64;

/// The values of variables.
pub(super) struct Arguments<'d> {
    definitions: &'d [Positioned<VariableDefinition>],
    variables: &'d Variables,
    /// What each variable weighs: it may stand in thousands of places.
    weights: HashMap<&'d Name, u64>,
}

/// One for the value, and more for long texts.
fn text(bytes: usize) -> u64 {
    1 + (bytes / VALUE_BYTES) as u64
}

/// A value with all that it holds. Recursive only as deep as JSON or a document may be nested.
fn weigh_const(value: &ConstValue) -> u64 {
    match value {
        ConstValue::String(string) => text(string.len()),
        ConstValue::List(items) => items.iter().fold(1, |sum, item| sum.saturating_add(weigh_const(item))),
        ConstValue::Object(members) => members.iter().fold(1, |sum, (name, value)| {
            sum.saturating_add(text(name.len())).saturating_add(weigh_const(value))
        }),
        _ => 1,
    }
}

impl<'d> Arguments<'d> {
    /// Of an operation with these definitions.
    pub(super) fn new(definitions: &'d [Positioned<VariableDefinition>], variables: &'d Variables) -> Self {
        let mut arguments = Self { definitions, variables, weights: HashMap::new() };
        let names = definitions.iter().map(|definition| &definition.node.name.node);
        arguments.weights =
            names.map(|name| (name, arguments.variable(name).map_or(1, weigh_const))).collect();
        arguments
    }

    /// What arguments come to with the values of their variables: one for each value, and one for each 64 bytes of text.
    pub(super) fn weigh<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a (Positioned<Name>, Positioned<Value>)>,
    ) -> u64 {
        arguments.into_iter().fold(0, |sum, (_, value)| sum.saturating_add(self.weigh_value(&value.node)))
    }

    fn weigh_value(&self, value: &Value) -> u64 {
        match value {
            Value::Variable(name) => self.weights.get(name).copied().unwrap_or(1),
            Value::String(string) => text(string.len()),
            Value::List(items) => {
                items.iter().fold(1, |sum, item| sum.saturating_add(self.weigh_value(item)))
            }
            Value::Object(members) => members.iter().fold(1, |sum, (name, value)| {
                sum.saturating_add(text(name.len())).saturating_add(self.weigh_value(value))
            }),
            _ => 1,
        }
    }

    /// The size of the page that `field` asks for: the larger of `first` and `last`, else `default`.
    pub(super) fn page(&self, field: &Field, default: u64) -> u64 {
        let sizes = ["first", "last"].iter().filter_map(|name| self.size(&field.get_argument(name)?.node));
        sizes.max().unwrap_or(default).clamp(1, LARGEST_PAGE)
    }

    fn size(&self, value: &Value) -> Option<u64> {
        match value {
            Value::Number(number) => number.as_u64(),
            Value::Variable(name) => match self.variable(name)? {
                ConstValue::Number(number) => number.as_u64(),
                _ => None,
            },
            _ => None,
        }
    }

    /// How many items the argument `name` of `field` has. One value stands for a list of one.
    pub(super) fn items(&self, field: &Field, name: &Name) -> Option<u64> {
        let length = match &field.get_argument(name)?.node {
            Value::List(items) => items.len(),
            Value::Variable(name) => match self.variable(name)? {
                ConstValue::List(items) => items.len(),
                ConstValue::Null => return None,
                _ => 1,
            },
            Value::Null => return None,
            _ => 1,
        };
        Some(length as u64)
    }

    fn variable(&self, name: &Name) -> Option<&'d ConstValue> {
        let given = self.variables.get(name);
        given.or_else(|| {
            let definition = self.definitions.iter().find(|definition| definition.node.name.node == *name)?;
            Some(&definition.node.default_value.as_ref()?.node)
        })
    }
}
