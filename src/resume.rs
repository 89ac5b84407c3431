//! Where a subscription goes on that was cut off.

use async_graphql::{Name, Positioned, Variables};
use async_graphql_parser::types::{DocumentOperations, ExecutableDocument, Selection};
use async_graphql_value::{ConstValue, Value};

/// The argument of a subscription that names a cursor.
const AFTER: &str = "after";

/// Lets the root field of a subscription begin after `cursor`: in the variable that its `after` takes, else in the document.
/// A field without such an argument fails validation then, as it cannot go on anywhere.
///
/// The guard has seen to it that the root is one field and nothing else.
pub(crate) fn set_after(document: &mut ExecutableDocument, variables: &mut Variables, cursor: String) {
    let DocumentOperations::Single(operation) = &mut document.operations else { return };
    let mut selections = operation.node.selection_set.node.items.iter_mut();
    let Some(field) = selections.find_map(|selection| match &mut selection.node {
        Selection::Field(field) => Some(&mut field.node),
        _ => None,
    }) else {
        return;
    };
    let pos = field.name.pos;
    let given =
        field.arguments.iter_mut().find(|(name, _)| name.node == AFTER).map(|(_, value)| &mut value.node);
    match given {
        Some(Value::Variable(name)) => {
            variables.insert(name.clone(), ConstValue::String(cursor));
        }
        Some(value) => *value = Value::String(cursor),
        None => {
            let name = Positioned::new(Name::new(AFTER), pos);
            field.arguments.push((name, Positioned::new(Value::String(cursor), pos)));
        }
    }
}

/// The field `cursor` of the only root field.
pub(crate) fn cursor(data: &ConstValue) -> Option<&str> {
    let ConstValue::Object(roots) = data else { return None };
    let ConstValue::Object(item) = roots.values().next().filter(|_| roots.len() == 1)? else { return None };
    match item.get("cursor")? {
        ConstValue::String(cursor) => Some(cursor),
        _ => None,
    }
}
