//! Changing one's own profile.

use quikapp_entities::{Timestamp, WorkspaceId, users, workspace_members};
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QuerySelect};

use super::input;
use crate::{
    Chat, Error, Result,
    access::Viewer,
    aftermath::to_the_end,
    error::Validation,
    messages::model::SystemEvent,
    outbox::{self, Untold},
};

const STATUS_TEXT_LENGTH: usize = 100;
const STATUS_EMOJI_LENGTH: usize = 10;

/// What changes; `None` leaves a field alone, `Some(None)` empties it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// What others see, 1 to 100 characters.
    pub display_name: Option<String>,
    /// An http or https address, at most 512 characters.
    pub avatar_url: Option<Option<String>>,
    /// At most 100 characters.
    pub status_text: Option<Option<String>>,
    /// At most 10 characters.
    pub status_emoji: Option<Option<String>>,
    /// A name of the IANA time zone database, in any case.
    pub timezone: Option<String>,
    /// A BCP 47 language tag.
    pub locale: Option<String>,
}

impl ProfileChange {
    /// The change as it will be stored: trimmed, empty texts taken as none.
    ///
    /// # Errors
    /// Everything that breaks a rule, at `input.displayName` and so on.
    fn checked(mut self) -> Result<Self> {
        let mut validation = Validation::default();
        if let Some(name) = &mut self.display_name {
            *name = name.trim().to_owned();
            input::check_line(&mut validation, "input.displayName", name, 1, input::DISPLAY_NAME_LENGTH);
        }
        for text in
            [&mut self.avatar_url, &mut self.status_text, &mut self.status_emoji].into_iter().flatten()
        {
            *text = text.take().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        }
        if let Some(Some(url)) = &self.avatar_url {
            input::check_url(&mut validation, "input.avatarUrl", url);
        }
        if let Some(Some(text)) = &self.status_text {
            input::check_line(&mut validation, "input.statusText", text, 0, STATUS_TEXT_LENGTH);
        }
        if let Some(Some(emoji)) = &self.status_emoji {
            input::check_line(&mut validation, "input.statusEmoji", emoji, 0, STATUS_EMOJI_LENGTH);
        }
        if let Some(zone) = &mut self.timezone {
            match input::time_zone(zone) {
                Some(name) => name.clone_into(zone),
                None => {
                    validation.check(false, "input.timezone", "must be a time zone such as Europe/Paris");
                }
            }
        }
        if let Some(locale) = &mut self.locale {
            *locale = locale.trim().to_owned();
            input::check_locale(&mut validation, "input.locale", locale);
        }
        validation.finish()?;
        Ok(self)
    }

    fn apply(self, user: &mut users::Model) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut user.display_name, self.display_name);
        set(&mut user.avatar_url, self.avatar_url);
        set(&mut user.status_text, self.status_text);
        set(&mut user.status_emoji, self.status_emoji);
        set(&mut user.timezone, self.timezone);
        set(&mut user.locale, self.locale);
    }
}

/// A time of change that is later than the one before, even within a millisecond or when the clock was set back.
pub(super) fn later(now: Timestamp, before: Timestamp) -> Timestamp {
    now.max(Timestamp(before.0.saturating_add(1)))
}

impl Chat {
    /// Changes the viewer's profile and returns it; nothing is written when any of it is wrong.
    pub async fn update_profile(&self, viewer: &Viewer, change: ProfileChange) -> Result<users::Model> {
        let change = change.checked()?;
        let id = viewer.user();
        let now = self.env.now();
        let chat = self.clone();
        to_the_end(async move {
            let user = chat.db.write(move |transaction| {
                let change = change.clone();
                Box::pin(async move {
                    let mut user = users::Entity::find_by_id(id)
                        .lock_exclusive()
                        .one(transaction)
                        .await?
                        .ok_or(Error::Unauthenticated("the account is gone"))?;
                    change.apply(&mut user);
                    user.updated_at = later(now, user.updated_at);
                    let row = users::ActiveModel {
                        id: sea_orm::ActiveValue::Unchanged(id),
                        ..user.clone().into_active_model().reset_all()
                    };
                    users::Entity::update_many()
                        .set(row)
                        .filter(users::Column::Id.eq(id))
                        .exec(transaction)
                        .await?;
                    let workspaces: Vec<WorkspaceId> = workspace_members::Entity::find()
                        .select_only()
                        .column(workspace_members::Column::WorkspaceId)
                        .filter(workspace_members::Column::UserId.eq(id))
                        .into_tuple()
                        .all(transaction)
                        .await?;
                    let event = SystemEvent::UserUpdated { user: id };
                    let entry = |workspace| Untold::of_workspace(workspace, id, event.clone());
                    let untold: Vec<_> = workspaces.into_iter().map(entry).collect();
                    outbox::keep(transaction, &untold, now).await?;
                    Ok((user, untold))
                })
            });
            let (user, untold) = user.await?;
            chat.tell(untold).await;
            Ok(user)
        })
        .await
    }
}
