//! The workspace that an import goes into.

use quikapp_entities::{
    ChannelId, SessionId, Timestamp, UserId, WorkspaceId, channels, users, workspace_members::MemberRole,
    workspaces,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use crate::{
    Chat, Error, Result,
    access::Viewer,
    import::{
        ImportOptions,
        people::{address, blank, join},
    },
};

/// What the owner of a workspace is called that came from an import without one.
const OWNER_NAME: &str = "Import";

/// An open workspace.
pub(super) struct Place {
    pub(super) workspace: WorkspaceId,
    pub(super) slug: String,
    pub(super) owner: UserId,
    /// The channel that everybody is in.
    pub(super) general: Option<ChannelId>,
}

impl Chat {
    /// Finds the workspace, or makes it.
    pub(super) async fn open_place(&self, options: &ImportOptions) -> Result<Place> {
        let owner = match &options.owner {
            Some(email) => Some(self.account_of(&email.trim().to_lowercase()).await?.ok_or(NO_OWNER)?),
            None => None,
        };
        if let Some(workspace) = self.workspace_of_slug(&options.workspace).await? {
            let place = self.place(workspace).await?;
            if let Some(owner) = owner {
                join(self, &place, vec![owner], MemberRole::Admin).await?;
            }
            return Ok(place);
        }
        let owner = match owner {
            Some(owner) => owner,
            None => self.owner_of_import(&options.workspace).await?,
        };
        // Who starts an import has every right on the server, so the owner needs no session.
        let viewer = Viewer::new(owner, SessionId(Uuid::nil()), Timestamp(i64::MAX));
        match self.create_workspace(&viewer, &options.workspace, &options.workspace).await {
            Ok(_) | Err(Error::AlreadyExists(_)) => {}
            Err(error) => return Err(error),
        }
        let workspace = self.workspace_of_slug(&options.workspace).await?.ok_or(Error::Internal)?;
        self.place(workspace).await
    }

    async fn place(&self, workspace: workspaces::Model) -> Result<Place> {
        let general = channels::Entity::find()
            .filter(channels::Column::WorkspaceId.eq(workspace.id))
            .filter(channels::Column::IsGeneral.eq(true));
        let general = self.db.read(general.one(self.db.pool())).await?;
        Ok(Place {
            workspace: workspace.id,
            slug: workspace.slug,
            owner: workspace.owner_id,
            general: general.map(|channel| channel.id),
        })
    }

    async fn workspace_of_slug(&self, slug: &str) -> Result<Option<workspaces::Model>> {
        let found = workspaces::Entity::find().filter(workspaces::Column::Slug.eq(slug));
        Ok(self.db.read(found.one(self.db.pool())).await?)
    }

    async fn account_of(&self, email: &str) -> Result<Option<UserId>> {
        let found = users::Entity::find()
            .filter(users::Column::Email.eq(email))
            .filter(users::Column::DeletedAt.is_null());
        Ok(self.db.read(found.one(self.db.pool())).await?.map(|user| user.id))
    }

    /// The account that owns a new workspace when nobody else does.
    async fn owner_of_import(&self, slug: &str) -> Result<UserId> {
        // No nick is empty, so this is the address of none.
        let email = address(slug, "");
        if let Some(owner) = self.account_of(&email).await? {
            return Ok(owner);
        }
        let user = blank(UserId(self.env.uuid()), email.clone(), OWNER_NAME, self.env.now());
        match self.db.read(users::Entity::insert(user).exec_without_returning(self.db.pool())).await {
            // Another import was faster.
            Ok(_) | Err(crate::database::Fault::Unique(_)) => {}
            Err(fault) => return Err(fault.into()),
        }
        self.account_of(&email).await?.ok_or(Error::Internal)
    }
}

const NO_OWNER: Error = Error::NotFound("the owner's account");
