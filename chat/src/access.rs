//! Proofs of permission. Functions of the domain take one of the values below, and only this module makes them, from what
//! the store says at that moment; so a forgotten check does not compile.
//!
//! A proof is not a lock: what must hold at the moment of a change is read again inside the change's transaction.

mod lookups;
mod standing;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, ops::Deref, sync::Arc};

use quikapp_entities::{
    ChannelId, SessionId, Timestamp, UserId, WorkspaceId, channel_members,
    channels::{self, HistoryVisibility},
    workspace_members::{self, MemberRole},
    workspaces,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Select, SelectTwo};

pub(crate) use self::lookups::{Lookup, QUERIES};
pub(crate) use self::standing::{VisibleChannels, present, present_as, visible};
use crate::{Chat, Error, Result, messages::model::ChannelKey};

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

/// The viewer may read the channel: is in it, or the channel is open (PUBLIC, TOPIC) and the viewer belongs to its
/// workspace as more than a guest and was not removed from the channel.
#[derive(Debug, Clone)]
pub struct ChannelReader {
    viewer: Viewer,
    channel: Arc<channels::Model>,
    membership: Option<channel_members::Model>,
    workspace_role: MemberRole,
}

impl ChannelReader {
    /// Who.
    #[must_use]
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// The channel as it was when the proof was made.
    #[must_use]
    pub fn channel(&self) -> &Arc<channels::Model> {
        &self.channel
    }

    /// The viewer's membership; only of those who are in the channel now.
    #[must_use]
    pub fn membership(&self) -> Option<&channel_members::Model> {
        self.membership.as_ref()
    }

    /// The viewer's role in the channel's workspace.
    #[must_use]
    pub fn workspace_role(&self) -> MemberRole {
        self.workspace_role
    }

    /// Whether the viewer is in the channel as one of its moderators.
    #[must_use]
    pub fn moderates(&self) -> bool {
        self.membership
            .as_ref()
            .is_some_and(|membership| power(membership.role, self.workspace_role) >= MemberRole::Admin)
    }

    /// Where the channel's messages are.
    #[must_use]
    pub fn key(&self) -> ChannelKey {
        ChannelKey { workspace: self.channel.workspace_id, channel: self.channel.id }
    }

    /// Messages with `ts` up to this tick are not shown to the viewer; 0 = all are.
    #[must_use]
    pub fn floor(&self) -> i64 {
        match (&self.membership, self.channel.history_visibility) {
            (_, HistoryVisibility::Shared) => 0,
            (Some(membership), HistoryVisibility::SinceJoin) => membership.joined_seq,
            // Who is not in an open channel of this kind has not joined yet.
            (None, HistoryVisibility::SinceJoin) => i64::MAX,
        }
    }
}

/// The viewer is in the channel and not silenced: may act in it. Reads as a [`ChannelReader`].
#[derive(Debug, Clone)]
pub struct ChannelMember {
    reader: ChannelReader,
    role: MemberRole,
}

impl ChannelMember {
    /// The viewer's role in the channel.
    #[must_use]
    pub fn role(&self) -> MemberRole {
        self.role
    }

    /// The proof of reading that this one implies.
    #[must_use]
    pub fn reader(&self) -> &ChannelReader {
        &self.reader
    }

    /// What the viewer may do to the channel: the role in it, or that of an ADMIN or OWNER of the workspace.
    #[must_use]
    pub fn power(&self) -> MemberRole {
        power(self.role, self.reader.workspace_role)
    }

    /// This proof, if the channel takes changes; [`Error::Archived`] otherwise.
    pub fn writable(&self) -> Result<&Self> {
        if self.reader.channel.is_archived { Err(Error::Archived) } else { Ok(self) }
    }

    /// Fails with [`Error::Forbidden`] unless the viewer moderates the channel.
    pub(crate) fn moderate(&self) -> Result<()> {
        if self.power() >= MemberRole::Admin {
            Ok(())
        } else {
            Err(Error::Forbidden("only admins of the channel may do this"))
        }
    }
}

impl Deref for ChannelMember {
    type Target = ChannelReader;

    fn deref(&self) -> &ChannelReader {
        &self.reader
    }
}

/// What a role in a channel amounts to for somebody with this role in its workspace.
pub(crate) fn power(in_channel: MemberRole, in_workspace: MemberRole) -> MemberRole {
    if in_workspace >= MemberRole::Admin { in_channel.max(in_workspace) } else { in_channel }
}

/// Whether somebody may change the membership of somebody else: of lesser power, or any as an OWNER.
pub(crate) fn may_touch(own: MemberRole, other: MemberRole) -> bool {
    own == MemberRole::Owner || (own >= MemberRole::Admin && other < own)
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

    /// The viewer's right to read a channel; [`Error::NotFound`] without it. One query.
    pub async fn channel_reader(&self, viewer: &Viewer, channel: ChannelId) -> Result<ChannelReader> {
        let standing = self.standing(viewer, channel).await?;
        standing.and_then(|standing| standing.reader(viewer)).ok_or(Error::NotFound("channel"))
    }

    /// The same for many channels, in one query; those that the viewer may not see are left out.
    pub async fn channel_readers(
        &self,
        viewer: &Viewer,
        channels: &[ChannelId],
    ) -> Result<HashMap<ChannelId, ChannelReader>> {
        if channels.is_empty() {
            return Ok(HashMap::new());
        }
        let ids = channels.iter().copied();
        let found =
            self.channels_where(viewer, |query| query.filter(channels::Column::Id.is_in(ids))).await?;
        Ok(found.into_iter().map(|reader| (reader.channel.id, reader)).collect())
    }

    /// The viewer's right to act in a channel. [`Error::NotFound`] if the viewer may not see it, [`Error::Forbidden`] if
    /// the viewer is not in it or silenced. One query.
    pub async fn channel_member(&self, viewer: &Viewer, channel: ChannelId) -> Result<ChannelMember> {
        let reader = self.channel_reader(viewer, channel).await?;
        match &reader.membership {
            None => Err(Error::Forbidden("join the channel first")),
            Some(membership) if membership.status == channel_members::MembershipStatus::Muted => {
                Err(Error::Forbidden("you are muted in this channel"))
            }
            Some(membership) => Ok(ChannelMember { role: membership.role, reader }),
        }
    }

    /// Proofs for the channels that the viewer may read, narrowed and ordered by `narrow`; one query.
    pub(crate) async fn channels_where(
        &self,
        viewer: &Viewer,
        narrow: impl FnOnce(VisibleChannels) -> VisibleChannels,
    ) -> Result<Vec<ChannelReader>> {
        let standings = self.standings(viewer, |query| narrow(query.filter(visible()))).await?;
        Ok(standings.into_iter().filter_map(|standing| standing.reader(viewer)).collect())
    }
}
