//! Who belongs to a workspace, and as what.

use std::{collections::HashMap, sync::Arc};

use quikapp_entities::{
    ChannelId, Timestamp, UserId, WorkspaceId, channel_members, channels, invitations, users,
    workspace_members::{self, Column, MemberRole},
    workspaces,
};
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set,
    sea_query::{Expr, ExprTrait, Func, LikeExpr},
};

use crate::{
    Chat, Error, Result,
    access::{WorkspaceMember, may_touch, present},
    aftermath::to_the_end,
    channel_members::rows,
    database::Fault,
    messages::model::ChannelKey,
    outbox::{self, Untold},
    paging::{Page, Window},
};

const OWNER_STAYS: Error = Error::Forbidden("transfer the ownership of the workspace first");

impl Chat {
    /// The members of a workspace by user id; with `role` only those, with `query` only those whose displayed name begins
    /// with it, in whatever case. One query.
    pub async fn workspace_members(
        &self,
        member: &WorkspaceMember,
        role: Option<MemberRole>,
        query: Option<&str>,
        window: &Window<UserId>,
    ) -> Result<Page<workspace_members::Model>> {
        let mut select = workspace_members::Entity::find().filter(Column::WorkspaceId.eq(member.id()));
        if let Some(role) = role {
            select = select.filter(Column::Role.eq(role));
        }
        if let Some(prefix) = query.map(str::trim).filter(|prefix| !prefix.is_empty()) {
            let mut pattern = String::with_capacity(prefix.len() + 1);
            for c in prefix.to_lowercase().chars() {
                if matches!(c, '%' | '_' | '!') {
                    pattern.push('!');
                }
                pattern.push(c);
            }
            pattern.push('%');
            let name = Func::lower(Expr::col((users::Entity, users::Column::DisplayName)));
            select = select
                .inner_join(users::Entity)
                .filter(ExprTrait::like(Expr::expr(name), LikeExpr::new(pattern).escape('!')));
        }
        if let Some(after) = window.after {
            select = select.filter(Column::UserId.gt(after));
        }
        let select = select.order_by_asc(Column::UserId).limit(window.rows());
        let rows = self.db.read(select.all(self.db.pool())).await?;
        Ok(Page::cut(rows, window))
    }

    /// Those of `users` who belong to the workspace. One query.
    pub async fn workspace_memberships(
        &self,
        member: &WorkspaceMember,
        users: &[UserId],
    ) -> Result<HashMap<UserId, workspace_members::Model>> {
        let select = workspace_members::Entity::find()
            .filter(Column::WorkspaceId.eq(member.id()))
            .filter(Column::UserId.is_in(users.iter().copied()));
        let rows = self.db.read(select.all(self.db.pool())).await?;
        Ok(rows.into_iter().map(|row| (row.user_id, row)).collect())
    }

    /// Changes somebody's role: ADMINs that of members and guests, the OWNER that of everybody else; an admin may step
    /// down. [`Error::Forbidden`] for OWNER, given or taken: see [`Chat::transfer_workspace_ownership`].
    pub async fn update_workspace_member(
        &self,
        member: &WorkspaceMember,
        user: UserId,
        role: MemberRole,
    ) -> Result<workspace_members::Model> {
        let (chat, workspace, actor) = (self.clone(), member.id(), member.viewer().user());
        if user != actor {
            member.administer()?;
        }
        to_the_end(async move {
            let now = chat.env.now();
            let (changed, untold) = chat
                .db
                .write(move |tx| {
                    Box::pin(async move {
                        rows::lock_workspace(tx, workspace).await?;
                        let (own, target) = sides(tx, workspace, actor, user).await?;
                        let before = target.role;
                        if role == before {
                            return Ok((target, Vec::new()));
                        }
                        if before == MemberRole::Owner {
                            return Err(OWNER_STAYS.into());
                        }
                        if role == MemberRole::Owner {
                            return Err(Error::Forbidden("the ownership has to be transferred").into());
                        }
                        if (user != actor && !may_touch(own, before)) || role > own {
                            return Err(Error::Forbidden("your role does not reach that far").into());
                        }
                        set_role(tx, workspace, user, role).await?;
                        let untold = vec![Untold::access(workspace, None, [user], actor)];
                        outbox::keep(tx, &untold, now).await?;
                        Ok((workspace_members::Model { role, ..target }, untold))
                    })
                })
                .await?;
            chat.tell(untold).await;
            Ok(changed)
        })
        .await
    }

    /// Makes another member the OWNER; the present one, who alone may do this, becomes an ADMIN.
    pub async fn transfer_workspace_ownership(
        &self,
        member: &WorkspaceMember,
        user: UserId,
    ) -> Result<WorkspaceMember> {
        const OWNER_ONLY: Error = Error::Forbidden("only the owner of the workspace may do this");
        if member.role() != MemberRole::Owner {
            return Err(OWNER_ONLY);
        }
        let (chat, workspace, actor) = (self.clone(), member.id(), member.viewer().user());
        to_the_end(async move {
            let now = chat.env.now();
            let untold = chat
                .db
                .write(move |tx| {
                    Box::pin(async move {
                        rows::lock_workspace(tx, workspace).await?;
                        let (own, target) = sides(tx, workspace, actor, user).await?;
                        if own != MemberRole::Owner {
                            return Err(OWNER_ONLY.into());
                        }
                        if user == actor {
                            return Ok(Vec::new());
                        }
                        if target.role == MemberRole::Guest {
                            return Err(Error::Forbidden("a guest cannot own the workspace").into());
                        }
                        set_role(tx, workspace, actor, MemberRole::Admin).await?;
                        set_role(tx, workspace, user, MemberRole::Owner).await?;
                        workspaces::Entity::update_many()
                            .set(workspaces::ActiveModel {
                                owner_id: Set(user),
                                updated_at: Set(now),
                                ..Default::default()
                            })
                            .filter(workspaces::Column::Id.eq(workspace))
                            .exec(tx)
                            .await?;
                        let untold = vec![Untold::access(workspace, None, [actor, user], actor)];
                        outbox::keep(tx, &untold, now).await?;
                        Ok(untold)
                    })
                })
                .await?;
            chat.tell(untold).await;
            Ok(())
        })
        .await?;
        self.workspace_member(member.viewer(), workspace).await
    }

