//! Workspaces: `workspaces`, `workspace_members`, `invitations`.

use sea_orm_migration::prelude::*;

use crate::table::{
    count, create, drop, id, id_null, index, long, long_null, primary_key, reference, text, text_null, unique,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let workspaces = Table::create()
            .col(id("id").primary_key())
            .col(text("name", 100))
            .col(text("slug", 100))
            .col(text_null("domain", 255))
            .col(text_null("icon_url", 512))
            .col(text("plan", 16).default("free"))
            .col(id("owner_id"))
            .col(ColumnDef::new("settings").json().not_null())
            .col(count("member_count"))
            .col(count("channel_count"))
            .col(long("created_at"))
            .col(long("updated_at"))
            .foreign_key(&mut reference(
                "workspaces_owner_fk",
                "workspaces",
                "owner_id",
                "users",
                ForeignKeyAction::NoAction,
            ))
            .take();
        let indexes = vec![
            unique("workspaces_slug_key", &["slug"]),
            index("workspaces_domain", &["domain"]),
            index("workspaces_owner", &["owner_id"]),
        ];
        create(manager, "workspaces", workspaces, indexes).await?;

        let members = Table::create()
            .col(id("workspace_id"))
            .col(id("user_id"))
            .col(text("role", 16).default("member"))
            .col(long("joined_at"))
            .col(id_null("invited_by"))
            .primary_key(&mut primary_key(&["workspace_id", "user_id"]))
            .foreign_key(&mut reference(
                "workspace_members_workspace_fk",
                "workspace_members",
                "workspace_id",
                "workspaces",
                ForeignKeyAction::Cascade,
            ))
            .foreign_key(&mut reference(
                "workspace_members_user_fk",
                "workspace_members",
                "user_id",
                "users",
                ForeignKeyAction::NoAction,
            ))
            .foreign_key(&mut reference(
                "workspace_members_invited_by_fk",
                "workspace_members",
                "invited_by",
                "users",
                ForeignKeyAction::NoAction,
            ))
            .take();
        let indexes = vec![
            index("workspace_members_user", &["user_id"]),
            index("workspace_members_invited_by", &["invited_by"]),
        ];
        create(manager, "workspace_members", members, indexes).await?;

        let invitations = Table::create()
            .col(id("id").primary_key())
            .col(id("workspace_id"))
            .col(text("token_hash", 64))
            .col(text_null("email", 255))
            .col(text("role", 16).default("member"))
            .col(id("created_by"))
            .col(long("expires_at"))
            .col(long_null("accepted_at"))
            .col(long("created_at"))
            .foreign_key(&mut reference(
                "invitations_workspace_fk",
                "invitations",
                "workspace_id",
                "workspaces",
                ForeignKeyAction::Cascade,
            ))
            .foreign_key(&mut reference(
                "invitations_created_by_fk",
                "invitations",
                "created_by",
                "users",
                ForeignKeyAction::NoAction,
            ))
            .take();
        let indexes = vec![
            unique("invitations_token_hash_key", &["token_hash"]),
            index("invitations_workspace", &["workspace_id", "created_at"]),
            index("invitations_created_by", &["created_by"]),
        ];
        create(manager, "invitations", invitations, indexes).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["invitations", "workspace_members", "workspaces"]).await
    }
}
