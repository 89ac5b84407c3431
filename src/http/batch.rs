//! A list of operations in one body, where [`crate::limits::Limits::batch_operations`] allows it.

use async_graphql_parser::types::OperationType;
use axum::{http::StatusCode, response::Response};

use super::{
    accept::{Accepted, Form},
    answer,
};
use crate::{
    answers::keep,
    app::App,
    failure::{ErrorCode, Failure},
    identity::Caller,
    operation::{self, Outcome, Params},
};

/// Runs the operations one after the other, each with limits of its own, and answers with a list of their results. The status
/// is 200 even where all of them were refused: each result tells for itself.
///
/// # Errors
/// When there are none or too many of them, or the client reads streams only.
pub(super) async fn run(
    app: &App,
    operations: Vec<Result<Params, Failure>>,
    caller: &Caller,
    accepted: Accepted,
) -> Result<Response, Failure> {
    let Form::Answer(media) = accepted.single() else {
        return Err(Failure::bad_request("a list of operations is not answered with a stream"));
    };
    let limit = app.settings.limits.batch_operations;
    if operations.is_empty() {
        return Err(Failure::bad_request("the list of operations is empty"));
    }
    if operations.len() > limit {
        let message = format!("the list has {} operations, at most {limit} are allowed", operations.len());
        return Err(Failure::new(StatusCode::BAD_REQUEST, ErrorCode::TooCostly, message));
    }
    let mut outcomes = Vec::with_capacity(operations.len());
    for operation in operations {
        let outcome = match operation {
            Ok(params) => one(app, params, caller).await,
            Err(failure) => Err(failure),
        };
        outcomes.push(outcome.unwrap_or_else(|failure| Outcome::refused(&failure, &caller.request_id)));
    }
    let mut json = String::from("[");
    for (index, outcome) in outcomes.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        outcome.write(&mut json);
    }
    json.push(']');
    let held = app.answers.hold(caller.user(), json.len())?;
    Ok(answer::write(StatusCode::OK, keep(json, held), media))
}

async fn one(app: &App, params: Params, caller: &Caller) -> Result<Outcome, Failure> {
    let prepared = operation::prepare(app, params, caller)?;
    if prepared.kind == OperationType::Subscription {
        return Err(Failure::bad_document("a subscription cannot be in a list of operations"));
    }
    operation::execute(app, prepared, &caller.request_id).await
}
