//! Presence: how people are to be reached, over all of their connections on all nodes. Told only among people who share a
//! channel, so every function takes the viewer and leaves out whom the viewer may not see.
//!
//! Three places know something. The live store ([`crate::live`]) has the connections with their ends, and when people last
//! did something; all of it comes back with the next heartbeat of each node. The database has what people chose, and when
//! they were last seen. What follows from both is computed here.

mod board;
mod counts;
mod keeping;
mod seen;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use dashmap::DashMap;
use quikapp_entities::{
    Timestamp, UserId, channel_members,
    presence_choices::{self, PresenceChoice},
    users,
};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, JoinType, QueryFilter, QuerySelect, RelationTrait, Set,
    sea_query::{Expr, ExprTrait, OnConflict, Query},
};

pub use self::watch::PresenceWatch;
use crate::{
    Chat, Error, Result,
    access::{Viewer, present_as},
    clock::Environment,
    database::Database,
    live::{Hub, presence::Live},
};

/// Most people of one query.
const AT_ONCE: usize = 1_000;

/// How long things hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a connection counts without a sign of life from its node, which gives one five times as often.
    pub ttl: Duration,
    /// How long a connection counts after it closed.
    pub grace: Duration,
    /// After which time without any operation somebody is AWAY; none = never.
    pub away_after: Option<Duration>,
}

impl Timing {
    /// How far apart a node notes two acts of the same person. Much less than what makes AWAY: or who does something all the
    /// time would be AWAY until the next note.
    fn act_grain(&self) -> Duration {
        self.away_after.map_or(seen::GRAIN, |after| Ord::min(seen::GRAIN, after / 3))
    }

    /// How often a node confirms its connections.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        self.ttl / 5
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ttl: Duration::from_mins(5),
            grace: Duration::from_secs(30),
            away_after: Some(Duration::from_mins(10)),
        }
    }
}

/// How somebody is to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PresenceStatus {
    /// Has an open connection.
    Online,
    /// Has one, and said to be away or did nothing for a while.
    Away,
    /// Has one, and does not want to be disturbed.
    Dnd,
    /// Has none.
    Offline,
}

/// Somebody's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// Whose.
    pub user: UserId,
    /// How.
    pub status: PresenceStatus,
    /// The last sign of life, as the database has it: at most a minute behind.
    pub last_seen_at: Option<Timestamp>,
    /// When the status may change by itself.
    pub(crate) changes_at: Option<Timestamp>,
}

/// What the database has of somebody.
#[derive(Debug, Clone, Copy)]
struct Stored {
    user: UserId,
    last_seen_at: Option<Timestamp>,
    choice: Option<(PresenceChoice, Option<Timestamp>)>,
}

type StoredRow = (UserId, Option<Timestamp>, Option<PresenceChoice>, Option<Timestamp>);

/// Presence on this node.
pub(crate) struct Service {
    db: Database,
    hub: Hub,
    env: Environment,
    timing: Timing,
    board: board::Board,
    seen: seen::Seen,
    /// When people last did something on this node, to the [`Timing::act_grain`].
    acts: DashMap<UserId, Timestamp>,
    counts: counts::Counts,
    watches: AtomicU64,
}

impl Service {
    /// Begins the work that goes on beside the requests. Needs a Tokio runtime.
    pub(crate) fn start(db: Database, hub: Hub, env: Environment, timing: Timing) -> Arc<Self> {
        let service = Arc::new(Self {
            db,
            hub,
            env,
            timing,
            board: board::Board::default(),
            seen: seen::Seen::default(),
            acts: DashMap::new(),
            counts: counts::Counts::default(),
            watches: AtomicU64::new(0),
        });
        tokio::spawn(board::run(
            Arc::downgrade(&service),
            service.hub.presence().changes(),
            service.board.poked(),
        ));
        tokio::spawn(seen::run(Arc::downgrade(&service), service.seen.poked()));
        service
    }

    /// The presence of these people; with a viewer only of those who share a channel with them. One query of the database,
    /// one round trip to the live store.
    async fn look(&self, viewer: Option<UserId>, users: &[UserId]) -> Result<Vec<Presence>> {
        let stored = self.stored(viewer, users).await?;
        let users: Vec<UserId> = stored.iter().map(|stored| stored.user).collect();
        let live = self.hub.presence().of(&users).await?;
        let now = self.env.now();
        Ok(stored.iter().zip(live).map(|(stored, live)| self.presence(stored, live, now)).collect())
    }

