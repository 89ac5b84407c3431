//! How much a selection asks for. Every figure of a selection set is a sum or a maximum over its parts, so that a fragment
//! weighs the same wherever it is spread and is weighed once.

use std::collections::HashMap;

use async_graphql::{Name, Positioned};
use async_graphql_parser::types::{
    Directive, Field, FragmentDefinition, OperationDefinition, Selection, SelectionSet,
};
use quikapp_graphql::Reads;

use super::{
    Limits,
    arguments::Arguments,
    figures::{Count, Queries},
    shape::{Many, Shape},
};
use crate::failure::Failure;

/// Lists of the introspection system that lead from a type to types.
const META_LISTS: [&str; 4] = ["fields", "interfaces", "possibleTypes", "inputFields"];
/// A client's introspection goes through one such list; a document that goes through three gets the schema cubed.
const NESTED_META_LISTS: u64 = 2;
/// Selection sets within selection sets, through fragments as well.
const RECURSION: usize = 200;
/// Items of a connection that is no field's own page: a connection in something else.
const STRAY_PAGE: u64 = 100;

#[derive(Debug, Clone, Default)]
pub(super) struct Weight {
    pub(super) height: u64,
    pub(super) selections: u64,
    pub(super) aliases: u64,
    pub(super) directives: u64,
    pub(super) arguments: u64,
    /// What all arguments come to, as written.
    pub(super) inputs: u64,
    /// Fields of the set itself, not those within them.
    pub(super) fields: u64,
    pub(super) introspects: bool,
    /// Fields of the answer.
    cost: Count,
    /// Those within `__schema` and `__type`.
    introspection: u64,
    queries: Queries,
    /// What arguments come to, each time that a field with them is resolved.
    resolved_inputs: Count,
    meta_lists: u64,
}

impl Weight {
    fn add(&mut self, other: &Self) {
        self.height = self.height.max(other.height);
        self.meta_lists = self.meta_lists.max(other.meta_lists);
        self.selections = self.selections.saturating_add(other.selections);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
        self.arguments = self.arguments.saturating_add(other.arguments);
        self.inputs = self.inputs.saturating_add(other.inputs);
        self.resolved_inputs = self.resolved_inputs.and(other.resolved_inputs);
        self.fields = self.fields.saturating_add(other.fields);
        self.introspects |= other.introspects;
        self.introspection = self.introspection.saturating_add(other.introspection);
        self.cost = self.cost.and(other.cost);
        self.queries = self.queries.and(other.queries);
    }

    /// How many fields the answer has, at most or usually.
    pub(super) fn cost(&self) -> u64 {
        self.cost.of_page(STRAY_PAGE)
    }

    /// What arguments come to: they are copied with the variables in them once where they stand, when the operation is validated,
    /// and again each time that their field is resolved. The larger of the two.
    pub(super) fn inputs(&self) -> u64 {
        self.inputs.max(self.resolved_inputs.of_page(STRAY_PAGE))
    }

    /// Counts the arguments of directives.
    fn add_directives(&mut self, directives: &[Positioned<Directive>], arguments: &Arguments<'_>) {
        let given = || directives.iter().flat_map(|directive| &directive.node.arguments);
        self.directives = self.directives.saturating_add(directives.len() as u64);
        self.arguments = self.arguments.saturating_add(given().count() as u64);
        self.inputs = self.inputs.saturating_add(arguments.weigh(given()));
    }

    /// How many fields of the answer tell about the schema.
    pub(super) fn introspection(&self) -> u64 {
        self.introspection
    }

    /// How many queries the stores get, at most.
    pub(super) fn store_queries(&self) -> u64 {
        self.queries.of_page(STRAY_PAGE).total()
    }
}

enum State {
    Open,
    Done(Weight),
}

pub(super) type Fragments = HashMap<Name, Positioned<FragmentDefinition>>;

pub(super) struct Weigher<'d> {
    fragments: &'d Fragments,
    arguments: Arguments<'d>,
    shape: &'d Shape,
    limits: &'d Limits,
    states: HashMap<&'d Name, State>,
    recursion: usize,
}

impl<'d> Weigher<'d> {
    pub(super) fn new(
        fragments: &'d Fragments,
        arguments: Arguments<'d>,
        shape: &'d Shape,
        limits: &'d Limits,
    ) -> Self {
        Self { fragments, arguments, shape, limits, states: HashMap::new(), recursion: 0 }
    }

