//! Accounts: registering, signing in, and what is told about people.

pub mod deletion;
#[cfg(test)]
pub(crate) mod fixture;
mod input;
mod profile;
#[cfg(test)]
mod tests;

use std::fmt;

use quikapp_entities::{UserId, user_sessions, users};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter,
    QuerySelect, sea_query::Expr,
};

pub use self::profile::ProfileChange;
pub use crate::sessions::{ClientInfo, SignedIn};
use crate::{
    Chat, Error, Result, access::Viewer, database::Fault, error::Validation, live::Control, sessions::may_act,
};

/// What a new account is made of, as it was typed.
#[derive(Clone)]
pub struct Registration {
    /// Its address; case and spaces around it do not count.
    pub email: String,
    /// Its password, 8 to 256 characters.
    pub password: String,
    /// What others see, 1 to 100 characters.
    pub display_name: String,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("email", &self.email)
            .field("display_name", &self.display_name)
            .finish_non_exhaustive()
    }
}

impl Chat {
    /// Makes an account and signs it in.
    ///
    /// Complains about `email`, `password` and `displayName` at once; [`Error::AlreadyExists`] at `email`.
    pub async fn register(&self, registration: Registration, client: ClientInfo) -> Result<SignedIn> {
        let email = input::normal_email(&registration.email);
        let display_name = registration.display_name.trim().to_owned();
        let mut validation = Validation::default();
        input::check_email(&mut validation, "email", &email);
        input::check_password(&mut validation, "password", &registration.password);
        input::check_line(&mut validation, "displayName", &display_name, 1, input::DISPLAY_NAME_LENGTH);
        validation.finish()?;

        let [salt, _] = split(self.env.secret());
        let hash = self.auth.passwords.hash(registration.password, salt).await?;
        let now = self.env.now();
        let user = users::Model {
            id: UserId(self.env.uuid()),
            email,
            password_hash: Some(hash),
            display_name,
            avatar_url: None,
            status: users::AccountStatus::Active,
            status_text: None,
            status_emoji: None,
            timezone: "UTC".to_owned(),
            locale: "en-US".to_owned(),
            email_verified: false,
            mfa_enabled: false,
            mfa_secret: None,
            last_seen_at: None,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        let (session, refresh_token) = self.new_session(user.id, client);
        let rows = (user.clone(), session.clone());
        let written = self.db.write(move |transaction| {
            let (user, session) = rows.clone();
            Box::pin(async move {
                users::Entity::insert(user.into_active_model().reset_all())
                    .exec_without_returning(transaction)
                    .await?;
                insert_session(transaction, session).await?;
                Ok(())
            })
        });
        match written.await {
            Ok(()) => self.signed_in(user, session, refresh_token),
            // MySQL names the index, SQLite the column.
            Err(Fault::Unique(what)) if what.contains("users_email_key") || what.contains("users.email") => {
                Err(Error::already_exists("email", "an account with this address exists"))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Begins a session. An unknown address, a wrong password and an account without one are told the same way and take
    /// as long.
    pub async fn sign_in(&self, email: &str, password: &str, client: ClientInfo) -> Result<SignedIn> {
        let email = input::normal_email(email);
        let found = if email.chars().count() <= input::EMAIL_LENGTH {
            self.account_by_email(&email).await?
        } else {
            None
        };
        // Too long for any account: it is not hashed, but something is.
        let too_long = password.chars().count() > input::PASSWORD_LENGTH;
        let hash = found.as_ref().filter(|_| !too_long).and_then(|user| user.password_hash.clone());
        let password = if too_long { String::new() } else { password.to_owned() };
        let right = self.auth.passwords.verify(password, hash).await?;
        let Some(user) = found.filter(|_| right) else {
            return Err(Error::Unauthenticated("the address or the password is wrong"));
        };
        if !may_act(&user) {
            return Err(Error::Unauthenticated("the account is not active"));
        }
        let (session, refresh_token) = self.new_session(user.id, client);
        self.db.read(insert_session(self.db.pool(), session.clone())).await?;
        self.signed_in(user, session, refresh_token)
    }

    /// The viewer's own account.
    pub async fn account(&self, viewer: &Viewer) -> Result<users::Model> {
        let query = users::Entity::find_by_id(viewer.user()).one(self.db.pool());
        self.db.read(query).await?.ok_or(Error::Unauthenticated("the account is gone"))
    }

    /// Accounts by id, in one query, in no order; unknown ids are left out, deleted accounts are not.
    pub async fn users(&self, ids: &[UserId]) -> Result<Vec<users::Model>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let query =
            users::Entity::find().filter(users::Column::Id.is_in(ids.iter().copied())).all(self.db.pool());
        Ok(self.db.read(query).await?)
    }

    /// Locks an account or opens it again, for an operator. Returns whose it is.
    pub async fn set_account_status(&self, email: &str, status: users::AccountStatus) -> Result<UserId> {
        let email = input::normal_email(email);
        let now = self.env.now();
        let id = self
            .db
            .write(move |transaction| {
                let email = email.clone();
                Box::pin(async move {
                    let user = users::Entity::find()
                        .filter(users::Column::Email.eq(email))
                        .lock_exclusive()
                        .one(transaction)
                        .await?
                        .ok_or(Error::NotFound("account"))?;
                    users::Entity::update_many()
                        .col_expr(users::Column::Status, Expr::value(status))
                        .col_expr(users::Column::UpdatedAt, Expr::value(profile::later(now, user.updated_at)))
                        .filter(users::Column::Id.eq(user.id))
                        .exec(transaction)
                        .await?;
                    Ok(user.id)
                })
            })
            .await?;
        if status != users::AccountStatus::Active {
            self.hub.announce(Control::UserDisabled { user: id });
        }
        Ok(id)
    }

    async fn account_by_email(&self, email: &str) -> Result<Option<users::Model>> {
        let query = users::Entity::find().filter(users::Column::Email.eq(email)).one(self.db.pool());
        Ok(self.db.read(query).await?)
    }
}

async fn insert_session<C: ConnectionTrait>(
    connection: &C,
    session: user_sessions::Model,
) -> Result<(), DbErr> {
    user_sessions::Entity::insert(session.into_active_model().reset_all())
        .exec_without_returning(connection)
        .await
        .map(|_| ())
}

/// The two halves of a secret.
fn split(secret: [u8; 32]) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    halves[0].copy_from_slice(&secret[..16]);
    halves[1].copy_from_slice(&secret[16..]);
    halves
}
