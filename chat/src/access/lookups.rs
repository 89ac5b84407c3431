//! Look-ups of standings that wait at the same time are one query, whoever asks: each send needs one, and most of what such
//! a query costs on both sides is the round trip. Nothing is remembered: a query begins after all that it answers was asked.

use std::{
    collections::HashMap,
    iter,
    sync::{Arc, OnceLock},
};

use futures_util::future::BoxFuture;
use quikapp_entities::{ChannelId, UserId, channels, workspace_members};
use sea_orm::{
    DatabaseBackend, DbErr, EntityTrait, FromQueryResult, JoinType, QueryResult, QuerySelect, Statement,
    sea_query::{Expr, ExprTrait, Query, SelectStatement, UnionType},
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::standing::{Known, members_of, workspace_members_of};
use crate::{
    Error, Result,
    database::Database,
    together::{Together, Worker},
};

/// Queries under way at once. More only split what waits into smaller ones.
const QUERIES: usize = 2;
/// The most look-ups of one query; a multiple of [`STEP`].
const AT_ONCE: usize = 64;
/// Up to so many the number of look-ups in a statement is a power of two, and beyond it a multiple of this, so that there are
/// few statements for the store to prepare; the last look-up is repeated for it.
const STEP: usize = 8;

/// The table of what is asked.
const ASKED: &str = "asked";
const ASKED_CHANNEL: &str = "channel_id";
const ASKED_USER: &str = "user_id";
const VIEWER: &str = "viewer";

/// Those who look the same up of different viewers and channels.
pub(crate) struct Lookups<T> {
    queue: Arc<Together<Lookup<T>>>,
    statements: Statements,
}

/// The statements by the number of look-ups in them, each written when it is first asked for.
type Statements = Arc<[OnceLock<String>; AT_ONCE]>;

/// A viewer and a channel, and who wants to know.
struct Lookup<T> {
    user: UserId,
    channel: ChannelId,
    done: oneshot::Sender<Result<Option<T>>>,
}

struct Found<T> {
    viewer: UserId,
    known: T,
}

impl<T: Known> FromQueryResult for Found<T> {
    fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
        Ok(Self { viewer: row.try_get("", VIEWER)?, known: T::read(row)? })
    }
}

impl<T: Known> Lookups<T> {
    /// With nobody who waits.
    pub(crate) fn new() -> Self {
        let statements = Arc::new([const { OnceLock::new() }; AT_ONCE]);
        Self { queue: Together::new(QUERIES), statements }
    }

    /// What the store knows of this user and this channel; none outside of the user's workspaces.
    pub(super) async fn look_up(&self, db: &Database, user: UserId, channel: ChannelId) -> Result<Option<T>> {
        let (done, answer) = oneshot::channel();
        if let Some(worker) = self.queue.put(Lookup { user, channel, done }) {
            tokio::spawn(work(db.clone(), Arc::clone(&self.statements), worker));
        }
        answer.await.map_err(|_| Error::Internal)?
    }
}

/// Answers until nobody waits.
fn work<T: Known>(
    db: Database,
    statements: Statements,
    mut worker: Worker<Lookup<T>>,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        loop {
            // Those who were just answered, and whoever came in with them, ask in a moment.
            tokio::task::yield_now().await;
            let mut room = AT_ONCE;
            let fits = |_: &Lookup<T>| {
                let fits = room > 0;
                room = room.saturating_sub(1);
                fits
            };
            let Some(mut lookups) = worker.take(fits) else { return };
            lookups.retain(|lookup| !lookup.done.is_closed());
            answer(&db, &statements, lookups).await;
        }
    })
}

async fn answer<T: Known>(db: &Database, statements: &Statements, lookups: Vec<Lookup<T>>) {
    let Some(last) = lookups.last() else { return };
    let places = places(lookups.len());
    let asked = lookups.iter().chain(iter::repeat(last)).take(places);
    let values = asked.flat_map(|asked| [asked.channel.into(), asked.user.into()]);
    let backend = db.pool().get_database_backend();
    let text = statements[places - 1].get_or_init(|| statement::<T>(backend, places));
    let statement = Statement::from_sql_and_values(backend, text, values);
    let found = match db.read(Found::<T>::find_by_statement(statement).all(db.pool())).await {
        Ok(found) => found,
        Err(fault) => {
            let error = Error::from(fault);
            for lookup in lookups {
                let _ = lookup.done.send(Err(error.clone()));
            }
            return;
        }
    };
    let found: HashMap<_, _> =
        found.into_iter().map(|found| ((found.known.channel(), found.viewer), found.known)).collect();
    for Lookup { user, channel, done } in lookups {
        let _ = done.send(Ok(found.get(&(channel, user)).cloned()));
    }
}

/// How many look-ups a statement has for so many, at most [`AT_ONCE`].
fn places(many: usize) -> usize {
    if many < STEP { many.next_power_of_two() } else { many.next_multiple_of(STEP) }
}

/// One query for that many look-ups, whose parameters are channel and user of each.
fn statement<T: Known>(backend: DatabaseBackend, places: usize) -> String {
    // A parameter has no type of its own in MySQL, and one that is not that of the columns would keep it from their indexes.
    let id = if backend == DatabaseBackend::MySql { "BINARY(16)" } else { "BLOB" };
    let parameter = || Expr::val(ChannelId(Uuid::nil())).cast_as(id);
    let row: SelectStatement =
        Query::select().expr_as(parameter(), ASKED_CHANNEL).expr_as(parameter(), ASKED_USER).to_owned();
    let mut table = row.clone();
    table.unions(iter::repeat_n((UnionType::All, row), places - 1));

    let mut query = channels::Entity::find();
    QuerySelect::query(&mut query).join_subquery(
        JoinType::InnerJoin,
        table,
        ASKED,
        Expr::col((ASKED, ASKED_CHANNEL)).equals((channels::Entity, channels::Column::Id)),
    );
    let user = || Expr::col((ASKED, ASKED_USER));
    let query = query
        .join(JoinType::InnerJoin, workspace_members_of(user()))
        .join(JoinType::LeftJoin, members_of(user()));
    let mut query = T::columns(query);
    query.expr_as(Expr::col((workspace_members::Entity, workspace_members::Column::UserId)), VIEWER);
    backend.build(&query).sql
}
