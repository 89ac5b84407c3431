//! Batching: what the fields of one request ask for one by one is read from the stores together. Nothing is remembered
//! from one batch to the next, so a loader on a long subscription never shows what is no longer so.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use quikapp_chat::{
    Chat, Error,
    access::{VisibleChannel, WorkspaceMember},
    entities::{
        ChannelId, SessionId, UserId, WorkspaceId, channel_members, ids::MessageKey, user_sessions, users,
        workspace_members,
    },
    messages::Message,
    presence::Presence,
    reads::ChannelUnread,
};

use crate::{error::Result, identity::Identity};

/// Most keys of one query.
const BATCH: usize = 1_000;
/// Turns of the runtime for which a field waits for others to ask too.
const TURNS: usize = 10;

/// Reads many values at once, and asks who the viewer is only where it matters.
trait Source: Send + Sync + 'static {
    type Key: Copy + Eq + Hash + Send + Sync + 'static;
    type Value: Clone + Send + Sync + 'static;
    fn load(
        chat: &Chat,
        identity: &Identity,
        keys: &[Self::Key],
    ) -> impl Future<Output = quikapp_chat::Result<HashMap<Self::Key, Self::Value>>> + Send;
}

type Found<S> = Arc<quikapp_chat::Result<HashMap<<S as Source>::Key, <S as Source>::Value>>>;
/// Whoever waits for a batch carries it on, so that it does not matter which of the fields are given up.
type Batch<S> = Shared<BoxFuture<'static, Found<S>>>;

/// The batch that is still open, with its keys.
struct Forming<S: Source> {
    keys: HashSet<S::Key>,
    batch: Option<Batch<S>>,
}

