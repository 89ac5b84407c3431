//! What clients give when they make or change a channel.

use quikapp_entities::{
    ChannelId, Timestamp, UserId, WorkspaceId,
    channels::{self, ChannelType, HistoryVisibility},
};

use super::blank;
use crate::{Result, channel_members::MAX_ADDED, error::Validation};

const NAME: usize = 80;
const TOPIC: usize = 250;
const DESCRIPTION: usize = 4_000;
const ENTITY_TYPE: usize = 100;
const ENTITY_ID: usize = 191;

/// The name of a direct conversation begins like this, and no other does.
pub(crate) const DIRECT_PREFIX: &str = "dm:";

/// A channel to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChannel {
    /// PUBLIC, PRIVATE or TOPIC.
    pub kind: ChannelType,
    /// 1 to 80 characters; unique in the workspace.
    pub name: Option<String>,
    /// At most 250 characters.
    pub topic: Option<String>,
    /// At most 4,000 characters.
    pub description: Option<String>,
    /// At most 100 characters; required with TOPIC.
    pub entity_type: Option<String>,
    /// At most 191 characters; required with TOPIC.
    pub entity_id: Option<String>,
    /// SHARED for PUBLIC and TOPIC, `SINCE_JOIN` for PRIVATE, unless given.
    pub history_visibility: Option<HistoryVisibility>,
    /// People of the workspace who are in it from the start, beside the creator; at most 100.
    pub member_ids: Vec<UserId>,
}

impl NewChannel {
    /// The channel with its texts trimmed, or everything that is wrong with it.
    pub(super) fn check(mut self) -> Result<Self> {
        let mut validation = Validation::default();
        validation.check(
            matches!(self.kind, ChannelType::Public | ChannelType::Private | ChannelType::Topic),
            "input.type",
            "direct conversations are opened with openDirectChannel",
        );
        self.name = Some(name(&mut validation, &self.name.unwrap_or_default()));
        self.topic = text(&mut validation, "input.topic", self.topic, TOPIC);
        self.description = text(&mut validation, "input.description", self.description, DESCRIPTION);
        self.entity_type = text(&mut validation, "input.entityType", self.entity_type, ENTITY_TYPE);
        self.entity_id = text(&mut validation, "input.entityId", self.entity_id, ENTITY_ID);
        if self.kind == ChannelType::Topic {
            let given = |text: &Option<String>| text.is_some();
            validation.check(given(&self.entity_type), "input.entityType", "a TOPIC channel needs an entity");
            validation.check(given(&self.entity_id), "input.entityId", "a TOPIC channel needs an entity");
        }
        validation.check(
            self.member_ids.len() <= MAX_ADDED,
            "input.memberIds",
            format!("at most {MAX_ADDED} people at once"),
        );
        validation.finish()?;
        Ok(self)
    }

    /// The row of the channel, which nobody is in yet.
    pub(super) fn into_model(
        self,
        id: ChannelId,
        workspace: WorkspaceId,
        by: UserId,
        now: Timestamp,
    ) -> channels::Model {
        let blank = blank(id, workspace, self.kind, self.name.unwrap_or_default(), by, now);
        channels::Model {
            topic: self.topic,
            description: self.description,
            entity_type: self.entity_type,
            entity_id: self.entity_id,
            history_visibility: self.history_visibility.unwrap_or(blank.history_visibility),
            ..blank
        }
    }
}

/// Changes of a channel; what is none stays, an inner none takes the field away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelChanges {
    /// 1 to 80 characters; unique in the workspace.
    pub name: Option<String>,
    /// At most 250 characters.
    pub topic: Option<Option<String>>,
    /// At most 4,000 characters.
    pub description: Option<Option<String>>,
    /// Which part of the history members see.
    pub history_visibility: Option<HistoryVisibility>,
}

impl ChannelChanges {
    /// The changes with their texts trimmed, or everything that is wrong with them.
    pub(super) fn check(self) -> Result<Self> {
        let mut validation = Validation::default();
        let checked = Self {
            name: self.name.map(|given| name(&mut validation, &given)),
            topic: self.topic.map(|given| text(&mut validation, "input.topic", given, TOPIC)),
            description: self
                .description
                .map(|given| text(&mut validation, "input.description", given, DESCRIPTION)),
            history_visibility: self.history_visibility,
        };
        validation.finish()?;
        Ok(checked)
    }

    /// Applies them; returns the API's names of the fields that are different now.
    pub(super) fn apply(&self, channel: &mut channels::Model) -> Vec<&'static str> {
        let mut changed = Vec::new();
        set(&mut changed, "name", &mut channel.name, self.name.as_ref());
        set(&mut changed, "topic", &mut channel.topic, self.topic.as_ref());
        set(&mut changed, "description", &mut channel.description, self.description.as_ref());
        let visibility = self.history_visibility.as_ref();
        set(&mut changed, "historyVisibility", &mut channel.history_visibility, visibility);
        changed
    }
}

fn set<T: Clone + PartialEq>(
    changed: &mut Vec<&'static str>,
    name: &'static str,
    field: &mut T,
    value: Option<&T>,
) {
    if let Some(value) = value
        && field != value
    {
        field.clone_from(value);
        changed.push(name);
    }
}

fn name(validation: &mut Validation, given: &str) -> String {
    let name = given.trim();
    validation.length("input.name", name, 1, NAME);
    validation.check(
        !name.chars().any(char::is_control),
        "input.name",
        "must not contain line breaks or other control characters",
    );
    validation.check(!name.starts_with(DIRECT_PREFIX), "input.name", "must not begin with `dm:`");
    name.to_owned()
}

fn text(validation: &mut Validation, field: &str, given: Option<String>, max: usize) -> Option<String> {
    let text = given?.trim().to_owned();
    validation.length(field, &text, 0, max);
    (!text.is_empty()).then_some(text)
}
