//! Channels: making, changing, archiving them.

mod input;
mod lists;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use quikapp_entities::{
    ChannelId, Timestamp, UserId, WorkspaceId,
    channels::{self, ChannelType, HistoryVisibility},
    workspace_members::MemberRole,
    workspaces,
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, Set,
};

pub(crate) use self::input::DIRECT_PREFIX;
pub use self::{
    input::{ChannelChanges, NewChannel},
    lists::ViewerChannelsCursor,
};
use crate::{
    Chat, Error, Result,
    access::{ChannelMember, VisibleChannel, WorkspaceMember},
    aftermath::to_the_end,
    channel_members::{distinct, is_direct, key_of, people_of_workspace, rows},
    database::{Database, Fault},
    messages::model::SystemEvent,
    outbox::{self, Untold},
    workspaces::settings::Settings,
};

/// Rows written in one transaction by [`Chat::set_channel_activity`].
const FLUSHED_AT_ONCE: usize = 200;

/// What the log knows of a channel's activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelActivity {
    /// Which channel.
    pub channel: ChannelId,
    /// Messages by people that are not deleted.
    pub message_count: i64,
    /// When the newest of them in the timeline was written.
    pub last_message_at: Option<Timestamp>,
    /// The tick up to which the two above were computed.
    pub log_seq: i64,
}

/// A channel nobody is in yet.
pub(crate) fn blank(
    id: ChannelId,
    workspace: WorkspaceId,
    kind: ChannelType,
    name: String,
    by: UserId,
    now: Timestamp,
) -> channels::Model {
    channels::Model {
        id,
        workspace_id: workspace,
        name,
        kind,
        topic: None,
        description: None,
        entity_type: None,
        entity_id: None,
        history_visibility: match kind {
            ChannelType::Public | ChannelType::Topic | ChannelType::Direct => HistoryVisibility::Shared,
            ChannelType::Private | ChannelType::GroupDirect => HistoryVisibility::SinceJoin,
        },
        is_archived: false,
        is_general: false,
        created_by: by,
        member_count: 0,
        message_count: 0,
        last_message_at: None,
        log_seq: 0,
        created_at: now,
        updated_at: now,
    }
}

/// Writes a new channel with its first members into a workspace whose row is locked.
pub(crate) async fn insert(
    tx: &DatabaseTransaction,
    channel: &channels::Model,
    people: &[(UserId, MemberRole)],
) -> std::result::Result<(), Fault> {
    channels::Entity::insert(channel.clone().into_active_model().reset_all())
        .exec_without_returning(tx)
        .await?;
    rows::enter(tx, channel, people, 0, channel.created_at).await?;
    workspaces::Entity::update_many()
        .col_expr(workspaces::Column::ChannelCount, rows::plus(workspaces::Column::ChannelCount, 1))
        .filter(workspaces::Column::Id.eq(channel.workspace_id))
        .exec(tx)
        .await?;
    Ok(())
}

/// What a refusal of a unique index of `channels` means to the client.
fn taken(fault: Fault) -> Error {
    match fault {
        // Behind the last `for key` MySQL names the index, before it stands what the client gave; SQLite names columns.
        Fault::Unique(index) if index.rsplit("for key").next().is_some_and(|key| key.contains("entity")) => {
            Error::already_exists("input.entityId", "this entity has a channel")
        }
        Fault::Unique(_) => Error::already_exists("input.name", "a channel of this name exists"),
        fault => fault.into(),
    }
}

impl Chat {
    /// Makes a PUBLIC, PRIVATE or TOPIC channel with the viewer as its OWNER. [`Error::Forbidden`] for guests and, where the
    /// workspace says so, for all but admins; [`Error::AlreadyExists`] if the name or the entity has a channel;
    /// [`Error::NotFound`] if one of the first members does not belong to the workspace.
    pub async fn create_channel(&self, member: &WorkspaceMember, new: NewChannel) -> Result<VisibleChannel> {
        match member.role() {
            MemberRole::Guest => return Err(Error::Forbidden("guests cannot create channels")),
            MemberRole::Member if Settings(&member.workspace().settings).only_admins_create_channels() => {
                return Err(Error::Forbidden("only admins create channels in this workspace"));
            }
            _ => {}
        }
        let (creator, workspace) = (member.viewer().user(), member.id());
        let others = distinct(&new.member_ids);
        let new = new.check()?;
        let now = self.env.now();
        let id = ChannelId(self.env.uuid());
        let channel = Arc::new(new.into_model(id, workspace, creator, now));
        let is_open = channel.kind != ChannelType::Private;
        let chat = self.clone();
        to_the_end(async move {
            let untold = chat
                .db
                .write(move |tx| {
                    let (channel, others) = (Arc::clone(&channel), Arc::clone(&others));
                    Box::pin(async move {
                        rows::lock_workspace(tx, workspace).await?;
                        let everybody = distinct(&[&[creator], &others[..]].concat());
                        let mut people = people_of_workspace(tx, key_of(&channel), &everybody).await?;
                        for (user, role) in &mut people {
                            if *user == creator {
                                *role = MemberRole::Owner;
                            }
                        }
                        insert(tx, &channel, &people).await?;
                        let users = people.into_iter().map(|(user, _)| user);
                        let mut untold = vec![Untold::access(workspace, Some(id), users, creator)];
                        if is_open {
                            let event = SystemEvent::ChannelCreated { channel: id };
                            untold.push(Untold::of_workspace(workspace, creator, event));
                        }
                        outbox::keep(tx, &untold, now).await?;
                        Ok(untold)
                    })
                })
                .await
                .map_err(taken)?;
            chat.tell(untold).await;
            Ok(())
        })
        .await?;
        self.visible_channel(member.viewer(), id).await
    }

