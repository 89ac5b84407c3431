//! What a document may ask for: the same bounds on every transport, checked on the document parsed once.
//!
//! The executor walks every fragment again at every spread, before any limit of its own. Here each fragment is weighed once, so
//! that a document of 24 fragments that each spread the next one twice is refused in microseconds.
//!
//! What lists multiply, and what reads from the stores, is known from the schema ([`Shape`]). Beside the size of the answer the
//! number of store queries is estimated, from above: loaders read for a whole list at a time, but a page within a list is read
//! for each item of it.

mod arguments;
mod documents;
mod figures;
mod meta;
mod scan;
mod shape;
mod subscription;
mod weigh;

use std::collections::HashSet;

use async_graphql::{Name, Positioned, Variables};
use async_graphql_parser::{
    Error as ParseError,
    types::{DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, VariableDefinition},
};
use async_graphql_value::ConstValue;

use self::{
    arguments::Arguments,
    weigh::{Fragments, Weigher, Weight, spreads},
};
pub use self::{documents::Documents, shape::Shape};
use crate::failure::Failure;

/// The bounds of one document. Each has a setting, see [`crate::config::LimitOptions`].
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Fields of the answer within `__schema` and `__type`.
    pub introspection_cost: u64,
    /// Fields, spreads and inline fragments, with every spread written out.
    pub selections: u64,
    /// Aliases, with every spread written out.
    pub aliases: u64,
    /// Directives, with every spread written out.
    pub directives: u64,
    /// Arguments, with every spread written out.
    pub arguments: u64,
    /// Variables that the operation declares.
    pub variables: usize,
    /// Values within the variables of a request: members of objects and items of lists, at every depth.
    pub variable_values: usize,
    /// Values in all arguments with the variables in them, as often as each is used; 64 bytes of text count as a value.
    pub argument_values: u64,
    /// Bytes of the document and the variables of a subscription, which are kept as long as it runs.
    pub subscription_bytes: usize,
    /// Fields of the answer, those of a list times its length.
    pub cost: u64,
    /// Queries that the stores get for the operation, or for one event of a subscription.
    pub store_queries: u64,
    /// Root fields of a query.
    pub query_fields: u64,
    /// Root fields of a mutation.
    pub mutation_fields: u64,
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
            introspection_cost: 200_000,
            selections: 2_000,
            aliases: 100,
            directives: 100,
            arguments: 1_000,
            variables: 100,
            variable_values: 10_000,
            argument_values: 200_000,
            subscription_bytes: 64 * 1024,
            cost: 50_000,
            store_queries: 500,
            query_fields: 20,
            mutation_fields: 10,
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
    /// Fields that its answer, or one event, may have.
    pub cost: u64,
    /// Queries that the stores get for it, or for one event, at most.
    pub store_queries: u64,
}

impl Checked {
    /// Whether the operation has a variable of this name. Values of others need not be kept.
    #[must_use]
    pub fn declares(&self, variable: &Name) -> bool {
        let mut definitions =
            self.document.operations.iter().flat_map(|(_, operation)| &operation.node.variable_definitions);
        definitions.any(|definition| definition.node.name.node == *variable)
    }
}

/// Parses `text` unless it is one of the `documents` parsed before, chooses the operation and checks it against `limits`, for a
/// schema of the given `shape`. A text of which an operation may be executed is remembered.
///
/// # Errors
/// `BAD_REQUEST` for what is not a valid request, `TOO_COSTLY` for what goes beyond the limits.
pub fn check(
    documents: &Documents,
    text: &str,
    operation_name: Option<&str>,
    variables: &Variables,
    introspection: bool,
    shape: &Shape,
    limits: &Limits,
) -> Result<Checked, Failure> {
    let variable_bytes = hold_variables(variables, limits)?;
    let parsed = documents.read(text, limits)?;
    let document = ExecutableDocument::clone(&parsed);
    let (name, mut operation) = choose(document.operations, operation_name)?;
    let definitions = &operation.node.variable_definitions;
    if definitions.len() > limits.variables {
        return Err(Failure::too_costly(format!("at most {} variables are allowed", limits.variables)));
    }
    refuse_missing_variables(definitions, variables)?;

    let mut fragments = document.fragments;
    let arguments = Arguments::new(definitions, variables);
    let weight = Weigher::new(&fragments, arguments, shape, limits).weigh_operation(&operation.node)?;
    let kind = operation.node.ty;
    hold(&weight, kind, introspection, limits)?;
    if kind == OperationType::Subscription {
        let (bytes, limit) = (text.len() + variable_bytes, limits.subscription_bytes);
        if bytes > limit {
            let message =
                format!("the subscription has {bytes} bytes with its variables, at most {limit} are allowed");
            return Err(Failure::too_costly(message));
        }
        subscription::inline_root(&mut operation.node, &fragments, shape.root(kind))?;
    }
    let used = reachable(&fragments, [&operation.node]);
    fragments.retain(|name, _| used.contains(name));
    let document = ExecutableDocument { operations: DocumentOperations::Single(operation), fragments };
    let name = name.map(|name| name.to_string());
    documents.keep(text, parsed);
    Ok(Checked { document, kind, name, cost: weight.cost(), store_queries: weight.store_queries() })
}

/// The bytes of all texts in the variables. Fails when there are too many values: the body was bounded in bytes, but in memory
/// each value takes some 30 times as much.
fn hold_variables(variables: &Variables, limits: &Limits) -> Result<usize, Failure> {
    let limit = limits.variable_values;
    let (mut count, mut bytes) = (variables.len(), 0);
    let mut open: Vec<&ConstValue> = if count > limit { Vec::new() } else { variables.values().collect() };
    while let Some(value) = open.pop() {
        count += match value {
            ConstValue::List(items) => items.len(),
            ConstValue::Object(members) => members.len(),
            _ => 0,
        };
        if count > limit {
            break;
        }
        match value {
            ConstValue::List(items) => open.extend(items),
            ConstValue::Object(members) => {
                bytes += members.keys().map(|name| name.len()).sum::<usize>();
                open.extend(members.values());
            }
            ConstValue::String(text) => bytes += text.len(),
            _ => {}
        }
    }
    if count > limit {
        return Err(Failure::too_costly(format!(
            "the variables have too many values, at most {limit} are allowed"
        )));
    }
    Ok(bytes)
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

fn hold(weight: &Weight, kind: OperationType, introspection: bool, limits: &Limits) -> Result<(), Failure> {
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
    at_most(weight.introspection(), limits.introspection_cost, "fields of the introspection")?;
    at_most(weight.selections, limits.selections, "selections")?;
    at_most(weight.aliases, limits.aliases, "aliases")?;
    at_most(weight.directives, limits.directives, "directives")?;
    at_most(weight.arguments, limits.arguments, "arguments")?;
    at_most(
        weight.inputs(),
        limits.argument_values,
        "values in its arguments, each time that they are used",
    )?;
    match kind {
        OperationType::Query => at_most(weight.fields, limits.query_fields, "root fields")?,
        OperationType::Mutation => at_most(weight.fields, limits.mutation_fields, "root fields")?,
        OperationType::Subscription => {}
    }
    let (cost, store_queries) = (weight.cost(), weight.store_queries());
    if cost > limits.cost {
        return Err(Failure::too_costly(format!(
            "the operation may return {cost} fields, at most {} are allowed; ask for smaller pages",
            limits.cost
        )));
    }
    if store_queries > limits.store_queries {
        return Err(Failure::too_costly(format!(
            "the operation may take {store_queries} store queries, at most {} are allowed; ask for smaller pages, or for fewer \
             pages within lists",
            limits.store_queries
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
