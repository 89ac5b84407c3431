//! The root of a subscription: one field, which may stand in fragments. The executor only knows fields there, and would run two
//! that belong together as two streams.

use std::collections::HashSet;

use async_graphql::{Name, Positioned};
use async_graphql_parser::types::{Directive, Field, OperationDefinition, Selection, SelectionSet};

use super::weigh::Fragments;
use crate::failure::Failure;

/// Writes the fragments at the root of a subscription to `root` out, and leaves the one field that it asks for.
///
/// `@skip` and `@include` are not allowed there, by the [specification](https://spec.graphql.org/September2025/#sec-Single-Root-Field).
/// Fragments that spread themselves end here silently; the caller has refused them.
///
/// # Errors
/// `BAD_REQUEST` unless exactly one field is left.
pub(super) fn inline_root(
    operation: &mut OperationDefinition,
    fragments: &Fragments,
    root: Option<&Name>,
) -> Result<(), Failure> {
    let mut fields = Fields { fragments, root, seen: HashSet::new(), found: None };
    fields.collect(&operation.selection_set.node)?;
    let Some(field) = fields.found else { return Err(not_one()) };
    if field.node.name.node.starts_with("__") {
        return Err(not_one().at([field.pos]));
    }
    let pos = field.pos;
    operation.selection_set.node.items = vec![Positioned::new(Selection::Field(field), pos)];
    Ok(())
}

fn not_one() -> Failure {
    Failure::bad_document("a subscription must have exactly one root field")
}

struct Fields<'d> {
    fragments: &'d Fragments,
    root: Option<&'d Name>,
    seen: HashSet<&'d Name>,
    found: Option<Positioned<Field>>,
}

impl<'d> Fields<'d> {
    fn collect(&mut self, set: &'d SelectionSet) -> Result<(), Failure> {
        for selection in &set.items {
            refuse_directives(selection.node.directives(), matches!(selection.node, Selection::Field(_)))?;
            match &selection.node {
                Selection::Field(field) => self.add(field)?,
                Selection::InlineFragment(fragment) => {
                    if let Some(condition) = &fragment.node.type_condition {
                        self.check_type(&condition.node.on)?;
                    }
                    self.collect(&fragment.node.selection_set.node)?;
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name;
                    let Some((name, fragment)) = self.fragments.get_key_value(&name.node) else {
                        let message = format!("unknown fragment `{}`", name.node);
                        return Err(Failure::bad_document(message).at([name.pos]));
                    };
                    if self.seen.insert(name) {
                        refuse_directives(&fragment.node.directives, false)?;
                        self.check_type(&fragment.node.type_condition.node.on)?;
                        self.collect(&fragment.node.selection_set.node)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn check_type(&self, on: &Positioned<Name>) -> Result<(), Failure> {
        if self.root == Some(&on.node) {
            return Ok(());
        }
        let message = format!("a fragment on `{}` cannot be used at the root of a subscription", on.node);
        Err(Failure::bad_document(message).at([on.pos]))
    }

    /// Two fields of the same name in the answer are one, with what either asks for.
    fn add(&mut self, field: &Positioned<Field>) -> Result<(), Failure> {
        let Some(found) = &mut self.found else {
            self.found = Some(field.clone());
            return Ok(());
        };
        let (old, new) = (&mut found.node, &field.node);
        if old.response_key().node != new.response_key().node {
            return Err(not_one().at([field.pos]));
        }
        let is_same = old.name.node == new.name.node
            && old.arguments.len() == new.arguments.len()
            && old.arguments.iter().all(|(name, value)| {
                new.get_argument(&name.node).is_some_and(|other| other.node == value.node)
            });
        if !is_same {
            let message =
                format!("fields `{}` conflict: they differ in name or arguments", new.response_key().node);
            return Err(Failure::bad_document(message).at([found.pos, field.pos]));
        }
        old.directives.extend(new.directives.iter().cloned());
        old.selection_set.node.items.extend(new.selection_set.node.items.iter().cloned());
        Ok(())
    }
}

/// Others on fields are left to validation.
fn refuse_directives(directives: &[Positioned<Directive>], is_field: bool) -> Result<(), Failure> {
    let conditions = ["skip", "include"];
    let refused = directives
        .iter()
        .find(|directive| !is_field || conditions.contains(&directive.node.name.node.as_str()));
    match refused {
        Some(directive) => {
            let message =
                format!("`@{}` is not allowed at the root of a subscription", directive.node.name.node);
            Err(Failure::bad_document(message).at([directive.pos]))
        }
        None => Ok(()),
    }
}
