//! A schema, an authenticator and a running server.

#![allow(clippy::unused_async, reason = "resolvers are asynchronous, whatever they do")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_graphql::{
    Context, EmptySubscription, Error, ErrorExtensions, Object, Schema, SimpleObject, Subscription,
};
use async_trait::async_trait;
use futures_util::{Stream, StreamExt, stream};
use quikapp_chat::entities::Timestamp;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use uuid::Uuid;

use crate::{
    app::{App, Settings},
    guard::Shape,
    identity::{Authenticator, Caller, Identity},
    limits::Limits,
    server::serve,
};

pub(super) const USER: Uuid = Uuid::from_u128(7);
pub(super) const SESSION: Uuid = Uuid::from_u128(8);
/// Bob's, and his session.
const BOB: Uuid = Uuid::from_u128(9);

#[derive(Clone)]
struct Viewer(String);

/// What the context hook puts in.
struct Agent(Option<String>, bool);

/// Streams that are open, and mutations that ran to their end.
#[derive(Clone, Default)]
pub(super) struct Seen {
    pub(super) open: Arc<AtomicUsize>,
    pub(super) done: Arc<AtomicUsize>,
}

struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Query;

#[Object]
impl Query {
    async fn hello(&self, #[graphql(default = 1)] times: u32) -> String {
        "hello ".repeat(times as usize)
    }

    async fn viewer(&self, context: &Context<'_>) -> Option<String> {
        context.data_opt::<Viewer>().map(|viewer| viewer.0.clone())
    }

    async fn agent(&self, context: &Context<'_>) -> Option<String> {
        context.data::<Agent>().ok().filter(|agent| agent.1).and_then(|agent| agent.0.clone())
    }

    async fn secret(&self) -> Option<async_graphql::Result<i32>> {
        Some(Err(Error::new("password is hunter2")))
    }

    async fn busy(&self) -> Option<async_graphql::Result<i32>> {
        Some(Err(Error::new("busy").extend_with(|_, extensions| {
            extensions.set("code", "UNAVAILABLE");
            extensions.set("retryable", true);
        })))
    }

    async fn nothing(&self) -> async_graphql::Result<i32> {
        Err(Error::new("gone").extend_with(|_, extensions| extensions.set("code", "NOT_FOUND")))
    }

    async fn slow(&self, milliseconds: u64) -> bool {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        true
    }

    async fn panic(&self) -> bool {
        assert!(std::hint::black_box(false), "a bug");
        true
    }
}

struct Mutation;

#[Object]
impl Mutation {
    async fn write(&self, context: &Context<'_>, #[graphql(default)] milliseconds: u64) -> bool {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        context.data_unchecked::<Seen>().done.fetch_add(1, Ordering::SeqCst);
        true
    }
}

#[derive(SimpleObject)]
struct Entry {
    n: i32,
    cursor: String,
}

struct Live;

#[Subscription]
impl Live {
    async fn count(&self, to: i32) -> impl Stream<Item = i32> {
        stream::iter(1..=to)
    }

    async fn log(&self, to: i32, after: Option<String>) -> impl Stream<Item = Entry> {
        let after: i32 = after.and_then(|cursor| cursor.strip_prefix('c')?.parse().ok()).unwrap_or(0);
        stream::iter(after + 1..=to).map(|n| Entry { n, cursor: format!("c{n}") })
    }

    async fn never(&self) -> impl Stream<Item = i32> {
        stream::pending()
    }

    async fn ticks(&self, context: &Context<'_>) -> impl Stream<Item = u64> {
        let open = Arc::clone(&context.data_unchecked::<Seen>().open);
        open.fetch_add(1, Ordering::SeqCst);
        let guard = Guard(open);
        stream::unfold((0, guard), |(n, guard)| async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Some((n, (n + 1, guard)))
        })
    }

    async fn flood(&self) -> impl Stream<Item = u64> {
        stream::iter(0..).then(|n| async move {
            tokio::task::yield_now().await;
            n
        })
    }

    async fn refused(&self) -> async_graphql::Result<stream::Empty<i32>> {
        Err(Error::new("not here").extend_with(|_, extensions| extensions.set("code", "NOT_FOUND")))
    }

    async fn viewer(&self, context: &Context<'_>) -> impl Stream<Item = Option<String>> {
        let viewer = context.data_opt::<Viewer>().map(|viewer| viewer.0.clone());
        stream::iter([viewer])
    }
}

struct Door;

#[async_trait]
impl Authenticator for Door {
    async fn authenticate(&self, token: &str) -> quikapp_chat::Result<Identity> {
        let life = match token {
            "ada" => 3_600_000,
            "brief" => 300,
            "short" => 1_500,
            "bob" => 7_200_000,
            "slow" => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                3_600_000
            }
            "down" => return Err(quikapp_chat::Error::Unavailable { store: "database" }),
            "suspended" => return Err(quikapp_chat::Error::Forbidden("the account is suspended")),
            _ => return Err(quikapp_chat::Error::Unauthenticated("the access token is not valid")),
        };
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let (user, session) = if token == "bob" { (BOB, BOB) } else { (USER, SESSION) };
        Ok(Identity::new(user, session, Timestamp(now + life), Viewer(token.to_owned())))
    }
}

pub(crate) struct Server {
    pub(super) address: SocketAddr,
    pub(crate) app: Arc<App>,
    pub(super) seen: Seen,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::default();
        change(&mut settings);
        let seen = Seen::default();
        let schema =
            Schema::build(Query, Mutation, Live).data(seen.clone()).limit_recursive_depth(256).finish();
        let shape = Shape::new(&schema.sdl(), &[]).unwrap();
        let app = App::new(schema, Door, settings)
            .with_shape(shape)
            .with_context(|request, caller: &Caller| {
                let request = request.data(Agent(caller.user_agent.clone(), caller.ip.is_some()));
                match caller.identity.as_ref().and_then(Identity::viewer::<Viewer>) {
                    Some(viewer) => request.data(Viewer(viewer.0.clone())),
                    None => request,
                }
            })
            .with_readiness(|| {
                Box::pin(async { vec![crate::health::Store { name: "database", is_ready: true }] })
            });
        let app = Arc::new(app);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(listener, Arc::clone(&app), async {
            let _ = stopped.await;
        }));
        Self { address, app, seen, stop: Some(stop), task: Some(task) }
    }

    pub(super) async fn with_limits(change: impl FnOnce(&mut Limits)) -> Self {
        Self::with(|settings| change(&mut settings.limits)).await
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Asks it to stop; the task ends when it has.
    pub(super) fn stop(&mut self) -> JoinHandle<()> {
        let _ = self.stop.take().unwrap().send(());
        self.task.take().unwrap()
    }
}

/// Waits until `holds`, for at most two seconds.
pub(super) async fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to hold");
}

/// A schema without subscriptions is served as well.
#[tokio::test]
async fn any_executor_fits() {
    let schema = Schema::new(Query, Mutation, EmptySubscription);
    let _ = crate::app::router(Arc::new(App::new(schema, Door, Settings::default())));
}
