//! Who is online, live.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_graphql::{Context, ID, Object, SimpleObject, Subscription};
use futures_util::{Stream, stream};
use quikapp_chat::{
    Chat, Error,
    access::Viewer,
    entities::UserId,
    live::{Control, presence::Presence as Known},
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::Instant,
};

use crate::{
    context::ContextExt,
    error::Result,
    ids,
    users::{Presence, PresenceStatus},
};

/// Most people that one subscription watches.
const WATCH_LIMIT: usize = 500;
/// Changes within this time come together.
const COALESCE: Duration = Duration::from_millis(500);
/// How long a stream waits before it asks again whom the viewer may see.
const RETRY: Duration = Duration::from_millis(250);

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
    /// Sets how the viewer is to be reached while connected. AWAY and DND stay until ONLINE takes them back. Who has no
    /// open connection is OFFLINE whatever was set; OFFLINE itself cannot be set.
    async fn set_presence(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "ONLINE, AWAY or DND.")] status: PresenceStatus,
    ) -> Result<SetPresencePayload> {
        let viewer = ctx.viewer()?;
        if status == PresenceStatus::Offline {
            return Err(Error::invalid("status", "OFFLINE cannot be set").into());
        }
        let presences = ctx.chat()?.hub().presence();
        presences.choose(viewer.user(), status.into()).await?;
        let presence = presences.of(&[viewer.user()]).await?;
        let presence = presence.into_iter().next().ok_or(Error::Internal)?;
        Ok(SetPresencePayload { presence: presence.into() })
    }
}

/// Presence, live.
#[derive(Default)]
pub struct PresenceSubscription;

#[Subscription]
impl PresenceSubscription {
    /// Whenever some of these people come online, go, or change how they are to be reached: those who did, at most one
    /// list per half second. Not durable: ask for `user.presence` when the stream begins. NOT_FOUND if the viewer may not
    /// see one of them.
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
        let chat = ctx.chat()?.clone();
        // Listened to before the access is checked, or its end could fall between the two.
        let controls = chat.hub().controls();
        let known = chat.acquaintances(&viewer, &users).await?;
        if users.iter().any(|user| !known.contains(user)) {
            return Err(Error::NotFound("user").into());
        }
        let changes = chat.hub().presence().changes();
        let before = chat.hub().presence().of(&users).await?;
        let watch = Watch {
            chat,
            viewer,
            controls,
            changes,
            known: before.into_iter().map(|presence| (presence.user, presence)).collect(),
        };
        Ok(stream::unfold(watch, |mut watch| async move {
            let batch = watch.next().await?;
            Some((Ok(batch.into_iter().map(Presence::from).collect()), watch))
        }))
    }
}

/// What one subscription knows of the people whom it watches.
struct Watch {
    chat: Chat,
    viewer: Viewer,
    controls: Receiver<Control>,
    changes: Receiver<Option<UserId>>,
    known: HashMap<UserId, Known>,
}

impl Watch {
    /// The next batch of changes.
    async fn next(&mut self) -> Option<Vec<Known>> {
        loop {
            let mut touched: HashSet<UserId> = HashSet::new();
            // Somebody whose connections end in silence goes offline at a known time.
            let now = self.chat.now();
            let ends = self.known.values().filter_map(|presence| presence.expires_at).min();
            let silence =
                ends.map(|end| Duration::from_millis(u64::try_from(end.0 - now.0).unwrap_or(0) + 1));
            tokio::select! {
                biased;
                control = self.controls.recv() => self.look_again(&control).await?,
                change = self.changes.recv() => self.note(&change, &mut touched)?,
                () = wait(silence) => {
                    let now = self.chat.now();
                    touched.extend(self.known.values().filter(|known| known.expires_at.is_some_and(|end| end <= now)).map(|known| known.user));
                }
            }
            if touched.is_empty() {
                continue;
            }
            let until = Instant::now() + COALESCE;
            while let Ok(change) = tokio::time::timeout_at(until, self.changes.recv()).await {
                self.note(&change, &mut touched)?;
            }
            let users: Vec<UserId> = touched.into_iter().collect();
            // The live store is away: what changed meanwhile is found when it is back and everybody is looked at.
            let Ok(now) = self.chat.hub().presence().of(&users).await else { continue };
            let mut changed = Vec::new();
            for presence in now {
                let before = self.known.insert(presence.user, presence);
                if before.is_none_or(|before| before.status != presence.status) {
                    changed.push(presence);
                }
            }
            if !changed.is_empty() {
                return Some(changed);
            }
        }
    }

    /// Lets go of those whom the viewer may not see any more; ends with the viewer's session, or when nobody is left.
    async fn look_again(&mut self, control: &std::result::Result<Control, RecvError>) -> Option<()> {
        match control {
            Ok(Control::SessionRevoked { session }) => {
                return (*session != self.viewer.session()).then_some(());
            }
            Ok(Control::UserDisabled { user }) => return (*user != self.viewer.user()).then_some(()),
            Ok(Control::AccessChanged { user, channel, .. }) => {
                let is_concerned = *user == self.viewer.user() || self.known.contains_key(user);
                if channel.is_some() || !is_concerned {
                    return Some(());
                }
            }
            // Nobody came or went.
            Ok(Control::ChannelAccessChanged { .. }) => return Some(()),
            Ok(Control::Missed) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
        let users: Vec<UserId> = self.known.keys().copied().collect();
        let met = loop {
            match self.chat.acquaintances(&self.viewer, &users).await {
                Ok(met) => break met,
                // Nothing is told until it is known.
                Err(Error::Unavailable { .. }) => tokio::time::sleep(RETRY).await,
                Err(_) => return None,
            }
        };
        self.known.retain(|user, _| met.contains(user));
        (!self.known.is_empty()).then_some(())
    }

    fn note(
        &self,
        change: &std::result::Result<Option<UserId>, RecvError>,
        touched: &mut HashSet<UserId>,
    ) -> Option<()> {
        match change {
            Ok(Some(user)) => touched.extend(self.known.contains_key(user).then_some(*user)),
            Ok(None) | Err(RecvError::Lagged(_)) => touched.extend(self.known.keys()),
            Err(RecvError::Closed) => return None,
        }
        Some(())
    }
}

async fn wait(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
