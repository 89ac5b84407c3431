//! From the parameters of a request to its result: what every transport does alike.

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_graphql::{Data, Executor, Request, Response, Value, Variables};
use async_graphql_parser::types::OperationType;
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::BoxStream};
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    app::App,
    failure::{Failure, complete_errors, is_request_error},
    guard,
    identity::Caller,
    resume,
};

/// A schema, whatever its types.
pub trait Engine: Send + Sync + 'static {
    /// Runs a query or mutation.
    fn execute(&self, request: Request) -> BoxFuture<'static, Response>;
    /// Runs a subscription.
    fn stream(&self, request: Request) -> BoxStream<'static, Response>;
}

impl<E: Executor> Engine for E {
    fn execute(&self, request: Request) -> BoxFuture<'static, Response> {
        let executor = self.clone();
        async move { Executor::execute(&executor, request).await }.boxed()
    }

    fn stream(&self, request: Request) -> BoxStream<'static, Response> {
        Executor::execute_stream(self, request, None::<Arc<Data>>)
    }
}

/// The parameters of a GraphQL request.
#[derive(Debug, Default)]
pub struct Params {
    /// The document.
    pub query: String,
    /// Which of its operations.
    pub operation_name: Option<String>,
    /// Values of its variables.
    pub variables: Variables,
    /// The cursor after which a subscription goes on, in place of its own `after`.
    pub resume_after: Option<String>,
    /// `extensions.operationId`: which operation of a stream for several it is.
    pub operation_id: Option<String>,
}

/// As they come, so that each wrong one can be named.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawParams {
    pub(crate) query: Option<Value>,
    pub(crate) operation_name: Option<Value>,
    pub(crate) variables: Option<Value>,
    pub(crate) extensions: Option<Value>,
}

impl TryFrom<RawParams> for Params {
    type Error = Failure;

    fn try_from(raw: RawParams) -> Result<Self, Failure> {
        let query = match raw.query {
            Some(Value::String(query)) => query,
            Some(Value::Null) | None => return Err(Failure::bad_request("`query` is missing")),
            Some(_) => return Err(Failure::bad_request("`query` must be a string")),
        };
        let operation_name = match raw.operation_name {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name),
            Some(_) => return Err(Failure::bad_request("`operationName` must be a string or null")),
        };
        let variables = match raw.variables {
            None | Some(Value::Null) => Variables::default(),
            Some(variables @ Value::Object(_)) => Variables::from_value(variables),
            Some(_) => return Err(Failure::bad_request("`variables` must be an object or null")),
        };
        let operation_id = match raw.extensions {
            None | Some(Value::Null) => None,
            Some(Value::Object(mut extensions)) => match extensions.swap_remove("operationId") {
                Some(Value::String(id)) => Some(id),
                _ => None,
            },
            Some(_) => return Err(Failure::bad_request("`extensions` must be an object or null")),
        };
        Ok(Self { query, operation_name, variables, resume_after: None, operation_id })
    }
}

/// An operation that passed the guard.
pub struct Prepared {
    /// For the executor.
    pub request: Request,
    /// What it is.
    pub kind: OperationType,
    /// Its name in the document.
    pub name: Option<String>,
}

/// Parses and checks the document and puts what resolvers need into the request.
///
/// # Errors
/// What [`guard::check`] refuses.
pub fn prepare(app: &App, mut params: Params, caller: &Caller) -> Result<Prepared, Failure> {
    let settings = &app.settings;
    let operation_name = params.operation_name.as_deref();
    let mut checked = guard::check(
        &params.query,
        operation_name,
        &params.variables,
        settings.introspection,
        &settings.limits.guard,
    )?;
    if let Some(cursor) = params.resume_after
        && checked.kind == OperationType::Subscription
    {
        resume::set_after(&mut checked.document, &mut params.variables, cursor);
    }
    let mut request = Request::new(params.query).variables(params.variables);
    request.set_parsed_query(checked.document);
    Ok(Prepared { request: (app.context)(request, caller), kind: checked.kind, name: checked.name })
}

/// What a client is told.
pub struct Outcome {
    /// With the errors completed.
    pub response: Response,
    /// Nothing was executed, so `data` is left out.
    pub is_request_error: bool,
}

impl Outcome {
    /// Of a response of the executor.
    #[must_use]
    pub fn new(mut response: Response, request_id: &str) -> Self {
        let is_request_error = is_request_error(&response);
        quikapp_graphql::expand(&mut response.errors);
        complete_errors(&mut response, request_id);
        Self { response, is_request_error }
    }

    /// Of a refusal.
    #[must_use]
    pub fn refused(failure: &Failure, request_id: &str) -> Self {
        Self { response: Response::from_errors(vec![failure.to_error(request_id)]), is_request_error: true }
    }

    /// Whether it is an event that could not be told. It ends its stream, so that no later cursor passes over it.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.response.data == Value::Null && !self.response.errors.is_empty()
    }

    /// As JSON is made of it: errors first, so that readers of logs see them.
    pub fn body(&self) -> impl Serialize + '_ {
        Body {
            errors: &self.response.errors,
            data: (!self.is_request_error).then_some(&self.response.data),
            extensions: &self.response.extensions,
        }
    }
}

#[derive(Serialize)]
struct Body<'r> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'r [async_graphql::ServerError],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'r Value>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    extensions: &'r std::collections::BTreeMap<String, Value>,
}

/// Runs a query or mutation within its time limit. A query ends when its caller goes away; a mutation runs to its end, so that
/// no change is left half told.
///
/// # Errors
/// When it took too long, or a resolver panicked.
pub async fn execute(app: &App, prepared: Prepared, request_id: &str) -> Result<Outcome, Failure> {
    let Prepared { request, kind, name } = prepared;
    let work = tokio::time::timeout(app.settings.limits.operation_timeout, app.engine.execute(request));
    // A task of its own also keeps a panic from taking the connection with it.
    let task = tokio::spawn(app.tasks.track_future(work));
    let result =
        if kind == OperationType::Mutation { task.await } else { AbortOnDropHandle::new(task).await };
    app.counters.operation(kind);
    match result {
        Ok(Ok(response)) => Ok(Outcome::new(response, request_id)),
        Ok(Err(_)) => {
            tracing::warn!(request_id, operation = name, "an operation did not end in time");
            Err(Failure::timed_out())
        }
        Err(error) => {
            tracing::error!(request_id, operation = name, %error, "an operation panicked");
            Err(Failure::internal())
        }
    }
}

/// Runs a subscription. The first item may be the refusal of the whole operation; then there are no others.
pub fn stream(
    app: &App,
    prepared: Prepared,
    request_id: String,
) -> impl Stream<Item = Outcome> + Send + use<> {
    app.counters.operation(prepared.kind);
    let responses = AssertUnwindSafe(app.engine.stream(prepared.request)).catch_unwind();
    let mut is_first = true;
    responses.map(move |response| {
        let Ok(response) = response else {
            tracing::error!(request_id, "a subscription panicked");
            return Outcome::refused(&Failure::internal(), &request_id);
        };
        let mut outcome = Outcome::new(response, &request_id);
        if std::mem::take(&mut is_first) {
            outcome.is_request_error |= is_refused_source(&outcome.response);
        }
        outcome
    })
}

/// Whether the source of events could not be opened, which the specification calls a request error. The executor tells it like
/// an event whose root field failed.
fn is_refused_source(response: &Response) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.len() <= 1)
}
