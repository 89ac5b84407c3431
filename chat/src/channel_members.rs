//! Who is in a channel: joining, leaving, adding, removing, roles and everyone's own preferences.

mod moderation;
mod reads;
pub(crate) mod rows;

use std::{collections::HashSet, sync::Arc};

use quikapp_entities::{
    ChannelId, Timestamp, UserId,
    channel_members::{self, MembershipStatus, NotificationLevel},
    channels::{self, ChannelType},
    workspace_members::MemberRole,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};

use crate::{
    Chat, Error, Result,
    access::{ChannelMember, ChannelReader, Viewer, VisibleChannel, present},
    aftermath::to_the_end,
    database::Fault,
    messages::model::ChannelKey,
    outbox::{self, Untold},
};

/// The most people added to a channel at once.
pub const MAX_ADDED: usize = 100;

/// A member's own settings for a channel; what is none stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelPreferences {
    /// Whether the channel stays silent for the member.
    pub is_muted: Option<bool>,
    /// Whether it stands before the others.
    pub is_pinned: Option<bool>,
    /// What of it notifies.
    pub notification_level: Option<NotificationLevel>,
}

/// The key of a channel's log.
pub(crate) fn key_of(channel: &channels::Model) -> ChannelKey {
    ChannelKey { workspace: channel.workspace_id, channel: channel.id }
}

/// Whether a channel is a conversation between fixed people.
pub(crate) fn is_direct(kind: ChannelType) -> bool {
    matches!(kind, ChannelType::Direct | ChannelType::GroupDirect)
}

impl Chat {
    /// Goes into a PUBLIC or TOPIC channel; without effect for those who are in it. [`Error::Forbidden`] for those who were
    /// removed, [`Error::NotFound`] for channels that are not open to the viewer, [`Error::Archived`].
    pub async fn join_channel(&self, viewer: &Viewer, channel: ChannelId) -> Result<VisibleChannel> {
        const REMOVED: Error = Error::Forbidden("you were removed from this channel; ask to be added again");
        let standing = self.standing(viewer, channel).await?.ok_or(Error::NotFound("channel"))?;
        if standing.present().is_some() {
            return self.visible_channel(viewer, channel).await;
        }
        if !standing.is_open() {
            return Err(Error::NotFound("channel"));
        }
        if standing.status() == Some(MembershipStatus::Removed) {
            return Err(REMOVED);
        }
        if standing.is_archived {
            return Err(Error::Archived);
        }
        let (chat, user, key) = (self.clone(), viewer.user(), standing.key);
        to_the_end(async move {
            let joined_seq = chat.log.head(key).await?.seq;
            let now = chat.env.now();
            let untold = chat
                .db
                .write(move |tx| {
                    Box::pin(async move {
                        let locked = rows::lock_channel(tx, key.channel).await?;
                        if locked.is_archived {
                            return Err(Error::Archived.into());
                        }
                        let roles = rows::hold_workspace_members(tx, key.workspace, &[user]).await?;
                        let Some(role) = roles.get(&user).filter(|role| **role > MemberRole::Guest) else {
                            return Err(Error::NotFound("channel").into());
                        };
                        let known = rows::find(tx, key.channel, &[user]).await?;
                        if known.get(&user).is_some_and(|member| member.status == MembershipStatus::Removed) {
                            return Err(REMOVED.into());
                        }
                        let people = [(user, rows::role_on_entry(*role))];
                        let (_, entered) = rows::enter(tx, &locked, &people, joined_seq, now).await?;
                        let untold = Untold::entered(key, user, &entered);
                        outbox::keep(tx, &untold, now).await?;
                        Ok(untold)
                    })
                })
                .await?;
            chat.tell(untold).await;
            Ok(())
        })
        .await?;
        self.visible_channel(viewer, channel).await
    }

    /// Goes out of a channel; without effect for those who are not in it. [`Error::Forbidden`] for the general channel and
    /// for conversations between two. The last owner's role passes to the highest, longest-standing member.
    pub async fn leave_channel(&self, reader: &ChannelReader) -> Result<()> {
        if reader.is_general() {
            return Err(Error::Forbidden("the general channel cannot be left"));
        }
        if reader.kind() == ChannelType::Direct {
            return Err(Error::Forbidden("a direct conversation cannot be left"));
        }
        let (chat, user, key) = (self.clone(), reader.viewer().user(), reader.key());
        to_the_end(async move {
            let now = chat.env.now();
            let untold = chat
                .db
                .write(move |tx| {
                    Box::pin(async move {
                        rows::lock_channel(tx, key.channel).await?;
                        match rows::find(tx, key.channel, &[user]).await?.remove(&user) {
                            Some(member) if member.is_present() => {
                                let (_, heir) = rows::depart(tx, member, None, now).await?;
                                let mut untold = Untold::departed(key, user, (user, None), heir);
                                untold.push(Untold::of_membership(key, user));
                                outbox::keep(tx, &untold, now).await?;
                                Ok(untold)
                            }
                            _ => Ok(Vec::new()),
                        }
                    })
                })
                .await?;
            chat.tell(untold).await;
            Ok(())
        })
        .await
    }

