//! Workspaces and their members: types, look-ups, changes.

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use quikapp_chat::{
    Error, access,
    entities::{UserId, WorkspaceId, ids::WorkspaceMemberId, workspace_members, workspaces},
    paging::Window,
    workspaces::{ViewerWorkspacesCursor, WorkspaceChanges},
};

use crate::{
    budget::LongJson,
    channel_members::MemberRole,
    channels::{ChannelConnection, ChannelType},
    context::ContextExt,
    error::Result,
    ids,
    inputs::change,
    paging,
    scalars::{DateTime, JSON, URL},
    users::User,
};

/// What a workspace pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "workspaces::WorkspacePlan")]
pub enum WorkspacePlan {
    /// Nothing.
    Free,
    /// For teams.
    Pro,
    /// For companies.
    Business,
    /// For large companies.
    Enterprise,
}

/// A team with its people and channels. Nobody outside of it learns that it exists.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct Workspace {
    /// Its id.
    pub id: ID,
    /// The name to show.
    pub name: String,
    /// Its short name in addresses; unique on the server.
    pub slug: String,
    /// The domain of its people's mail; null if not set.
    pub domain: Option<String>,
    /// A picture; null if there is none.
    pub icon_url: Option<URL>,
    /// What it pays for.
    pub plan: WorkspacePlan,
    /// Its settings: known keys are checked, others are kept for clients.
    pub settings: LongJson,
    /// How many people belong to it.
    pub member_count: i32,
    /// How many channels it has that are not archived, direct conversations included.
    pub channel_count: i32,
    /// When it was made.
    pub created_at: DateTime,
    /// When its own fields last changed.
    pub updated_at: DateTime,
    /// The viewer's role in it.
    pub viewer_role: MemberRole,
    #[graphql(skip)]
    member: access::WorkspaceMember,
}

impl From<access::WorkspaceMember> for Workspace {
    fn from(member: access::WorkspaceMember) -> Self {
        let workspace = member.workspace();
        Self {
            id: ids::id(workspace.id),
            name: workspace.name.clone(),
            slug: workspace.slug.clone(),
            domain: workspace.domain.clone(),
            icon_url: workspace.icon_url.clone().map(URL),
            plan: workspace.plan.into(),
            settings: LongJson(JSON(workspace.settings.clone())),
            member_count: workspace.member_count,
            channel_count: workspace.channel_count,
            created_at: DateTime(workspace.created_at),
            updated_at: DateTime(workspace.updated_at),
            viewer_role: member.role().into(),
            member,
        }
    }
}

#[ComplexObject]
impl Workspace {
    /// Whose it is.
    async fn owner(&self, ctx: &Context<'_>) -> Result<User> {
        Ok(ctx.loaders()?.user(self.member.workspace().owner_id).await?.into())
    }

    /// How many of its people are online, AWAY and DND included. At most ten seconds old with more than 200 people, else as
    /// of now; null while it cannot be found out.
    async fn online_count(&self, ctx: &Context<'_>) -> Option<Result<i32>> {
        Some(async { ctx.loaders()?.online_people(self.member.id(), self.member_count).await }.await)
    }

    /// Its channels that the viewer may see, by name.
    async fn channels(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those of this kind.", name = "type")] kind: Option<ChannelType>,
        #[graphql(desc = "Whether archived ones are in the list.", default)] include_archived: bool,
        #[graphql(desc = "Page size, 1 to 100.", default = 50)] first: i32,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
    ) -> Result<ChannelConnection> {
        let after: Option<String> = paging::parse_cursor(after.as_deref(), "after")?;
        let window = Window { after, limit: paging::size(first, "first")? as u64 };
        let page = ctx
            .chat()?
            .workspace_channels(&self.member, kind.map(Into::into), include_archived, &window)
            .await?;
        let items =
            page.items.into_iter().map(|reader| (paging::cursor(&reader.channel().name), reader.into()));
        Ok(ChannelConnection::new(items.collect(), window.after.is_some(), page.has_more))
    }

    /// Its people, in order of their ids.
    async fn members(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those with this role.")] role: Option<MemberRole>,
        #[graphql(desc = "Only those whose display name begins so.")] query: Option<String>,
        #[graphql(desc = "Page size, 1 to 100.", default = 50)] first: i32,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
    ) -> Result<WorkspaceMemberConnection> {
        let after: Option<UserId> = paging::parse_cursor(after.as_deref(), "after")?;
        let window = Window { after, limit: paging::size(first, "first")? as u64 };
        let page = ctx
            .chat()?
            .workspace_members(&self.member, role.map(Into::into), query.as_deref(), &window)
            .await?;
        let items = page.items.into_iter().map(|member| (paging::cursor(&member.user_id), member.into()));
        Ok(WorkspaceMemberConnection::new(items.collect(), after.is_some(), page.has_more))
    }
}

/// Somebody in a workspace.
#[derive(Clone, SimpleObject)]
#[graphql(complex)]
pub struct WorkspaceMember {
    /// The membership's id.
    pub id: ID,
    /// The member's role.
    pub role: MemberRole,
    /// When the member came in.
    pub joined_at: DateTime,
    #[graphql(skip)]
    inner: workspace_members::Model,
}

