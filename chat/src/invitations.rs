//! Invitations into a workspace: links for many, or letters for one address. Only the token's hash is kept.

use std::{fmt::Write, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use quikapp_entities::{
    InvitationId, Timestamp, UserId, channels, invitations, users,
    workspace_members::{self, MemberRole},
    workspaces,
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, Set,
};
use sha2::{Digest, Sha256};

use crate::{
    Chat, Error, Result,
    access::{Viewer, WorkspaceMember},
    aftermath::to_the_end,
    channel_members::{key_of, rows},
    database::Fault,
    error::Validation,
    live::viewer::workspace_log,
    messages::model::ChannelKey,
    outbox::{self, Untold},
    workspaces::{Entry, insert_member, settings::Settings},
};

/// How long an invitation lasts unless told otherwise.
pub const USUAL_LIFE: Duration = Duration::from_hours(7 * 24);
/// How long one may last at most.
pub const LONGEST_LIFE: Duration = Duration::from_hours(30 * 24);

const EMAIL: usize = 255;
const UNKNOWN: Error = Error::NotFound("invitation");

/// An invitation with its token, which nobody can read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInvitation {
    /// What lets people in.
    pub token: String,
    /// What is kept of it.
    pub invitation: invitations::Model,
}

fn hash_of(token: &str) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(token.as_bytes()) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Chat {
    /// Makes an invitation. Members invite MEMBERs and GUESTs, admins ADMINs too, guests nobody. With an address only that
    /// account can accept it, once; without, it is a link for many. It lasts a week, or until `expires_at`, at most 30
    /// days.
    pub async fn create_invitation(
        &self,
        member: &WorkspaceMember,
        email: Option<&str>,
        role: MemberRole,
        expires_at: Option<Timestamp>,
    ) -> Result<NewInvitation> {
        let now = self.env.now();
        if member.role() == MemberRole::Guest {
            return Err(Error::Forbidden("guests cannot invite"));
        }
        let email = email.map(|email| email.trim().to_lowercase());
        let mut validation = Validation::default();
        if let Some(email) = &email {
            validation.length("email", email, 1, EMAIL);
            let parts = email.split_once('@');
            let plausible = parts
                .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
                && !email.chars().any(|c| c.is_whitespace() || c.is_control());
            validation.check(plausible, "email", "must be an e-mail address");
        }
        validation.check(role != MemberRole::Owner, "role", "a workspace has one owner");
        let expires_at = expires_at.unwrap_or_else(|| now.plus(USUAL_LIFE));
        validation.check(expires_at > now, "expiresAt", "must be in the future");
        validation.check(expires_at <= now.plus(LONGEST_LIFE), "expiresAt", "must be within 30 days");
        validation.finish()?;
        if role > member.role() {
            return Err(Error::Forbidden("nobody invites to a role above their own"));
        }
        if role == MemberRole::Guest && !Settings(&member.workspace().settings).allow_guest_invites() {
            return Err(Error::Forbidden("this workspace does not invite guests"));
        }
        let token = URL_SAFE_NO_PAD.encode(self.env.secret());
        let invitation = invitations::Model {
            id: InvitationId(self.env.uuid()),
            workspace_id: member.id(),
            token_hash: hash_of(&token),
            email,
            role,
            created_by: member.viewer().user(),
            expires_at,
            accepted_at: None,
            created_at: now,
        };
        let row = invitation.clone();
        let (workspace, actor) = (member.id(), member.viewer().user());
        self.db
            .write(move |tx| {
                let row = row.clone();
                Box::pin(async move {
                    // Whoever is being removed at this moment must not leave a new link behind.
                    let roles = rows::hold_workspace_members(tx, workspace, &[actor]).await?;
                    if roles.get(&actor).is_none_or(|own| role > *own) {
                        return Err(Error::NotFound("workspace").into());
                    }
                    invitations::Entity::insert(row.into_active_model().reset_all())
                        .exec_without_returning(tx)
                        .await?;
                    Ok(())
                })
            })
            .await?;
        Ok(NewInvitation { token, invitation })
    }

    /// Goes into a workspace, and into its general channel, by an invitation; without effect for those who belong to it.
    /// [`Error::NotFound`] if the token is unknown, expired, spent or somebody else's.
    pub async fn accept_invitation(&self, viewer: &Viewer, token: &str) -> Result<WorkspaceMember> {
        let user = viewer.user();
        let query =
            invitations::Entity::find().filter(invitations::Column::TokenHash.eq(hash_of(token.trim())));
        let invitation = self.db.read(query.one(self.db.pool())).await?.ok_or(UNKNOWN)?;
        let now = self.env.now();
        if invitation.expires_at <= now {
            return Err(UNKNOWN);
        }
        if let Some(email) = &invitation.email {
            let account = self.db.read(users::Entity::find_by_id(user).one(self.db.pool())).await?;
            if account.is_none_or(|account| account.email != *email) {
                return Err(UNKNOWN);
            }
        }
        let workspace = invitation.workspace_id;
        match self.workspace_member(viewer, workspace).await {
            Err(Error::NotFound(_)) => {}
            found => return found,
        }
        if invitation.accepted_at.is_some() {
            return Err(UNKNOWN);
        }
        let general = channels::Entity::find()
            .filter(channels::Column::WorkspaceId.eq(workspace))
            .filter(channels::Column::IsGeneral.eq(true));
        let general = self.db.read(general.one(self.db.pool())).await?.ok_or(Error::Internal)?;
        let (chat, key) = (self.clone(), key_of(&general));
        to_the_end(async move {
            let heads = Heads {
                workspace: chat.log.head(workspace_log(workspace)).await?.seq,
                general: chat.log.head(key).await?.seq,
            };
            let invitation = Arc::new(invitation);
            let untold = chat
                .db
                .write(move |tx| {
                    let invitation = Arc::clone(&invitation);
                    Box::pin(async move { admit(tx, &invitation, user, key, heads, now).await })
                })
                .await?;
            chat.tell(untold).await;
            Ok(())
        })
        .await?;
        self.workspace_member(viewer, workspace).await
    }
}

