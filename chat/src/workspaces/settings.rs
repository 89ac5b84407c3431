//! What a workspace's settings may say. Keys that are not listed here are the clients' own.

use serde_json::Value;

use crate::error::Validation;

/// The longest settings, as JSON text.
const MAX_BYTES: usize = 16 * 1024;

const DEFAULT_LOCALE: &str = "defaultLocale";
const ALLOW_GUEST_INVITES: &str = "allowGuestInvites";
const WHO_CAN_CREATE_CHANNELS: &str = "whoCanCreateChannels";

/// The settings of a workspace, read.
pub(crate) struct Settings<'a>(pub(crate) &'a Value);

impl Settings<'_> {
    /// Whether plain members may not create channels.
    pub(crate) fn only_admins_create_channels(&self) -> bool {
        self.0.get(WHO_CAN_CREATE_CHANNELS).and_then(Value::as_str) == Some("ADMINS")
    }

    /// Whether people may be invited as guests.
    pub(crate) fn allow_guest_invites(&self) -> bool {
        self.0.get(ALLOW_GUEST_INVITES).and_then(Value::as_bool) != Some(false)
    }
}

/// Notes everything that is wrong with new settings.
pub(crate) fn check(validation: &mut Validation, field: &str, settings: &Value) {
    let Some(object) = settings.as_object() else {
        validation.check(false, field, "must be an object");
        return;
    };
    let length = serde_json::to_vec(settings).map_or(usize::MAX, |text| text.len());
    validation.check(length <= MAX_BYTES, field, format!("must have at most {MAX_BYTES} bytes as JSON"));
    for (key, value) in object {
        let (ok, message) = match key.as_str() {
            DEFAULT_LOCALE => (
                value.as_str().is_some_and(|locale| (2..=35).contains(&locale.len())),
                "must be a language tag",
            ),
            ALLOW_GUEST_INVITES => (value.is_boolean(), "must be true or false"),
            WHO_CAN_CREATE_CHANNELS => {
                (matches!(value.as_str(), Some("MEMBERS" | "ADMINS")), "must be MEMBERS or ADMINS")
            }
            _ => continue,
        };
        validation.check(ok, &format!("{field}.{key}"), message);
    }
}
