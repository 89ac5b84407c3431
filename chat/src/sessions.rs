//! Sessions: one for each sign-in. An access token is checked by its signature and by the session's present state; a
//! refresh token is good for one use, and one that comes back a second time ends its session.

mod cache;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt, time::Duration};

use quikapp_entities::{SessionId, Timestamp, UserId, spent_refresh_tokens, user_sessions, users};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
    Select, sea_query::Expr,
};

use self::cache::{Live, SessionCache};
use crate::{
    Chat, Error, Result,
    access::Viewer,
    database::Fault,
    live::{Control, Hub},
    passwords::Passwords,
    tokens::{self, Tokens},
};

/// How long a session lasts from its latest refresh on.
pub const SESSION_LIFE: Duration = Duration::from_hours(30 * 24);
/// At most so many of a viewer's sessions are listed.
const LISTED: u64 = 200;
/// Rows that one clean-up takes, and ids that one statement names.
const BATCH: u64 = 1_000;
const IDS_PER_STATEMENT: usize = 10_000;
/// What a client says of itself is cut to its column.
const USER_AGENT_LENGTH: usize = 512;
const IP_LENGTH: usize = 45;

/// Everything that turns credentials into a viewer.
pub(crate) struct Authentication {
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    cache: SessionCache,
}

impl Authentication {
    pub(crate) fn new(jwt_secret: &[u8], hub: &Hub) -> Self {
        Self { tokens: Tokens::new(jwt_secret), passwords: Passwords::new(), cache: SessionCache::new(hub) }
    }
}

/// From where somebody signs in, for the list of sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// The address of the connection; kept up to 45 characters, which is enough for every IP address.
    pub ip: Option<String>,
    /// What the client calls itself; kept up to 512 characters.
    pub user_agent: Option<String>,
}

/// What a client says of itself, fit for a list and for its column.
fn clean(text: Option<String>, length: usize) -> Option<String> {
    let text: String = text?.chars().filter(|c| !c.is_control()).collect();
    let text: String = text.trim().chars().take(length).collect();
    Some(text).filter(|text| !text.is_empty())
}

/// A session that was begun or refreshed. The two tokens exist nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// For every request, until [`SignedIn::expires_at`].
    pub access_token: String,
    /// For one refresh.
    pub refresh_token: String,
    /// When the access token ends.
    pub expires_at: Timestamp,
    /// The session.
    pub session: user_sessions::Model,
    /// Whose it is.
    pub user: users::Model,
    /// The proof that the access token stands for.
    pub viewer: Viewer,
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn").field("viewer", &self.viewer).finish_non_exhaustive()
    }
}

/// How sessions stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStates {
    /// Those that may act, each with the end of its newest access token.
    pub live: Vec<(SessionId, Timestamp)>,
    /// Those that may not any more: revoked, expired, gone, or of an account that is not active.
    pub ended: Vec<SessionId>,
}

enum Refresh {
    Done(Box<(user_sessions::Model, users::Model)>),
    Reused,
    Refused,
}

impl Chat {
    /// Who an access token stands for, as of now: not after the session was revoked or the account lost its right to act.
    /// Asks the database at most every two seconds for each session.
    pub async fn authenticate(&self, access_token: &str) -> Result<Viewer> {
        let now = self.env.now();
        let viewer = self.auth.tokens.check(access_token, now)?;
        let (known, epoch) = self.auth.cache.get(viewer.session()).await;
        let live = if let Some(live) = known {
            live
        } else {
            let query = live_sessions(now)
                .filter(user_sessions::Column::Id.eq(viewer.session()))
                .select_only()
                .column(user_sessions::Column::UserId)
                .column(user_sessions::Column::ExpiresAt)
                .into_tuple::<(UserId, Timestamp)>()
                .one(self.db.pool());
            let live = self.db.read(query).await?.map(|(user, expires_at)| Live { user, expires_at });
            self.auth.cache.put(viewer.session(), live, epoch).await;
            live
        };
        if live.is_some_and(|live| live.user == viewer.user() && live.expires_at > now) {
            Ok(viewer)
        } else {
            Err(Error::Unauthenticated("the session has ended"))
        }
    }

