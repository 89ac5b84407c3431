//! What the arguments of a field come to, with the variables of the operation.

use async_graphql::{Name, Positioned, Variables};
use async_graphql_parser::types::{Field, VariableDefinition};
use async_graphql_value::{ConstValue, Value};

/// The largest page that the API gives. A larger one is refused by its field, which costs nothing.
const LARGEST_PAGE: u64 = 200;

/// The values of variables.
pub(super) struct Arguments<'d> {
    pub(super) definitions: &'d [Positioned<VariableDefinition>],
    pub(super) variables: &'d Variables,
}

impl Arguments<'_> {
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

    fn variable(&self, name: &Name) -> Option<&ConstValue> {
        let given = self.variables.get(name);
        given.or_else(|| {
            let definition = self.definitions.iter().find(|definition| definition.node.name.node == *name)?;
            Some(&definition.node.default_value.as_ref()?.node)
        })
    }
}
