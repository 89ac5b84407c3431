//! The rows of `channel_members` inside a transaction. Every change of them first takes the lock of the channel's row, so
//! that changes of one channel happen one after the other and its counter stays exact.

use std::collections::HashMap;

use quikapp_entities::{
    ChannelId, Timestamp, UserId, WorkspaceId,
    channel_members::{self, Column, MembershipStatus, NotificationLevel},
    channels,
    workspace_members::{self, MemberRole},
    workspaces,
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, Order, QueryFilter,
    QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, IntoColumnRef, SimpleExpr},
};

use crate::{Error, access::present, database::Fault};

/// Locks a channel's row and reads it.
pub(crate) async fn lock_channel(
    tx: &DatabaseTransaction,
    channel: ChannelId,
) -> Result<channels::Model, Fault> {
    let found = channels::Entity::find_by_id(channel).lock_exclusive().one(tx).await?;
    found.ok_or(Fault::Domain(Error::NotFound("channel")))
}

/// Locks a workspace's row and reads it.
pub(crate) async fn lock_workspace(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
) -> Result<workspaces::Model, Fault> {
    let found = workspaces::Entity::find_by_id(workspace).lock_exclusive().one(tx).await?;
    found.ok_or(Fault::Domain(Error::NotFound("workspace")))
}

/// The roles of those of `users` who belong to the workspace; they cannot leave it before the transaction ends.
pub(crate) async fn hold_workspace_members(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    users: &[UserId],
) -> Result<HashMap<UserId, MemberRole>, Fault> {
    let found = workspace_members::Entity::find()
        .filter(workspace_members::Column::WorkspaceId.eq(workspace))
        .filter(workspace_members::Column::UserId.is_in(users.iter().copied()))
        .lock_shared()
        .all(tx)
        .await?;
    Ok(found.into_iter().map(|member| (member.user_id, member.role)).collect())
}

/// The memberships of `users` in the channel, of any status.
pub(crate) async fn find(
    tx: &DatabaseTransaction,
    channel: ChannelId,
    users: &[UserId],
) -> Result<HashMap<UserId, channel_members::Model>, Fault> {
    let found = channel_members::Entity::find()
        .filter(Column::ChannelId.eq(channel))
        .filter(Column::UserId.is_in(users.iter().copied()))
        .all(tx)
        .await?;
    Ok(found.into_iter().map(|member| (member.user_id, member)).collect())
}

/// A counting column and `delta`.
pub(crate) fn plus(column: impl IntoColumnRef, delta: i32) -> SimpleExpr {
    ExprTrait::add(Expr::col(column), delta)
}

/// Adds `delta` to the channel's count of ACTIVE members.
pub(crate) async fn count(tx: &DatabaseTransaction, channel: ChannelId, delta: i32) -> Result<(), Fault> {
    if delta != 0 {
        channels::Entity::update_many()
            .col_expr(channels::Column::MemberCount, plus(channels::Column::MemberCount, delta))
            .filter(channels::Column::Id.eq(channel))
            .exec(tx)
            .await?;
    }
    Ok(())
}

/// The role that somebody new in a channel has there.
pub(crate) fn role_on_entry(in_workspace: MemberRole) -> MemberRole {
    Ord::min(in_workspace, MemberRole::Member)
}

/// Puts people into a locked channel, whatever their status in it was; who is there already stays as is. Returns the
/// memberships of all of them, and who of them is new there. A constant number of statements.
pub(crate) async fn enter(
    tx: &DatabaseTransaction,
    channel: &channels::Model,
    people: &[(UserId, MemberRole)],
    joined_seq: i64,
    now: Timestamp,
) -> Result<(Vec<channel_members::Model>, Vec<UserId>), Fault> {
    let users: Vec<UserId> = people.iter().map(|(user, _)| *user).collect();
    let mut known = find(tx, channel.id, &users).await?;
    let (mut members, mut entered) = (Vec::with_capacity(people.len()), Vec::new());
    let mut added = Vec::new();
    let mut revived: HashMap<MemberRole, Vec<UserId>> = HashMap::new();
    for &(user, role) in people {
        let member = match known.remove(&user) {
            Some(member) if member.is_present() => {
                members.push(member);
                continue;
            }
            Some(member) => {
                revived.entry(role).or_default().push(user);
                channel_members::Model {
                    role,
                    status: MembershipStatus::Active,
                    joined_seq,
                    joined_at: now,
                    left_at: None,
                    removed_by: None,
                    updated_at: now,
                    ..member
                }
            }
            None => {
                let member = new_member(channel, user, role, joined_seq, now);
                added.push(member.clone().into_active_model().reset_all());
                member
            }
        };
        entered.push(user);
        members.push(member);
    }
    if !added.is_empty() {
        channel_members::Entity::insert_many(added).exec_without_returning(tx).await?;
    }
    for (role, users) in revived {
        channel_members::Entity::update_many()
            .set(channel_members::ActiveModel {
                role: sea_orm::Set(role),
                status: sea_orm::Set(MembershipStatus::Active),
                joined_seq: sea_orm::Set(joined_seq),
                joined_at: sea_orm::Set(now),
                left_at: sea_orm::Set(None),
                removed_by: sea_orm::Set(None),
                updated_at: sea_orm::Set(now),
                ..Default::default()
            })
            .filter(Column::ChannelId.eq(channel.id))
            .filter(Column::UserId.is_in(users))
            .exec(tx)
            .await?;
    }
    count(tx, channel.id, i32::try_from(entered.len()).unwrap_or(i32::MAX)).await?;
    Ok((members, entered))
}

