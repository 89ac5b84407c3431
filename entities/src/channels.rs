//! `channels`: conversations of every type.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{ChannelId, Timestamp, UserId, WorkspaceId};

/// The kind of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))")]
pub enum ChannelType {
    #[sea_orm(string_value = "public")]
    Public,
    #[sea_orm(string_value = "private")]
    Private,
    #[sea_orm(string_value = "dm")]
    Direct,
    #[sea_orm(string_value = "group_dm")]
    GroupDirect,
    #[sea_orm(string_value = "topic")]
    Topic,
}

/// Which part of the history a member sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(24))", rename_all = "snake_case")]
pub enum HistoryVisibility {
    /// All of it.
    Shared,
    /// What was written since the member's latest join.
    SinceJoin,
}

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "channels")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ChannelId,
    pub workspace_id: WorkspaceId,
    /// Unique in the workspace. A direct or group channel has none of its own: here stands `dm:` and a hash of its
    /// sorted members, so that the same index keeps it single.
    pub name: String,
    #[sea_orm(column_name = "type")]
    pub kind: ChannelType,
    pub topic: Option<String>,
    #[sea_orm(column_type = "Text", nullable)]
    pub description: Option<String>,
    /// Both set on TOPIC channels, unique together in the workspace.
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    pub history_visibility: HistoryVisibility,
    pub is_archived: bool,
    pub is_general: bool,
    pub created_by: UserId,
    pub member_count: i32,
    /// Messages by people that are not deleted, up to a second behind the log.
    pub message_count: i64,
    /// Time of the newest such message in the timeline, up to a second behind the log.
    pub last_message_at: Option<Timestamp>,
    /// The tick of the log up to which the two columns above were computed.
    pub log_seq: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(has_many = "super::channel_members::Entity")]
    Members,
}

impl Related<super::channel_members::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Members.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
