//! Where a subscription goes on that was cut off.

use std::collections::HashMap;

use async_graphql::{Name, Positioned, Variables};
use async_graphql_parser::types::{
    DocumentOperations, ExecutableDocument, Field, FragmentDefinition, Selection, SelectionSet,
};
use async_graphql_value::{ConstValue, Value};

/// The argument of a subscription that names a cursor.
const AFTER: &str = "after";

/// Lets the root field of a subscription begin after `cursor`: in the variable that its `after` takes, else in the document.
/// A field without such an argument fails validation then, as it cannot go on anywhere.
pub(crate) fn set_after(document: &mut ExecutableDocument, variables: &mut Variables, cursor: String) {
    let operation = match &mut document.operations {
        DocumentOperations::Single(operation) => Some(operation),
        DocumentOperations::Multiple(operations) => operations.values_mut().next(),
    };
    let Some(operation) = operation else { return };
    let set = &mut operation.node.selection_set.node;
    let field = match spread_of_root(set, &document.fragments) {
        // A fragment that spreads others leads on to the one that has the field.
        Some(name) => {
            document.fragments.get_mut(&name).and_then(|found| own_field(&mut found.node.selection_set.node))
        }
        None => own_field(set),
    };
    let Some(field) = field else { return };
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

/// The fragment that holds the root field; None when the set itself does. The guard has seen to it that there is one root
/// field, and no fragment within itself.
fn spread_of_root(
    set: &SelectionSet,
    fragments: &HashMap<Name, Positioned<FragmentDefinition>>,
) -> Option<Name> {
    let mut name = first_spread(set)?;
    while let Some(next) = fragments.get(&name).and_then(|found| first_spread(&found.node.selection_set.node))
    {
        name = next;
    }
    Some(name)
}

fn first_spread(set: &SelectionSet) -> Option<Name> {
    set.items.iter().find_map(|item| match &item.node {
        Selection::Field(_) => None,
        Selection::FragmentSpread(spread) => Some(spread.node.fragment_name.node.clone()),
        Selection::InlineFragment(inline) => first_spread(&inline.node.selection_set.node),
    })
}

fn own_field(set: &mut SelectionSet) -> Option<&mut Field> {
    set.items.iter_mut().find_map(|item| match &mut item.node {
        Selection::Field(field) => Some(&mut field.node),
        Selection::FragmentSpread(_) => None,
        Selection::InlineFragment(inline) => own_field(&mut inline.node.selection_set.node),
    })
}
