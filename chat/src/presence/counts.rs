//! How many are online in a channel or workspace: ACTIVE members with a connection. Small groups are counted when asked; of
//! large ones the number is remembered for some seconds, and one count goes on at a time on each node.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use quikapp_entities::{
    ChannelId, Timestamp, UserId, WorkspaceId,
    channel_members::{self, MembershipStatus},
    workspace_members,
};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use uuid::Uuid;

use super::Service;
use crate::{Chat, Result};

/// Members up to which a group is counted at every question.
pub(super) const SMALL: i32 = 200;
/// How long the number of a larger one is remembered.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Members read with one query.
const PAGE: u64 = 10_000;

/// Numbers of large groups, by channel or workspace, with the time of the counting.
#[derive(Default)]
pub(super) struct Counts {
    remembered: Mutex<HashMap<Uuid, (Timestamp, i32)>>,
    turn: tokio::sync::Mutex<()>,
}

impl Counts {
    /// Takes what is fresh out of `groups`.
    fn recall(&self, groups: &mut Vec<Uuid>, now: Timestamp, counted: &mut HashMap<Uuid, i32>) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|_, (at, _)| at.plus(REMEMBERED) > now);
        groups.retain(|group| match remembered.get(group) {
            Some((_, count)) => counted.insert(*group, *count).is_some(),
            None => true,
        });
    }

    fn remember(&self, counted: &HashMap<Uuid, i32>, now: Timestamp) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.extend(counted.iter().map(|(group, count)| (*group, (now, *count))));
    }
}

/// Members of groups by group and user, each page from one query.
trait Members {
    async fn page(
        &self,
        service: &Service,
        groups: &[Uuid],
        after: Option<(Uuid, UserId)>,
    ) -> Result<Vec<(Uuid, UserId)>>;
}

struct OfChannels;
struct OfWorkspaces;

/// Cuts the page after the given row.
fn page<E: EntityTrait>(
    query: Select<E>,
    (group, user): (E::Column, E::Column),
    groups: &[Uuid],
    after: Option<(Uuid, UserId)>,
) -> Select<E> {
    let left = groups.iter().copied().filter(|group| after.is_none_or(|(last, _)| *group >= last));
    let mut query = query.select_only().column(group).column(user).filter(group.is_in(left));
    if let Some((last, last_user)) = after {
        let rest_of_group = Condition::all().add(group.eq(last)).add(user.gt(last_user));
        query = query.filter(Condition::any().add(group.gt(last)).add(rest_of_group));
    }
    query.order_by_asc(group).order_by_asc(user).limit(PAGE)
}

impl Members for OfChannels {
    async fn page(
        &self,
        service: &Service,
        groups: &[Uuid],
        after: Option<(Uuid, UserId)>,
    ) -> Result<Vec<(Uuid, UserId)>> {
        use channel_members::{Column, Entity};
        let active = Entity::find().filter(Column::Status.eq(MembershipStatus::Active));
        let query = page(active, (Column::ChannelId, Column::UserId), groups, after).into_tuple();
        Ok(service.db.read(query.all(service.db.pool())).await?)
    }
}

impl Members for OfWorkspaces {
    async fn page(
        &self,
        service: &Service,
        groups: &[Uuid],
        after: Option<(Uuid, UserId)>,
    ) -> Result<Vec<(Uuid, UserId)>> {
        use workspace_members::{Column, Entity};
        let columns = (Column::WorkspaceId, Column::UserId);
        let query = page(Entity::find(), columns, groups, after).into_tuple();
        Ok(service.db.read(query.all(service.db.pool())).await?)
    }
}

impl Service {
    async fn count(&self, members: &impl Members, groups: &[Uuid]) -> Result<HashMap<Uuid, i32>> {
        let mut counted: HashMap<Uuid, i32> = groups.iter().map(|group| (*group, 0)).collect();
        let mut after = None;
        loop {
            let rows = members.page(self, groups, after).await?;
            let mut users: Vec<UserId> = rows.iter().map(|(_, user)| *user).collect();
            users.sort_unstable();
            users.dedup();
            let connected = self.hub.presence().are_connected(&users).await?;
            for (group, user) in &rows {
                let is_online = users.binary_search(user).is_ok_and(|at| connected[at]);
                *counted.entry(*group).or_default() += i32::from(is_online);
            }
            if (rows.len() as u64) < PAGE {
                return Ok(counted);
            }
            after = rows.last().copied();
        }
    }

    /// The numbers of groups, given with how many members they have.
    async fn online_in(&self, members: &impl Members, groups: &[(Uuid, i32)]) -> Result<HashMap<Uuid, i32>> {
        let (small, large): (Vec<_>, Vec<_>) = groups.iter().copied().partition(|(_, size)| *size <= SMALL);
        let [small, mut large] =
            [small, large].map(|some| some.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
        let mut counted = HashMap::with_capacity(groups.len());
        if !small.is_empty() {
            counted.extend(self.count(members, &small).await?);
        }
        self.counts.recall(&mut large, self.env.now(), &mut counted);
        if !large.is_empty() {
            // Who waits finds what the one before has counted.
            let _turn = self.counts.turn.lock().await;
            let now = self.env.now();
            self.counts.recall(&mut large, now, &mut counted);
            if !large.is_empty() {
                let fresh = self.count(members, &large).await?;
                self.counts.remember(&fresh, now);
                counted.extend(fresh);
            }
        }
        Ok(counted)
    }
}

impl Chat {
    /// How many ACTIVE members of each channel are online, AWAY and DND included. Give the channels with their `member_count`,
    /// and only those that the viewer may read. Exact up to 200 members, else at most ten seconds old. One query for each
    /// ten thousand members in all.
    pub async fn online_in_channels(&self, channels: &[(ChannelId, i32)]) -> Result<HashMap<ChannelId, i32>> {
        let groups: Vec<_> = channels.iter().map(|(channel, size)| (channel.0, *size)).collect();
        let counted = self.presence.online_in(&OfChannels, &groups).await?;
        Ok(counted.into_iter().map(|(channel, count)| (ChannelId(channel), count)).collect())
    }

    /// The same of workspaces. Only ask for those that the viewer belongs to.
    pub async fn online_in_workspaces(
        &self,
        workspaces: &[(WorkspaceId, i32)],
    ) -> Result<HashMap<WorkspaceId, i32>> {
        let groups: Vec<_> = workspaces.iter().map(|(workspace, size)| (workspace.0, *size)).collect();
        let counted = self.presence.online_in(&OfWorkspaces, &groups).await?;
        Ok(counted.into_iter().map(|(workspace, count)| (WorkspaceId(workspace), count)).collect())
    }
}
