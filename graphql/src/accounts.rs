//! The viewer: account, sessions, and what belongs to them alone.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use quikapp_chat::{
    access,
    accounts::{ProfileChange, Registration},
    entities::{SessionId, user_sessions},
    live::positions::Positions,
    sessions::{ClientInfo, SignedIn},
};

use crate::{
    channel_members::{self, ChannelMembershipConnection},
    context::ContextExt,
    cursors,
    error::Result,
    ids,
    inputs::change,
    reads::UnreadSummary,
    scalars::{DateTime, EventCursor, URL},
    sync,
    users::User,
    workspaces::{self, WorkspaceConnection},
};

/// Whoever asks, with what only they may see.
#[derive(Clone)]
pub struct Viewer {
    viewer: access::Viewer,
    /// Read before anything else, where it was asked for.
    positions: Option<Positions>,
}

/// Whoever asks, with what only they may see.
#[Object]
impl Viewer {
    /// The account as others see it.
    async fn user(&self, ctx: &Context<'_>) -> Result<User> {
        Ok(ctx.loaders()?.user(self.viewer.user()).await?.into())
    }

    /// The address of the account.
    async fn email(&self, ctx: &Context<'_>) -> Result<String> {
        Ok(ctx.loaders()?.user(self.viewer.user()).await?.email.clone())
    }

    /// Whether the address was confirmed.
    async fn email_verified(&self, ctx: &Context<'_>) -> Result<bool> {
        Ok(ctx.loaders()?.user(self.viewer.user()).await?.email_verified)
    }

    /// Whether signing in takes a second factor.
    async fn mfa_enabled(&self, ctx: &Context<'_>) -> Result<bool> {
        Ok(ctx.loaders()?.user(self.viewer.user()).await?.mfa_enabled)
    }

    /// The position of everything that the viewer is a member of, read before all else that the query asks for: follow
    /// `viewerEvents` after it, and nothing is missed in between.
    async fn sync_cursor(&self, ctx: &Context<'_>) -> Result<EventCursor> {
        let chat = ctx.chat()?;
        let positions = match &self.positions {
            Some(positions) => positions.clone(),
            None => chat.viewer_positions(&self.viewer).await?,
        };
        Ok(cursors::viewer_at(&self.viewer, None, &positions, chat.now()))
    }

    /// Open sessions, the newest first.
    async fn sessions(&self, ctx: &Context<'_>) -> Result<Vec<Session>> {
        let sessions = ctx.chat()?.sessions(&self.viewer).await?;
        Ok(sessions.into_iter().map(|session| Session::of(session, &self.viewer)).collect())
    }

    /// The workspaces that the viewer belongs to, the earliest joined first.
    async fn workspaces(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Page size, 1 to 100.", default = 50)] first: i32,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
    ) -> Result<WorkspaceConnection> {
        workspaces::of_viewer(ctx, first, after).await
    }

    /// The channels that the viewer is in and that are not archived: pinned ones first, then those with the newest messages,
    /// then those without any.
    async fn channels(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those of this workspace.")] workspace_id: Option<ID>,
        #[graphql(desc = "Page size, 1 to 200.", default = 100)] first: i32,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
    ) -> Result<ChannelMembershipConnection> {
        let workspace = ids::parse_option(workspace_id.as_ref(), "workspaceId")?;
        if let Some(workspace) = workspace {
            ctx.chat()?.workspace_member(&self.viewer, workspace).await?;
        }
        channel_members::of_viewer(ctx, workspace, first, after).await
    }

    /// What the viewer has not read, in all channels that they are in and that are not archived.
    async fn unread(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only in the channels of this workspace.")] workspace_id: Option<ID>,
    ) -> Result<UnreadSummary> {
        let workspace = ids::parse_option(workspace_id.as_ref(), "workspaceId")?;
        if let Some(workspace) = workspace {
            ctx.chat()?.workspace_member(&self.viewer, workspace).await?;
        }
        UnreadSummary::find(ctx, workspace).await
    }
}

/// A sign-in on one client.
#[derive(Clone, SimpleObject)]
pub struct Session {
    /// Its id.
    pub id: ID,
    /// The address that it began from; null if not known.
    ip_address: Option<String>,
    /// What the client called itself; null if it did not.
    user_agent: Option<String>,
    /// When it began.
    created_at: DateTime,
    /// When it ends unless it is refreshed.
    expires_at: DateTime,
    /// Whether this request belongs to it.
    is_current: bool,
}

impl Session {
    fn of(session: user_sessions::Model, viewer: &access::Viewer) -> Self {
        Self {
            id: ids::id(session.id),
            is_current: session.id == viewer.session(),
            ip_address: session.ip_address,
            user_agent: session.user_agent,
            created_at: DateTime(session.created_at),
            expires_at: DateTime(session.expires_at),
        }
    }

    /// One of the viewer's own sessions.
    pub(crate) async fn find(ctx: &Context<'_>, id: SessionId) -> Result<Self> {
        let viewer = ctx.viewer()?;
        let found = ctx.loaders()?.session(id).await?;
        Ok(Self::of(found.ok_or(quikapp_chat::Error::NotFound("session"))?, &viewer))
    }
}

/// An open session with its tokens.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct SessionPayload {
    /// Proves who asks: send it as `Authorization: Bearer …`, or in the payload of `connection_init`.
    access_token: String,
    /// Gives the next access token, once, with `refreshSession`. Keep it secret.
    refresh_token: String,
    /// When the access token ends.
    expires_at: DateTime,
    /// The session.
    session: Session,
    #[graphql(skip)]
    of: access::Viewer,
}