/// The last ticks before somebody came in.
#[derive(Clone, Copy)]
struct Heads {
    /// Of the workspace's own log.
    workspace: i64,
    /// Of its general channel.
    general: i64,
}

/// Makes somebody a member of the workspace and its general channel; without effect if they were one already. Gives what is
/// to be told.
async fn admit(
    tx: &DatabaseTransaction,
    invitation: &invitations::Model,
    user: UserId,
    general: ChannelKey,
    heads: Heads,
    now: Timestamp,
) -> std::result::Result<Vec<Untold>, Fault> {
    let workspace = invitation.workspace_id;
    rows::lock_workspace(tx, workspace).await?;
    if workspace_members::Entity::find_by_id((workspace, user)).one(tx).await?.is_some() {
        return Ok(Vec::new());
    }
    // The workspace's lock makes this the latest state: one acceptance of a letter wins, and a link may have been ended.
    let usable = invitations::Entity::find_by_id(invitation.id).one(tx).await?;
    if usable.is_none_or(|invitation| invitation.accepted_at.is_some() || invitation.expires_at <= now) {
        return Err(UNKNOWN.into());
    }
    if invitation.email.is_some() {
        invitations::Entity::update_many()
            .set(invitations::ActiveModel { accepted_at: Set(Some(now)), ..Default::default() })
            .filter(invitations::Column::Id.eq(invitation.id))
            .exec(tx)
            .await?;
    }
    let entry = Entry { joined_seq: heads.workspace, invited_by: Some(invitation.created_by) };
    insert_member(tx, workspace, (user, invitation.role), entry, now).await?;
    workspaces::Entity::update_many()
        .col_expr(workspaces::Column::MemberCount, rows::plus(workspaces::Column::MemberCount, 1))
        .filter(workspaces::Column::Id.eq(workspace))
        .exec(tx)
        .await?;
    let channel = rows::lock_channel(tx, general.channel).await?;
    let people = [(user, rows::role_on_entry(invitation.role))];
    let (_, entered) = rows::enter(tx, &channel, &people, heads.general, now).await?;
    let mut untold = vec![Untold::access(workspace, None, [user], user)];
    untold.extend(Untold::entered(general, user, &entered));
    outbox::keep(tx, &untold, now).await?;
    Ok(untold)
}