    /// Removes somebody, or oneself, from a workspace and all its channels. Who removes needs a higher role, and links that
    /// the removed one made for inviting others end. [`Error::Forbidden`] for the owner.
    pub async fn remove_workspace_member(&self, member: &WorkspaceMember, user: UserId) -> Result<()> {
        let (chat, workspace, actor) = (self.clone(), member.id(), member.viewer().user());
        if user != actor {
            member.administer()?;
        }
        to_the_end(async move {
            let now = chat.env.now();
            let untold = chat
                .db
                .write(move |tx| {
                    Box::pin(async move {
                        rows::lock_workspace(tx, workspace).await?;
                        let (own, target) = sides(tx, workspace, actor, user).await?;
                        if target.role == MemberRole::Owner {
                            return Err(OWNER_STAYS.into());
                        }
                        if user != actor && !may_touch(own, target.role) {
                            return Err(Error::Forbidden("your role does not reach that far").into());
                        }
                        let removed_by = (user != actor).then_some(actor);
                        let departed = remove(tx, workspace, user, removed_by, now).await?;
                        let mut untold = vec![Untold::access(workspace, None, [user], actor)];
                        for (channel, heir) in departed {
                            let key = ChannelKey { workspace, channel };
                            untold.extend(Untold::departed(key, actor, (user, removed_by), heir));
                        }
                        outbox::keep(tx, &untold, now).await?;
                        Ok(untold)
                    })
                })
                .await?;
            chat.tell(untold).await;
            Ok(())
        })
        .await
    }
}

/// The actor's role and the target's row, inside the transaction.
async fn sides(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    actor: UserId,
    target: UserId,
) -> Result<(MemberRole, workspace_members::Model), Fault> {
    let found = workspace_members::Entity::find()
        .filter(Column::WorkspaceId.eq(workspace))
        .filter(Column::UserId.is_in([actor, target]))
        .all(tx)
        .await?;
    let of = |user| found.iter().find(|member| member.user_id == user);
    let own = of(actor).ok_or(Error::NotFound("workspace"))?.role;
    Ok((own, of(target).ok_or(Error::NotFound("member"))?.clone()))
}

async fn set_role(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    user: UserId,
    role: MemberRole,
) -> Result<(), Fault> {
    workspace_members::Entity::update_many()
        .col_expr(Column::Role, Expr::value(role))
        .filter(Column::WorkspaceId.eq(workspace))
        .filter(Column::UserId.eq(user))
        .exec(tx)
        .await?;
    Ok(())
}

/// Takes somebody out of a locked workspace; returns the channels that they were in, with the new owners of those that
/// they owned.
async fn remove(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    user: UserId,
    removed_by: Option<UserId>,
    now: Timestamp,
) -> Result<Vec<(ChannelId, rows::Heir)>, Fault> {
    workspace_members::Entity::delete_many()
        .filter(Column::WorkspaceId.eq(workspace))
        .filter(Column::UserId.eq(user))
        .exec(tx)
        .await?;
    workspaces::Entity::update_many()
        .col_expr(workspaces::Column::MemberCount, rows::plus(workspaces::Column::MemberCount, -1))
        .filter(workspaces::Column::Id.eq(workspace))
        .exec(tx)
        .await?;
    if removed_by.is_some() {
        invitations::Entity::update_many()
            .col_expr(invitations::Column::ExpiresAt, Expr::value(now))
            .filter(invitations::Column::WorkspaceId.eq(workspace))
            .filter(invitations::Column::CreatedBy.eq(user))
            .filter(invitations::Column::ExpiresAt.gt(now))
            .exec(tx)
            .await?;
    }
    let mine = channel_members::Entity::find()
        .filter(channel_members::Column::WorkspaceId.eq(workspace))
        .filter(channel_members::Column::UserId.eq(user))
        .filter(present());
    // The channels' locks first, in one order for everybody; what is theirs is read when nobody else can change it.
    let ids: Vec<ChannelId> = mine
        .clone()
        .select_only()
        .column(channel_members::Column::ChannelId)
        .order_by_asc(channel_members::Column::ChannelId)
        .into_tuple()
        .all(tx)
        .await?;
    let ids: Arc<[ChannelId]> = ids.into();
    channels::Entity::find()
        .filter(channels::Column::Id.is_in(ids.iter().copied()))
        .order_by_asc(channels::Column::Id)
        .lock_exclusive()
        .all(tx)
        .await?;
    let memberships = mine.all(tx).await?;
    let mut departed = Vec::with_capacity(memberships.len());
    for membership in memberships {
        let channel = membership.channel_id;
        let (_, heir) = rows::depart(tx, membership, removed_by, now).await?;
        departed.push((channel, heir));
    }
    Ok(departed)
}
