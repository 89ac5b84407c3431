//! `channel_members`: who is or was in a channel, with the member's own preferences.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{ChannelId, Timestamp, UserId, WorkspaceId, workspace_members::MemberRole};

/// Where a membership stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
pub enum MembershipStatus {
    /// Reads and writes.
    Active,
    /// Silenced by a moderator: reads only.
    Muted,
    /// Left by oneself: may join a public channel again.
    Left,
    /// Removed by somebody: needs to be added again.
    Removed,
}

/// What of a channel notifies its member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
pub enum NotificationLevel {
    All,
    Mentions,
    None,
}

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "channel_members")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub channel_id: ChannelId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    pub workspace_id: WorkspaceId,
    pub role: MemberRole,
    pub status: MembershipStatus,
    /// The channel's tick at the latest join: with `HistoryVisibility::SinceJoin` only messages above it are shown.
    pub joined_seq: i64,
    pub joined_at: Timestamp,
    pub left_at: Option<Timestamp>,
    pub removed_by: Option<UserId>,
    pub is_muted: bool,
    pub is_pinned: bool,
    pub notification_level: NotificationLevel,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Model {
    /// Whether the member is in the channel now, silenced or not.
    #[must_use]
    pub fn is_present(&self) -> bool {
        matches!(self.status, MembershipStatus::Active | MembershipStatus::Muted)
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::channels::Entity",
        from = "Column::ChannelId",
        to = "super::channels::Column::Id"
    )]
    Channel,
    #[sea_orm(belongs_to = "super::users::Entity", from = "Column::UserId", to = "super::users::Column::Id")]
    User,
}

impl Related<super::channels::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Channel.def()
    }
}

impl Related<super::users::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::User.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
