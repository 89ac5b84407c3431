//! The outbox: what a change of the relational store has to tell is written down in the transaction of the change, told
//! behind it, and crossed out. What a stopped node, or an unavailable message store, left untold is told by
//! [`LeftOver::tell`], so no change is committed without being told at last.
//!
//! A row becomes a line in a channel's timeline, an entry in the log of a workspace, or an announcement to all nodes, and
//! may be told several times: a line is written once by its id, an entry moves up again, an announcement makes streams look
//! again. Rows about the same person in the same channel are told in the order of their changes, whoever tells them,
//! because streams fold them: see [`Chat::tell`].

mod failed;
mod left_over;
#[cfg(test)]
mod tests;
mod told;
mod untold;

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::{StreamExt, stream};
use quikapp_entities::{
    ChannelId, MessageId, Timestamp,
    outbox::{self, Column},
};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

pub use self::left_over::LeftOver;
use self::untold::{Notice, Sequence};
pub(crate) use self::{told::Told, untold::Untold};
use crate::{Chat, Error, Result, database::Fault, live::Control};

/// Rows written with one statement.
const WRITTEN_AT_ONCE: usize = 500;
/// How many timelines are written to at once.
const TOLD_AT_ONCE: usize = 32;
/// Rows of the same people in the same channels that are told along with a change; with more it waits for its turn.
const CAUGHT_UP: usize = 1_000;

