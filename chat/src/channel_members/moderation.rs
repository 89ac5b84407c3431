//! What moderators do to members: remove them, silence them, change their roles.

use quikapp_entities::{
    UserId,
    channel_members::{self, MembershipStatus},
    workspace_members::MemberRole,
};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, Set};

use super::{is_direct, rows};
use crate::{
    Chat, Error, Result,
    access::{ChannelMember, may_touch, power},
    aftermath::to_the_end,
    database::Fault,
    messages::model::{ChannelKey, SystemEvent},
    outbox::{self, Untold},
};

const LAST_OWNER: Error =
    Error::Forbidden("the channel's last owner stays; make somebody else an owner first");

/// The two sides of a moderator's act, as they stand inside the transaction.
struct Sides {
    own: MemberRole,
    other: MemberRole,
    target: channel_members::Model,
}

/// Locks the channel and reads both sides. The actor may have lost the role since the proof was made.
async fn sides(
    tx: &DatabaseTransaction,
    key: ChannelKey,
    actor: UserId,
    target: UserId,
) -> Result<Sides, Fault> {
    rows::lock_channel(tx, key.channel).await?;
    let roles = rows::hold_workspace_members(tx, key.workspace, &[actor, target]).await?;
    let mut members = rows::find(tx, key.channel, &[actor, target]).await?;
    let power_of = |member: &channel_members::Model| {
        power(member.role, roles.get(&member.user_id).copied().unwrap_or(MemberRole::Guest))
    };
    let own = members
        .get(&actor)
        .filter(|member| member.status == MembershipStatus::Active)
        .map(&power_of)
        .ok_or(Error::Forbidden("join the channel first"))?;
    let target = members.remove(&target).ok_or(Error::NotFound("member"))?;
    Ok(Sides { own, other: power_of(&target), target })
}

async fn keep_an_owner(tx: &DatabaseTransaction, member: &channel_members::Model) -> Result<(), Fault> {
    let owns = member.role == MemberRole::Owner && member.status == MembershipStatus::Active;
    if owns && rows::owners(tx, member.channel_id).await? < 2 { Err(LAST_OWNER.into()) } else { Ok(()) }
}

impl Chat {
    /// Removes somebody from a channel: by an ADMIN or OWNER of it or, being in it, of the workspace; nobody removes an
    /// equal but an OWNER. Without effect on who was removed before. [`Error::Forbidden`] in the general channel and in
    /// direct ones, and for the last owner.
    pub async fn remove_channel_member(
        &self,
        member: &ChannelMember,
        user: UserId,
    ) -> Result<channel_members::Model> {
        member.moderate()?;
        if is_direct(member.kind()) {
            return Err(Error::Forbidden("nobody can be removed from a direct conversation"));
        }
        if member.is_general() {
            return Err(Error::Forbidden("everybody is in the general channel"));
        }
        let actor = member.viewer().user();
        if user == actor {
            return Err(Error::invalid("userId", "leave the channel to remove yourself"));
        }
        let (chat, key) = (self.clone(), member.key());
        to_the_end(async move {
            let now = chat.env.now();
            let (removed, untold) = chat
                .db
                .write(move |tx| {
                    Box::pin(async move {
                        let Sides { own, other, target } = sides(tx, key, actor, user).await?;
                        if target.status == MembershipStatus::Removed {
                            return Ok((target, Vec::new()));
                        }
                        if !may_touch(own, other) {
                            return Err(Error::Forbidden("your role does not reach over this member").into());
                        }
                        keep_an_owner(tx, &target).await?;
                        let was_present = target.is_present();
                        let (removed, heir) = rows::depart(tx, target, Some(actor), now).await?;
                        let untold = if was_present {
                            let mut untold = Untold::departed(key, actor, (user, Some(actor)), heir);
                            untold.push(Untold::of_membership(key, user));
                            untold
                        } else {
                            vec![Untold::access(key.workspace, Some(key.channel), [user], actor)]
                        };
                        outbox::keep(tx, &untold, now).await?;
                        Ok((removed, untold))
                    })
                })
                .await?;
            chat.tell(untold).await;
            Ok(removed)
        })
        .await
    }

    /// Changes a member's role, or silences (MUTED) and unsilences (ACTIVE) them. Who may is as for
    /// [`Chat::remove_channel_member`]; nobody gives a role above their own, everybody may step down, the last owner stays.
    pub async fn update_channel_member(
        &self,
        member: &ChannelMember,
        user: UserId,
        role: Option<MemberRole>,
        status: Option<MembershipStatus>,
    ) -> Result<channel_members::Model> {
        if !matches!(status, None | Some(MembershipStatus::Active | MembershipStatus::Muted)) {
            return Err(Error::invalid("status", "must be ACTIVE or MUTED"));
        }
        let actor = member.viewer().user();
        let stepping_down = user == actor && status.is_none();
        if !stepping_down {
            member.moderate()?;
        }
        if is_direct(member.kind()) {
            return Err(Error::Forbidden("everybody is equal in a direct conversation"));
        }
        member.writable()?;
        let (chat, key) = (self.clone(), member.key());
        to_the_end(async move {
            let now = chat.env.now();
            let (changed, untold) = chat
                .db
                .write(move |tx| {
                    Box::pin(async move {
                        let Sides { own, other, target } = sides(tx, key, actor, user).await?;
                        if !target.is_present() {
                            return Err(Error::NotFound("member").into());
                        }
                        let before = (target.role, target.status);
                        let after = (role.unwrap_or(before.0), status.unwrap_or(before.1));
                        if after == before {
                            return Ok((target, Vec::new()));
                        }
                        if (user != actor && !may_touch(own, other)) || (after.0 > before.0 && after.0 > own)
                        {
                            return Err(Error::Forbidden("your role does not reach that far").into());
                        }
                        if user == actor && after.1 != before.1 {
                            return Err(Error::Forbidden("nobody silences themselves").into());
                        }
                        if after.0 != MemberRole::Owner || after.1 != MembershipStatus::Active {
                            keep_an_owner(tx, &target).await?;
                        }
                        let changed = write_standing(tx, target, after, now).await?;
                        let event = SystemEvent::MemberChanged { user, role: changed.role };
                        let untold = vec![Untold::line(key, actor, event)];
                        outbox::keep(tx, &untold, now).await?;
                        Ok((changed, untold))
                    })
                })
                .await?;
            chat.tell(untold).await;
            Ok(changed)
        })
        .await
    }
}

async fn write_standing(
    tx: &DatabaseTransaction,
    member: channel_members::Model,
    (role, status): (MemberRole, MembershipStatus),
    now: quikapp_entities::Timestamp,
) -> Result<channel_members::Model, Fault> {
    channel_members::Entity::update_many()
        .set(channel_members::ActiveModel {
            role: Set(role),
            status: Set(status),
            updated_at: Set(now),
            ..Default::default()
        })
        .filter(channel_members::Column::ChannelId.eq(member.channel_id))
        .filter(channel_members::Column::UserId.eq(member.user_id))
        .exec(tx)
        .await?;
    let active = |status| i32::from(status == MembershipStatus::Active);
    rows::count(tx, member.channel_id, active(status) - active(member.status)).await?;
    Ok(channel_members::Model { role, status, updated_at: now, ..member })
}
