//! Who knows whom: a person is visible to those who share a workspace.

use std::collections::HashSet;

use quikapp_entities::{UserId, workspace_members};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait};

use crate::{Chat, Result, access::Viewer};

impl Chat {
    /// Those of `users` that the viewer may see: oneself and everybody of the viewer's workspaces. One query.
    pub async fn acquaintances(&self, viewer: &Viewer, users: &[UserId]) -> Result<HashSet<UserId>> {
        let mut known: HashSet<UserId> = HashSet::new();
        let others: Vec<UserId> = users.iter().copied().filter(|user| *user != viewer.user()).collect();
        if others.len() < users.len() {
            known.insert(viewer.user());
        }
        if others.is_empty() {
            return Ok(known);
        }
        let own = workspace_members::Entity::find()
            .select_only()
            .column(workspace_members::Column::WorkspaceId)
            .filter(workspace_members::Column::UserId.eq(viewer.user()))
            .into_query();
        let found = self
            .db
            .read(
                workspace_members::Entity::find()
                    .select_only()
                    .column(workspace_members::Column::UserId)
                    .distinct()
                    .filter(workspace_members::Column::UserId.is_in(others))
                    .filter(workspace_members::Column::WorkspaceId.in_subquery(own))
                    .into_tuple::<UserId>()
                    .all(self.db.pool()),
            )
            .await?;
        known.extend(found);
        Ok(known)
    }
}
