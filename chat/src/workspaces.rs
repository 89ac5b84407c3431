//! Workspaces: making and changing them.

pub(crate) mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use quikapp_entities::{
    ChannelId, Timestamp, UserId, WorkspaceId,
    channels::ChannelType,
    workspace_members::{self, MemberRole},
    workspaces::{self, WorkspacePlan},
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, Set,
};
use serde::{Deserialize, Serialize};

use crate::{
    Chat, Error, Result,
    access::{Viewer, WorkspaceMember},
    aftermath::to_the_end,
    channel_members::rows,
    channels,
    database::Fault,
    error::Validation,
    messages::model::SystemEvent,
    outbox::{self, Untold},
    paging::{Page, Window},
};

const NAME: usize = 100;
const SLUG: (usize, usize) = (2, 100);
const DOMAIN: usize = 255;
const ICON_URL: usize = 512;

/// What the channel that everybody is in is called at first.
const GENERAL: &str = "general";

/// Changes of a workspace; what is none stays, an inner none takes the field away.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WorkspaceChanges {
    /// 1 to 100 characters.
    pub name: Option<String>,
    /// A host name of at most 255 characters.
    pub domain: Option<Option<String>>,
    /// An `https` or `http` address of at most 512 characters.
    pub icon_url: Option<Option<String>>,
    /// A JSON object of at most 16 kB, in place of the present one. Unknown keys are kept as they are.
    pub settings: Option<serde_json::Value>,
    /// What it pays for.
    pub plan: Option<WorkspacePlan>,
}

/// A position in [`Chat::viewer_workspaces`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewerWorkspacesCursor {
    /// The earliest joined come first.
    pub joined_at: Timestamp,
    /// Then by id.
    pub workspace: WorkspaceId,
}

impl ViewerWorkspacesCursor {
    /// Where this workspace stands in the list.
    #[must_use]
    pub fn of(member: &WorkspaceMember) -> Self {
        Self { joined_at: member.membership().joined_at, workspace: member.id() }
    }
}

impl Chat {
    /// Makes a workspace with the viewer as its OWNER, and in it the general channel. [`Error::AlreadyExists`] if the slug
    /// is taken.
    pub async fn create_workspace(&self, viewer: &Viewer, name: &str, slug: &str) -> Result<WorkspaceMember> {
        let mut validation = Validation::default();
        let name = check_name(&mut validation, "name", name);
        validation.length("slug", slug, SLUG.0, SLUG.1);
        validation.check(
            is_slug(slug),
            "slug",
            "must be lower-case letters a to z and digits, with single dashes between them",
        );
        validation.finish()?;
        let (now, owner) = (self.env.now(), viewer.user());
        let workspace = Arc::new(workspaces::Model {
            id: WorkspaceId(self.env.uuid()),
            name,
            slug: slug.to_owned(),
            domain: None,
            icon_url: None,
            plan: WorkspacePlan::Free,
            owner_id: owner,
            settings: serde_json::json!({}),
            member_count: 1,
            channel_count: 0,
            created_at: now,
            updated_at: now,
        });
        let id = workspace.id;
        let general = Arc::new(quikapp_entities::channels::Model {
            is_general: true,
            ..channels::blank(
                ChannelId(self.env.uuid()),
                id,
                ChannelType::Public,
                GENERAL.to_owned(),
                owner,
                now,
            )
        });
        let chat = self.clone();
        to_the_end(async move {
            let write = chat.db.write(move |tx| {
                let (workspace, general) = (Arc::clone(&workspace), Arc::clone(&general));
                Box::pin(async move {
                    let row = workspace.as_ref().clone().into_active_model().reset_all();
                    workspaces::Entity::insert(row).exec_without_returning(tx).await?;
                    let entry = Entry { joined_seq: 0, invited_by: None };
                    insert_member(tx, id, (owner, MemberRole::Owner), entry, now).await?;
                    channels::insert(tx, &general, &[(owner, MemberRole::Owner)]).await?;
                    let untold = vec![Untold::access(id, None, [owner], owner)];
                    outbox::keep(tx, &untold, now).await?;
                    Ok(untold)
                })
            });
            let untold = write.await.map_err(|fault| match fault {
                Fault::Unique(_) => Error::already_exists("slug", "this slug is taken"),
                fault => fault.into(),
            })?;
            chat.tell(untold).await;
            Ok(())
        })
        .await?;
        self.workspace_member(viewer, id).await
    }

