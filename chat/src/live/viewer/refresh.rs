//! Following what the viewer comes into, and leaving what they go from.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
};

use quikapp_entities::ChannelId;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::{State, logs::Departure};
use crate::{
    Chat,
    access::Viewer,
    live::{Control, event::ResetReason, flow::RETRY},
};

impl State {
    pub(super) async fn control(&mut self, control: Result<Control, RecvError>) {
        let mut is_concerned = self.concerns(&control);
        // Many may come at once, as when somebody is added to many channels.
        loop {
            match self.controls.try_recv() {
                Ok(control) => is_concerned |= self.concerns(&Ok(control)),
                Err(TryRecvError::Lagged(missed)) => {
                    is_concerned |= self.concerns(&Err(RecvError::Lagged(missed)));
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if is_concerned && !self.ended {
            self.refresh().await;
        }
    }

    /// Whether the viewer's access has to be looked at again.
    fn concerns(&mut self, control: &Result<Control, RecvError>) -> bool {
        match control {
            Ok(Control::AccessChanged { user, workspace, .. }) => {
                *user == self.viewer.user() && self.workspace.is_none_or(|only| only == *workspace)
            }
            Ok(Control::ChannelAccessChanged { channel, .. }) => self.followed.contains_key(channel),
            Ok(Control::SessionRevoked { session }) if *session == self.viewer.session() => {
                self.end(ResetReason::AccessChanged);
                false
            }
            Ok(Control::UserDisabled { user }) if *user == self.viewer.user() => {
                self.end(ResetReason::AccessChanged);
                false
            }
            Ok(Control::SessionRevoked { .. } | Control::UserDisabled { .. }) | Err(RecvError::Closed) => {
                false
            }
            // What was missed may have been about this viewer.
            Ok(Control::Missed) | Err(RecvError::Lagged(_)) => true,
        }
    }

    /// Follows what the viewer came into, and leaves what they went from. Nothing is told until it is known.
    pub(super) async fn refresh(&mut self) {
        let (logs, members) = loop {
            match self.chat.logs_of(&self.viewer, self.workspace).await {
                Ok(found) => break found,
                Err(error) => {
                    tracing::debug!(%error, "a viewer's stream waits for the store");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        if self.workspace.is_some_and(|only| !members.contains_key(&only)) {
            return self.end(ResetReason::AccessChanged);
        }
        self.members = members;
        let now: HashSet<ChannelId> = logs.iter().map(|log| log.key.channel).collect();
        let gone: Vec<ChannelId> =
            self.followed.keys().filter(|channel| !now.contains(channel)).copied().collect();
        let departures =
            if gone.is_empty() { HashMap::new() } else { departures(&self.chat, &self.viewer, None).await };
        for channel in gone {
            let Some(following) = self.followed.remove(&channel) else { continue };
            following.stop.abort();
            if let Some((pending, _)) = &mut self.catching_up {
                pending.remove(&channel);
            }
            self.waiting.retain(|waiting| waiting.channel != channel);
            if following.is_of_channel {
                self.tell_left_ahead(channel, departures.get(&channel).copied().unwrap_or_default());
            } else {
                self.positions.remove(channel);
            }
        }
        let mut new = Vec::new();
        for log in logs {
            match self.followed.get(&log.key.channel) {
                Some(following) => following.floor.store(log.floor, Ordering::SeqCst),
                None => new.push(log),
            }
        }
        let keys: Vec<_> = new.iter().map(|log| log.key).collect();
        let feeds = loop {
            match self.chat.hub.follow_all(&keys).await {
                Ok(feeds) => break feeds,
                Err(error) => {
                    tracing::debug!(%error, "a viewer's stream waits for the relay");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        for (log, feed) in new.into_iter().zip(feeds) {
            let start = log.start.min(feed.position());
            self.begin_with(log, start);
            self.follow(log, feed, start.into());
        }
    }
}

/// How the viewer came to be out of channels, or of one. The line that says so may be hidden from them.
pub(super) async fn departures(
    chat: &Chat,
    viewer: &Viewer,
    channel: Option<ChannelId>,
) -> HashMap<ChannelId, Departure> {
    loop {
        match chat.channels_left(viewer, channel).await {
            Ok(found) => return found,
            Err(error) => {
                tracing::debug!(%error, "a viewer's stream waits for the store");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
