//! The outbox: what a change of the relational store has to tell is written down in the transaction of the change, told
//! behind it, and crossed out. What a stopped node, or an unavailable message store, left untold is told by
//! [`LeftOver::tell`], so no change is committed without being told at last.
//!
//! A row becomes a line in a channel's timeline, an entry in the log of a workspace, or an announcement to all nodes, and
//! may be told several times: a line is written once by its id, an entry moves up again, an announcement makes streams look
//! again. Rows about the same person in the same channel are told in the order of their changes, whoever tells them,
//! because streams fold them: see [`Chat::tell`].

mod left_over;
#[cfg(test)]
mod tests;
mod told;
mod untold;

use std::collections::HashSet;

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
        self.tell_now(due, &mut HashSet::new()).await;
    }

    /// Tells all nodes whose access is to be looked at again.
    fn announce(&self, untold: &[Untold]) {
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

    /// Tells rows, those of one sequence one after the other. Where one cannot be told its sequence is `stuck`, and those
    /// behind it stay. Tells whether the message store does not answer.
    async fn tell_now(&self, mut due: Vec<Untold>, stuck: &mut HashSet<Sequence>) -> bool {
        let mut is_unavailable = false;
        loop {
            let mut begun = HashSet::new();
            let (first, rest): (Vec<_>, Vec<_>) = due
                .into_iter()
                .filter(|one| !stuck.contains(&one.sequence()))
                .partition(|one| begun.insert(one.sequence()));
            if first.is_empty() {
                return is_unavailable;
            }
            due = rest;
            let telling = stream::iter(first).map(|one| async move { (self.tell_one(&one).await, one) });
            let results: Vec<_> = telling.buffer_unordered(TOLD_AT_ONCE).collect().await;
            let mut told = Vec::with_capacity(results.len());
            for (result, one) in results {
                match result {
                    Ok(()) => told.push(one.id),
                    Err(error) => {
                        tracing::debug!(channel = %one.key.channel, %error, "a line of a timeline is late");
                        is_unavailable |= matches!(error, Error::Unavailable { .. });
                        stuck.insert(one.sequence());
                    }
                }
            }
            self.told.cross_out(told);
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
            Notice::Entry(event) => {
                let part = untold.subject().as_u128().rotate_left(64);
                let id = MessageId(Uuid::from_u128(key.workspace.0.as_u128() ^ part));
                self.log.note(*key, *author, event.clone(), id).await
            }
            Notice::Announcements(_) => Ok(()),
        }
    }
}
