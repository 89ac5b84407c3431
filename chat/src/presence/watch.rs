//! One viewer's watch over some people.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use quikapp_entities::UserId;
use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};

use super::{Presence, PresenceStatus, board::Mailbox};
use crate::{Chat, Error, Result, access::Viewer, live::Control};

/// How long a watch waits before it asks again whom the viewer may see.
const RETRY: Duration = Duration::from_millis(250);

/// Tells whenever the status of some people changes, as long as the viewer may see them.
pub struct PresenceWatch {
    chat: Chat,
    viewer: Viewer,
    controls: Receiver<Control>,
    mailbox: Arc<Mailbox>,
    /// As it was told, or was when the watch began.
    told: HashMap<UserId, PresenceStatus>,
}

impl Chat {
    /// Watches people, from now on. [`Error::NotFound`] if the viewer shares no channel with one of them.
    pub async fn watch_presence(&self, viewer: &Viewer, users: &[UserId]) -> Result<PresenceWatch> {
        // Both are listened to before anything is looked at, or what happens between would be missed.
        let controls = self.hub.controls();
        let mailbox = Arc::new(Mailbox::new(self.presence.watches.fetch_add(1, Ordering::Relaxed)));
        self.presence.board.watch(users, &mailbox);
        // From here on it is taken off the board when it is dropped.
        let mut watch = PresenceWatch {
            chat: self.clone(),
            viewer: *viewer,
            controls,
            mailbox,
            told: users.iter().map(|user| (*user, PresenceStatus::Offline)).collect(),
        };
        let found = self.presences(viewer, users).await?;
        if users.iter().any(|user| !found.contains_key(user)) {
            return Err(Error::NotFound("user"));
        }
        watch.told.extend(found.values().map(|presence| (presence.user, presence.status)));
        self.presence.board.expect(&found.into_values().collect::<Vec<_>>());
        Ok(watch)
    }
}

impl Drop for PresenceWatch {
    fn drop(&mut self) {
        self.chat.presence.board.unwatch(self.told.keys(), self.mailbox.id);
    }
}

impl PresenceWatch {
    /// The next changes, together, at most twice a second. None when the viewer's session ended, or when nobody is left whom
    /// the viewer may see.
    pub async fn next(&mut self) -> Option<Vec<Presence>> {
        loop {
            let mailbox = Arc::clone(&self.mailbox);
            let mut look_again = false;
            tokio::select! {
                control = self.controls.recv() => look_again |= self.concerns(&control)?,
                () = mailbox.ready() => {}
            }
            // What was announced before the changes holds for them.
            loop {
                let control = match self.controls.try_recv() {
                    Ok(control) => Ok(control),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Closed) => return None,
                    Err(TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
                };
                look_again |= self.concerns(&control)?;
            }
            if look_again {
                self.look_again().await?;
            }
            let mut changed = self.mailbox.take();
            changed.retain(|presence| {
                let told = self.told.get_mut(&presence.user);
                told.is_some_and(|told| std::mem::replace(told, presence.status) != presence.status)
            });
            if !changed.is_empty() {
                return Some(changed);
            }
        }
    }

    /// Whether it may have changed whom the viewer may see. None when the viewer's session ended.
    fn concerns(&self, control: &std::result::Result<Control, RecvError>) -> Option<bool> {
        match *control {
            Ok(Control::SessionRevoked { session }) => (session != self.viewer.session()).then_some(false),
            Ok(Control::UserDisabled { user }) => (user != self.viewer.user()).then_some(false),
            Ok(Control::AccessChanged { user, .. }) => {
                Some(user == self.viewer.user() || self.told.contains_key(&user))
            }
            // Nobody came or went.
            Ok(Control::ChannelAccessChanged { .. }) => Some(false),
            Ok(Control::Missed) | Err(RecvError::Lagged(_)) => Some(true),
            Err(RecvError::Closed) => None,
        }
    }

    /// Lets go of those whom the viewer may not see any more.
    async fn look_again(&mut self) -> Option<()> {
        let users: Vec<UserId> = self.told.keys().copied().collect();
        let found = loop {
            match self.chat.presence.stored(Some(self.viewer.user()), &users).await {
                Ok(found) => break found,
                // Nothing is told until it is known.
                Err(Error::Unavailable { .. }) => tokio::time::sleep(RETRY).await,
                Err(_) => return None,
            }
        };
        let visible: HashSet<UserId> = found.into_iter().map(|stored| stored.user).collect();
        let gone: Vec<UserId> = users.into_iter().filter(|user| !visible.contains(user)).collect();
        self.chat.presence.board.unwatch(gone.iter(), self.mailbox.id);
        self.told.retain(|user, _| visible.contains(user));
        (!self.told.is_empty()).then_some(())
    }
}