#[ComplexObject]
impl SessionPayload {
    /// Who has signed in.
    async fn viewer(&self) -> Viewer {
        Viewer { viewer: self.of, positions: None }
    }
}

/// What ending a session gives.
#[derive(SimpleObject)]
pub struct RevokePayload {
    /// The session that ended.
    session_id: ID,
}

/// Changes of the viewer's account. What is left out stays; null takes a field away.
#[derive(InputObject)]
pub struct UpdateProfileInput {
    /// The name to show, 1 to 100 characters.
    display_name: Option<String>,
    /// A picture, an address of up to 512 characters.
    avatar_url: MaybeUndefined<URL>,
    /// What you do now, up to 100 characters.
    status_text: MaybeUndefined<String>,
    /// An emoji for it, up to 10 characters.
    status_emoji: MaybeUndefined<String>,
    /// Your time zone, by its IANA name, such as `Europe/Berlin`.
    timezone: Option<String>,
    /// Your language, as a BCP 47 tag, such as `en-US`.
    locale: Option<String>,
}

/// What changing one's profile gives.
#[derive(SimpleObject)]
pub struct UpdateProfilePayload {
    /// The account as it is now.
    user: User,
}

/// What deleting one's account gives.
#[derive(SimpleObject)]
pub struct DeleteAccountPayload {
    /// The account that is gone.
    user_id: ID,
    /// When it went.
    deleted_at: DateTime,
}

/// The viewer.
#[derive(Default)]
pub struct AccountQuery;

#[Object]
impl AccountQuery {
    /// Whoever asks; null without valid credentials.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Option<Viewer>> {
        let Some(viewer) = ctx.identity()?.get() else { return Ok(None) };
        Ok(Some(Viewer { viewer, positions: sync::viewer(ctx).transpose()? }))
    }
}

/// Accounts and sessions.
#[derive(Default)]
pub struct AccountMutation;

fn client(ctx: &Context<'_>) -> ClientInfo {
    let client = ctx.client();
    ClientInfo { ip: client.ip.map(|ip| ip.to_string()), user_agent: client.user_agent }
}

/// The payload of a session that has just opened; from here on the request acts for its user.
fn opened(ctx: &Context<'_>, signed_in: SignedIn) -> Result<SessionPayload> {
    ctx.identity()?.set(signed_in.viewer);
    Ok(SessionPayload {
        access_token: signed_in.access_token,
        refresh_token: signed_in.refresh_token,
        expires_at: DateTime(signed_in.viewer.expires_at()),
        session: Session::of(signed_in.session, &signed_in.viewer),
        of: signed_in.viewer,
    })
}

#[Object]
impl AccountMutation {
    /// Makes an account and opens its first session. ALREADY_EXISTS at `email` if the address has one.
    async fn register(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The address, up to 255 characters; upper and lower case are the same.")]
        email: String,
        #[graphql(desc = "8 to 256 characters.")] password: String,
        #[graphql(desc = "The name to show, 1 to 100 characters.")] display_name: String,
    ) -> Result<SessionPayload> {
        let registration = Registration { email, password, display_name };
        opened(ctx, ctx.chat()?.register(registration, client(ctx)).await?)
    }

    /// Opens a session by address and password. UNAUTHENTICATED if they do not fit, without telling which.
    async fn sign_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account's address.")] email: String,
        #[graphql(desc = "Its password.")] password: String,
    ) -> Result<SessionPayload> {
        opened(ctx, ctx.chat()?.sign_in(&email, &password, client(ctx)).await?)
    }

    /// Gives new tokens for a session. Each refresh token works once; one that comes back a second time was stolen, and
    /// ends the session.
    async fn refresh_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The session's present refresh token.")] refresh_token: String,
    ) -> Result<SessionPayload> {
        opened(ctx, ctx.chat()?.refresh_session(&refresh_token, client(ctx)).await?)
    }

    /// Ends one of the viewer's sessions: its tokens fail from now on, and its connections close.
    async fn revoke_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The session's id.")] id: ID,
    ) -> Result<RevokePayload> {
        let viewer = ctx.viewer()?;
        let session: SessionId = ids::parse(&id, "id")?;
        ctx.chat()?.revoke_session(&viewer, session).await?;
        Ok(RevokePayload { session_id: id })
    }

    /// Deletes the viewer's account: leaves every workspace and channel, ends every session, and takes name, address and
    /// picture away. Messages stay, by "Deleted user". CONFLICT while the viewer owns a workspace.
    async fn delete_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account's password.")] password: String,
    ) -> Result<DeleteAccountPayload> {
        let viewer = ctx.viewer()?;
        let deleted_at = ctx.chat()?.delete_account(&viewer, password).await?;
        Ok(DeleteAccountPayload { user_id: ids::id(viewer.user()), deleted_at: DateTime(deleted_at) })
    }

    /// Changes the viewer's account.
    async fn update_profile(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The changes.")] input: UpdateProfileInput,
    ) -> Result<UpdateProfilePayload> {
        let viewer = ctx.viewer()?;
        let changes = ProfileChange {
            display_name: input.display_name,
            avatar_url: change(input.avatar_url).map(|url| url.map(|url| url.0)),
            status_text: change(input.status_text),
            status_emoji: change(input.status_emoji),
            timezone: input.timezone,
            locale: input.locale,
        };
        let user = ctx.chat()?.update_profile(&viewer, changes).await?;
        Ok(UpdateProfilePayload { user: Arc::new(user).into() })
    }
}