    async fn stored(&self, viewer: Option<UserId>, users: &[UserId]) -> Result<Vec<Stored>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = users::Entity::find()
            .select_only()
            .column(users::Column::Id)
            .column(users::Column::LastSeenAt)
            .column(presence_choices::Column::Choice)
            .column(presence_choices::Column::EndsAt)
            .join(JoinType::LeftJoin, presence_choices::Relation::User.def().rev())
            .filter(users::Column::Id.is_in(users.iter().copied()));
        if let Some(viewer) = viewer {
            query = query.filter(shares_a_channel(viewer));
        }
        let rows: Vec<StoredRow> = self.db.read(query.into_tuple().all(self.db.pool())).await?;
        let stored = |(user, last_seen_at, choice, ends_at): StoredRow| Stored {
            user,
            last_seen_at,
            choice: choice.map(|choice| (choice, ends_at)),
        };
        Ok(rows.into_iter().map(stored).collect())
    }

    fn presence(&self, stored: &Stored, live: Live, now: Timestamp) -> Presence {
        let Stored { user, last_seen_at, choice } = *stored;
        let Some(until) = live.until else {
            return Presence { user, status: PresenceStatus::Offline, last_seen_at, changes_at: None };
        };
        let choice = choice.filter(|(_, ends_at)| ends_at.is_none_or(|end| end > now));
        let (status, changes_at) = match choice {
            Some((PresenceChoice::Away, ends_at)) => (PresenceStatus::Away, ends_at),
            Some((PresenceChoice::Dnd, ends_at)) => (PresenceStatus::Dnd, ends_at),
            None => match live.active_at.zip(self.timing.away_after).map(|(at, idle)| at.plus(idle)) {
                Some(idle_at) if idle_at <= now => (PresenceStatus::Away, None),
                idle_at => (PresenceStatus::Online, idle_at),
            },
        };
        let changes_at = Some(changes_at.map_or(until, |at| Ord::min(at, until)));
        Presence { user, status, last_seen_at, changes_at }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Lets its tasks see that it is gone.
        self.seen.poked().notify_one();
        self.board.poked().notify_one();
    }
}

/// The user is the viewer, or in a channel that the viewer is in too. An EXISTS beside another condition, so that MySQL
/// asks it for each user and stops at the first channel: nearly always the general one, the oldest.
fn shares_a_channel(viewer: UserId) -> Condition {
    let column = |of: &'static str, column| Expr::col((of, column));
    let shared = Query::select()
        .expr(Expr::val(1))
        .from_as(channel_members::Entity, "theirs")
        .join_as(
            JoinType::InnerJoin,
            channel_members::Entity,
            "own",
            Condition::all()
                .add(
                    column("own", channel_members::Column::ChannelId)
                        .eq(column("theirs", channel_members::Column::ChannelId)),
                )
                .add(column("own", channel_members::Column::UserId).eq(viewer))
                .add(present_as("own")),
        )
        .and_where(
            column("theirs", channel_members::Column::UserId)
                .eq(Expr::col((users::Entity, users::Column::Id))),
        )
        .and_where(present_as("theirs"))
        .take();
    Condition::any().add(users::Column::Id.eq(viewer)).add(Expr::exists(shared))
}

impl Chat {
    /// The presence of those of `users` who share a channel with the viewer, and of the viewer; the others are left out.
    /// One query of the database, one round trip to the live store.
    pub async fn presences(&self, viewer: &Viewer, users: &[UserId]) -> Result<HashMap<UserId, Presence>> {
        let mut found = HashMap::with_capacity(users.len());
        for some in users.chunks(AT_ONCE) {
            let presences = self.presence.look(Some(viewer.user()), some).await?;
            found.extend(presences.into_iter().map(|presence| (presence.user, presence)));
        }
        Ok(found)
    }

    /// Sets how the viewer is to be reached while connected: AWAY or DND until taken back, DND at most until `dnd_until`;
    /// ONLINE takes the choice back. [`Error::Invalid`] for OFFLINE, and for an end without DND or in the past.
    pub async fn set_presence(
        &self,
        viewer: &Viewer,
        status: PresenceStatus,
        dnd_until: Option<Timestamp>,
    ) -> Result<Presence> {
        let (user, now) = (viewer.user(), self.env.now());
        let choice = match status {
            PresenceStatus::Online => None,
            PresenceStatus::Away => Some(PresenceChoice::Away),
            PresenceStatus::Dnd => Some(PresenceChoice::Dnd),
            PresenceStatus::Offline => return Err(Error::invalid("status", "OFFLINE cannot be set")),
        };
        if dnd_until.is_some() && choice != Some(PresenceChoice::Dnd) {
            return Err(Error::invalid("dndUntil", "only DND ends by itself"));
        }
        if dnd_until.is_some_and(|end| end <= now) {
            return Err(Error::invalid("dndUntil", "must be in the future"));
        }
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    let Some(choice) = choice else {
                        presence_choices::Entity::delete_by_id(user).exec(tx).await?;
                        return Ok(());
                    };
                    let row = presence_choices::ActiveModel {
                        user_id: Set(user),
                        choice: Set(choice),
                        ends_at: Set(dnd_until),
                        updated_at: Set(now),
                    };
                    let mut replace = OnConflict::column(presence_choices::Column::UserId);
                    replace.update_columns([
                        presence_choices::Column::Choice,
                        presence_choices::Column::EndsAt,
                        presence_choices::Column::UpdatedAt,
                    ]);
                    presence_choices::Entity::insert(row)
                        .on_conflict(replace)
                        .exec_without_returning(tx)
                        .await?;
                    Ok(())
                })
            })
            .await?;
        // Or who had done nothing for a while would still be AWAY in the answer.
        self.hub.presence().act(&[user], self.presence.timing.away_after).await?;
        self.hub.presence().tell(&[user]);
        let presence = self.presence.look(Some(user), &[user]).await?;
        presence.into_iter().next().ok_or(Error::Internal)
    }
}
