//! Proofs of permission. Functions of the domain take one of the values below, and only this module makes them, from what
//! the store says at that moment; so a forgotten check does not compile.
//!
//! A proof is not a lock: what must hold at the moment of a change is read again inside the change's transaction.

mod channel;
mod lookups;
mod standing;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use quikapp_entities::{
    SessionId, Timestamp, UserId, WorkspaceId,
    workspace_members::{self, MemberRole},
    workspaces,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Select, SelectTwo};

pub use self::channel::{ChannelMember, ChannelReader, VisibleChannel};
pub(crate) use self::{
    channel::{may_touch, power},
    lookups::Lookups,
    standing::{Sighting, Standing, VisibleChannels, present, present_as, present_in, visible},
};
use crate::{Chat, Error, Result};

/// Somebody with valid credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewer {
    user: UserId,
    session: SessionId,
    expires_at: Timestamp,
}

impl Viewer {
    /// The caller has checked the credentials.
    pub(crate) fn new(user: UserId, session: SessionId, expires_at: Timestamp) -> Self {
        Self { user, session, expires_at }
    }

    /// Who it is.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.user
    }

    /// The sign-in that the credentials belong to.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// When the credentials end.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// The viewer belongs to the workspace.
#[derive(Debug, Clone)]
pub struct WorkspaceMember {
    viewer: Viewer,
    workspace: Arc<workspaces::Model>,
    membership: workspace_members::Model,
}

impl WorkspaceMember {
    /// Who.
    #[must_use]
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// Where, as it was when the proof was made.
    #[must_use]
    pub fn workspace(&self) -> &Arc<workspaces::Model> {
        &self.workspace
    }

    /// The workspace's id.
    #[must_use]
    pub fn id(&self) -> WorkspaceId {
        self.workspace.id
    }

    /// The viewer's role in the workspace.
    #[must_use]
    pub fn role(&self) -> MemberRole {
        self.membership.role
    }

    /// The viewer's membership in the workspace.
    #[must_use]
    pub fn membership(&self) -> &workspace_members::Model {
        &self.membership
    }

    /// Fails with [`Error::Forbidden`] below ADMIN.
    pub(crate) fn administer(&self) -> Result<()> {
        if self.role() >= MemberRole::Admin {
            Ok(())
        } else {
            Err(Error::Forbidden("only admins of the workspace may do this"))
        }
    }
}

impl Chat {
    /// The viewer's membership in a workspace; [`Error::NotFound`] without one.
    pub async fn workspace_member(&self, viewer: &Viewer, workspace: WorkspaceId) -> Result<WorkspaceMember> {
        let found =
            self.workspaces_where(viewer, |query| query.filter(workspaces::Column::Id.eq(workspace))).await?;
        found.into_iter().next().ok_or(Error::NotFound("workspace"))
    }

    /// The same by the workspace's slug.
    pub async fn workspace_by_slug(&self, viewer: &Viewer, slug: &str) -> Result<WorkspaceMember> {
        let found =
            self.workspaces_where(viewer, |query| query.filter(workspaces::Column::Slug.eq(slug))).await?;
        found.into_iter().next().ok_or(Error::NotFound("workspace"))
    }

    /// Those of the given workspaces that the viewer belongs to, in one query; the others are left out.
    pub async fn workspace_members_by_ids(
        &self,
        viewer: &Viewer,
        workspaces: &[WorkspaceId],
    ) -> Result<HashMap<WorkspaceId, WorkspaceMember>> {
        if workspaces.is_empty() {
            return Ok(HashMap::new());
        }
        let ids = workspaces.iter().copied();
        let found =
            self.workspaces_where(viewer, |query| query.filter(workspaces::Column::Id.is_in(ids))).await?;
        Ok(found.into_iter().map(|member| (member.id(), member)).collect())
    }

    /// Proofs for the viewer's workspaces, narrowed and ordered by `narrow`; one query.
    pub(crate) async fn workspaces_where(
        &self,
        viewer: &Viewer,
        narrow: impl FnOnce(
            SelectTwo<workspace_members::Entity, workspaces::Entity>,
        ) -> SelectTwo<workspace_members::Entity, workspaces::Entity>,
    ) -> Result<Vec<WorkspaceMember>> {
        let query: Select<workspace_members::Entity> =
            workspace_members::Entity::find().filter(workspace_members::Column::UserId.eq(viewer.user));
        let query = narrow(query.find_also_related(workspaces::Entity));
        let rows = self.db.read(query.all(self.db.pool())).await?;
        Ok(rows
            .into_iter()
            .filter_map(|(membership, workspace)| {
                Some(WorkspaceMember { viewer: *viewer, workspace: Arc::new(workspace?), membership })
            })
            .collect())
    }
}
