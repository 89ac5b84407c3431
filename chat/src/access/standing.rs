//! What the store knows of a viewer and a channel, from which the proofs are made.

use quikapp_entities::{
    ChannelId, WorkspaceId,
    channel_members::{self, MembershipStatus},
    channels::{self, ChannelType, HistoryVisibility},
    workspace_members::{self, MemberRole},
};
use sea_orm::{
    ColumnTrait, Condition, DbErr, EntityTrait, FromQueryResult, IdenStatic, JoinType, QueryFilter,
    QueryResult, QuerySelect, QueryTrait, RelationDef, Select, SelectTwo, TryGetError,
    sea_query::{Expr, ExprTrait, SelectStatement, SimpleExpr},
};

use super::{Viewer, VisibleChannel};
use crate::{Chat, messages::model::ChannelKey};

/// Channels with the viewer's membership, where there is one.
pub(crate) type VisibleChannels = SelectTwo<channels::Entity, channel_members::Entity>;

/// What the rights of a viewer in a channel depend on, whether or not the viewer may see it: never hand this out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) key: ChannelKey,
    pub(crate) kind: ChannelType,
    pub(crate) history_visibility: HistoryVisibility,
    pub(crate) is_archived: bool,
    pub(crate) is_general: bool,
    pub(crate) workspace_role: MemberRole,
    /// Of any status.
    pub(crate) membership: Option<Membership>,
}

/// What rights depend on of a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) role: MemberRole,
    pub(crate) status: MembershipStatus,
    pub(crate) joined_seq: i64,
}

/// Channels that every member of the workspace but guests may read and join.
const OPEN: [ChannelType; 2] = [ChannelType::Public, ChannelType::Topic];

impl Standing {
    pub(super) fn new(
        channel: &channels::Model,
        membership: Option<&channel_members::Model>,
        workspace_role: MemberRole,
    ) -> Self {
        Self {
            key: ChannelKey { workspace: channel.workspace_id, channel: channel.id },
            kind: channel.kind,
            history_visibility: channel.history_visibility,
            is_archived: channel.is_archived,
            is_general: channel.is_general,
            workspace_role,
            membership: membership.map(|of| Membership {
                role: of.role,
                status: of.status,
                joined_seq: of.joined_seq,
            }),
        }
    }

    /// Where the membership stands.
    pub(crate) fn status(&self) -> Option<MembershipStatus> {
        self.membership.map(|membership| membership.status)
    }

    /// Whether the channel is open to this member of its workspace.
    pub(crate) fn is_open(&self) -> bool {
        OPEN.contains(&self.kind) && self.workspace_role > MemberRole::Guest
    }

    /// The membership of somebody who is in the channel now, silenced or not.
    pub(crate) fn present(&self) -> Option<Membership> {
        let is_in = |status| matches!(status, MembershipStatus::Active | MembershipStatus::Muted);
        self.membership.filter(|membership| is_in(membership.status))
    }
}

/// A channel of one of the viewer's workspaces with all that is shown of it, whether or not the viewer may see it: never
/// hand this out.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    channel: channels::Model,
    /// Of any status.
    membership: Option<channel_members::Model>,
    workspace_role: MemberRole,
}

impl Sighting {
    /// What the viewer may see of it.
    pub(super) fn visible(self, viewer: &Viewer) -> Option<VisibleChannel> {
        VisibleChannel::new(viewer, self.channel, self.membership, self.workspace_role)
    }
}

/// What is looked up of a viewer and a channel.
pub(crate) trait Known: Clone + Send + Sync + Sized + 'static {
    /// Adds its columns to a query of channels with the viewer's memberships in their workspaces and in them.
    fn columns(channels: Select<channels::Entity>) -> SelectStatement;

    /// Reads them.
    fn read(row: &QueryResult) -> Result<Self, DbErr>;

    /// Which channel it is of.
    fn channel(&self) -> ChannelId;
}

const MEMBER_ROLE: &str = "member_role";
const MEMBER_STATUS: &str = "member_status";