/// Writes down what a change has to tell, in the transaction of the change; one statement.
pub(crate) async fn keep(
    tx: &DatabaseTransaction,
    untold: &[Untold],
    now: Timestamp,
) -> std::result::Result<(), Fault> {
    for some in untold.chunks(WRITTEN_AT_ONCE) {
        let rows =
            some.iter().map(|one| one.clone().into_row(now)).collect::<std::result::Result<Vec<_>, _>>()?;
        outbox::Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// What could not be told, while rows are told.
#[derive(Default)]
struct Hindered {
    /// Where a row stays, and so those behind it.
    stuck: HashSet<Sequence>,
    /// Whether the message store does not answer.
    is_away: bool,
}

impl Chat {
    /// Tells what was written down by [`keep`], when its transaction is committed. What cannot be told now is left over:
    /// the change itself is made, so the caller does not fail for it.
    ///
    /// Somebody's earlier rows in the same channel, which another node may be about to tell, are told first. As all of
    /// them were committed before, a row that is not there any more has been told.
    pub(crate) async fn tell(&self, untold: Vec<Untold>) {
        self.announce(&untold);
        let (ordered, mut due): (Vec<_>, Vec<_>) = untold.into_iter().partition(Untold::is_ordered);
        match self.with_earlier(&ordered).await {
            Ok(earlier) => due.extend(earlier),
            Err(error) => tracing::debug!(%error, "lines of a timeline are late"),
        }
        self.tell_now(due, &mut Hindered::default()).await;
    }

    /// Tells all nodes whose access is to be looked at again, and that whoever went types no more.
    fn announce(&self, untold: &[Untold]) {
        for (channel, user) in untold.iter().filter_map(Untold::departure) {
            self.hub.typing().end_all(channel, user);
        }
        let controls: HashSet<Control> = untold.iter().flat_map(Untold::controls).collect();
        for control in &controls {
            // Streams that look at the whole workspace look at its channels.
            let is_part = match control {
                Control::AccessChanged { user, workspace, channel: Some(_) } => controls
                    .contains(&Control::AccessChanged { user: *user, workspace: *workspace, channel: None }),
                _ => false,
            };
            if !is_part {
                self.hub.announce(*control);
            }
        }
    }

    /// Committed rows with what is to be told before them, in order; without those that somebody else told meanwhile.
    async fn with_earlier(&self, untold: &[Untold]) -> Result<Vec<Untold>> {
        if untold.is_empty() {
            return Ok(Vec::new());
        }
        let own: HashSet<MessageId> = untold.iter().map(|one| one.id).collect();
        let subjects: HashSet<Uuid> = untold.iter().map(Untold::subject).collect();
        let channels: HashSet<ChannelId> = untold.iter().map(|one| one.key.channel).collect();
        let limit = untold.len() + CAUGHT_UP;
        let query = outbox::Entity::find()
            .filter(Column::SubjectId.is_in(subjects))
            .filter(Column::ChannelId.is_in(channels))
            .order_by_asc(Column::Position)
            .limit(limit as u64);
        let mut rows = self.db.read(query.all(self.db.pool())).await?;
        if rows.len() == limit {
            return Ok(Vec::new());
        }
        // What came behind is for those who wrote it.
        let end = rows.iter().rposition(|row| own.contains(&row.id)).map_or(0, |last| last + 1);
        rows.truncate(end);
        rows.retain(|row| !self.told.contains(row.id));
        let mut unknown = HashSet::new();
        let known = rows.iter().filter_map(|row| {
            let sequence = (row.channel_id, row.subject_id);
            let read = Untold::of_row(row).filter(|_| !unknown.contains(&sequence));
            if read.is_none() {
                unknown.insert(sequence);
            }
            read
        });
        Ok(known.collect())
    }

    /// Tells rows, those of one sequence one after the other. Where one cannot be told, those behind it stay; when the
    /// message store does not answer, no more are begun.
    async fn tell_now(&self, due: Vec<Untold>, hindered: &mut Hindered) {
        // These are announced already, and nothing more is to be told of them.
        let (announced, mut due): (Vec<_>, Vec<_>) = due.into_iter().partition(Untold::is_announcement);
        self.told.cross_out(announced.into_iter().map(|one| one.id).collect());
        while !hindered.is_away {
            let now = self.env.now();
            let mut begun = HashSet::new();
            let (mut first, rest): (Vec<_>, Vec<_>) = due
                .into_iter()
                .filter(|one| !hindered.stuck.contains(&one.sequence()))
                .partition(|one| begun.insert(one.sequence()));
            if first.is_empty() {
                return;
            }
            due = rest;
            first.retain(|one| {
                let rests = self.told.failed.rests(one.id, now);
                if rests {
                    hindered.stuck.insert(one.sequence());
                }
                !rests
            });
            let is_away = &AtomicBool::new(false);
            let telling = stream::iter(first).map(|one| async move {
                if is_away.load(Ordering::SeqCst) {
                    return (Err(Error::Unavailable { store: "message store" }), one);
                }
                let result = self.tell_one(&one).await;
                if matches!(result, Err(Error::Unavailable { .. })) {
                    is_away.store(true, Ordering::SeqCst);
                }
                (result, one)
            });
            let results: Vec<_> = telling.buffer_unordered(TOLD_AT_ONCE).collect().await;
            let mut told = Vec::with_capacity(results.len());
            for (result, one) in results {
                match result {
                    Ok(()) => told.push(one.id),
                    Err(error) => {
                        hindered.stuck.insert(one.sequence());
                        self.is_late(&one, &error);
                    }
                }
            }
            self.told.cross_out(told);
            hindered.is_away = is_away.load(Ordering::SeqCst);
        }
    }

    fn is_late(&self, untold: &Untold, error: &Error) {
        let Untold { id, key, .. } = untold;
        if matches!(error, Error::Unavailable { .. }) {
            tracing::debug!(channel = %key.channel, %error, "a line of a timeline is late");
        } else if self.told.failed.note(*id, self.env.now()) {
            tracing::error!(id = %id.0, channel = %key.channel, %error, "a change cannot be told");
        }
    }

    async fn tell_one(&self, untold: &Untold) -> Result<()> {
        let Untold { id, key, author, notice } = untold;
        match notice {
            Notice::Line(event) => match self.log.system(*key, *author, event.clone(), *id).await {
                // It was told, and has been purged since.
                Ok(_) | Err(Error::Conflict(_)) => Ok(()),
                Err(error) => Err(error),
            },
            Notice::Entry(event) => self.log.note(*key, *author, event.clone(), untold.entry()).await,
            Notice::Announcements(_) => Ok(()),
        }
    }
}