    /// New tokens for an old refresh token, which is spent by that. One that was spent before has leaked, or its owner has:
    /// the session ends.
    pub async fn refresh_session(&self, refresh_token: &str, client: ClientInfo) -> Result<SignedIn> {
        const REFUSED: Error = Error::Unauthenticated("the refresh token is not valid");
        let id = tokens::refresh_token_session(refresh_token).ok_or(REFUSED)?;
        let now = self.env.now();
        let old = tokens::hash(refresh_token);
        let next_token = tokens::refresh_token(id, &self.env.secret());
        let next = tokens::hash(&next_token);
        let ip = clean(client.ip, IP_LENGTH);
        let name = clean(client.user_agent, USER_AGENT_LENGTH);
        let outcome = self
            .db
            .write(move |transaction| {
                let (old, next, ip, name) = (old.clone(), next.clone(), ip.clone(), name.clone());
                Box::pin(async move {
                    // The one statement that decides between two refreshes with the same token.
                    let updated = user_sessions::Entity::update_many()
                        .col_expr(user_sessions::Column::TokenHash, Expr::value(next))
                        .col_expr(user_sessions::Column::ExpiresAt, Expr::value(now.plus(SESSION_LIFE)))
                        .col_expr(user_sessions::Column::IpAddress, Expr::value(ip))
                        .col_expr(user_sessions::Column::UserAgent, Expr::value(name))
                        .filter(user_sessions::Column::Id.eq(id))
                        .filter(user_sessions::Column::TokenHash.eq(old.clone()))
                        .filter(user_sessions::Column::RevokedAt.is_null())
                        .filter(user_sessions::Column::ExpiresAt.gt(now))
                        .exec(transaction)
                        .await?;
                    if updated.rows_affected == 0 {
                        let spent = spent_refresh_tokens::Entity::find_by_id(old).one(transaction).await?;
                        if spent.is_none_or(|spent| spent.session_id != id) {
                            return Ok(Refresh::Refused);
                        }
                        let revoked = revoke(id, now).exec(transaction).await?;
                        let reused = revoked.rows_affected > 0;
                        return Ok(if reused { Refresh::Reused } else { Refresh::Refused });
                    }
                    let row = spent_refresh_tokens::Model { token_hash: old, session_id: id, spent_at: now };
                    spent_refresh_tokens::Entity::insert(row.into_active_model().reset_all())
                        .exec_without_returning(transaction)
                        .await?;
                    let found = user_sessions::Entity::find_by_id(id)
                        .find_also_related(users::Entity)
                        .one(transaction)
                        .await?;
                    match found {
                        Some((session, Some(user))) if may_act(&user) => {
                            Ok(Refresh::Done(Box::new((session, user))))
                        }
                        _ => Err(Fault::Domain(REFUSED)),
                    }
                })
            })
            .await?;
        match outcome {
            Refresh::Done(done) => self.signed_in(done.1, done.0, next_token),
            Refresh::Reused => {
                tracing::warn!(session = %id, "a spent refresh token came back: the session is revoked");
                self.hub.announce(Control::SessionRevoked { session: id });
                Err(REFUSED)
            }
            Refresh::Refused => Err(REFUSED),
        }
    }

    /// Ends one of the viewer's own sessions, on every node at once. Ending it again changes nothing.
    pub async fn revoke_session(&self, viewer: &Viewer, id: SessionId) -> Result<SessionId> {
        let found = user_sessions::Entity::find_by_id(id)
            .filter(user_sessions::Column::UserId.eq(viewer.user()))
            .one(self.db.pool());
        let session = self.db.read(found).await?.ok_or(Error::NotFound("session"))?;
        if session.revoked_at.is_none() {
            self.db.read(revoke(id, self.env.now()).exec(self.db.pool())).await?;
        }
        self.hub.announce(Control::SessionRevoked { session: id });
        Ok(id)
    }

    /// The viewer's sessions that have not ended, newest first, at most 200.
    pub async fn sessions(&self, viewer: &Viewer) -> Result<Vec<user_sessions::Model>> {
        let query = user_sessions::Entity::find()
            .filter(user_sessions::Column::UserId.eq(viewer.user()))
            .filter(user_sessions::Column::RevokedAt.is_null())
            .filter(user_sessions::Column::ExpiresAt.gt(self.env.now()))
            .order_by_desc(user_sessions::Column::CreatedAt)
            .order_by_desc(user_sessions::Column::Id)
            .limit(LISTED)
            .all(self.db.pool());
        Ok(self.db.read(query).await?)
    }

