//! `invitations`: tokens that let somebody into a workspace; only the hash is kept.

use sea_orm::entity::prelude::*;

use crate::{InvitationId, Timestamp, UserId, WorkspaceId, workspace_members::MemberRole};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "invitations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: InvitationId,
    pub workspace_id: WorkspaceId,
    /// SHA-256 of the token, hex.
    pub token_hash: String,
    /// Where set, only the account with this address may accept, once; else it is a link for many until it expires.
    pub email: Option<String>,
    pub role: MemberRole,
    pub created_by: UserId,
    pub expires_at: Timestamp,
    pub accepted_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
