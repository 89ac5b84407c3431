//! Where in its workspace's log a member came in: `workspace_members.joined_seq`.

use sea_orm_migration::prelude::*;

use crate::table::long_null;

const TABLE: &str = "workspace_members";
const COLUMN: &str = "joined_seq";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // MySQL has no ADD COLUMN IF NOT EXISTS, and a migration that was cut off is run again.
        if manager.has_column(TABLE, COLUMN).await? {
            return Ok(());
        }
        manager.alter_table(Table::alter().table(TABLE).add_column(long_null(COLUMN)).take()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column(TABLE, COLUMN).await? {
            manager.alter_table(Table::alter().table(TABLE).drop_column(COLUMN).take()).await?;
        }
        Ok(())
    }
}
