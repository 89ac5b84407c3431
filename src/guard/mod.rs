//! What a document may ask for: the same bounds on every transport, checked on the document parsed once.
//!
//! The executor walks every fragment again at every spread, before any limit of its own. Here each fragment is weighed once, so
//! that a document of 24 fragments that each spread the next one twice is refused in microseconds.

mod scan;
mod weigh;

use std::collections::HashSet;

use async_graphql::{Name, Positioned, Variables};
use async_graphql_parser::{
    Error as ParseError, parse_query,
    types::{DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, VariableDefinition},
};
use async_graphql_value::ConstValue;
use weigh::{Fragments, Weigher, Weight, spreads};

use crate::failure::Failure;

/// The bounds of one document.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of its text.
    pub document_bytes: usize,
    /// Tokens of its text.
    pub tokens: usize,
    /// Brackets open at a time.
    pub nesting: usize,
    /// Fragment definitions.
    pub fragments: usize,
    /// Fields within fields.
    pub depth: u64,
    /// Fields within `__schema` or `__type`.
    pub introspection_depth: u64,
    /// Fields, spreads and inline fragments, with every spread written out.
    pub selections: u64,
    /// Aliases, with every spread written out.
    pub aliases: u64,
    /// Directives, with every spread written out.
    pub directives: u64,
    /// Fields, those of a page times its size.
    pub cost: u64,
    /// Root fields of a query.
    pub query_fields: u64,
    /// Root fields of a mutation.
    pub mutation_fields: u64,
    /// What a connection counts as when the document names no page size.
    pub default_page: u64,
    /// The largest page that the API gives; more is refused by the field itself.
    pub largest_page: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes: 64 * 1024,
            tokens: 10_000,
            nesting: 64,
            fragments: 100,
            depth: 20,
            introspection_depth: 30,
            selections: 2_000,
            aliases: 100,
            directives: 100,
            cost: 50_000,
            query_fields: 20,
            mutation_fields: 10,
            default_page: 50,
            largest_page: 100,
        }
    }
}

/// An operation that may be executed.
#[derive(Debug)]
pub struct Checked {
    /// The chosen operation with the fragments that it uses, and nothing else.
    pub document: ExecutableDocument,
    /// What it is.
    pub kind: OperationType,
    /// Its name, for logs and metrics.
    pub name: Option<String>,
}

/// Parses `text`, chooses the operation and checks it against `limits`.
///
/// # Errors
/// `BAD_REQUEST` for what is not a valid request, `TOO_COSTLY` for what goes beyond the limits.
pub fn check(
    text: &str,
    operation_name: Option<&str>,
    variables: &Variables,
    introspection: bool,
    limits: &Limits,
) -> Result<Checked, Failure> {
    scan::scan(text, limits)?;
    let document = parse_query(text).map_err(|error| syntax_error(&error))?;
    if document.fragments.len() > limits.fragments {
        return Err(Failure::too_costly(format!("at most {} fragments are allowed", limits.fragments)));
    }
    refuse_unused_fragments(&document)?;
    let (name, operation) = choose(document.operations, operation_name)?;

    refuse_missing_variables(&operation.node.variable_definitions, variables)?;

    let mut weigher =
        Weigher::new(&document.fragments, &operation.node.variable_definitions, variables, limits);
    let own_directives = operation.node.directives.len() as u64;
    let weight = weigher.weigh_operation(&operation.node)?;
    hold(&weight, own_directives, operation.node.ty, introspection, limits)?;

    let used = reachable(&document.fragments, [&operation.node]);
    let mut fragments = document.fragments;
    fragments.retain(|name, _| used.contains(name));
    let kind = operation.node.ty;
    let document = ExecutableDocument { operations: DocumentOperations::Single(operation), fragments };
    Ok(Checked { document, kind, name: name.map(|name| name.to_string()) })
}

fn syntax_error(error: &ParseError) -> Failure {
    let message = match error {
        // The parser draws a picture of the source; its last line says what is wrong.
        ParseError::Syntax { message, .. } => {
            let reason = message.lines().rev().find_map(|line| line.trim().strip_prefix("= "));
            format!("syntax error: {}", reason.unwrap_or("the document cannot be parsed"))
        }
        ParseError::RecursionLimitExceeded => {
            return Failure::too_costly("the document is nested too deeply");
        }
        other => other.to_string(),
    };
    Failure::bad_document(message).at(error.positions())
}

type Chosen = (Option<Name>, Positioned<OperationDefinition>);

