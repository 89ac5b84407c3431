//! What the transports share, and the addresses they answer at.

use std::sync::Arc;

use async_graphql::Request;
use axum::{
    Router,
    extract::{Request as HttpRequest, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use futures_util::future::BoxFuture;
use quikapp_chat::live::slices::Slices;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::{
    answers::Answers,
    failure::{ErrorCode, Failure},
    graphiql,
    guard::{Documents, Shape},
    health, http,
    http::{answer, body, head, reservation::Reservations, single},
    identity::{Authenticator, Caller, Identity, new_request_id},
    limits::Limits,
    metrics::{self, Counters, Metric},
    operation::Engine,
    origins::Origins,
    sessions::Sessions,
};

/// The header that carries the request id, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header by which a client of an event stream tells the last event that it got.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What can be set about the transports.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which web pages may call.
    pub origins: Origins,
    /// Whether the schema may be asked for.
    pub introspection: bool,
    /// Whether the explorer is served.
    pub graphiql: bool,
    /// How much one client may take.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self { origins: Origins::Own, introspection: true, graphiql: true, limits: Limits::default() }
    }
}

type Context = dyn Fn(Request, &Caller) -> Request + Send + Sync;
type Readiness = dyn Fn() -> BoxFuture<'static, Vec<health::Store>> + Send + Sync;
type Metrics = dyn Fn() -> Vec<Metric> + Send + Sync;

/// What the transports share.
pub struct App {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) authenticator: Box<dyn Authenticator>,
    pub(crate) context: Box<Context>,
    pub(crate) readiness: Box<Readiness>,
    pub(crate) metrics: Box<Metrics>,
    pub(crate) settings: Settings,
    pub(crate) shape: Shape,
    pub(crate) documents: Documents,
    pub(crate) turns: Slices,
    pub(crate) large_bodies: Arc<Semaphore>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) sessions: Sessions,
    pub(crate) reservations: Reservations,
    pub(crate) counters: Counters,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl App {
    /// Serves `engine` to whom `authenticator` knows, and to anonymous callers.
    pub fn new(engine: impl Engine, authenticator: impl Authenticator, settings: Settings) -> Self {
        Self {
            engine: Box::new(engine),
            authenticator: Box::new(authenticator),
            context: Box::new(|request, _| request),
            readiness: Box::new(|| Box::pin(async { Vec::new() })),
            metrics: Box::new(Vec::new),
            turns: Slices::default(),
            large_bodies: body::large_bodies(&settings.limits),
            answers: Answers::new(settings.limits.answers_bytes),
            settings,
            shape: Shape::default(),
            documents: Documents::default(),
            sessions: Sessions::default(),
            reservations: Reservations::default(),
            counters: Counters::default(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Lets the guard weigh documents by what is known of the schema; without this nothing counts as a list.
    #[must_use]
    pub fn with_shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Lets `context` put more into the data of each operation: loaders, the caller's address.
    #[must_use]
    pub fn with_context(
        mut self,
        context: impl Fn(Request, &Caller) -> Request + Send + Sync + 'static,
    ) -> Self {
        self.context = Box::new(context);
        self
    }

    /// Lets `/readyz` ask `readiness` for the state of each store.
    #[must_use]
    pub fn with_readiness(
        mut self,
        readiness: impl Fn() -> BoxFuture<'static, Vec<health::Store>> + Send + Sync + 'static,
    ) -> Self {
        self.readiness = Box::new(readiness);
        self
    }

    /// Adds the figures of `metrics` to `/metrics`.
    #[must_use]
    pub fn with_metrics(mut self, metrics: impl Fn() -> Vec<Metric> + Send + Sync + 'static) -> Self {
        self.metrics = Box::new(metrics);
        self
    }

    /// Lets those who connect take their turns among those who have yet to be told what they missed.
    #[must_use]
    pub fn with_turns(mut self, turns: Slices) -> Self {
        self.turns = turns;
        self
    }

    /// Who holds `token`. Connections of its session go on until it ends, if that is later than they knew.
    pub(crate) async fn authenticate(&self, token: &str) -> quikapp_chat::Result<Identity> {
        let identity = self.authenticator.authenticate(token).await?;
        self.sessions.renew(identity.session, identity.expires_at);
        Ok(identity)
    }

    /// The open sockets of signed-in callers.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

/// Everything that is served.
pub fn router(app: Arc<App>) -> Router {
    let settings = &app.settings;
    let mut router = Router::new()
        .route(
            "/graphql",
            get(http::get)
                .post(http::post)
                .put(single::put)
                .delete(single::delete)
                .fallback(http::other_method),
        )
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::text));
    if settings.graphiql {
        router = router
            .route("/", get(graphiql::home))
            .route("/graphiql", get(graphiql::page))
            .route("/graphiql/{name}", get(graphiql::asset));
    }
    let cors = cors(&settings.origins);
    router
        .fallback(not_found)
        .layer(cors)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), identify))
        .with_state(app)
}

fn cors(origins: &Origins) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        // Whichever it asks for: tools of front ends add their own, and none gives a page of an allowed origin more than it has.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([REQUEST_ID, header::RETRY_AFTER])
        .max_age(std::time::Duration::from_hours(1));
    let origins = origins.clone();
    layer.allow_origin(match origins {
        Origins::Any => AllowOrigin::any(),
        origins => AllowOrigin::predicate(move |origin, _| origins.lists(origin)),
    })
}

/// The id of a request, among its extensions.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Gives the request an id, the caller's own if it brings a decent one, and the answer the headers that all have.
async fn identify(State(app): State<Arc<App>>, mut request: HttpRequest, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_decent(id));
    let id = given.map_or_else(new_request_id, ToOwned::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let start = std::time::Instant::now();
    let mut response = match head::check(&request) {
        Ok(()) => next.run(request).await,
        Err(failure) => answer::refusal(&failure, answer::Media::Json, &id),
    };
    let status = response.status();
    app.counters.answer(status);
    tracing::debug!(request_id = id, %method, path, status = status.as_u16(), elapsed = ?start.elapsed(), "answered");
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn is_decent(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

async fn not_found(request: HttpRequest) -> Response {
    let failure =
        Failure::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, "there is nothing at this address");
    answer::refusal(&failure, answer::Media::Json, &http::request_id(request.extensions()))
}