struct OneLoader<S: Source> {
    chat: Chat,
    identity: Identity,
    forming: Arc<Mutex<Forming<S>>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

// A poisoned lock guards a plain set: it is as good as before.
fn lock<S: Source>(forming: &Mutex<Forming<S>>) -> MutexGuard<'_, Forming<S>> {
    forming.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Source> OneLoader<S> {
    fn new(chat: &Chat, identity: &Identity) -> Self {
        Self {
            chat: chat.clone(),
            identity: identity.clone(),
            forming: Arc::new(Mutex::new(Forming { keys: HashSet::new(), batch: None })),
            turn: Arc::default(),
        }
    }

    async fn get(&self, key: S::Key) -> Result<Option<S::Value>> {
        let batch = {
            let mut forming = lock(&self.forming);
            forming.keys.insert(key);
            forming.batch.get_or_insert_with(|| self.batch()).clone()
        };
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        match batch.await.as_ref() {
            Ok(found) => Ok(found.get(&key).cloned()),
            Err(error) => Err(error.clone().into()),
        }
    }

    /// A batch of what is asked for until it is first waited for.
    fn batch(&self) -> Batch<S> {
        let (chat, identity, turn) = (self.chat.clone(), self.identity.clone(), Arc::clone(&self.turn));
        let forming = Arc::downgrade(&self.forming);
        let load = async move {
            // One at a time: what is asked for while another one is under way comes together.
            let _turn = turn.lock().await;
            let keys: Vec<S::Key> = forming.upgrade().map_or_else(Vec::new, |forming| {
                let mut forming = lock(&forming);
                forming.batch = None;
                forming.keys.drain().collect()
            });
            identity.require()?;
            let mut found = HashMap::with_capacity(keys.len());
            for part in keys.chunks(BATCH) {
                found.extend(S::load(&chat, &identity, part).await?);
            }
            Ok(found)
        };
        load.map(Arc::new).boxed().shared()
    }
}

macro_rules! source {
    ($name:ident, $key:ty => $value:ty, |$chat:ident, $identity:ident, $keys:ident| $body:expr) => {
        struct $name;
        impl Source for $name {
            type Key = $key;
            type Value = $value;
            async fn load(
                $chat: &Chat,
                $identity: &Identity,
                $keys: &[$key],
            ) -> quikapp_chat::Result<HashMap<$key, $value>> {
                $body
            }
        }
    };
}

source!(Users, UserId => Arc<users::Model>, |chat, _identity, keys| {
    Ok(chat.users(keys).await?.into_iter().map(|user| (user.id, Arc::new(user))).collect())
});
source!(Acquaintances, UserId => Arc<users::Model>, |chat, identity, keys| {
    let met: Vec<UserId> = chat.acquaintances(&identity.viewer()?, keys).await?.into_iter().collect();
    Ok(chat.users(&met).await?.into_iter().map(|user| (user.id, Arc::new(user))).collect())
});
source!(Sessions, SessionId => user_sessions::Model, |chat, identity, _keys| {
    Ok(chat.sessions(&identity.viewer()?).await?.into_iter().map(|session| (session.id, session)).collect())
});
source!(Presences, UserId => Presence, |chat, identity, keys| chat.presences(&identity.viewer()?, keys).await);
source!(OnlineMembers, (ChannelId, i32) => i32, |chat, _identity, keys| {
    let counts = chat.online_in_channels(keys).await?;
    Ok(keys.iter().filter_map(|key| Some((*key, *counts.get(&key.0)?))).collect())
});
source!(OnlinePeople, (WorkspaceId, i32) => i32, |chat, _identity, keys| {
    let counts = chat.online_in_workspaces(keys).await?;
    Ok(keys.iter().filter_map(|key| Some((*key, *counts.get(&key.0)?))).collect())
});
source!(Workspaces, WorkspaceId => WorkspaceMember, |chat, identity, keys| {
    chat.workspace_members_by_ids(&identity.viewer()?, keys).await
});
source!(WorkspaceMembers, (WorkspaceId, UserId) => workspace_members::Model, |chat, identity, keys| {
    let mut users: HashMap<WorkspaceId, Vec<UserId>> = HashMap::new();
    for (workspace, user) in keys {
        users.entry(*workspace).or_default().push(*user);
    }
    let workspaces: Vec<WorkspaceId> = users.keys().copied().collect();
    let mut found = HashMap::new();
    for (workspace, own) in chat.workspace_members_by_ids(&identity.viewer()?, &workspaces).await? {
        let members = chat.workspace_memberships(&own, &users[&workspace]).await?;
        found.extend(members.into_iter().map(|(user, member)| ((workspace, user), member)));
    }
    Ok(found)
});
source!(Channels, ChannelId => VisibleChannel, |chat, identity, keys| chat.visible_channels(&identity.viewer()?, keys).await);
source!(Messages, MessageKey => Arc<Message>, |chat, identity, keys| {
    Ok(chat.messages(&identity.viewer()?, keys).await?.into_iter().map(|(key, message)| (key, Arc::new(message))).collect())
});
source!(Newest, ChannelId => Arc<Message>, |chat, identity, keys| {
    let channels: Vec<_> = chat.visible_channels(&identity.viewer()?, keys).await?.into_values().collect();
    let newest = chat.newest_messages(&channels).await?;
    Ok(newest.into_iter().map(|(channel, message)| (channel, Arc::new(message))).collect())
});
source!(Unreads, ChannelId => ChannelUnread, |chat, identity, keys| {
    let channels: Vec<_> = chat.visible_channels(&identity.viewer()?, keys).await?.into_values().collect();
    chat.unread(&channels).await
});
source!(Memberships, (ChannelId, UserId) => channel_members::Model, |chat, identity, keys| {
    chat.memberships_by_ids(&identity.viewer()?, keys).await
});
source!(DirectMembers, ChannelId => Vec<UserId>, |chat, identity, keys| chat.members_of_direct(&identity.viewer()?, keys).await);

/// The loaders of one request, or of several events that are told together.
pub struct Loaders {
    chat: Chat,
    identity: Identity,
    users: Lazy<Users>,
    acquaintances: Lazy<Acquaintances>,
    sessions: Lazy<Sessions>,
    presences: Lazy<Presences>,
    online_members: Lazy<OnlineMembers>,
    online_people: Lazy<OnlinePeople>,
    workspaces: Lazy<Workspaces>,
    workspace_members: Lazy<WorkspaceMembers>,
    channels: Lazy<Channels>,
    messages: Lazy<Messages>,
    newest: Lazy<Newest>,
    unread: Lazy<Unreads>,
    memberships: Lazy<Memberships>,
    direct_members: Lazy<DirectMembers>,
}

/// Made when it is first asked: most requests need few of the loaders, and many need none.
type Lazy<S> = OnceLock<OneLoader<S>>;

impl Loaders {
    pub(crate) fn new(chat: &Chat, identity: &Identity) -> Self {
        Self {
            chat: chat.clone(),
            identity: identity.clone(),
            users: Lazy::new(),
            acquaintances: Lazy::new(),
            sessions: Lazy::new(),
            presences: Lazy::new(),
            online_members: Lazy::new(),
            online_people: Lazy::new(),
            workspaces: Lazy::new(),
            workspace_members: Lazy::new(),
            channels: Lazy::new(),
            messages: Lazy::new(),
            newest: Lazy::new(),
            unread: Lazy::new(),
            memberships: Lazy::new(),
            direct_members: Lazy::new(),
        }
    }

