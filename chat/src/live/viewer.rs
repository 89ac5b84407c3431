//! Everything that happens where a viewer is a member, in one stream: the logs of their channels and workspaces. It
//! follows them into channels that they join and out of those that they leave.

mod logs;
mod refresh;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, atomic::AtomicI64},
};

use futures_util::{
    FutureExt, Stream, StreamExt,
    future::{AbortHandle, Abortable},
    stream::{self, BoxStream, SelectAll},
};
use quikapp_entities::{
    ChannelId, Timestamp, WorkspaceId,
    workspace_members::{self, MemberRole},
};
use tokio::sync::broadcast::Receiver;

pub use self::logs::workspace_log;
use self::{
    logs::{Departure, Log},
    refresh::departures,
};
use crate::{
    Chat, Error, Result,
    access::Viewer,
    live::{
        Control, Feed,
        event::{Event, Item, ResetReason, reset},
        flow::{Flow, RETRY},
        position::Position,
        positions::Positions,
        slices::Slice,
        stream::{HEAVY, TOGETHER},
    },
    messages::model::ChannelKey,
};

/// An event of one of the viewer's logs.
#[derive(Debug, Clone)]
pub struct ViewerItem {
    /// The channel; of the events of a log beside the channels, that log.
    pub channel: ChannelId,
    /// What happened. Its `position` is the log's alone.
    pub item: Item,
    /// Go on after these to miss nothing behind the event; none where the stream does not move.
    pub positions: Option<Positions>,
}

/// A log that is followed.
struct Following {
    floor: Arc<AtomicI64>,
    is_of_channel: bool,
    stop: AbortHandle,
}

struct State {
    chat: Chat,
    viewer: Viewer,
    workspace: Option<WorkspaceId>,
    members: HashMap<WorkspaceId, workspace_members::Model>,
    followed: HashMap<ChannelId, Following>,
    flows: SelectAll<BoxStream<'static, (ChannelKey, Item)>>,
    positions: Positions,
    controls: Receiver<Control>,
    waiting: VecDeque<ViewerItem>,
    /// The logs whose replay is not at its end, and what was told so far.
    catching_up: Option<(HashSet<ChannelId>, u64)>,
    /// Channels whose making, and whose leaving, was told.
    created: HashSet<ChannelId>,
    left: HashSet<ChannelId>,
    /// The turn at being told what was missed.
    slice: Slice,
    ended: bool,
}

impl Chat {
    /// Where the viewer's stream stands now, to be read before anything that a stream after it is to complete. Three
    /// queries.
    pub async fn viewer_positions(&self, viewer: &Viewer) -> Result<Positions> {
        let (logs, _) = self.logs_of(viewer, None).await?;
        let keys: Vec<_> = logs.iter().map(|log| log.key).collect();
        let heads = self.positions(&keys).await?;
        let mut positions = Positions::default();
        for log in logs {
            positions.set(log.key.channel, heads.get(&log.key).copied().unwrap_or(0));
        }
        Ok(positions)
    }

    /// Everything that happens where the viewer is a member, in one workspace or in all, from now on or after positions.
    ///
    /// # Errors
    /// [`Error::NotFound`] without such a workspace.
    pub async fn viewer_events(
        &self,
        viewer: &Viewer,
        workspace: Option<WorkspaceId>,
        after: Option<Positions>,
    ) -> Result<impl Stream<Item = Vec<ViewerItem>> + use<>> {
        let controls = self.hub.controls();
        if let Some(workspace) = workspace {
            self.workspace_member(viewer, workspace).await?;
        }
        let (logs, members) = self.logs_of(viewer, workspace).await?;
        let mut state = State {
            chat: self.clone(),
            viewer: *viewer,
            workspace,
            members,
            followed: HashMap::new(),
            flows: SelectAll::new(),
            positions: Positions::default(),
            controls,
            waiting: VecDeque::new(),
            catching_up: None,
            created: HashSet::new(),
            left: HashSet::new(),
            slice: Slice::default(),
            ended: false,
        };
        state.begin(logs, after).await?;
        Ok(stream::unfold(state, |mut state| async move { state.next().await.map(|items| (items, state)) }))
    }
}