    /// Adds people of the workspace to a channel, those too who left it or were removed from it; who is in it stays as is.
    /// Returns everybody's membership, in the order given. [`Error::Forbidden`] for direct channels, [`Error::NotFound`] if
    /// one of them does not belong to the workspace.
    pub async fn add_channel_members(
        &self,
        member: &ChannelMember,
        users: &[UserId],
    ) -> Result<Vec<channel_members::Model>> {
        if is_direct(member.kind()) {
            return Err(Error::Forbidden("nobody can be added to a direct conversation; open another one"));
        }
        let users = distinct(users);
        check_added("userIds", &users)?;
        member.writable()?;
        let (chat, author, key) = (self.clone(), member.viewer().user(), member.key());
        to_the_end(async move {
            let joined_seq = chat.log.head(key).await?.seq;
            let now = chat.env.now();
            let (members, untold) = chat
                .db
                .write(move |tx| {
                    let users = Arc::clone(&users);
                    Box::pin(async move {
                        let locked = rows::lock_channel(tx, key.channel).await?;
                        if locked.is_archived {
                            return Err(Error::Archived.into());
                        }
                        let people = people_of_workspace(tx, key, &users).await?;
                        let (members, entered) = rows::enter(tx, &locked, &people, joined_seq, now).await?;
                        let untold = Untold::entered(key, author, &entered);
                        outbox::keep(tx, &untold, now).await?;
                        Ok((members, untold))
                    })
                })
                .await?;
            chat.tell(untold).await;
            Ok(members)
        })
        .await
    }

    /// Changes the viewer's own settings for a channel, which all of their devices are told; [`Error::Forbidden`] for those
    /// who are not in it.
    pub async fn set_channel_preferences(
        &self,
        reader: &ChannelReader,
        preferences: ChannelPreferences,
    ) -> Result<channel_members::Model> {
        const OUTSIDE: Error = Error::Forbidden("join the channel first");
        if reader.joined_seq().is_none() {
            return Err(OUTSIDE);
        }
        let (chat, key, user) = (self.clone(), reader.key(), reader.viewer().user());
        to_the_end(async move {
            let now = chat.env.now();
            let (member, untold) = chat
                .db
                .write(move |tx| {
                    Box::pin(async move {
                        let member = set_preferences(tx, key.channel, user, preferences, now).await?;
                        let member = member.ok_or(Fault::Domain(OUTSIDE))?;
                        let mut untold = Vec::new();
                        if preferences != ChannelPreferences::default() {
                            untold.push(Untold::of_membership(key, user));
                        }
                        outbox::keep(tx, &untold, now).await?;
                        Ok((member, untold))
                    })
                })
                .await?;
            chat.tell(untold).await;
            Ok(member)
        })
        .await
    }
}

/// Each user once, in the order given.
pub(crate) fn distinct(users: &[UserId]) -> Arc<[UserId]> {
    let mut seen = HashSet::with_capacity(users.len());
    users.iter().copied().filter(|user| seen.insert(*user)).collect()
}

/// Refuses more than [`MAX_ADDED`] at once.
pub(crate) fn check_added(field: &str, users: &[UserId]) -> Result<()> {
    if users.len() > MAX_ADDED {
        return Err(Error::invalid(field, format!("at most {MAX_ADDED} people at once")));
    }
    Ok(())
}

/// The users with the roles that they get on entry; [`Error::NotFound`] if one of them is not of the workspace.
pub(crate) async fn people_of_workspace(
    tx: &sea_orm::DatabaseTransaction,
    key: ChannelKey,
    users: &[UserId],
) -> std::result::Result<Vec<(UserId, MemberRole)>, Fault> {
    let roles = rows::hold_workspace_members(tx, key.workspace, users).await?;
    users
        .iter()
        .map(|user| Some((*user, rows::role_on_entry(*roles.get(user)?))))
        .collect::<Option<Vec<_>>>()
        .ok_or(Fault::Domain(Error::NotFound("user")))
}

/// Writes the settings of somebody who is in the channel; returns the membership as it is then.
async fn set_preferences(
    tx: &sea_orm::DatabaseTransaction,
    channel: ChannelId,
    user: UserId,
    preferences: ChannelPreferences,
    now: Timestamp,
) -> std::result::Result<Option<channel_members::Model>, Fault> {
    let mut update = channel_members::ActiveModel { updated_at: Set(now), ..Default::default() };
    if let Some(is_muted) = preferences.is_muted {
        update.is_muted = Set(is_muted);
    }
    if let Some(is_pinned) = preferences.is_pinned {
        update.is_pinned = Set(is_pinned);
    }
    if let Some(level) = preferences.notification_level {
        update.notification_level = Set(level);
    }
    channel_members::Entity::update_many()
        .set(update)
        .filter(channel_members::Column::ChannelId.eq(channel))
        .filter(channel_members::Column::UserId.eq(user))
        .filter(present())
        .exec(tx)
        .await?;
    let member = rows::find(tx, channel, &[user]).await?.remove(&user);
    Ok(member.filter(channel_members::Model::is_present))
}
