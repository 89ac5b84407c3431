//! Deleting an account: its person goes, what they wrote stays.

use quikapp_entities::{Timestamp, UserId, user_sessions, users, workspaces};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, sea_query::Expr};

use super::profile;
use crate::{Chat, Error, Result, access::Viewer, database::Fault, live::Control, paging::Window};

/// The name under which a deleted account's messages stand.
pub const DELETED_NAME: &str = "Deleted user";
/// Workspaces left at a time.
const AT_ONCE: u64 = 50;

impl Chat {
    /// Deletes the viewer's account: leaves every workspace and channel, ends every session, frees the address, and takes
    /// name and picture away. Messages stay, by "Deleted user". Cut off in the middle it can be called again.
    ///
    /// # Errors
    /// [`Error::Invalid`] at `password` if it is wrong; [`Error::Conflict`] while the viewer owns a workspace.
    pub async fn delete_account(&self, viewer: &Viewer, password: String) -> Result<Timestamp> {
        let account = self.account(viewer).await?;
        let fits = password.chars().count() <= super::input::PASSWORD_LENGTH
            && self.auth.passwords.verify(password, account.password_hash).await?;
        if !fits {
            return Err(Error::invalid("password", "is wrong"));
        }
        let owned = workspaces::Entity::find().filter(workspaces::Column::OwnerId.eq(viewer.user()));
        if self.db.read(owned.count(self.db.pool())).await? > 0 {
            return Err(Error::Conflict("hand your workspaces over first"));
        }
        loop {
            let page = self.viewer_workspaces(viewer, &Window::first(AT_ONCE)).await?;
            if page.items.is_empty() {
                break;
            }
            for member in &page.items {
                self.remove_workspace_member(member, viewer.user()).await?;
            }
        }
        let now = self.env.now();
        self.erase(viewer.user(), now).await?;
        self.hub.announce(Control::UserDisabled { user: viewer.user() });
        Ok(now)
    }

    async fn erase(&self, id: UserId, now: Timestamp) -> Result<()> {
        let erased = self.db.write(move |transaction| {
            Box::pin(async move {
                let none = || Expr::value(Option::<String>::None);
                let before = users::Entity::find_by_id(id).one(transaction).await?;
                let Some(before) = before else { return Err(Fault::from(Error::NotFound("account"))) };
                users::Entity::update_many()
                    .col_expr(users::Column::Email, Expr::value(format!("{id}@deleted.invalid")))
                    .col_expr(users::Column::PasswordHash, none())
                    .col_expr(users::Column::MfaSecret, none())
                    .col_expr(users::Column::MfaEnabled, Expr::value(false))
                    .col_expr(users::Column::DisplayName, Expr::value(DELETED_NAME))
                    .col_expr(users::Column::AvatarUrl, none())
                    .col_expr(users::Column::StatusText, none())
                    .col_expr(users::Column::StatusEmoji, none())
                    .col_expr(users::Column::Status, Expr::value(users::AccountStatus::Inactive))
                    .col_expr(users::Column::DeletedAt, Expr::value(now))
                    .col_expr(users::Column::UpdatedAt, Expr::value(profile::later(now, before.updated_at)))
                    .filter(users::Column::Id.eq(id))
                    .exec(transaction)
                    .await?;
                user_sessions::Entity::delete_many()
                    .filter(user_sessions::Column::UserId.eq(id))
                    .exec(transaction)
                    .await?;
                Ok(())
            })
        });
        Ok(erased.await?)
    }
}
