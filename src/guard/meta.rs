//! The shape of the introspection system: how long its lists are in a schema, on the average of all types.

use std::collections::HashMap;

use async_graphql::Name;
use async_graphql_parser::types::TypeKind;
use quikapp_graphql::Reads;

use super::shape::{FieldShape, Many};

/// Types that every schema has: the five scalars, and those of the introspection system.
const BUILT_IN: u64 = 13;
const DIRECTIVES: u64 = 6;
/// Arguments of a directive, and interfaces of a type.
const FEW: u64 = 2;

fn field(name: &str, ty: &str, many: Many) -> (Name, FieldShape) {
    (Name::new(name), FieldShape { ty: Name::new(ty), many, reads: Reads::Nothing })
}

/// The fields at the root of a query that lead to the others.
pub(super) fn root_fields() -> [(Name, FieldShape); 2] {
    [field("__schema", "__Schema", Many::One), field("__type", "__Type", Many::One)]
}

/// The types of the introspection system, for a schema of `types`.
pub(super) fn types(types: &HashMap<Name, TypeKind>) -> HashMap<Name, HashMap<Name, FieldShape>> {
    let (mut fields, mut arguments, mut inputs, mut values, mut possible) = (0, 0, 0, 0, 0);
    for kind in types.values() {
        match kind {
            TypeKind::Object(object) => {
                fields += object.fields.len();
                arguments += object.fields.iter().map(|field| field.node.arguments.len()).sum::<usize>();
                possible += object.implements.len();
            }
            TypeKind::Interface(interface) => fields += interface.fields.len(),
            TypeKind::Union(union) => possible += union.members.len(),
            TypeKind::InputObject(input) => inputs += input.fields.len(),
            TypeKind::Enum(enumeration) => values += enumeration.values.len(),
            TypeKind::Scalar => {}
        }
    }
    let count = types.len() as u64 + BUILT_IN;
    let items = |count| Many::Items(count, None);
    let average = |sum: usize, of: u64| items((sum as u64).div_ceil(of.max(1)));
    let shapes = [
        (
            "__Schema",
            vec![
                field("types", "__Type", items(count)),
                field("directives", "__Directive", items(DIRECTIVES)),
                field("queryType", "__Type", Many::One),
                field("mutationType", "__Type", Many::One),
                field("subscriptionType", "__Type", Many::One),
            ],
        ),
        (
            "__Type",
            vec![
                field("fields", "__Field", average(fields, count)),
                field("inputFields", "__InputValue", average(inputs, count)),
                field("enumValues", "__EnumValue", average(values, count)),
                field("possibleTypes", "__Type", average(possible, count)),
                field("interfaces", "__Type", items(FEW)),
                field("ofType", "__Type", Many::One),
            ],
        ),
        (
            "__Field",
            vec![
                field("args", "__InputValue", average(arguments, fields as u64)),
                field("type", "__Type", Many::One),
            ],
        ),
        ("__InputValue", vec![field("type", "__Type", Many::One)]),
        ("__Directive", vec![field("args", "__InputValue", items(FEW))]),
    ];
    shapes.into_iter().map(|(name, fields)| (Name::new(name), fields.into_iter().collect())).collect()
}