impl State {
    /// Follows the first logs, and goes on in them where the stream is to.
    async fn begin(&mut self, logs: Vec<Log>, after: Option<Positions>) -> Result<()> {
        let keys: Vec<_> = logs.iter().map(|log| log.key).collect();
        let feeds = self.chat.hub.follow_all(&keys).await?;
        let Some(after) = after else {
            for (log, feed) in logs.into_iter().zip(feeds) {
                let position = feed.position();
                self.follow(log, feed, position.into());
            }
            return Ok(());
        };
        self.catching_up = Some((HashSet::new(), 0));
        let mut left = HashMap::new();
        if !after.are_among(keys.iter().map(|key| key.channel)) {
            left = self.chat.channels_left(&self.viewer, None).await?;
            left.retain(|channel, _| !keys.iter().any(|key| key.channel == *channel));
        }
        // Each item's cursor has to tell of everything that comes behind it.
        for channel in keys.iter().map(|key| key.channel).chain(left.keys().copied()) {
            if let Some(position) = after.get(channel) {
                self.positions.set(channel, position);
            }
            if after.is_gone(channel) {
                self.positions.set_gone(channel);
            }
        }
        for (channel, departure) in left {
            if after.get(channel).is_some() {
                self.tell_left_ahead(channel, departure);
            } else if after.is_gone(channel) {
                self.left.insert(channel);
            }
        }
        let mut pending = HashSet::new();
        for (log, feed) in logs.into_iter().zip(feeds) {
            let known = after.get(log.key.channel);
            let start = known.clone().unwrap_or_else(|| log.start.min(feed.position()).into());
            if start.head() > feed.position() && start.head() > self.chat.log.head(log.key).await?.seq {
                self.end(ResetReason::EpochChanged);
                return Ok(());
            }
            if known.is_none() {
                self.begin_with(log, start.tick());
            }
            pending.insert(log.key.channel);
            self.follow(log, feed, start);
        }
        self.catching_up = Some((pending, self.waiting.len() as u64));
        Ok(())
    }

    /// Follows a log after `start`.
    fn follow(&mut self, log: Log, feed: Feed, start: Position) {
        let floor = Arc::new(AtomicI64::new(log.floor));
        let mut flow = Flow::new(feed, Arc::clone(&floor), None, &self.chat.env);
        flow.resume_after(&start);
        self.positions.set(log.key.channel, start);
        let key = log.key;
        let (stop, registration) = AbortHandle::new_pair();
        let items =
            stream::unfold(flow, move |mut flow| async move { Some(((key, flow.next().await), flow)) });
        self.flows.push(Abortable::new(items, registration).boxed());
        self.followed.insert(key.channel, Following { floor, is_of_channel: log.made_at.is_some(), stop });
    }

    /// Tells of a channel that is new to the stream, and was made with the viewer in it.
    fn begin_with(&mut self, log: Log, start: i64) {
        self.left.remove(&log.key.channel);
        self.positions.set(log.key.channel, start);
        if log.made_at.is_some() && log.start == 0 && self.created.insert(log.key.channel) {
            self.say(log.key.channel, log.made_at, Event::ChannelCreated(log.key.channel));
        }
    }

    /// Tells something that happened at a known time, or just now.
    fn say(&mut self, channel: ChannelId, at: Option<Timestamp>, event: Event) {
        let item = Item {
            position: None,
            seq: None,
            occurred_at: at.unwrap_or_else(|| self.chat.env.now()),
            replayed: self.catching_up.is_some(),
            event,
            notes: None,
        };
        self.waiting.push_back(ViewerItem { channel, item, positions: Some(self.positions.clone()) });
    }

    /// Tells that the viewer is out of a channel, before the entry in their own log that says so too is come to. There is none
    /// for those who are out of the workspace.
    fn tell_left_ahead(&mut self, channel: ChannelId, departure: Departure) {
        self.positions.remove(channel);
        if departure.workspace.is_some_and(|workspace| self.members.contains_key(&workspace)) {
            self.positions.set_gone(channel);
        }
        self.tell_left(channel, departure);
    }

    fn tell_left(&mut self, channel: ChannelId, departure: Departure) {
        self.created.remove(&channel);
        if self.left.insert(channel) {
            self.say(channel, departure.at, Event::MemberLeft(self.viewer.user(), departure.removed_by));
        }
    }

    fn end(&mut self, reason: ResetReason) {
        self.waiting.clear();
        let item = reset(self.chat.env.now(), reason);
        let channel = ChannelId(self.viewer.user().0);
        self.waiting.push_back(ViewerItem { channel, item, positions: None });
        self.ended = true;
    }

