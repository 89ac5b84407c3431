//! Presence: `presence_choices`, and the index by which inactive people are found.

use sea_orm_migration::prelude::*;

use crate::table::{create, drop, id, index, long, long_null, reference, text};

const LAST_SEEN: &str = "users_last_seen_at";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // MySQL has no CREATE INDEX IF NOT EXISTS, and a migration that was cut off is run again.
        if !manager.has_index("users", LAST_SEEN).await? {
            manager.create_index(index(LAST_SEEN, &["last_seen_at"]).table("users").take()).await?;
        }
        let choices = Table::create()
            .col(id("user_id").primary_key())
            .col(text("choice", 16))
            .col(long_null("ends_at"))
            .col(long("updated_at"))
            .foreign_key(&mut reference(
                "presence_choices_user_fk",
                "presence_choices",
                "user_id",
                "users",
                ForeignKeyAction::Cascade,
            ))
            .take();
        create(manager, "presence_choices", choices, Vec::new()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["presence_choices"]).await?;
        if manager.has_index("users", LAST_SEEN).await? {
            manager.drop_index(Index::drop().name(LAST_SEEN).table("users").to_owned()).await?;
        }
        Ok(())
    }
}
