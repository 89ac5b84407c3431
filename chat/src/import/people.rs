//! The people of a history: one account per nick, made in bulk.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use quikapp_entities::{
    Timestamp, UserId,
    users::{self, AccountStatus},
    workspace_members::{self, MemberRole},
    workspaces,
};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, ExprTrait, IntoActiveModel, QueryFilter,
    QuerySelect, sea_query::Expr,
};
use sha2::{Digest, Sha256};

use crate::{
    Chat, Result,
    channel_members::rows,
    database::Fault,
    import::{Entry, place::Place},
};

/// People looked up or made in one transaction.
const AT_ONCE: usize = 400;
const DISPLAY_NAME: usize = 100;

/// Everybody known so far.
pub(super) struct People {
    place: Arc<Place>,
    ids: HashMap<String, UserId>,
}

impl People {
    pub(super) fn new(place: &Arc<Place>) -> Self {
        Self { place: Arc::clone(place), ids: HashMap::new() }
    }

    pub(super) fn get(&self, nick: &str) -> Option<UserId> {
        self.ids.get(nick).copied()
    }

    /// Makes sure that everybody in `entries` has an account and belongs to the workspace. Returns how many were new.
    pub(super) async fn make_sure_of(&mut self, chat: &Chat, entries: &[Entry]) -> Result<u64> {
        let mut seen = HashSet::new();
        let unknown: Vec<String> = entries
            .iter()
            .map(|entry| &entry.user)
            .filter(|nick| !self.ids.contains_key(*nick) && seen.insert(*nick))
            .cloned()
            .collect();
        let mut made = 0;
        for nicks in unknown.chunks(AT_ONCE) {
            let (ids, new) = self.find_or_make(chat, nicks).await?;
            self.ids.extend(nicks.iter().cloned().zip(ids));
            made += new;
        }
        Ok(made)
    }

    /// The accounts of `nicks`, in their order, and how many of them are new.
    async fn find_or_make(&self, chat: &Chat, nicks: &[String]) -> Result<(Vec<UserId>, u64)> {
        let now = chat.env.now();
        let people: Arc<[users::Model]> = nicks
            .iter()
            .map(|nick| model(UserId(chat.env.uuid()), address(&self.place.slug, nick), nick, now))
            .collect();
        let place = Arc::clone(&self.place);
        let found = chat.db.write(move |tx| {
            let (people, place) = (Arc::clone(&people), Arc::clone(&place));
            Box::pin(async move {
                rows::lock_workspace(tx, place.workspace).await?;
                let known = ids_by_email(tx, &people).await?;
                let missing: Vec<users::ActiveModel> = people
                    .iter()
                    .filter(|person| !known.contains_key(&person.email))
                    .map(|person| person.clone().into_active_model().reset_all())
                    .collect();
                let made = missing.len() as u64;
                if !missing.is_empty() {
                    users::Entity::insert_many(missing).exec_without_returning(tx).await?;
                }
                let ids: Vec<UserId> =
                    people.iter().map(|one| known.get(&one.email).copied().unwrap_or(one.id)).collect();
                enter(tx, &place, &ids, MemberRole::Member, now).await?;
                Ok((ids, made))
            })
        });
        Ok(found.await?)
    }
}

/// Puts accounts into the workspace, with this role; who is there stays as is.
pub(super) async fn join(chat: &Chat, place: &Place, users: Vec<UserId>, role: MemberRole) -> Result<()> {
    let now = chat.env.now();
    let place = Arc::new(Place { slug: place.slug.clone(), ..*place });
    let users: Arc<[UserId]> = users.into();
    let entered = chat.db.write(move |tx| {
        let (users, place) = (Arc::clone(&users), Arc::clone(&place));
        Box::pin(async move {
            rows::lock_workspace(tx, place.workspace).await?;
            enter(tx, &place, &users, role, now).await
        })
    });
    Ok(entered.await?)
}

/// Puts those of `users` into a locked workspace and its general channel who are not and never were there.
async fn enter(
    tx: &DatabaseTransaction,
    place: &Place,
    users: &[UserId],
    role: MemberRole,
    now: Timestamp,
) -> Result<(), Fault> {
    let present = rows::hold_workspace_members(tx, place.workspace, users).await?;
    let new: Vec<UserId> = users.iter().copied().filter(|user| !present.contains_key(user)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let members = new.iter().map(|user| {
        workspace_members::Model {
            workspace_id: place.workspace,
            user_id: *user,
            role,
            joined_at: now,
            joined_seq: None,
            invited_by: None,
        }
        .into_active_model()
        .reset_all()
    });
    workspace_members::Entity::insert_many(members).exec_without_returning(tx).await?;
    let count = i32::try_from(new.len()).unwrap_or(i32::MAX);
    workspaces::Entity::update_many()
        .col_expr(workspaces::Column::MemberCount, Expr::col(workspaces::Column::MemberCount).add(count))
        .filter(workspaces::Column::Id.eq(place.workspace))
        .exec(tx)
        .await?;
    if let Some(general) = place.general {
        let channel = rows::lock_channel(tx, general).await?;
        let people: Vec<_> = new.iter().map(|user| (*user, rows::role_on_entry(role))).collect();
        rows::enter(tx, &channel, &people, 0, now).await?;
    }
    Ok(())
}

async fn ids_by_email(
    tx: &DatabaseTransaction,
    people: &[users::Model],
) -> Result<HashMap<String, UserId>, Fault> {
    let found: Vec<(String, UserId)> = users::Entity::find()
        .select_only()
        .columns([users::Column::Email, users::Column::Id])
        .filter(users::Column::Email.is_in(people.iter().map(|person| person.email.as_str())))
        .into_tuple()
        .all(tx)
        .await?;
    Ok(found.into_iter().collect())
}

/// The address that stands for a nick in a workspace: always the same, of a domain that never receives mail.
pub(super) fn address(slug: &str, nick: &str) -> String {
    let hash = Sha256::new().chain_update(slug).chain_update([0]).chain_update(nick).finalize();
    hex(&hash[..16]) + "@import.invalid"
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An account without a password: nobody can sign in to it.
pub(super) fn blank(id: UserId, email: String, nick: &str, now: Timestamp) -> users::ActiveModel {
    model(id, email, nick, now).into_active_model().reset_all()
}

fn model(id: UserId, email: String, nick: &str, now: Timestamp) -> users::Model {
    users::Model {
        id,
        email,
        password_hash: None,
        display_name: nick.trim().chars().take(DISPLAY_NAME).collect(),
        avatar_url: None,
        status: AccountStatus::Active,
        status_text: None,
        status_emoji: None,
        timezone: "UTC".to_owned(),
        locale: "en-US".to_owned(),
        email_verified: false,
        mfa_enabled: false,
        mfa_secret: None,
        last_seen_at: None,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    }
}
