//! Telling what was left over: by a node that was killed between a change and what follows it, or while the message store
//! was away.

use std::{collections::HashSet, time::Duration};

use quikapp_entities::{
    ChannelId, MessageId, Timestamp, WorkspaceId, channels,
    outbox::{self, Column},
    workspaces,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{
    Untold,
    untold::{Notice, Sequence},
};
use crate::{Chat, Result};

/// Rows looked at together.
const AT_ONCE: usize = 200;
/// How long a row may stay before that is worth a warning, and how often there is one.
const LONG: Duration = Duration::from_mins(1);

/// Tells what was left over, as often as [`LeftOver::tell`] is called. Several nodes may do so at once.
pub struct LeftOver {
    chat: Chat,
    /// Rows up to this position were there at the call before; what stays from one call to the next is left over. So no
    /// clock is compared with that of another node.
    seen: i64,
    /// The rows of the call before: whose access is to be looked at was announced.
    announced: HashSet<MessageId>,
    /// Whether the message store did not answer at the call before: then one row is tried before the others.
    is_away: bool,
    warned: Option<Timestamp>,
}

impl Chat {
    /// One for as long as the node runs; its first call takes everything that is there for left over.
    #[must_use]
    pub fn left_over(&self) -> LeftOver {
        LeftOver {
            chat: self.clone(),
            seen: i64::MAX,
            announced: HashSet::new(),
            is_away: false,
            warned: None,
        }
    }
}

impl LeftOver {
    /// Tells what has stayed untold since the call before. One query where there is nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::Error::Unavailable) of the database; of the message store nothing is said, and what
    /// cannot be told waits for the next call.
    pub async fn tell(&mut self) -> Result<()> {
        let db = &self.chat.db;
        let newest = outbox::Entity::find().select_only().column_as(Column::Position.max(), "newest");
        let newest: Option<Option<i64>> = db.read(newest.into_tuple().one(db.pool())).await?;
        let newest = newest.flatten().unwrap_or(0);
        let due = newest.min(std::mem::replace(&mut self.seen, newest));
        let (mut stuck, mut announced) = (HashSet::new(), HashSet::new());
        let (mut after, mut is_away) = (0, false);
        let mut oldest: Option<Timestamp> = None;
        while after < due {
            let query = outbox::Entity::find()
                .filter(Column::Position.gt(after))
                .filter(Column::Position.lte(due))
                .order_by_asc(Column::Position)
                .limit(AT_ONCE as u64);
            let rows = self.chat.db.read(query.all(self.chat.db.pool())).await?;
            let Some(last) = rows.last() else { break };
            after = last.position;
            oldest = oldest.or_else(|| rows.first().map(|row| row.created_at));
            let mut due = self.announce_page(&rows, &mut announced, &mut stuck).await?;
            // Without the message store the others cannot be told either, but what streams are to look at can.
            if !is_away && !due.is_empty() && std::mem::take(&mut self.is_away) {
                let first = due.drain(..1).collect();
                is_away = self.chat.tell_now(first, &mut stuck).await;
            }
            if !is_away {
                is_away = self.chat.tell_now(due, &mut stuck).await;
            }
        }
        self.is_away = is_away;
        self.announced = announced;
        if is_away || !stuck.is_empty() {
            self.warn(oldest);
        }
        Ok(())
    }

    /// Announces what was not announced at the call before; gives what is to be told.
    async fn announce_page(
        &self,
        rows: &[outbox::Model],
        announced: &mut HashSet<MessageId>,
        stuck: &mut HashSet<Sequence>,
    ) -> Result<Vec<Untold>> {
        let exists = self.existing(rows).await?;
        let (mut due, mut gone, mut new) = (Vec::with_capacity(rows.len()), Vec::new(), Vec::new());
        for row in rows.iter().filter(|row| !self.chat.told.contains(row.id)) {
            let Some(untold) = Untold::of_row(row) else {
                // Of a newer version, whose nodes understand it.
                stuck.insert((row.channel_id, row.subject_id));
                continue;
            };
            if !exists(&untold) {
                gone.push(untold.id);
                continue;
            }
            announced.insert(untold.id);
            if !self.announced.contains(&untold.id) {
                new.push(untold.clone());
            }
            due.push(untold);
        }
        self.chat.told.cross_out(gone);
        self.chat.announce(&new);
        Ok(due)
    }

    /// Tells of a row whether there still is where it is told.
    async fn existing(&self, rows: &[outbox::Model]) -> Result<impl Fn(&Untold) -> bool + use<>> {
        let db = &self.chat.db;
        let channels = channels::Entity::find()
            .select_only()
            .column(channels::Column::Id)
            .filter(channels::Column::Id.is_in(rows.iter().map(|row| row.channel_id)))
            .into_tuple();
        let workspaces = workspaces::Entity::find()
            .select_only()
            .column(workspaces::Column::Id)
            .filter(workspaces::Column::Id.is_in(rows.iter().map(|row| row.workspace_id)))
            .into_tuple();
        let channels: HashSet<ChannelId> = db.read(channels.all(db.pool())).await?.into_iter().collect();
        let workspaces: HashSet<WorkspaceId> =
            db.read(workspaces.all(db.pool())).await?.into_iter().collect();
        Ok(move |untold: &Untold| {
            workspaces.contains(&untold.key.workspace)
                && (!matches!(untold.notice, Notice::Line(_)) || channels.contains(&untold.key.channel))
        })
    }

    fn warn(&mut self, oldest: Option<Timestamp>) {
        let now = self.chat.env.now();
        let is_long = oldest.is_some_and(|oldest| oldest.plus(LONG) < now);
        if is_long && self.warned.is_none_or(|warned| warned.plus(LONG) < now) {
            let since = oldest.unwrap_or_default().to_rfc3339();
            tracing::warn!(since, "changes of memberships, channels or workspaces are not told yet");
            self.warned = Some(now);
        }
    }
}
