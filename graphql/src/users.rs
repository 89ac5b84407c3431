//! People: type, look-up.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, Enum, ID, Object, SimpleObject};
use futures_util::future::try_join_all;
use quikapp_chat::{
    Error,
    entities::{UserId, users},
};

use crate::{
    context::ContextExt,
    error::Result,
    ids,
    presence::Presence,
    scalars::{DateTime, URL},
};

/// Whether an account may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "users::AccountStatus")]
pub enum AccountStatus {
    /// May sign in.
    Active,
    /// Deactivated by its owner.
    Inactive,
    /// Locked by an operator.
    Suspended,
}

/// A person. Visible to everybody who shares a workspace with them.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct User {
    /// The account's id.
    pub id: ID,
    /// The name to show, 1 to 100 characters. Not unique.
    pub display_name: String,
    /// A picture; null if there is none.
    pub avatar_url: Option<URL>,
    /// Whether the account may act.
    pub status: AccountStatus,
    /// What they do now, in their own words; null if they do not tell.
    pub status_text: Option<String>,
    /// An emoji for it; null if there is none.
    pub status_emoji: Option<String>,
    /// Their time zone, by its IANA name.
    pub timezone: String,
    /// Their language, as a BCP 47 tag.
    pub locale: String,
    /// When the account was made.
    pub created_at: DateTime,
    /// When it last changed.
    pub updated_at: DateTime,
    /// When it was deleted; null if it was not.
    pub deleted_at: Option<DateTime>,
    #[graphql(skip)]
    key: UserId,
}

impl From<Arc<users::Model>> for User {
    fn from(user: Arc<users::Model>) -> Self {
        Self {
            id: ids::id(user.id),
            display_name: user.display_name.clone(),
            avatar_url: user.avatar_url.clone().map(URL),
            status: user.status.into(),
            status_text: user.status_text.clone(),
            status_emoji: user.status_emoji.clone(),
            timezone: user.timezone.clone(),
            locale: user.locale.clone(),
            created_at: DateTime(user.created_at),
            updated_at: DateTime(user.updated_at),
            deleted_at: user.deleted_at.map(DateTime),
            key: user.id,
        }
    }
}

impl User {
    /// People that the viewer met, in the order given; one query, however many.
    pub(crate) async fn load_all(ctx: &Context<'_>, users: &[UserId]) -> Result<Vec<Self>> {
        let loaders = ctx.loaders()?;
        let users = try_join_all(users.iter().map(|user| loaders.user(*user))).await?;
        Ok(users.into_iter().map(Self::from).collect())
    }

    /// Somebody by id, if the viewer may see them.
    pub(crate) async fn find(ctx: &Context<'_>, user: UserId) -> Result<Self> {
        let found = ctx.loaders()?.acquaintance(user).await?;
        Ok(found.ok_or(Error::NotFound("user"))?.into())
    }
}

#[ComplexObject]
impl User {
    /// Whether they are online; null for those who share no channel with the viewer, and while it cannot be found out.
    async fn presence(&self, ctx: &Context<'_>) -> Option<Result<Presence>> {
        async { Ok(ctx.loaders()?.presence(self.key).await?.map(Presence::from)) }.await.transpose()
    }
}

/// Looking people up.
#[derive(Default)]
pub struct UserQuery;

#[Object]
impl UserQuery {
    /// Somebody by id. NOT_FOUND for those who share no workspace with the viewer.
    async fn user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account's id.")] id: ID,
    ) -> Option<Result<User>> {
        Some(
            async {
                ctx.viewer()?;
                User::find(ctx, ids::parse(&id, "id")?).await
            }
            .await,
        )
    }
}