    async fn next(&mut self) -> Option<Vec<ViewerItem>> {
        if self.catching_up.is_some() {
            // Those who come back do not crowd out those who are there.
            tokio::task::yield_now().await;
        }
        loop {
            if !self.waiting.is_empty() {
                return Some(self.waiting.drain(..).collect());
            }
            if self.ended {
                return None;
            }
            if let Some((_, count)) = self.catching_up.as_ref().filter(|(pending, _)| pending.is_empty()) {
                let event = Event::CaughtUp(*count);
                // Their entries were among what was missed.
                self.positions.forget_gone();
                self.say(ChannelId(self.viewer.user().0), None, event);
                self.catching_up = None;
                continue;
            }
            self.slice.hold_if(self.catching_up.is_some(), self.chat.hub.slices()).await;
            tokio::select! {
                biased;
                control = self.controls.recv() => Box::pin(self.control(control)).await,
                Some((key, item)) = self.flows.next(), if !self.flows.is_empty() => {
                    let mut weight = item.event.weight();
                    self.take(key, item).await;
                    while self.catching_up.as_ref().is_some_and(|(pending, _)| !pending.is_empty())
                        && self.waiting.len() < TOGETHER
                        && weight < HEAVY
                        && !self.ended
                        && let Some(Some((key, item))) = self.flows.next().now_or_never()
                    {
                        weight += item.event.weight();
                        self.take(key, item).await;
                    }
                }
            }
        }
    }

    /// Takes an item of one of the logs.
    async fn take(&mut self, key: ChannelKey, mut item: Item) {
        let channel = key.channel;
        if self.followed.contains_key(&channel) && item.event.changes_access_of() == Some(self.viewer.user())
        {
            Box::pin(self.refresh()).await;
        }
        if self.ended || !self.followed.contains_key(&channel) {
            return;
        }
        if let Some(position) = item.position.clone() {
            self.positions.set(channel, position);
        }
        match item.event {
            Event::CaughtUp(_) => {
                if let Some((pending, _)) = &mut self.catching_up {
                    pending.remove(&channel);
                }
                return;
            }
            Event::Reset(reason) => return self.end(reason),
            Event::ChannelCreated(created) if !Box::pin(self.may_tell_of(key.workspace, created)).await => {
                return;
            }
            Event::MembershipChanged(of, _) if !self.followed.contains_key(&of) => {
                return Box::pin(self.take_departure(key.workspace, of, item.occurred_at)).await;
            }
            Event::MemberLeft(user, _) if user == self.viewer.user() => {
                self.left.insert(channel);
            }
            Event::MemberJoined(user) if user == self.viewer.user() => {
                self.left.remove(&channel);
            }
            _ => {}
        }
        match &mut self.catching_up {
            Some((_, count)) => *count += 1,
            // What a channel that was joined just now tells of itself is not behind the stream.
            None => item.replayed = false,
        }
        self.waiting.push_back(ViewerItem { channel, item, positions: Some(self.positions.clone()) });
    }

    /// Takes it that a membership changed of a channel that is not followed: the viewer may have come into it and gone
    /// again since their cursor, which does not know it then, while what they loaded behind the cursor does.
    async fn take_departure(&mut self, workspace: WorkspaceId, channel: ChannelId, at: Timestamp) {
        let is_known = self.left.contains(&channel);
        self.positions.remove(channel);
        // Whoever came back into a workspace finds the entries of before in their log.
        let joined_at = self.members.get(&workspace).map(|member| member.joined_at);
        let is_of_before = |at: Option<Timestamp>| joined_at.is_none_or(|joined_at| at < Some(joined_at));
        if is_known || is_of_before(Some(at)) {
            return;
        }
        let departures = departures(&self.chat, &self.viewer, Some(channel)).await;
        if let Some(departure) = departures.get(&channel).filter(|departure| !is_of_before(departure.at)) {
            if let Some((_, count)) = &mut self.catching_up {
                *count += 1;
            }
            self.tell_left(channel, *departure);
        }
    }

    /// Whether the viewer is to be told that a channel of the workspace was made: once, and only if they may see it.
    async fn may_tell_of(&mut self, workspace: WorkspaceId, channel: ChannelId) -> bool {
        if self.members.get(&workspace).is_none_or(|member| member.role == MemberRole::Guest)
            && !self.followed.contains_key(&channel)
        {
            return false;
        }
        if self.created.contains(&channel) {
            return false;
        }
        loop {
            match self.chat.channel_reader(&self.viewer, channel).await {
                Ok(_) => return self.created.insert(channel),
                Err(Error::Unavailable { .. }) => tokio::time::sleep(RETRY).await,
                Err(_) => return false,
            }
        }
    }
}