    /// The weight of an operation. Fails on fragments that spread themselves and on introspection beyond its bounds.
    pub(super) fn weigh_operation(&mut self, operation: &'d OperationDefinition) -> Result<Weight, Failure> {
        let root = self.shape.root(operation.ty);
        let mut weight = self.set(&operation.selection_set.node, root)?;
        weight.add_directives(&operation.directives, &self.arguments);
        Ok(weight)
    }

    /// `parent` is None where nothing is known; such a selection does not pass validation.
    fn set(&mut self, set: &'d SelectionSet, parent: Option<&'d Name>) -> Result<Weight, Failure> {
        self.recursion += 1;
        if self.recursion > RECURSION {
            return Err(Failure::too_costly("the document is nested too deeply"));
        }
        let mut sum = Weight::default();
        for selection in &set.items {
            let mut part = match &selection.node {
                Selection::Field(field) => self.field(&field.node, parent)?,
                Selection::InlineFragment(fragment) => {
                    let condition =
                        fragment.node.type_condition.as_ref().map(|condition| &condition.node.on.node);
                    self.set(&fragment.node.selection_set.node, condition.or(parent))?
                }
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name)?,
            };
            part.selections = part.selections.saturating_add(1);
            part.add_directives(selection.node.directives(), &self.arguments);
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
        let fragment = &fragment.node;
        let mut weight =
            self.set(&fragment.selection_set.node, Some(&fragment.type_condition.node.on.node))?;
        weight.add_directives(&fragment.directives, &self.arguments);
        self.states.insert(key, State::Done(weight.clone()));
        Ok(weight)
    }

    fn field(&mut self, field: &'d Field, parent: Option<&'d Name>) -> Result<Weight, Failure> {
        let name = field.name.node.as_str();
        let shape = parent.and_then(|parent| self.shape.get(parent, &field.name.node));
        let inner = self.set(&field.selection_set.node, shape.map(|shape| &shape.ty))?;
        let is_introspection = matches!(name, "__schema" | "__type");
        if is_introspection
            && (inner.height > self.limits.introspection_depth || inner.meta_lists > NESTED_META_LISTS)
        {
            return Err(Failure::too_costly("the introspection is nested too deeply").at([field.name.pos]));
        }
        let own = self.arguments.weigh(&field.arguments);
        let (cost, queries, resolved) = match shape.map_or(&Many::One, |shape| &shape.many) {
            Many::One => (
                inner.cost.of_page_as_count(STRAY_PAGE),
                inner.queries.of_page(STRAY_PAGE),
                inner.resolved_inputs.of_page_as_count(STRAY_PAGE),
            ),
            Many::Page(default) => {
                let page = self.arguments.page(field, *default);
                (
                    inner.cost.of_page_as_count(page),
                    inner.queries.of_page(page),
                    inner.resolved_inputs.of_page_as_count(page),
                )
            }
            Many::OfPage => (
                inner.cost.per_item(STRAY_PAGE),
                inner.queries.per_item(STRAY_PAGE),
                inner.resolved_inputs.per_item(STRAY_PAGE),
            ),
            Many::Items(usual, argument) => {
                let items = argument
                    .as_ref()
                    .and_then(|argument| self.arguments.items(field, argument))
                    .unwrap_or(*usual);
                (
                    inner.cost.of_page_as_count(STRAY_PAGE).times(items),
                    inner.queries.of_page(STRAY_PAGE).times(items),
                    inner.resolved_inputs.of_page_as_count(STRAY_PAGE).times(items),
                )
            }
        };
        // It reads nothing, so its fields are cheaper than others.
        let (cost, introspection) = if is_introspection {
            (Count::default(), cost.of_page(STRAY_PAGE))
        } else {
            (cost, inner.introspection)
        };
        let queries = match shape.map_or(Reads::Nothing, |shape| shape.reads) {
            Reads::Nothing => queries,
            Reads::Together(reads) => queries.beside(reads),
            Reads::Each(reads) => queries.behind(reads),
        };
        Ok(Weight {
            // What is below has been held to the depth of introspection.
            height: if is_introspection { 1 } else { inner.height.saturating_add(1) },
            selections: inner.selections,
            aliases: inner.aliases.saturating_add(u64::from(field.alias.is_some())),
            directives: inner.directives,
            arguments: inner.arguments.saturating_add(field.arguments.len() as u64),
            inputs: inner.inputs.saturating_add(own),
            resolved_inputs: resolved.and(Count::once(own)),
            fields: 1,
            introspects: inner.introspects || is_introspection,
            cost: cost.and(Count::ONE),
            introspection,
            queries,
            meta_lists: inner.meta_lists + u64::from(META_LISTS.contains(&name)),
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
