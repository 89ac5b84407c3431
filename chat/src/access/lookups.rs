//! Look-ups of standings that wait at the same time are one query, whoever asks: each send needs one, and most of what such
//! a query costs on both sides is the round trip. Nothing is remembered: a query begins after all that it answers was asked.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use quikapp_entities::{ChannelId, UserId, channel_members, channels, workspace_members};
use sea_orm::{
    DatabaseBackend, DbErr, EntityTrait, FromQueryResult, JoinType, QueryResult, QuerySelect, QueryTrait,
    sea_query::{Expr, ExprTrait, Query, SelectStatement, UnionType},
};
use tokio::sync::oneshot;

use super::standing::{Standing, VIEWER_ROLE, members_of, workspace_members_of};
use crate::{Chat, Error, Result, database::Database, together::Worker};

/// Queries under way at once. More only split what waits into smaller ones.
pub(crate) const QUERIES: usize = 2;
/// The most look-ups of one query.
const AT_ONCE: usize = 64;
/// Up to so many the number of look-ups in a statement is a power of two, and beyond it a multiple of this, so that there are
/// few statements for the store to prepare; the last look-up is repeated for it.
const STEP: usize = 8;

/// The table of what is asked.
const ASKED: &str = "asked";
const ASKED_CHANNEL: &str = "channel_id";
const ASKED_USER: &str = "user_id";
const VIEWER: &str = "viewer";

/// A viewer and a channel, and who wants to know.
pub(crate) struct Lookup {
    user: UserId,
    channel: ChannelId,
    done: oneshot::Sender<Result<Option<Standing>>>,
}

struct Found {
    viewer: UserId,
    standing: Standing,
}

impl FromQueryResult for Found {
    fn from_query_result(row: &QueryResult, prefix: &str) -> std::result::Result<Self, DbErr> {
        Ok(Self { viewer: row.try_get(prefix, VIEWER)?, standing: Standing::from_query_result(row, prefix)? })
    }
}

impl Chat {
    /// What the store knows of this user and this channel; none outside of the user's workspaces.
    pub(super) async fn look_up(&self, user: UserId, channel: ChannelId) -> Result<Option<Standing>> {
        let (done, answer) = oneshot::channel();
        if let Some(worker) = self.lookups.put(Lookup { user, channel, done }) {
            tokio::spawn(work(self.db.clone(), worker));
        }
        answer.await.map_err(|_| Error::Internal)?
    }
}

/// Answers until nobody waits.
fn work(db: Database, mut worker: Worker<Lookup>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        loop {
            // Those who were just answered, and whoever came in with them, ask in a moment.
            tokio::task::yield_now().await;
            let mut room = AT_ONCE;
            let fits = |_: &Lookup| {
                let fits = room > 0;
                room = room.saturating_sub(1);
                fits
            };
            let Some(mut lookups) = worker.take(fits) else { return };
            lookups.retain(|lookup| !lookup.done.is_closed());
            answer(&db, lookups).await;
        }
    })
}

async fn answer(db: &Database, lookups: Vec<Lookup>) {
    if lookups.is_empty() {
        return;
    }
    let asked: Vec<_> = lookups.iter().map(|lookup| (lookup.channel, lookup.user)).collect();
    let statement = statement(db.pool().get_database_backend(), asked);
    let found = match db.read(Found::find_by_statement(statement).all(db.pool())).await {
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
        found.into_iter().map(|found| ((found.standing.channel.id, found.viewer), found.standing)).collect();
    for Lookup { user, channel, done } in lookups {
        let _ = done.send(Ok(found.get(&(channel, user)).cloned()));
    }
}

/// One query for all that is asked, which is not nothing.
fn statement(backend: DatabaseBackend, mut asked: Vec<(ChannelId, UserId)>) -> sea_orm::Statement {
    if let Some(last) = asked.last().copied() {
        let many = asked.len();
        asked.resize(if many < STEP { many.next_power_of_two() } else { many.next_multiple_of(STEP) }, last);
    }
    // A parameter has no type of its own in MySQL, and one that is not that of the columns would keep it from their indexes.
    let id = if backend == DatabaseBackend::MySql { "BINARY(16)" } else { "BLOB" };
    let row = |(channel, user): (ChannelId, UserId)| -> SelectStatement {
        Query::select()
            .expr_as(Expr::val(channel).cast_as(id), ASKED_CHANNEL)
            .expr_as(Expr::val(user).cast_as(id), ASKED_USER)
            .to_owned()
    };
    let mut rows = asked.into_iter().map(row);
    let mut table = rows.next().unwrap_or_default();
    table.unions(rows.map(|row| (UnionType::All, row)));

    let mut query = channels::Entity::find();
    QuerySelect::query(&mut query).join_subquery(
        JoinType::InnerJoin,
        table,
        ASKED,
        Expr::col((ASKED, ASKED_CHANNEL)).equals((channels::Entity, channels::Column::Id)),
    );
    let user = || Expr::col((ASKED, ASKED_USER));
    query
        .join(JoinType::InnerJoin, workspace_members_of(user()))
        .join(JoinType::LeftJoin, members_of(user()))
        .select_also(channel_members::Entity)
        .column_as(workspace_members::Column::Role, VIEWER_ROLE)
        .column_as(workspace_members::Column::UserId, VIEWER)
        .build(backend)
}
