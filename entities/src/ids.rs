//! Typed ids: `UUIDv7` inside, `prefix_base32` outside.
//!
//! The text form is lower-case Crockford base 32 of the bytes behind the type's prefix, so that an id of a wrong kind is
//! refused before any store is asked, and `node(id:)` needs no look-up table. Clients treat it as opaque.

use std::{fmt, str::FromStr, sync::LazyLock};

use data_encoding::{Encoding, Specification};
use sea_orm::{DbErr, DeriveValueType, TryFromU64};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not an id of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id of this kind")]
pub struct InvalidId;

static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut spec = Specification::new();
    spec.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    // A constant specification: it is well-formed, and the tests below run it.
    spec.encoding().unwrap_or(data_encoding::BASE32_NOPAD)
});

/// Writes `prefix_` and the bytes of one or two UUIDs.
fn write(f: &mut fmt::Formatter<'_>, prefix: &str, bytes: &[u8]) -> fmt::Result {
    write!(f, "{prefix}_{}", BASE32.encode(bytes))
}

/// Reads what [`write`] wrote: exactly `N` bytes behind exactly this prefix.
fn read<const N: usize>(text: &str, prefix: &str) -> Result<[u8; N], InvalidId> {
    let body = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or(InvalidId)?;
    if body.len() > 64 {
        return Err(InvalidId);
    }
    let bytes = BASE32.decode(body.as_bytes()).map_err(|_| InvalidId)?;
    bytes.try_into().map_err(|_| InvalidId)
}

macro_rules! id {
    ($(#[$meta:meta])* $name:ident, $prefix:literal) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, DeriveValueType,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What stands before the underscore in the text form.
            pub const PREFIX: &'static str = $prefix;
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        // Asked for of a primary key's type; an id is never made from an auto-increment value.
        impl TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                Err(DbErr::ConvertFromU64(stringify!($name)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(f, $prefix, self.0.as_bytes())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                read::<16>(text, $prefix).map(|bytes| Self(Uuid::from_bytes(bytes)))
            }
        }
    };
}

macro_rules! pair_id {
    ($(#[$meta:meta])* $name:ident, $prefix:literal, $first:ident: $first_type:ident, $second:ident: $second_type:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name {
            #[doc = concat!("The ", stringify!($first), ".")]
            pub $first: $first_type,
            #[doc = concat!("The ", stringify!($second), ".")]
            pub $second: $second_type,
        }

        impl $name {
            /// What stands before the underscore in the text form.
            pub const PREFIX: &'static str = $prefix;
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut bytes = [0; 32];
                bytes[..16].copy_from_slice(self.$first.0.as_bytes());
                bytes[16..].copy_from_slice(self.$second.0.as_bytes());
                write(f, $prefix, &bytes)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let bytes = read::<32>(text, $prefix)?;
                let half = |at: usize| Uuid::from_slice(&bytes[at..at + 16]).map_err(|_| InvalidId);
                Ok(Self { $first: $first_type(half(0)?), $second: $second_type(half(16)?) })
            }
        }
    };
}

id!(
    /// A user account.
    UserId, "user");
id!(
    /// A sign-in of one user on one client.
    SessionId, "session");
id!(
    /// A workspace, the tenant of everything below it.
    WorkspaceId, "workspace");
id!(
    /// An invitation into a workspace.
    InvitationId, "invitation");
id!(
    /// A channel.
    ChannelId, "channel");
id!(
    /// A message, unique by itself; the API's id of a message is [`MessageKey`].
    MessageId, "msg");

pair_id!(
    /// A message with its channel: what the API calls a message's id. The channel is part of it so that a look-up by id
    /// checks access before it touches the message, and reaches one shard.
    MessageKey, "message", id: MessageId, channel: ChannelId);
pair_id!(
    /// A user's membership in a workspace.
    WorkspaceMemberId, "member", user: UserId, workspace: WorkspaceId);
pair_id!(
    /// A user's membership in a channel.
    ChannelMembershipId, "membership", user: UserId, channel: ChannelId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_refuse_other_kinds() {
        let id = UserId(Uuid::from_u128(0x0190_1234_5678_7abc_8def_0123_4567_89ab));
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.len(), "user_".len() + 26);
        assert_eq!(text.parse::<ChannelId>(), Err(InvalidId));
        let key = MessageKey { id: MessageId(id.0), channel: ChannelId(Uuid::nil()) };
        assert_eq!(key.to_string().parse(), Ok(key));
        for bad in
            ["", "user", "user_", "user_0", &text[..text.len() - 1], &format!("{text}0"), "message_zzz"]
        {
            assert_eq!(bad.parse::<UserId>(), Err(InvalidId), "{bad}");
        }
        // The last symbol carries two bits that must be zero: no second spelling of the same id.
        let mut twin = text.clone();
        let last = twin.pop();
        twin.push(if last == Some('c') { 'd' } else { 'z' });
        assert_ne!(twin.parse(), Ok(id));
    }
}
