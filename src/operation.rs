//! From the parameters of a request to its result: what every transport does alike.

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_graphql::{Data, Executor, Request, Response, ServerError, Value, Variables};
use async_graphql_parser::types::{ExecutableDocument, OperationType};
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::BoxStream};
use quikapp_graphql::{Api, Delivered, Rendered};
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
    /// Readies a request for a subscription: the `operation`, which is the only one in the parsed `document`.
    fn select(&self, request: Request, operation: Option<&str>, document: &ExecutableDocument) -> Request;
    /// Runs a query or mutation.
    fn execute(&self, request: Request) -> BoxFuture<'static, Response>;
    /// Runs a subscription.
    fn stream(&self, request: Request) -> BoxStream<'static, Delivered>;
}

/// Any executor, which tells each subscriber by itself.
impl<E: Executor> Engine for E {
    fn select(&self, request: Request, _: Option<&str>, _: &ExecutableDocument) -> Request {
        request
    }

    fn execute(&self, request: Request) -> BoxFuture<'static, Response> {
        let executor = self.clone();
        async move { Executor::execute(&executor, request).await }.boxed()
    }

    fn stream(&self, request: Request) -> BoxStream<'static, Delivered> {
        Executor::execute_stream(self, request, None::<Arc<Data>>).map(Delivered::Response).boxed()
    }
}

/// The schema of the domain, which tells many subscribers at once.
pub(crate) struct Shared(pub(crate) Api);

impl Engine for Shared {
    fn select(&self, request: Request, operation: Option<&str>, document: &ExecutableDocument) -> Request {
        self.0.select(request, operation, document)
    }

    fn execute(&self, request: Request) -> BoxFuture<'static, Response> {
        let api = self.0.clone();
        async move { api.execute(request).await }.boxed()
    }

    fn stream(&self, request: Request) -> BoxStream<'static, Delivered> {
        self.0.stream(request)
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

/// What clients of persisted queries know as the sign to send their documents from now on.
const PERSISTED_QUERY_NOT_SUPPORTED: &str = "PersistedQueryNotSupported";

/// Whether the document is named by its hash instead of being sent.
fn asks_for_persisted(extensions: Option<&Value>) -> bool {
    matches!(extensions, Some(Value::Object(extensions)) if extensions.contains_key("persistedQuery"))
}

impl TryFrom<RawParams> for Params {
    type Error = Failure;

    fn try_from(raw: RawParams) -> Result<Self, Failure> {
        let query = match raw.query {
            Some(Value::String(query)) => query,
            Some(Value::Null) | None if asks_for_persisted(raw.extensions.as_ref()) => {
                return Err(Failure::bad_document(PERSISTED_QUERY_NOT_SUPPORTED));
            }
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
        &app.documents,
        &params.query,
        operation_name,
        &params.variables,
        settings.introspection,
        &app.shape,
        &settings.limits.guard,
    )?;
    params.variables.retain(|name, _| checked.declares(name));
    if let Some(cursor) = params.resume_after
        && checked.kind == OperationType::Subscription
    {
        resume::set_after(&mut checked.document, &mut params.variables, cursor);
    }
    let mut request = Request::new(params.query).variables(params.variables);
    if checked.kind == OperationType::Subscription {
        request = app.engine.select(request, checked.name.as_deref(), &checked.document);
    }
    request.set_parsed_query(checked.document);
    Ok(Prepared { request: (app.context)(request, caller), kind: checked.kind, name: checked.name })
}

/// Errors of one refusal. A short document can break a rule at every word.
const ERRORS: usize = 50;

/// What a client is told.
pub struct Outcome {
    content: Content,
    /// Nothing was executed, so `data` is left out.
    pub is_request_error: bool,
}

enum Content {
    /// With the errors completed.
    Response(Response),
    /// Without errors.
    Rendered(Rendered),
}

impl Outcome {
    /// Of a response of the executor.
    #[must_use]
    pub fn new(mut response: Response, request_id: &str) -> Self {
        let is_request_error = is_request_error(&response);
        if is_request_error {
            response.errors.truncate(ERRORS);
        }
        quikapp_graphql::expand(&mut response.errors);
        complete_errors(&mut response, request_id);
        Self { content: Content::Response(response), is_request_error }
    }

    /// Of a refusal.
    #[must_use]
    pub fn refused(failure: &Failure, request_id: &str) -> Self {
        let response = Response::from_errors(vec![failure.to_error(request_id)]);
        Self { content: Content::Response(response), is_request_error: true }
    }

    /// What went wrong.
    #[must_use]
    pub fn errors(&self) -> &[ServerError] {
        match &self.content {
            Content::Response(response) => &response.errors,
            Content::Rendered(_) => &[],
        }
    }

    /// The field `cursor` of the root field, as far as it can stand on a line.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        let cursor = match &self.content {
            Content::Response(response) => resume::cursor(&response.data)?,
            Content::Rendered(rendered) => rendered.cursor()?,
        };
        (!cursor.is_empty() && !cursor.contains(['\n', '\r', '\0'])).then_some(cursor)
    }

    /// Whether it is an event that could not be told. It ends its stream, so that no later cursor passes over it.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match &self.content {
            Content::Response(response) => response.data == Value::Null && !response.errors.is_empty(),
            Content::Rendered(_) => false,
        }
    }

    /// Appends its JSON: errors first, so that readers of logs see them.
    pub fn write(&self, out: &mut String) {
        match &self.content {
            Content::Rendered(rendered) => {
                out.reserve(rendered.len() + 8);
                rendered.write(out);
            }
            Content::Response(response) => {
                let body = Body {
                    errors: &response.errors,
                    data: (!self.is_request_error).then_some(&response.data),
                    extensions: &response.extensions,
                };
                match serde_json::to_string(&body) {
                    Ok(body) => out.push_str(&body),
                    Err(error) => {
                        tracing::error!(%error, "a result cannot be written as JSON");
                        out.push_str(UNWRITABLE);
                    }
                }
            }
        }
    }

    /// Its JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let mut json = String::new();
        self.write(&mut json);
        json
    }
}

/// In place of a result that cannot be written.
const UNWRITABLE: &str =
    r#"{"errors":[{"message":"internal error","extensions":{"code":"INTERNAL","retryable":false}}]}"#;

#[derive(Serialize)]
struct Body<'r> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'r [ServerError],
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
    responses.map(move |delivered| {
        let response = match delivered {
            Ok(Delivered::Response(response)) => response,
            Ok(Delivered::Rendered(rendered)) => {
                is_first = false;
                return Outcome { content: Content::Rendered(rendered), is_request_error: false };
            }
            Err(_) => {
                tracing::error!(request_id, "a subscription panicked");
                return Outcome::refused(&Failure::internal(), &request_id);
            }
        };
        let is_refused = std::mem::take(&mut is_first) && is_refused_source(&response);
        let mut outcome = Outcome::new(response, &request_id);
        outcome.is_request_error |= is_refused;
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
