//! Channels: `channels`, `channel_members`.

use sea_orm_migration::prelude::*;

use crate::table::{
    count, create, drop, flag, id, id_null, index, long, long_null, primary_key, reference, text, text_null,
    unique,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, "channels", channels(), channel_indexes()).await?;
        create(manager, "channel_members", members(), member_indexes()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["channel_members", "channels"]).await
    }
}

fn channels() -> TableCreateStatement {
    Table::create()
        .col(id("id").primary_key())
        .col(id("workspace_id"))
        .col(text("name", 80))
        .col(text("type", 16))
        .col(text_null("topic", 250))
        // At most 4,000 characters, which the domain checks.
        .col(ColumnDef::new("description").text().null())
        .col(text_null("entity_type", 100))
        .col(text_null("entity_id", 191))
        .col(text("history_visibility", 24))
        .col(flag("is_archived"))
        .col(flag("is_general"))
        .col(id("created_by"))
        .col(count("member_count"))
        .col(long("message_count").default(0))
        .col(long_null("last_message_at"))
        .col(long("log_seq").default(0))
        .col(long("created_at"))
        .col(long("updated_at"))
        .check((
            "channels_topic_has_entity",
            Expr::col("type")
                .ne("topic")
                .or(Expr::col("entity_type").is_not_null().and(Expr::col("entity_id").is_not_null())),
        ))
        .foreign_key(&mut reference(
            "channels_workspace_fk",
            "channels",
            "workspace_id",
            "workspaces",
            ForeignKeyAction::Cascade,
        ))
        .foreign_key(&mut reference(
            "channels_created_by_fk",
            "channels",
            "created_by",
            "users",
            ForeignKeyAction::NoAction,
        ))
        .take()
}

fn channel_indexes() -> Vec<IndexCreateStatement> {
    vec![
        unique("channels_name_key", &["workspace_id", "name"]),
        unique("channels_entity_key", &["workspace_id", "entity_type", "entity_id"]),
        index("channels_type", &["type"]),
        index("channels_last_message", &["last_message_at"]),
        index("channels_workspace_type", &["workspace_id", "type", "is_archived"]),
        index("channels_created_by", &["created_by", "workspace_id"]),
        index("channels_workspace_last_message", &["workspace_id", "last_message_at"]),
    ]
}

fn members() -> TableCreateStatement {
    Table::create()
        .col(id("channel_id"))
        .col(id("user_id"))
        // No foreign key of its own: the channel's cascades to here, and the index of a second one would cost every join.
        .col(id("workspace_id"))
        .col(text("role", 16).default("member"))
        .col(text("status", 16).default("active"))
        .col(long("joined_seq").default(0))
        .col(long("joined_at"))
        .col(long_null("left_at"))
        .col(id_null("removed_by"))
        .col(flag("is_muted"))
        .col(flag("is_pinned"))
        .col(text("notification_level", 16).default("all"))
        .col(long("created_at"))
        .col(long("updated_at"))
        .primary_key(&mut primary_key(&["channel_id", "user_id"]))
        .foreign_key(&mut reference(
            "channel_members_channel_fk",
            "channel_members",
            "channel_id",
            "channels",
            ForeignKeyAction::Cascade,
        ))
        .foreign_key(&mut reference(
            "channel_members_user_fk",
            "channel_members",
            "user_id",
            "users",
            ForeignKeyAction::NoAction,
        ))
        .foreign_key(&mut reference(
            "channel_members_removed_by_fk",
            "channel_members",
            "removed_by",
            "users",
            ForeignKeyAction::NoAction,
        ))
        .take()
}

fn member_indexes() -> Vec<IndexCreateStatement> {
    vec![
        index("channel_members_user_list", &["user_id", "workspace_id", "is_pinned", "updated_at"]),
        index("channel_members_status", &["channel_id", "status"]),
        index("channel_members_role", &["channel_id", "role"]),
        index("channel_members_user_channel", &["user_id", "channel_id"]),
        index("channel_members_removed_by", &["removed_by"]),
    ]
}
