//! Accounts: `users`, `user_sessions`, `spent_refresh_tokens`.

use sea_orm_migration::prelude::*;

use crate::table::{create, drop, flag, id, index, long, long_null, reference, text, text_null, unique};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let users = Table::create()
            .col(id("id").primary_key())
            .col(text("email", 255))
            .col(text_null("password_hash", 255))
            .col(text("display_name", 100))
            .col(text_null("avatar_url", 512))
            .col(text("status", 16).default("active"))
            .col(text_null("status_text", 100))
            // Ten emoji of the user's view may be joined from several code points each.
            .col(text_null("status_emoji", 40))
            .col(text("timezone", 50).default("UTC"))
            .col(text("locale", 35).default("en-US"))
            .col(flag("email_verified"))
            .col(flag("mfa_enabled"))
            .col(text_null("mfa_secret", 255))
            .col(long_null("last_seen_at"))
            .col(long("created_at"))
            .col(long("updated_at"))
            .col(long_null("deleted_at"))
            .take();
        let indexes = vec![
            unique("users_email_key", &["email"]),
            index("users_status", &["status"]),
            index("users_created_at", &["created_at"]),
        ];
        create(manager, "users", users, indexes).await?;

        let sessions = Table::create()
            .col(id("id").primary_key())
            .col(id("user_id"))
            .col(text("token_hash", 64))
            .col(text_null("ip_address", 45))
            .col(text_null("user_agent", 512))
            .col(long("expires_at"))
            .col(long_null("revoked_at"))
            .col(long("created_at"))
            .foreign_key(&mut reference(
                "user_sessions_user_fk",
                "user_sessions",
                "user_id",
                "users",
                ForeignKeyAction::Cascade,
            ))
            .take();
        let indexes = vec![
            unique("user_sessions_token_hash_key", &["token_hash"]),
            index("user_sessions_user", &["user_id"]),
            index("user_sessions_expires_at", &["expires_at"]),
        ];
        create(manager, "user_sessions", sessions, indexes).await?;

        let spent = Table::create()
            .col(text("token_hash", 64).primary_key())
            .col(id("session_id"))
            .col(long("spent_at"))
            .foreign_key(&mut reference(
                "spent_refresh_tokens_session_fk",
                "spent_refresh_tokens",
                "session_id",
                "user_sessions",
                ForeignKeyAction::Cascade,
            ))
            .take();
        let indexes = vec![
            index("spent_refresh_tokens_session", &["session_id"]),
            index("spent_refresh_tokens_spent_at", &["spent_at"]),
        ];
        create(manager, "spent_refresh_tokens", spent, indexes).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop(manager, &["spent_refresh_tokens", "user_sessions", "users"]).await
    }
}