impl From<workspace_members::Model> for WorkspaceMember {
    fn from(inner: workspace_members::Model) -> Self {
        Self {
            id: ids::id(WorkspaceMemberId { user: inner.user_id, workspace: inner.workspace_id }),
            role: inner.role.into(),
            joined_at: DateTime(inner.joined_at),
            inner,
        }
    }
}

#[ComplexObject]
impl WorkspaceMember {
    /// The person.
    async fn user(&self, ctx: &Context<'_>) -> Result<User> {
        Ok(ctx.loaders()?.user(self.inner.user_id).await?.into())
    }

    /// Who brought the member in; null for whoever made the workspace.
    async fn invited_by(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        let inviter = self.inner.invited_by?;
        Some(async { Ok(ctx.loaders()?.user(inviter).await?.into()) }.await)
    }
}

impl WorkspaceMember {
    /// A member of one of the viewer's workspaces.
    pub(crate) async fn find(ctx: &Context<'_>, id: WorkspaceMemberId) -> Result<Self> {
        let found = ctx.loaders()?.workspace_member(id.workspace, id.user).await?;
        Ok(found.ok_or(Error::NotFound("member"))?.into())
    }
}

paging::connection!(WorkspaceConnection, WorkspaceEdge, Workspace, "workspaces");
paging::connection!(WorkspaceMemberConnection, WorkspaceMemberEdge, WorkspaceMember, "workspace members");

/// The viewer's workspaces, the earliest joined first.
pub(crate) async fn of_viewer(
    ctx: &Context<'_>,
    first: i32,
    after: Option<String>,
) -> Result<WorkspaceConnection> {
    let after: Option<ViewerWorkspacesCursor> = paging::parse_cursor(after.as_deref(), "after")?;
    let window = Window { after, limit: paging::size(first, "first")? as u64 };
    let page = ctx.chat()?.viewer_workspaces(&ctx.viewer()?, &window).await?;
    let items = page
        .items
        .into_iter()
        .map(|member| (paging::cursor(&ViewerWorkspacesCursor::of(&member)), member.into()));
    Ok(WorkspaceConnection::new(items.collect(), after.is_some(), page.has_more))
}

/// Changes of a workspace. What is left out stays; null takes a field away.
#[derive(InputObject)]
pub struct UpdateWorkspaceInput {
    /// 1 to 100 characters.
    name: Option<String>,
    /// The domain of its people's mail.
    domain: MaybeUndefined<String>,
    /// A picture.
    icon_url: MaybeUndefined<URL>,
    /// A JSON object of up to 16 kB in place of the present one. Unknown keys are kept.
    settings: Option<JSON>,
    /// What it pays for.
    plan: Option<WorkspacePlan>,
}

/// What making a workspace gives.
#[derive(SimpleObject)]
pub struct CreateWorkspacePayload {
    /// The workspace.
    workspace: Workspace,
}

/// What changing a workspace gives.
#[derive(SimpleObject)]
pub struct UpdateWorkspacePayload {
    /// The workspace as it is now.
    workspace: Workspace,
}

/// What changing a member gives.
#[derive(SimpleObject)]
pub struct UpdateWorkspaceMemberPayload {
    /// The member as they are now.
    member: WorkspaceMember,
}

/// What removing a member gives.
#[derive(SimpleObject)]
pub struct RemoveWorkspaceMemberPayload {
    /// The membership that ended.
    member_id: ID,
}

/// What handing a workspace over gives.
#[derive(SimpleObject)]
pub struct TransferWorkspacePayload {
    /// The workspace as it is now.
    workspace: Workspace,
}

/// What inviting gives.
#[derive(SimpleObject)]
pub struct CreateInvitationPayload {
    /// What lets people in. It cannot be read again.
    token: String,
    /// When it ends.
    expires_at: DateTime,
}

/// What accepting gives.
#[derive(SimpleObject)]
pub struct AcceptInvitationPayload {
    /// The workspace that the viewer belongs to now.
    workspace: Workspace,
}

/// Looking workspaces up.
#[derive(Default)]
pub struct WorkspaceQuery;

#[Object]
impl WorkspaceQuery {
    /// A workspace by id or slug; exactly one of them. NOT_FOUND for those who do not belong to it.
    async fn workspace(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The workspace's id.")] id: Option<ID>,
        #[graphql(desc = "Its slug.")] slug: Option<String>,
    ) -> Option<Result<Workspace>> {
        Some(
            async {
                let viewer = ctx.viewer()?;
                let member = match (id, slug) {
                    (Some(id), None) => ctx.chat()?.workspace_member(&viewer, ids::parse(&id, "id")?).await?,
                    (None, Some(slug)) => ctx.chat()?.workspace_by_slug(&viewer, &slug).await?,
                    _ => return Err(Error::invalid("id", "exactly one of id and slug must be given").into()),
                };
                Ok(member.into())
            }
            .await,
        )
    }
}

