//! How much a selection asks for. Every figure of a selection set is a sum or a maximum over its parts, so that a fragment
//! weighs the same wherever it is spread and is weighed once.

use std::collections::HashMap;

use async_graphql::{Name, Positioned, Variables};
use async_graphql_parser::types::{
    Field, FragmentDefinition, OperationDefinition, Selection, SelectionSet, VariableDefinition,
};
use async_graphql_value::{ConstValue, Value};

use super::Limits;
use crate::failure::Failure;

/// Lists of the introspection system that lead from a type to types.
const META_LISTS: [&str; 4] = ["fields", "interfaces", "possibleTypes", "inputFields"];
/// A client's introspection goes through one such list; a document that goes through three gets the schema cubed.
const NESTED_META_LISTS: u64 = 2;
/// Selection sets within selection sets, through fragments as well.
const RECURSION: usize = 200;

#[derive(Debug, Clone, Default)]
pub(super) struct Weight {
    pub(super) height: u64,
    pub(super) selections: u64,
    pub(super) aliases: u64,
    pub(super) directives: u64,
    pub(super) cost: u64,
    /// Fields of the set itself, not those within them.
    pub(super) fields: u64,
    /// Those of them that every type has.
    pub(super) meta_fields: u64,
    pub(super) introspects: bool,
    meta_lists: u64,
    is_connection: bool,
}

impl Weight {
    fn add(&mut self, other: &Self) {
        self.height = self.height.max(other.height);
        self.meta_lists = self.meta_lists.max(other.meta_lists);
        self.selections = self.selections.saturating_add(other.selections);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
        self.cost = self.cost.saturating_add(other.cost);
        self.fields = self.fields.saturating_add(other.fields);
        self.meta_fields = self.meta_fields.saturating_add(other.meta_fields);
        self.introspects |= other.introspects;
        self.is_connection |= other.is_connection;
    }
}

enum State {
    Open,
    Done(Weight),
}

pub(super) type Fragments = HashMap<Name, Positioned<FragmentDefinition>>;

pub(super) struct Weigher<'d> {
    fragments: &'d Fragments,
    definitions: &'d [Positioned<VariableDefinition>],
    variables: &'d Variables,
    limits: &'d Limits,
    states: HashMap<&'d Name, State>,
    recursion: usize,
}

impl<'d> Weigher<'d> {
    pub(super) fn new(
        fragments: &'d Fragments,
        definitions: &'d [Positioned<VariableDefinition>],
        variables: &'d Variables,
        limits: &'d Limits,
    ) -> Self {
        Self { fragments, definitions, variables, limits, states: HashMap::new(), recursion: 0 }
    }

    /// The weight of an operation. Fails on fragments that spread themselves and on introspection beyond its bounds.
    pub(super) fn weigh_operation(&mut self, operation: &'d OperationDefinition) -> Result<Weight, Failure> {
        self.set(&operation.selection_set.node)
    }

    fn set(&mut self, set: &'d SelectionSet) -> Result<Weight, Failure> {
        self.recursion += 1;
        if self.recursion > RECURSION {
            return Err(Failure::too_costly("the document is nested too deeply"));
        }
        let mut sum = Weight::default();
        for selection in &set.items {
            let mut part = match &selection.node {
                Selection::Field(field) => self.field(&field.node)?,
                Selection::InlineFragment(fragment) => self.set(&fragment.node.selection_set.node)?,
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name)?,
            };
            part.selections = part.selections.saturating_add(1);
            part.directives = part.directives.saturating_add(selection.node.directives().len() as u64);
            sum.add(&part);
        }
        self.recursion -= 1;
        Ok(sum)
    }

    fn fragment(&mut self, name: &'d Positioned<Name>) -> Result<Weight, Failure> {
        match self.states.get(&name.node) {
            Some(State::Done(weight)) => return Ok(weight.clone()),
            Some(State::Open) => {
                let message = format!("fragment `{}` spreads itself", name.node);
                return Err(Failure::bad_document(message).at([name.pos]));
            }
            None => {}
        }
        // Validation names the fragments that do not exist.
        let Some((key, fragment)) = self.fragments.get_key_value(&name.node) else {
            return Ok(Weight::default());
        };
        self.states.insert(key, State::Open);
        let mut weight = self.set(&fragment.node.selection_set.node)?;
        weight.directives = weight.directives.saturating_add(fragment.node.directives.len() as u64);
        self.states.insert(key, State::Done(weight.clone()));
        Ok(weight)
    }

    fn field(&mut self, field: &'d Field) -> Result<Weight, Failure> {
        let name = field.name.node.as_str();
        let inner = self.set(&field.selection_set.node)?;
        let is_introspection = matches!(name, "__schema" | "__type");
        if is_introspection
            && (inner.height > self.limits.introspection_depth || inner.meta_lists > NESTED_META_LISTS)
        {
            return Err(Failure::too_costly("the introspection is nested too deeply").at([field.name.pos]));
        }
        let page = self.page(field, inner.is_connection);
        Ok(Weight {
            // What is below has been held to the depth of introspection.
            height: if is_introspection { 1 } else { inner.height.saturating_add(1) },
            selections: inner.selections,
            aliases: inner.aliases.saturating_add(u64::from(field.alias.is_some())),
            directives: inner.directives,
            cost: inner.cost.saturating_mul(page).saturating_add(1),
            fields: 1,
            meta_fields: u64::from(name.starts_with("__")),
            introspects: inner.introspects || is_introspection,
            meta_lists: inner.meta_lists + u64::from(META_LISTS.contains(&name)),
            is_connection: matches!(name, "edges" | "nodes"),
        })
    }

    /// How many times the field gives what is selected in it, as far as its arguments tell.
    fn page(&self, field: &Field, is_connection: bool) -> u64 {
        let largest = self.limits.largest_page;
        let sizes = ["first", "last"].iter().filter_map(|name| self.size(&field.get_argument(name)?.node));
        let page = match sizes.max() {
            Some(size) => size,
            None if is_connection => self.limits.default_page,
            None => field.get_argument("ids").and_then(|ids| self.length(&ids.node)).unwrap_or(1),
        };
        page.clamp(1, largest)
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

    fn length(&self, value: &Value) -> Option<u64> {
        match value {
            Value::List(items) => Some(items.len() as u64),
            Value::Variable(name) => match self.variable(name)? {
                ConstValue::List(items) => Some(items.len() as u64),
                _ => None,
            },
            _ => None,
        }
    }

    fn variable(&self, name: &Name) -> Option<&ConstValue> {
        let given = self.variables.get(name);
        given.or_else(|| {
            let definition = self.definitions.iter().find(|definition| definition.node.name.node == *name)?;
            Some(&definition.node.default_value.as_ref()?.node)
        })
    }
}

/// Calls `found` with each fragment named in `set`. Recursive only as far as brackets are nested in the text.
pub(super) fn spreads(set: &SelectionSet, found: &mut impl FnMut(&Name)) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => spreads(&field.node.selection_set.node, found),
            Selection::InlineFragment(fragment) => spreads(&fragment.node.selection_set.node, found),
            Selection::FragmentSpread(spread) => found(&spread.node.fragment_name.node),
        }
    }
}