    /// Changes a channel's own fields: its ADMINs and OWNERs, and those of the workspace who are in it. Fields that are
    /// none stay. [`Error::Forbidden`] for direct conversations, [`Error::AlreadyExists`], [`Error::Archived`].
    pub async fn update_channel(
        &self,
        member: &ChannelMember,
        changes: ChannelChanges,
    ) -> Result<VisibleChannel> {
        member.moderate()?;
        if is_direct(member.kind()) {
            return Err(Error::Forbidden("a direct conversation has no fields of its own"));
        }
        let changes = Arc::new(changes.check()?);
        member.writable()?;
        self.change_channel(member, move |channel| {
            if channel.is_archived { Err(Error::Archived) } else { Ok(changes.apply(channel)) }
        })
        .await
    }

    /// Makes a channel read-only and hides it from lists, or opens it again; without effect if it is so. Who may is as for
    /// [`Chat::update_channel`]. [`Error::Forbidden`] for the general channel and for direct conversations.
    pub async fn archive_channel(&self, member: &ChannelMember, archived: bool) -> Result<VisibleChannel> {
        member.moderate()?;
        if member.is_general() {
            return Err(Error::Forbidden("the general channel cannot be archived"));
        }
        if is_direct(member.kind()) {
            return Err(Error::Forbidden("a direct conversation cannot be archived"));
        }
        self.change_channel(member, move |channel| {
            if channel.is_archived == archived {
                return Ok(Vec::new());
            }
            channel.is_archived = archived;
            Ok(vec!["isArchived"])
        })
        .await
    }

    /// Changes the row as `change` does, which returns the API's names of what it changed.
    async fn change_channel(
        &self,
        member: &ChannelMember,
        change: impl Fn(&mut channels::Model) -> Result<Vec<&'static str>> + Send + Sync + 'static,
    ) -> Result<VisibleChannel> {
        let (chat, author, key) = (self.clone(), member.viewer().user(), member.key());
        let change = Arc::new(change);
        to_the_end(async move {
            let now = chat.env.now();
            let untold = chat
                .db
                .write(move |tx| {
                    let change = Arc::clone(&change);
                    Box::pin(async move {
                        let mut channel = rows::lock_channel(tx, key.channel).await?;
                        let changed = change(&mut channel)?;
                        if changed.is_empty() {
                            return Ok(Vec::new());
                        }
                        channel.updated_at = now;
                        write_fields(tx, channel).await?;
                        let mut untold = Vec::new();
                        if changed.contains(&"historyVisibility") {
                            // One announcement, however many members there are.
                            untold.push(Untold::channel_access(key, author));
                        }
                        let changed = changed.into_iter().map(Into::into).collect();
                        untold.push(Untold::line(key, author, SystemEvent::ChannelUpdated { changed }));
                        outbox::keep(tx, &untold, now).await?;
                        Ok(untold)
                    })
                })
                .await
                .map_err(taken)?;
            chat.tell(untold).await;
            Ok(())
        })
        .await?;
        self.visible_channel(member.viewer(), member.key().channel).await
    }

    /// Brings `message_count`, `last_message_at` and `log_seq` up to the log, where the row is behind it.
    pub async fn set_channel_activity(&self, activity: &[ChannelActivity]) -> Result<()> {
        set_channel_activity(&self.db, activity).await
    }
}

/// See [`Chat::set_channel_activity`].
pub(crate) async fn set_channel_activity(db: &Database, activity: &[ChannelActivity]) -> Result<()> {
    let mut activity = activity.to_vec();
    // In one order on all nodes, so that two of them do not wait for each other.
    activity.sort_by_key(|one| one.channel);
    for some in activity.chunks(FLUSHED_AT_ONCE) {
        let some: Arc<[ChannelActivity]> = some.into();
        db.write(move |tx| {
            let some = Arc::clone(&some);
            Box::pin(async move {
                for one in some.iter() {
                    channels::Entity::update_many()
                        .set(channels::ActiveModel {
                            message_count: Set(one.message_count),
                            last_message_at: Set(one.last_message_at),
                            log_seq: Set(one.log_seq),
                            ..Default::default()
                        })
                        .filter(channels::Column::Id.eq(one.channel))
                        .filter(channels::Column::LogSeq.lt(one.log_seq))
                        .exec(tx)
                        .await?;
                }
                Ok(())
            })
        })
        .await?;
    }
    Ok(())
}

async fn write_fields(tx: &DatabaseTransaction, channel: channels::Model) -> std::result::Result<(), Fault> {
    channels::Entity::update_many()
        .set(channels::ActiveModel {
            name: Set(channel.name),
            topic: Set(channel.topic),
            description: Set(channel.description),
            history_visibility: Set(channel.history_visibility),
            is_archived: Set(channel.is_archived),
            updated_at: Set(channel.updated_at),
            ..Default::default()
        })
        .filter(channels::Column::Id.eq(channel.id))
        .exec(tx)
        .await?;
    Ok(())
}