fn choose(operations: DocumentOperations, wanted: Option<&str>) -> Result<Chosen, Failure> {
    let unknown = |wanted: &str| {
        let wanted: String = wanted.chars().take(100).collect();
        Failure::bad_document(format!("unknown operation `{wanted}`"))
    };
    match (operations, wanted) {
        (DocumentOperations::Single(operation), None) => Ok((None, operation)),
        (DocumentOperations::Single(_), Some(wanted)) => Err(unknown(wanted)),
        (DocumentOperations::Multiple(mut operations), Some(wanted)) => match operations.remove_entry(wanted)
        {
            Some((name, operation)) => Ok((Some(name), operation)),
            None => Err(unknown(wanted)),
        },
        (DocumentOperations::Multiple(operations), None) => {
            let count = operations.len();
            match operations.into_iter().next() {
                Some((name, operation)) if count == 1 => Ok((Some(name), operation)),
                _ => Err(Failure::bad_document(
                    "operationName is required, the document has several operations",
                )),
            }
        }
    }
}

/// The fragments that `operations` use, directly or through others.
fn reachable<'d>(
    fragments: &'d Fragments,
    operations: impl IntoIterator<Item = &'d OperationDefinition>,
) -> HashSet<Name> {
    let mut found = HashSet::new();
    let mut sets: Vec<_> = operations.into_iter().map(|operation| &operation.selection_set.node).collect();
    while let Some(set) = sets.pop() {
        spreads(set, &mut |name| {
            if let Some(fragment) = fragments.get(name)
                && found.insert(name.clone())
            {
                sets.push(&fragment.node.selection_set.node);
            }
        });
    }
    found
}

/// The executor is shown used fragments only, so this rule of the specification is kept here.
fn refuse_unused_fragments(document: &ExecutableDocument) -> Result<(), Failure> {
    let used =
        reachable(&document.fragments, document.operations.iter().map(|(_, operation)| &operation.node));
    match document.fragments.iter().find(|(name, _)| !used.contains(*name)) {
        Some((name, fragment)) => {
            Err(Failure::bad_document(format!("fragment `{name}` is never used")).at([fragment.pos]))
        }
        None => Ok(()),
    }
}

/// The executor would notice only in the field that uses the variable, when others may have been executed.
fn refuse_missing_variables(
    definitions: &[Positioned<VariableDefinition>],
    variables: &Variables,
) -> Result<(), Failure> {
    let is_missing = |definition: &VariableDefinition| match variables.get(&definition.name.node) {
        Some(value) => *value == ConstValue::Null && !definition.var_type.node.nullable,
        None => !definition.var_type.node.nullable && definition.default_value.is_none(),
    };
    match definitions.iter().find(|definition| is_missing(&definition.node)) {
        Some(definition) => {
            let VariableDefinition { name, var_type, .. } = &definition.node;
            let message = format!("variable `${}` of type `{}` is required", name.node, var_type.node);
            Err(Failure::bad_document(message).at([definition.pos]))
        }
        None => Ok(()),
    }
}

fn hold(
    weight: &Weight,
    own_directives: u64,
    kind: OperationType,
    introspection: bool,
    limits: &Limits,
) -> Result<(), Failure> {
    if weight.introspects && !introspection {
        return Err(Failure::bad_document("introspection is switched off"));
    }
    let at_most = |value: u64, limit: u64, what: &str| {
        if value <= limit {
            return Ok(());
        }
        Err(Failure::too_costly(format!(
            "the operation has too many {what}: {value}, at most {limit} are allowed"
        )))
    };
    at_most(weight.height, limits.depth, "levels of fields")?;
    at_most(weight.selections, limits.selections, "selections")?;
    at_most(weight.aliases, limits.aliases, "aliases")?;
    at_most(weight.directives.saturating_add(own_directives), limits.directives, "directives")?;
    match kind {
        OperationType::Query => at_most(weight.fields, limits.query_fields, "root fields")?,
        OperationType::Mutation => at_most(weight.fields, limits.mutation_fields, "root fields")?,
        OperationType::Subscription if weight.fields != 1 || weight.meta_fields > 0 => {
            return Err(Failure::bad_document("a subscription must have exactly one root field"));
        }
        OperationType::Subscription => {}
    }
    if weight.cost > limits.cost {
        return Err(Failure::too_costly(format!(
            "the operation may return {} fields, at most {} are allowed; ask for smaller pages",
            weight.cost, limits.cost
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