    /// Changes a workspace; ADMINs and OWNERs only.
    pub async fn update_workspace(
        &self,
        member: &WorkspaceMember,
        changes: WorkspaceChanges,
    ) -> Result<WorkspaceMember> {
        member.administer()?;
        let mut update = check_changes(changes)?;
        let now = self.env.now();
        update.updated_at = Set(now);
        let (id, actor) = (member.id(), member.viewer().user());
        let update = Arc::new(update);
        let chat = self.clone();
        to_the_end(async move {
            let untold = chat
                .db
                .write(move |tx| {
                    let update = Arc::clone(&update);
                    Box::pin(async move {
                        let roles = rows::hold_workspace_members(tx, id, &[actor]).await?;
                        if roles.get(&actor).is_none_or(|role| *role < MemberRole::Admin) {
                            return Err(Error::Forbidden("only admins of the workspace may do this").into());
                        }
                        workspaces::Entity::update_many()
                            .set(update.as_ref().clone())
                            .filter(workspaces::Column::Id.eq(id))
                            .exec(tx)
                            .await?;
                        let untold = vec![Untold::of_workspace(id, actor, SystemEvent::WorkspaceUpdated)];
                        outbox::keep(tx, &untold, now).await?;
                        Ok(untold)
                    })
                })
                .await?;
            chat.tell(untold).await;
            Ok(())
        })
        .await?;
        self.workspace_member(member.viewer(), id).await
    }

    /// The viewer's workspaces in the order of joining them. One query.
    pub async fn viewer_workspaces(
        &self,
        viewer: &Viewer,
        window: &Window<ViewerWorkspacesCursor>,
    ) -> Result<Page<WorkspaceMember>> {
        let (joined_at, id) = (workspace_members::Column::JoinedAt, workspace_members::Column::WorkspaceId);
        let found = self.workspaces_where(viewer, |mut query| {
            if let Some(after) = window.after {
                query =
                    query.filter(Condition::any().add(joined_at.gt(after.joined_at)).add(
                        Condition::all().add(joined_at.eq(after.joined_at)).add(id.gt(after.workspace)),
                    ));
            }
            query.order_by_asc(joined_at).order_by_asc(id).limit(window.rows())
        });
        Ok(Page::cut(found.await?, window))
    }
}

/// How somebody comes into a workspace.
pub(crate) struct Entry {
    /// The tick of the workspace's own log, read before.
    pub(crate) joined_seq: i64,
    /// None of who made it.
    pub(crate) invited_by: Option<UserId>,
}

/// Writes a new row of `workspace_members`; the counter is the caller's.
pub(crate) async fn insert_member(
    tx: &sea_orm::DatabaseTransaction,
    workspace: WorkspaceId,
    (user, role): (UserId, MemberRole),
    Entry { joined_seq, invited_by }: Entry,
    now: Timestamp,
) -> std::result::Result<(), Fault> {
    let row = workspace_members::Model {
        workspace_id: workspace,
        user_id: user,
        role,
        joined_at: now,
        joined_seq: Some(joined_seq),
        invited_by,
    };
    workspace_members::Entity::insert(row.into_active_model().reset_all()).exec_without_returning(tx).await?;
    Ok(())
}

fn check_name(validation: &mut Validation, field: &str, given: &str) -> String {
    let name = given.trim();
    validation.length(field, name, 1, NAME);
    validation.check(
        !name.chars().any(char::is_control),
        field,
        "must not contain line breaks or other control characters",
    );
    name.to_owned()
}

fn is_slug(slug: &str) -> bool {
    slug.split('-')
        .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
}

fn is_host_name(domain: &str) -> bool {
    domain.contains('.')
        && domain.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        })
}

fn check_changes(changes: WorkspaceChanges) -> Result<workspaces::ActiveModel> {
    let mut validation = Validation::default();
    let mut update = <workspaces::ActiveModel as Default>::default();
    if let Some(name) = changes.name {
        update.name = Set(check_name(&mut validation, "input.name", &name));
    }
    if let Some(domain) = changes.domain {
        let domain = domain.map(|domain| domain.trim().to_lowercase()).filter(|domain| !domain.is_empty());
        if let Some(domain) = &domain {
            validation.length("input.domain", domain, 1, DOMAIN);
            validation.check(is_host_name(domain), "input.domain", "must be a host name");
        }
        update.domain = Set(domain);
    }
    if let Some(url) = changes.icon_url {
        let url = url.map(|url| url.trim().to_owned()).filter(|url| !url.is_empty());
        if let Some(url) = &url {
            validation.length("input.iconUrl", url, 1, ICON_URL);
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            let plain = rest.is_some_and(|rest| {
                !rest.is_empty() && !rest.chars().any(|c| c.is_whitespace() || c.is_control())
            });
            validation.check(plain, "input.iconUrl", "must be an http or https address");
        }
        update.icon_url = Set(url);
    }
    if let Some(settings) = changes.settings {
        settings::check(&mut validation, "input.settings", &settings);
        update.settings = Set(settings);
    }
    if let Some(plan) = changes.plan {
        update.plan = Set(plan);
    }
    validation.finish()?;
    Ok(update)
}
