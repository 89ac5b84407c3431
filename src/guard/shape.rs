//! What the guard has to know of a schema: which fields give lists, how long those are, and what they read.

use std::collections::HashMap;

use async_graphql::Name;
use async_graphql_parser::{
    Error, parse_schema,
    types::{BaseType, FieldDefinition, OperationType, Type, TypeKind, TypeSystemDefinition},
};
use async_graphql_value::ConstValue;
use quikapp_graphql::{FieldCost, Reads};

use super::meta;

/// Items of a page where neither the document nor the schema says how many.
const DEFAULT_PAGE: u64 = 50;
/// Items of a plain list.
const DEFAULT_ITEMS: u64 = 10;
/// The fields of a connection that give its items.
const ITEMS: [&str; 2] = ["nodes", "edges"];

/// One field of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldShape {
    /// The name of its type, inside of lists and non-null marks.
    pub(super) ty: Name,
    pub(super) many: Many,
    pub(super) reads: Reads,
}

/// How many values a field gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Many {
    One,
    /// A connection, with so many items by default; `first` or `last` asks for others.
    Page(u64),
    /// The items of the connection around it.
    OfPage,
    /// Usually so many, or as many as the argument has items.
    Items(u64, Option<Name>),
}

/// The fields of all types.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    types: HashMap<Name, HashMap<Name, FieldShape>>,
    roots: [Option<Name>; 3],
}

impl Shape {
    /// The shape of a schema in the schema definition language. `costs` names fields that cost other than their type suggests:
    ///
    /// - a field with `first` or `last` is a connection, and reads three times for each parent;
    /// - another field of an object type reads twice for all parents of a list together, but those of connections, edges and
    ///   payloads do not read;
    /// - scalars do not read;
    /// - root fields of a query or subscription read four times, those of a mutation read and write 20 times.
    ///
    /// # Errors
    /// When `sdl` cannot be parsed.
    pub fn new(sdl: &str, costs: &[FieldCost]) -> Result<Self, Error> {
        let definitions = parse_schema(sdl)?.definitions;
        let mut shape = Self {
            types: HashMap::new(),
            roots: ["Query", "Mutation", "Subscription"].map(|name| Some(Name::new(name))),
        };
        let mut types = HashMap::new();
        for definition in definitions {
            match definition {
                TypeSystemDefinition::Schema(schema) => {
                    let schema = schema.node;
                    shape.roots = [schema.query, schema.mutation, schema.subscription]
                        .map(|root| root.map(|root| root.node));
                }
                TypeSystemDefinition::Type(ty) => {
                    types.insert(ty.node.name.node, ty.node.kind);
                }
                TypeSystemDefinition::Directive(_) => {}
            }
        }
        for (name, kind) in &types {
            let fields = match kind {
                TypeKind::Object(object) => object.fields.as_slice(),
                TypeKind::Interface(interface) => &interface.fields,
                _ => &[],
            };
            let fields = fields.iter().map(|field| {
                let field = &field.node;
                let known = costs
                    .iter()
                    .find(|cost| cost.parent == name.as_str() && cost.field == field.name.node.as_str());
                (field.name.node.clone(), shape.field(name, field, known, &types))
            });
            let fields = fields.collect();
            shape.types.insert(name.clone(), fields);
        }
        let introspection = meta::types(&types);
        if let Some(query) = &shape.roots[0] {
            shape.types.entry(query.clone()).or_default().extend(meta::root_fields());
        }
        shape.types.extend(introspection);
        Ok(shape)
    }

    fn field(
        &self,
        parent: &Name,
        field: &FieldDefinition,
        known: Option<&FieldCost>,
        types: &HashMap<Name, TypeKind>,
    ) -> FieldShape {
        let ty = inner(&field.ty.node).clone();
        let many = many(parent, field, known.and_then(|cost| cost.items));
        let is_composite =
            matches!(types.get(&ty), Some(TypeKind::Object(_) | TypeKind::Interface(_) | TypeKind::Union(_)));
        let is_holder = ["Connection", "Edge", "Payload"].iter().any(|suffix| parent.ends_with(suffix));
        let reads = match known {
            Some(cost) => cost.reads,
            None if self.root(OperationType::Mutation) == Some(parent) => Reads::Each(20),
            None if self.roots.iter().flatten().any(|root| root == parent) => Reads::Together(4),
            None if matches!(many, Many::Page(_)) => Reads::Each(3),
            None if is_composite && !is_holder => Reads::Together(2),
            None => Reads::Nothing,
        };
        FieldShape { ty, many, reads }
    }

    /// The type at the root of operations of a kind.
    pub(super) fn root(&self, kind: OperationType) -> Option<&Name> {
        let [query, mutation, subscription] = &self.roots;
        match kind {
            OperationType::Query => query,
            OperationType::Mutation => mutation,
            OperationType::Subscription => subscription,
        }
        .as_ref()
    }

    pub(super) fn get(&self, parent: &Name, field: &Name) -> Option<&FieldShape> {
        self.types.get(parent)?.get(field)
    }
}

fn inner(ty: &Type) -> &Name {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(item) => inner(item),
    }
}

fn is_list(ty: &Type) -> bool {
    matches!(ty.base, BaseType::List(_))
}

fn many(parent: &Name, field: &FieldDefinition, items: Option<u64>) -> Many {
    let arguments = || field.arguments.iter().map(|argument| &argument.node);
    if is_list(&field.ty.node) {
        if parent.ends_with("Connection") && ITEMS.contains(&field.name.node.as_str()) {
            return Many::OfPage;
        }
        let asked = arguments().find(|argument| is_list(&argument.ty.node));
        return Many::Items(items.unwrap_or(DEFAULT_ITEMS), asked.map(|argument| argument.name.node.clone()));
    }
    let mut sizes =
        arguments().filter(|argument| matches!(argument.name.node.as_str(), "first" | "last")).peekable();
    if sizes.peek().is_none() {
        return Many::One;
    }
    let default = sizes.find_map(|argument| match &argument.default_value.as_ref()?.node {
        ConstValue::Number(number) => number.as_u64(),
        _ => None,
    });
    Many::Page(default.unwrap_or(DEFAULT_PAGE))
}