impl Known for Standing {
    fn columns(channels: Select<channels::Entity>) -> SelectStatement {
        use channels::Column;
        channels
            .select_only()
            .columns([
                Column::Id,
                Column::WorkspaceId,
                Column::Kind,
                Column::HistoryVisibility,
                Column::IsArchived,
                Column::IsGeneral,
            ])
            .column_as(workspace_members::Column::Role, VIEWER_ROLE)
            .column_as(channel_members::Column::Role, MEMBER_ROLE)
            .column_as(channel_members::Column::Status, MEMBER_STATUS)
            .column(channel_members::Column::JoinedSeq)
            .into_query()
    }

    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        use channels::Column;
        let role: Option<MemberRole> = row.try_get("", MEMBER_ROLE)?;
        let status: Option<MembershipStatus> = row.try_get("", MEMBER_STATUS)?;
        let joined_seq: Option<i64> = row.try_get("", channel_members::Column::JoinedSeq.as_str())?;
        Ok(Self {
            key: ChannelKey {
                workspace: row.try_get("", Column::WorkspaceId.as_str())?,
                channel: row.try_get("", Column::Id.as_str())?,
            },
            kind: row.try_get("", Column::Kind.as_str())?,
            history_visibility: row.try_get("", Column::HistoryVisibility.as_str())?,
            is_archived: row.try_get("", Column::IsArchived.as_str())?,
            is_general: row.try_get("", Column::IsGeneral.as_str())?,
            workspace_role: row.try_get("", VIEWER_ROLE)?,
            membership: role.zip(status).zip(joined_seq).map(|((role, status), joined_seq)| Membership {
                role,
                status,
                joined_seq,
            }),
        })
    }

    fn channel(&self) -> ChannelId {
        self.key.channel
    }
}

impl Known for Sighting {
    fn columns(channels: Select<channels::Entity>) -> SelectStatement {
        channels
            .select_also(channel_members::Entity)
            .column_as(workspace_members::Column::Role, VIEWER_ROLE)
            .into_query()
    }

    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        Self::from_query_result(row, "")
    }

    fn channel(&self) -> ChannelId {
        self.channel.id
    }
}

/// The rule of [`ChannelReader::new`] as a condition, so that pages are cut from visible channels only.
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

impl FromQueryResult for Sighting {
    fn from_query_result(row: &QueryResult, _: &str) -> Result<Self, DbErr> {
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

/// Those that the viewer is in, in one workspace or in all.
pub(crate) fn present_in(channels: VisibleChannels, workspace: Option<WorkspaceId>) -> VisibleChannels {
    let channels = channels.filter(present());
    match workspace {
        Some(id) => channels
            .filter(channel_members::Column::WorkspaceId.eq(id))
            .filter(channels::Column::WorkspaceId.eq(id)),
        None => channels,
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
    /// What the store knows of the viewer and this channel; none outside of the viewer's workspaces. One query.
    pub(crate) async fn standing(
        &self,
        viewer: &Viewer,
        channel: ChannelId,
    ) -> crate::Result<Option<Standing>> {
        self.standings.look_up(&self.db, viewer.user(), channel).await
    }

    /// One query for channels with the viewer's memberships in them and in their workspaces.
    pub(super) async fn channels_seen(
        &self,
        viewer: &Viewer,
        narrow: impl FnOnce(VisibleChannels) -> VisibleChannels,
    ) -> crate::Result<Vec<Sighting>> {
        let query = channels::Entity::find()
            .join(JoinType::InnerJoin, workspace_members_of(viewer.user))
            .join(JoinType::LeftJoin, members_of(viewer.user))
            .select_also(channel_members::Entity);
        let query = narrow(query).column_as(workspace_members::Column::Role, VIEWER_ROLE);
        let statement = query.build(self.db.pool().get_database_backend());
        Ok(self.db.read(Sighting::find_by_statement(statement).all(self.db.pool())).await?)
    }
}
