//! What is committed and not told yet: `outbox`.

use sea_orm_migration::prelude::*;

use crate::table::{create, drop, id, index, long, unique};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // No foreign keys: each would take a lock of the row that it points to, against the order of the others. What
        // belongs to a channel that is gone is dropped when its turn comes.
        let outbox = Table::create()
            .col(ColumnDef::new("position").big_integer().not_null().auto_increment().primary_key())
            .col(id("id"))
            .col(id("workspace_id"))
            .col(id("channel_id"))
            .col(id("subject_id"))
            .col(id("author_id"))
            .col(ColumnDef::new("notice").json().not_null())
            .col(long("created_at"))
            .take();
        let indexes =
            vec![unique("outbox_id_key", &["id"]), index("outbox_subject", &["subject_id", "channel_id"])];
        create(manager, "outbox", outbox, indexes).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["outbox"]).await
    }
}
