//! Batching: what the fields of one request ask for one by one is read from the stores together. Nothing is remembered
//! from one batch to the next, so a loader on a long subscription never shows what is no longer so.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use dataloader::{BatchFn, non_cached::Loader};
use quikapp_chat::{
    Chat, Error,
    access::{ChannelReader, Viewer, WorkspaceMember},
    entities::{ChannelId, UserId, WorkspaceId, channel_members, ids::MessageKey, users},
    live::presence::Presence,
    messages::Message,
};

use crate::{context::Identity, error::Result};

/// Most keys of one batch.
const BATCH: usize = 1_000;

/// Reads many values at once for one viewer.
trait Source: Send + Sync + 'static {
    type Key: Copy + Eq + Hash + std::fmt::Debug + Send + Sync;
    type Value: Clone + Send + Sync;
    fn load(
        chat: &Chat,
        viewer: &Viewer,
        keys: &[Self::Key],
    ) -> impl Future<Output = quikapp_chat::Result<HashMap<Self::Key, Self::Value>>> + Send;
}

struct Batch<S> {
    chat: Chat,
    identity: Identity,
    source: std::marker::PhantomData<S>,
}

impl<S: Source> BatchFn<S::Key, quikapp_chat::Result<Option<S::Value>>> for Batch<S> {
    async fn load(&mut self, keys: &[S::Key]) -> HashMap<S::Key, quikapp_chat::Result<Option<S::Value>>> {
        let found = match self.identity.get() {
            Some(viewer) => S::load(&self.chat, &viewer, keys).await,
            None => Err(Error::Unauthenticated("sign in first")),
        };
        match found {
            Ok(mut found) => keys.iter().map(|key| (*key, Ok(found.remove(key)))).collect(),
            Err(error) => keys.iter().map(|key| (*key, Err(error.clone()))).collect(),
        }
    }
}

struct OneLoader<S: Source>(Loader<S::Key, quikapp_chat::Result<Option<S::Value>>, Batch<S>>);

impl<S: Source> OneLoader<S> {
    fn new(chat: &Chat, identity: &Identity) -> Self {
        let batch =
            Batch { chat: chat.clone(), identity: identity.clone(), source: std::marker::PhantomData };
        Self(Loader::new(batch).with_max_batch_size(BATCH))
    }

    async fn get(&self, key: S::Key) -> Result<Option<S::Value>> {
        Ok(self.0.try_load(key).await.map_err(|_| Error::Internal)??)
    }
}

macro_rules! source {
    ($name:ident, $key:ty => $value:ty, |$chat:ident, $viewer:ident, $keys:ident| $body:expr) => {
        struct $name;
        impl Source for $name {
            type Key = $key;
            type Value = $value;
            async fn load(
                $chat: &Chat,
                $viewer: &Viewer,
                $keys: &[$key],
            ) -> quikapp_chat::Result<HashMap<$key, $value>> {
                $body
            }
        }
    };
}

source!(Users, UserId => Arc<users::Model>, |chat, _viewer, keys| {
    Ok(chat.users(keys).await?.into_iter().map(|user| (user.id, Arc::new(user))).collect())
});
source!(Presences, UserId => Presence, |chat, _viewer, keys| {
    Ok(chat.hub().presence().of(keys).await?.into_iter().map(|presence| (presence.user, presence)).collect())
});
source!(Workspaces, WorkspaceId => WorkspaceMember, |chat, viewer, keys| {
    chat.workspace_members_by_ids(viewer, keys).await
});
source!(Channels, ChannelId => ChannelReader, |chat, viewer, keys| chat.channel_readers(viewer, keys).await);
source!(Messages, MessageKey => Arc<Message>, |chat, viewer, keys| {
    Ok(chat.messages(viewer, keys).await?.into_iter().map(|(key, message)| (key, Arc::new(message))).collect())
});
source!(Newest, ChannelId => Arc<Message>, |chat, viewer, keys| {
    let readers: Vec<_> = chat.channel_readers(viewer, keys).await?.into_values().collect();
    let newest = chat.newest_messages(&readers).await?;
    Ok(newest.into_iter().map(|(channel, message)| (channel, Arc::new(message))).collect())
});
source!(Memberships, (ChannelId, UserId) => channel_members::Model, |chat, viewer, keys| {
    chat.memberships_by_ids(viewer, keys).await
});
source!(DirectMembers, ChannelId => Vec<UserId>, |chat, viewer, keys| chat.members_of_direct(viewer, keys).await);

/// The loaders of one request.
pub struct Loaders {
    users: OneLoader<Users>,
    presences: OneLoader<Presences>,
    workspaces: OneLoader<Workspaces>,
    channels: OneLoader<Channels>,
    messages: OneLoader<Messages>,
    newest: OneLoader<Newest>,
    memberships: OneLoader<Memberships>,
    direct_members: OneLoader<DirectMembers>,
}

impl Loaders {
    pub(crate) fn new(chat: &Chat, identity: &Identity) -> Self {
        Self {
            users: OneLoader::new(chat, identity),
            presences: OneLoader::new(chat, identity),
            workspaces: OneLoader::new(chat, identity),
            channels: OneLoader::new(chat, identity),
            messages: OneLoader::new(chat, identity),
            newest: OneLoader::new(chat, identity),
            memberships: OneLoader::new(chat, identity),
            direct_members: OneLoader::new(chat, identity),
        }
    }

    /// An account. Only ask for those that the viewer met: authors, members, mentioned people.
    pub(crate) async fn user(&self, id: UserId) -> Result<Arc<users::Model>> {
        Ok(self.users.get(id).await?.ok_or(Error::NotFound("user"))?)
    }

    /// Somebody's presence.
    pub(crate) async fn presence(&self, id: UserId) -> Result<Presence> {
        Ok(self.presences.get(id).await?.ok_or(Error::Internal)?)
    }

    /// The viewer's membership in a workspace.
    pub(crate) async fn workspace(&self, id: WorkspaceId) -> Result<WorkspaceMember> {
        Ok(self.workspaces.get(id).await?.ok_or(Error::NotFound("workspace"))?)
    }

    /// The viewer's right to read a channel.
    pub(crate) async fn channel(&self, id: ChannelId) -> Result<ChannelReader> {
        Ok(self.channels.get(id).await?.ok_or(Error::NotFound("channel"))?)
    }

    /// A message that the viewer may see.
    pub(crate) async fn message(&self, key: MessageKey) -> Result<Option<Arc<Message>>> {
        self.messages.get(key).await
    }

    /// The newest message of a channel that the viewer may see.
    pub(crate) async fn newest(&self, channel: ChannelId) -> Result<Option<Arc<Message>>> {
        self.newest.get(channel).await
    }

    /// A membership. Only ask for those of channels that the viewer may read.
    pub(crate) async fn membership(
        &self,
        channel: ChannelId,
        user: UserId,
    ) -> Result<Option<channel_members::Model>> {
        self.memberships.get((channel, user)).await
    }

    /// Who is in a direct or group channel that the viewer may read.
    pub(crate) async fn direct_members(&self, channel: ChannelId) -> Result<Vec<UserId>> {
        Ok(self.direct_members.get(channel).await?.unwrap_or_default())
    }
}
