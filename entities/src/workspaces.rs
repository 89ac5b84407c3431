//! `workspaces`: the tenants.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, UserId, WorkspaceId};

/// What a workspace pays for; sets its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
pub enum WorkspacePlan {
    Free,
    Pro,
    Business,
    Enterprise,
}

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "workspaces")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WorkspaceId,
    pub name: String,
    pub slug: String,
    pub domain: Option<String>,
    pub icon_url: Option<String>,
    pub plan: WorkspacePlan,
    pub owner_id: UserId,
    pub settings: Json,
    pub member_count: i32,
    pub channel_count: i32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
