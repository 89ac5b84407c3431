//! What the store knows of a viewer and a channel, from which the proofs are made.

use std::sync::Arc;

use quikapp_entities::{
    ChannelId,
    channel_members::{self, MembershipStatus},
    channels::{self, ChannelType},
    workspace_members::{self, MemberRole},
};
use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, FromQueryResult, JoinType, QueryResult, QuerySelect,
    QueryTrait, RelationDef, SelectTwo, TryGetError,
    sea_query::{Expr, ExprTrait, SimpleExpr},
};

use super::{ChannelReader, Viewer};
use crate::{Chat, Result};

/// Channels with the viewer's membership, where there is one.
pub(crate) type VisibleChannels = SelectTwo<channels::Entity, channel_members::Entity>;

/// A channel of one of the viewer's workspaces, whether or not the viewer may see it: never hand this out.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) channel: channels::Model,
    /// Of any status.
    pub(crate) membership: Option<channel_members::Model>,
    pub(crate) workspace_role: MemberRole,
}

/// Channels that every member of the workspace but guests may read and join.
const OPEN: [ChannelType; 2] = [ChannelType::Public, ChannelType::Topic];

impl Standing {
    /// Whether the channel is open to this member of its workspace.
    pub(crate) fn is_open(&self) -> bool {
        OPEN.contains(&self.channel.kind) && self.workspace_role > MemberRole::Guest
    }

    /// The right to read, if there is one. The same rule as [`visible`].
    pub(super) fn reader(self, viewer: &Viewer) -> Option<ChannelReader> {
        let status = self.membership.as_ref().map(|membership| membership.status);
        let readable = match status {
            Some(MembershipStatus::Active | MembershipStatus::Muted) => true,
            Some(MembershipStatus::Removed) => false,
            Some(MembershipStatus::Left) | None => self.is_open(),
        };
        readable.then(|| ChannelReader {
            viewer: *viewer,
            channel: Arc::new(self.channel),
            membership: self.membership.filter(channel_members::Model::is_present),
            workspace_role: self.workspace_role,
        })
    }
}

/// The rule of [`Standing::reader`] as a condition, so that pages are cut from visible channels only.
pub(crate) fn visible() -> Condition {
    let open = Condition::all()
        .add(channels::Column::Kind.is_in(OPEN))
        .add(workspace_members::Column::Role.ne(MemberRole::Guest))
        .add(
            Condition::any()
                .add(channel_members::Column::Status.is_null())
                .add(channel_members::Column::Status.eq(MembershipStatus::Left)),
        );
    Condition::any().add(present()).add(open)
}

/// The membership in question is one of somebody who is in the channel now.
pub(crate) fn present() -> SimpleExpr {
    channel_members::Column::Status.is_in([MembershipStatus::Active, MembershipStatus::Muted])
}

/// The same of the table under another name.
pub(crate) fn present_as(name: &'static str) -> SimpleExpr {
    Expr::col((name, channel_members::Column::Status))
        .is_in([MembershipStatus::Active, MembershipStatus::Muted])
}

/// The column of the viewer's role in the workspace.
pub(super) const VIEWER_ROLE: &str = "viewer_role";

impl FromQueryResult for Standing {
    fn from_query_result(row: &QueryResult, _: &str) -> std::result::Result<Self, DbErr> {
        let membership = match channel_members::Model::from_query_result_nullable(row, "B_") {
            Ok(membership) => Some(membership),
            Err(TryGetError::Null(_)) => None,
            Err(TryGetError::DbErr(error)) => return Err(error),
        };
        Ok(Self {
            channel: channels::Model::from_query_result(row, "A_")?,
            membership,
            workspace_role: row.try_get("", VIEWER_ROLE)?,
        })
    }
}

/// The user's membership in the channel, of any status.
pub(super) fn members_of(user: impl Into<Expr>) -> RelationDef {
    let user = user.into();
    channels::Entity::belongs_to(channel_members::Entity)
        .from(channels::Column::Id)
        .to(channel_members::Column::ChannelId)
        .on_condition(move |_, members| {
            Condition::all()
                .add(ExprTrait::eq(Expr::col((members, channel_members::Column::UserId)), user.clone()))
        })
        .into()
}

/// The user's membership in the channel's workspace.
pub(super) fn workspace_members_of(user: impl Into<Expr>) -> RelationDef {
    let user = user.into();
    channels::Entity::belongs_to(workspace_members::Entity)
        .from(channels::Column::WorkspaceId)
        .to(workspace_members::Column::WorkspaceId)
        .on_condition(move |_, members| {
            Condition::all()
                .add(ExprTrait::eq(Expr::col((members, workspace_members::Column::UserId)), user.clone()))
        })
        .into()
}

impl Chat {
    /// What the store knows of the viewer and this channel; none outside of the viewer's workspaces.
    pub(crate) async fn standing(&self, viewer: &Viewer, channel: ChannelId) -> Result<Option<Standing>> {
        self.look_up(viewer.user, channel).await
    }

    /// One query for all that the proofs need: the channels, the viewer's memberships in them and the viewer's role in
    /// their workspaces.
    pub(super) async fn standings(
        &self,
        viewer: &Viewer,
        narrow: impl FnOnce(VisibleChannels) -> VisibleChannels,
    ) -> Result<Vec<Standing>> {
        let query = channels::Entity::find()
            .join(JoinType::InnerJoin, workspace_members_of(viewer.user))
            .join(JoinType::LeftJoin, members_of(viewer.user))
            .select_also(channel_members::Entity);
        let query = narrow(query).column_as(workspace_members::Column::Role, VIEWER_ROLE);
        let statement = query.build(self.db.pool().get_database_backend());
        Ok(self.db.read(Standing::find_by_statement(statement).all(self.db.pool())).await?)
    }
}