async fn member(ctx: &Context<'_>, id: &ID, field: &str) -> Result<access::WorkspaceMember> {
    let viewer = ctx.viewer()?;
    let workspace: WorkspaceId = ids::parse(id, field)?;
    Ok(ctx.chat()?.workspace_member(&viewer, workspace).await?)
}

/// The viewer's membership in the workspace of a membership.
async fn colleague(ctx: &Context<'_>, id: &ID) -> Result<(access::WorkspaceMember, UserId)> {
    let viewer = ctx.viewer()?;
    let of: WorkspaceMemberId = ids::parse(id, "id")?;
    match ctx.chat()?.workspace_member(&viewer, of.workspace).await {
        Err(Error::NotFound(_)) => Err(Error::NotFound("member").into()),
        own => Ok((own?, of.user)),
    }
}

/// Changing workspaces.
#[derive(Default)]
pub struct WorkspaceMutation;

#[Object]
impl WorkspaceMutation {
    /// Makes a workspace, with the viewer as its owner, and in it the general channel.
    async fn create_workspace(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The name to show, 1 to 100 characters.")] name: String,
        #[graphql(
            desc = "Its short name in addresses: lower-case letters, digits and single dashes, 2 to 100."
        )]
        slug: String,
    ) -> Result<CreateWorkspacePayload> {
        let viewer = ctx.viewer()?;
        Ok(CreateWorkspacePayload {
            workspace: ctx.chat()?.create_workspace(&viewer, &name, &slug).await?.into(),
        })
    }

    /// Changes a workspace. Its admins may.
    async fn update_workspace(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The workspace's id.")] id: ID,
        #[graphql(desc = "The changes.")] input: UpdateWorkspaceInput,
    ) -> Result<UpdateWorkspacePayload> {
        let changes = WorkspaceChanges {
            name: input.name,
            domain: change(input.domain),
            icon_url: change(input.icon_url).map(|url| url.map(|url| url.0)),
            settings: input.settings.map(|settings| settings.0),
            plan: input.plan.map(Into::into),
        };
        let member = member(ctx, &id, "id").await?;
        Ok(UpdateWorkspacePayload { workspace: ctx.chat()?.update_workspace(&member, changes).await?.into() })
    }

    /// Makes a token that lets people into a workspace. Members invite MEMBERs and GUESTs, admins ADMINs too. With an
    /// address only that account can use it, once; without, it is a link for many until it ends.
    async fn create_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The workspace's id.")] workspace_id: ID,
        #[graphql(desc = "The address of the one account that may use it.")] email: Option<String>,
        #[graphql(desc = "The role to come in with.", default_with = "MemberRole::Member")] role: MemberRole,
        #[graphql(desc = "When it ends, at most in 30 days; without it in 7 days.")] expires_at: Option<
            DateTime,
        >,
    ) -> Result<CreateInvitationPayload> {
        let member = member(ctx, &workspace_id, "workspaceId").await?;
        let expires_at = expires_at.map(|time| time.0);
        let new = ctx.chat()?.create_invitation(&member, email.as_deref(), role.into(), expires_at).await?;
        Ok(CreateInvitationPayload { token: new.token, expires_at: DateTime(new.invitation.expires_at) })
    }

    /// Comes into a workspace by an invitation. NOT_FOUND if it is unknown, has ended, or is for somebody else. Accepting
    /// again changes nothing.
    async fn accept_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The invitation's token.")] token: String,
    ) -> Result<AcceptInvitationPayload> {
        let viewer = ctx.viewer()?;
        Ok(AcceptInvitationPayload {
            workspace: ctx.chat()?.accept_invitation(&viewer, &token).await?.into(),
        })
    }

    /// Changes a member's role. Admins may, for those below them; OWNER is handed over with `transferWorkspace`.
    async fn update_workspace_member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The membership's id.")] id: ID,
        #[graphql(desc = "The new role.")] role: MemberRole,
    ) -> Result<UpdateWorkspaceMemberPayload> {
        let (own, user) = colleague(ctx, &id).await?;
        let member = ctx.chat()?.update_workspace_member(&own, user, role.into()).await?;
        Ok(UpdateWorkspaceMemberPayload { member: member.into() })
    }

    /// Takes somebody out of a workspace and of all its channels, or goes oneself. The owner has to hand it over first.
    async fn remove_workspace_member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The membership's id.")] id: ID,
    ) -> Result<RemoveWorkspaceMemberPayload> {
        let (own, user) = colleague(ctx, &id).await?;
        ctx.chat()?.remove_workspace_member(&own, user).await?;
        Ok(RemoveWorkspaceMemberPayload { member_id: id })
    }

    /// Hands a workspace over to another member, who becomes its OWNER; the viewer stays as ADMIN. Only the owner may.
    async fn transfer_workspace(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The workspace's id.")] id: ID,
        #[graphql(desc = "To whom.")] user_id: ID,
    ) -> Result<TransferWorkspacePayload> {
        ctx.viewer()?;
        let user = ids::parse(&user_id, "userId")?;
        let own = member(ctx, &id, "id").await?;
        let workspace = ctx.chat()?.transfer_workspace_ownership(&own, user).await?;
        Ok(TransferWorkspacePayload { workspace: workspace.into() })
    }
}
