//! Telling what was left over: by a node that was killed between a change and what follows it, or while the message store
//! was away.

use std::{collections::HashSet, time::Duration};

use quikapp_entities::{
    ChannelId, MessageId, Timestamp, WorkspaceId, channels,
    outbox::{self, Column},
    workspaces,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::{Hindered, Untold, untold::Notice};
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
    pub(super) is_away: bool,
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
        // All of them before anything is told: the message store may not answer for long, and these do not need it.
        self.announce(due).await?;
        let mut hindered = Hindered::default();
        let mut oldest: Option<Timestamp> = None;
        let mut after = 0;
        while after < due && !hindered.is_away {
            let rows = self.page(after, due).await?;
            let Some(last) = rows.last() else { break };
            after = last.position;
            oldest = oldest.or_else(|| rows.first().map(|row| row.created_at));
            let mut due = self.present(&rows, &mut hindered).await?;
            // Without the message store the others cannot be told either.
            let now = self.chat.env.now();
            let needs_it = |one: &Untold| !one.is_announcement() && !self.chat.told.failed.rests(one.id, now);
            if self.is_away
                && let Some(first) = due.iter().position(needs_it)
            {
                self.is_away = false;
                self.chat.tell_now(vec![due.remove(first)], &mut hindered).await;
            }
            self.chat.tell_now(due, &mut hindered).await;
        }
        self.is_away = hindered.is_away;
        if hindered.is_away || !hindered.stuck.is_empty() {
            self.warn(oldest);
        }
        Ok(())
    }

    async fn page(&self, after: i64, due: i64) -> Result<Vec<outbox::Model>> {
        let query = outbox::Entity::find()
            .filter(Column::Position.gt(after))
            .filter(Column::Position.lte(due))
            .order_by_asc(Column::Position)
            .limit(AT_ONCE as u64);
        Ok(self.chat.db.read(query.all(self.chat.db.pool())).await?)
    }

    /// Announces what was not announced at the call before.
    async fn announce(&mut self, due: i64) -> Result<()> {
        let mut announced = HashSet::new();
        let mut after = 0;
        while after < due {
            let rows = self.page(after, due).await?;
            let Some(last) = rows.last() else { break };
            after = last.position;
            let rows = rows.iter().filter(|row| !self.chat.told.contains(row.id));
            let mut new: Vec<_> = rows.filter_map(Untold::of_row).collect();
            announced.extend(new.iter().map(|one| one.id));
            new.retain(|one| !self.announced.contains(&one.id));
            self.chat.announce(&new);
        }
        self.announced = announced;
        Ok(())
    }

    /// What is to be told of these rows; what has no place any more is crossed out.
    async fn present(&self, rows: &[outbox::Model], hindered: &mut Hindered) -> Result<Vec<Untold>> {
        let exists = self.existing(rows).await?;
        let mut due = Vec::with_capacity(rows.len());
        let mut gone = Vec::new();
        for row in rows.iter().filter(|row| !self.chat.told.contains(row.id)) {
            match Untold::of_row(row) {
                Some(untold) if exists(&untold) => due.push(untold),
                Some(untold) => gone.push(untold.id),
                // Of a newer version, whose nodes understand it.
                None => {
                    hindered.stuck.insert((row.channel_id, row.subject_id));
                }
            }
        }
        self.chat.told.cross_out(gone);
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
