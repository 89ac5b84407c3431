//! Who is online: the type, setting one's own, and changes as they happen.

use async_graphql::{Context, Enum, ID, Object, SimpleObject, Subscription};
use futures_util::{Stream, stream};
use quikapp_chat::{Error, entities::UserId, presence};

use crate::{context::ContextExt, error::Result, ids, scalars::DateTime};

/// Most people that one subscription watches.
const WATCH_LIMIT: usize = 500;

/// How somebody is to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "presence::PresenceStatus")]
pub enum PresenceStatus {
    /// Has an open connection.
    Online,
    /// Has one, and said to be away or did nothing for ten minutes.
    Away,
    /// Has one, and does not want to be disturbed.
    Dnd,
    /// Has none.
    Offline,
}

/// Whether somebody is online, over all of their devices.
#[derive(Clone, SimpleObject)]
pub struct Presence {
    /// Whose.
    user_id: ID,
    /// How they are to be reached.
    status: PresenceStatus,
    /// Their last sign of life, at most a minute behind; null if none is known.
    last_seen_at: Option<DateTime>,
}

impl From<presence::Presence> for Presence {
    fn from(presence: presence::Presence) -> Self {
        Self {
            user_id: ids::id(presence.user),
            status: presence.status.into(),
            last_seen_at: presence.last_seen_at.map(DateTime),
        }
    }
}

/// What setting one's presence gives.
#[derive(SimpleObject)]
pub struct SetPresencePayload {
    /// The presence as it is now.
    presence: Presence,
}

/// Setting one's presence.
#[derive(Default)]
pub struct PresenceMutation;

#[Object]
impl PresenceMutation {
    /// Sets how the viewer is to be reached while connected, on all devices. AWAY and DND stay until ONLINE takes them back.
    /// Who has no open connection is OFFLINE whatever was set; OFFLINE itself cannot be set.
    async fn set_presence(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ONLINE, AWAY or DND.")] status: PresenceStatus,
        #[graphql(desc = "When DND ends by itself; null if it does not.")] dnd_until: Option<DateTime>,
    ) -> Result<SetPresencePayload> {
        let viewer = ctx.viewer()?;
        let until = dnd_until.map(|time| time.0);
        let presence = ctx.chat()?.set_presence(&viewer, status.into(), until).await?;
        Ok(SetPresencePayload { presence: presence.into() })
    }
}

/// Presence, live.
#[derive(Default)]
pub struct PresenceSubscription;

#[Subscription]
impl PresenceSubscription {
    /// Whenever some of these people come online, go, or change how they are to be reached: those who did, at most one
    /// list per half second. Not durable: ask for `user.presence` when the stream begins. NOT_FOUND if the viewer shares no
    /// channel with one of them; who leaves the last one shared is told of no more.
    async fn presence_changed(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom to watch, 1 to 500 people.")] user_ids: Vec<ID>,
    ) -> Result<impl Stream<Item = Result<Vec<Presence>>> + use<>> {
        let viewer = ctx.viewer()?;
        if user_ids.is_empty() || user_ids.len() > WATCH_LIMIT {
            return Err(Error::invalid("userIds", "must be 1 to 500").into());
        }
        let users: Vec<UserId> = ids::parse_all(&user_ids, "userIds")?;
        let watch = ctx.chat()?.watch_presence(&viewer, &users).await?;
        Ok(stream::unfold(watch, |mut watch| async move {
            let batch = watch.next().await?;
            Some((Ok(batch.into_iter().map(Presence::from).collect()), watch))
        }))
    }
}