    async fn get<S: Source>(&self, loader: &Lazy<S>, key: S::Key) -> Result<Option<S::Value>> {
        loader.get_or_init(|| OneLoader::new(&self.chat, &self.identity)).get(key).await
    }

    /// An account. Only ask for those that the viewer met: authors, members, mentioned people.
    pub(crate) async fn user(&self, id: UserId) -> Result<Arc<users::Model>> {
        Ok(self.get(&self.users, id).await?.ok_or(Error::NotFound("user"))?)
    }

    /// An account, if the viewer may see it.
    pub(crate) async fn acquaintance(&self, id: UserId) -> Result<Option<Arc<users::Model>>> {
        self.get(&self.acquaintances, id).await
    }

    /// One of the viewer's own sessions.
    pub(crate) async fn session(&self, id: SessionId) -> Result<Option<user_sessions::Model>> {
        self.get(&self.sessions, id).await
    }

    /// Somebody's presence, if the viewer may see it.
    pub(crate) async fn presence(&self, id: UserId) -> Result<Option<Presence>> {
        self.get(&self.presences, id).await
    }

    /// How many members of a channel that the viewer may read are online, given how many there are.
    pub(crate) async fn online_members(&self, channel: ChannelId, members: i32) -> Result<i32> {
        Ok(self.get(&self.online_members, (channel, members)).await?.unwrap_or_default())
    }

    /// How many people of one of the viewer's workspaces are online, given how many there are.
    pub(crate) async fn online_people(&self, workspace: WorkspaceId, people: i32) -> Result<i32> {
        Ok(self.get(&self.online_people, (workspace, people)).await?.unwrap_or_default())
    }

    /// The viewer's membership in a workspace.
    pub(crate) async fn workspace(&self, id: WorkspaceId) -> Result<WorkspaceMember> {
        Ok(self.get(&self.workspaces, id).await?.ok_or(Error::NotFound("workspace"))?)
    }

    /// A member of one of the viewer's workspaces.
    pub(crate) async fn workspace_member(
        &self,
        workspace: WorkspaceId,
        user: UserId,
    ) -> Result<Option<workspace_members::Model>> {
        self.get(&self.workspace_members, (workspace, user)).await
    }

    /// A channel that the viewer may see.
    pub(crate) async fn channel(&self, id: ChannelId) -> Result<VisibleChannel> {
        Ok(self.get(&self.channels, id).await?.ok_or(Error::NotFound("channel"))?)
    }

    /// A message that the viewer may see.
    pub(crate) async fn message(&self, key: MessageKey) -> Result<Option<Arc<Message>>> {
        self.get(&self.messages, key).await
    }

    /// The newest message of a channel that the viewer may see.
    pub(crate) async fn newest(&self, channel: ChannelId) -> Result<Option<Arc<Message>>> {
        self.get(&self.newest, channel).await
    }

    /// What the viewer has not read of a channel; none if they are not in it.
    pub(crate) async fn unread(&self, channel: ChannelId) -> Result<Option<ChannelUnread>> {
        self.get(&self.unread, channel).await
    }

    /// A membership. Only ask for those of channels that the viewer may read.
    pub(crate) async fn membership(
        &self,
        channel: ChannelId,
        user: UserId,
    ) -> Result<Option<channel_members::Model>> {
        self.get(&self.memberships, (channel, user)).await
    }

    /// Who is in a direct or group channel that the viewer may read.
    pub(crate) async fn direct_members(&self, channel: ChannelId) -> Result<Vec<UserId>> {
        Ok(self.get(&self.direct_members, channel).await?.unwrap_or_default())
    }
}
