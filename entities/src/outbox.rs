//! `outbox`: what a committed change has yet to tell the message store and the other nodes. A row is written in the
//! transaction of its change, and goes when it is told.

use sea_orm::entity::prelude::*;
use uuid::Uuid;

use crate::{ChannelId, MessageId, Timestamp, UserId, WorkspaceId};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    /// Rises with the changes of one channel, because each of them holds the lock of the channel's row.
    #[sea_orm(primary_key)]
    pub position: i64,
    /// The id of the line that it becomes, so that to write it again has no effect.
    #[sea_orm(unique)]
    pub id: MessageId,
    pub workspace_id: WorkspaceId,
    /// Whose log it belongs to; the workspace's id for the log of the workspace itself.
    pub channel_id: ChannelId,
    /// Whom or what it is about: rows of one subject in one log are told in their order.
    pub subject_id: Uuid,
    /// Who caused it.
    pub author_id: UserId,
    /// What is to be told, as the domain writes it.
    pub notice: Json,
    /// When the change was made.
    pub created_at: Timestamp,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