    /// How these sessions stand. For the sweep over open connections, which finds what nobody announced.
    pub async fn check_sessions(&self, sessions: &[SessionId]) -> Result<SessionStates> {
        let mut live = HashMap::with_capacity(sessions.len());
        for part in sessions.chunks(IDS_PER_STATEMENT) {
            let query = live_sessions(self.env.now())
                .filter(user_sessions::Column::Id.is_in(part.iter().copied()))
                .select_only()
                .column(user_sessions::Column::Id)
                .column(user_sessions::Column::ExpiresAt)
                .into_tuple::<(SessionId, Timestamp)>()
                .all(self.db.pool());
            live.extend(self.db.read(query).await?);
        }
        let ended: Vec<_> = sessions.iter().copied().filter(|id| !live.contains_key(id)).collect();
        for id in &ended {
            self.auth.cache.forget(*id).await;
        }
        // A session's row tells when it was begun or refreshed last, and each time gave one access token.
        let token_end = |end: Timestamp| {
            let issued = end.0 - Timestamp(0).plus(SESSION_LIFE).0;
            self.auth.tokens.end(Timestamp(issued))
        };
        let live = live.into_iter().map(|(id, end)| (id, token_end(end))).collect();
        Ok(SessionStates { live, ended })
    }

    /// Removes sessions that ended a session's life ago, and spent refresh tokens of that age: at most a thousand of each.
    /// Returns how many, so that the caller goes on while it is not 0.
    pub async fn purge_sessions(&self) -> Result<u64> {
        let before = Timestamp(self.env.now().0 - Timestamp(0).plus(SESSION_LIFE).0);
        let tokens = spent_refresh_tokens::Entity::find()
            .filter(spent_refresh_tokens::Column::SpentAt.lt(before))
            .select_only()
            .column(spent_refresh_tokens::Column::TokenHash)
            .limit(BATCH)
            .into_tuple::<String>()
            .all(self.db.pool());
        let tokens = self.db.read(tokens).await?;
        let sessions = user_sessions::Entity::find()
            .filter(user_sessions::Column::ExpiresAt.lt(before))
            .select_only()
            .column(user_sessions::Column::Id)
            .limit(BATCH)
            .into_tuple::<SessionId>()
            .all(self.db.pool());
        let sessions = self.db.read(sessions).await?;
        let removed = tokens.len() + sessions.len();
        if !tokens.is_empty() {
            let delete = spent_refresh_tokens::Entity::delete_many()
                .filter(spent_refresh_tokens::Column::TokenHash.is_in(tokens));
            self.db.read(delete.exec(self.db.pool())).await?;
        }
        if !sessions.is_empty() {
            let delete =
                user_sessions::Entity::delete_many().filter(user_sessions::Column::Id.is_in(sessions));
            self.db.read(delete.exec(self.db.pool())).await?;
        }
        Ok(u64::try_from(removed).unwrap_or(u64::MAX))
    }

    /// The row of a new session, and its refresh token.
    pub(crate) fn new_session(&self, user: UserId, client: ClientInfo) -> (user_sessions::Model, String) {
        let now = self.env.now();
        let id = SessionId(self.env.uuid());
        let refresh_token = tokens::refresh_token(id, &self.env.secret());
        let session = user_sessions::Model {
            id,
            user_id: user,
            token_hash: tokens::hash(&refresh_token),
            ip_address: clean(client.ip, IP_LENGTH),
            user_agent: clean(client.user_agent, USER_AGENT_LENGTH),
            expires_at: now.plus(SESSION_LIFE),
            revoked_at: None,
            created_at: now,
        };
        (session, refresh_token)
    }

    /// Adds an access token to a session that is in the database.
    pub(crate) fn signed_in(
        &self,
        user: users::Model,
        session: user_sessions::Model,
        refresh_token: String,
    ) -> Result<SignedIn> {
        let (access_token, expires_at) = self.auth.tokens.issue(user.id, session.id, self.env.now())?;
        let viewer = Viewer::new(user.id, session.id, expires_at);
        Ok(SignedIn { access_token, refresh_token, expires_at, session, user, viewer })
    }
}

/// Whether the account may sign in and act.
pub(crate) fn may_act(user: &users::Model) -> bool {
    user.status == users::AccountStatus::Active && user.deleted_at.is_none()
}

/// The sessions that may act, with the same rule as [`may_act`].
fn live_sessions(now: Timestamp) -> Select<user_sessions::Entity> {
    user_sessions::Entity::find()
        .inner_join(users::Entity)
        .filter(user_sessions::Column::RevokedAt.is_null())
        .filter(user_sessions::Column::ExpiresAt.gt(now))
        .filter(users::Column::Status.eq(users::AccountStatus::Active))
        .filter(users::Column::DeletedAt.is_null())
}

fn revoke(id: SessionId, now: Timestamp) -> sea_orm::UpdateMany<user_sessions::Entity> {
    user_sessions::Entity::update_many()
        .col_expr(user_sessions::Column::RevokedAt, Expr::value(now))
        .filter(user_sessions::Column::Id.eq(id))
        .filter(user_sessions::Column::RevokedAt.is_null())
}