fn new_member(
    channel: &channels::Model,
    user: UserId,
    role: MemberRole,
    joined_seq: i64,
    now: Timestamp,
) -> channel_members::Model {
    channel_members::Model {
        channel_id: channel.id,
        user_id: user,
        workspace_id: channel.workspace_id,
        role,
        status: MembershipStatus::Active,
        joined_seq,
        joined_at: now,
        left_at: None,
        removed_by: None,
        is_muted: false,
        is_pinned: false,
        notification_level: NotificationLevel::All,
        created_at: now,
        updated_at: now,
    }
}

/// Somebody who became a channel's owner because its last one went.
pub(crate) type Heir = Option<UserId>;

/// Takes somebody out of a locked channel, by oneself or removed by `removed_by`. Returns the membership as it is then.
pub(crate) async fn depart(
    tx: &DatabaseTransaction,
    member: channel_members::Model,
    removed_by: Option<UserId>,
    now: Timestamp,
) -> Result<(channel_members::Model, Heir), Fault> {
    let was = member.status;
    let owned = member.is_present() && member.role == MemberRole::Owner;
    let gone = channel_members::Model {
        status: if removed_by.is_some() { MembershipStatus::Removed } else { MembershipStatus::Left },
        left_at: Some(member.left_at.filter(|_| !member.is_present()).unwrap_or(now)),
        removed_by,
        updated_at: now,
        ..member
    };
    channel_members::Entity::update_many()
        .set(channel_members::ActiveModel {
            status: sea_orm::Set(gone.status),
            left_at: sea_orm::Set(gone.left_at),
            removed_by: sea_orm::Set(gone.removed_by),
            updated_at: sea_orm::Set(now),
            ..Default::default()
        })
        .filter(Column::ChannelId.eq(gone.channel_id))
        .filter(Column::UserId.eq(gone.user_id))
        .exec(tx)
        .await?;
    if was == MembershipStatus::Active {
        count(tx, gone.channel_id, -1).await?;
    }
    let heir = if owned { inherit(tx, gone.channel_id, now).await? } else { None };
    Ok((gone, heir))
}

/// How many OWNERs who are not silenced the channel has.
pub(crate) async fn owners(tx: &DatabaseTransaction, channel: ChannelId) -> Result<usize, Fault> {
    let owners: Vec<UserId> = channel_members::Entity::find()
        .select_only()
        .column(Column::UserId)
        .filter(Column::ChannelId.eq(channel))
        .filter(Column::Role.eq(MemberRole::Owner))
        .filter(Column::Status.eq(MembershipStatus::Active))
        .limit(2)
        .into_tuple()
        .all(tx)
        .await?;
    Ok(owners.len())
}

/// Gives a channel without an owner the present member of the highest role who has been there for longest. A private
/// channel could be managed by nobody otherwise.
async fn inherit(tx: &DatabaseTransaction, channel: ChannelId, now: Timestamp) -> Result<Heir, Fault> {
    let rank: SimpleExpr = Expr::case(Column::Role.eq(MemberRole::Owner), 0)
        .case(Column::Role.eq(MemberRole::Admin), 1)
        .case(Column::Role.eq(MemberRole::Member), 2)
        .finally(3)
        .into();
    let first = channel_members::Entity::find()
        .filter(Column::ChannelId.eq(channel))
        .filter(Column::Role.ne(MemberRole::Guest))
        .filter(present())
        .order_by(rank, Order::Asc)
        .order_by_asc(Column::JoinedAt)
        .order_by_asc(Column::UserId)
        .one(tx)
        .await?;
    let Some(heir) = first.filter(|member| member.role != MemberRole::Owner) else { return Ok(None) };
    set_role(tx, channel, heir.user_id, MemberRole::Owner, now).await?;
    Ok(Some(heir.user_id))
}

/// Writes a member's role.
pub(crate) async fn set_role(
    tx: &DatabaseTransaction,
    channel: ChannelId,
    user: UserId,
    role: MemberRole,
    now: Timestamp,
) -> Result<(), Fault> {
    channel_members::Entity::update_many()
        .set(channel_members::ActiveModel {
            role: sea_orm::Set(role),
            updated_at: sea_orm::Set(now),
            ..Default::default()
        })
        .filter(Column::ChannelId.eq(channel))
        .filter(Column::UserId.eq(user))
        .exec(tx)
        .await?;
    Ok(())
}
