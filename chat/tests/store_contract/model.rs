//! The store as plain lists: what the contract means, without an index or a query.

use std::collections::{BTreeMap, BTreeSet};

use quikapp_chat::{
    entities::{MessageId, Timestamp, UserId},
    messages::model::{ChannelKey, Message, ThreadSummary},
    store::{Conflict, Head, Inserted, PageQuery, Replaced, Scope, Unread, UnreadQuery},
};

#[derive(Default)]
pub(crate) struct Model {
    messages: BTreeMap<ChannelKey, Vec<Message>>,
    heads: BTreeMap<ChannelKey, Head>,
}

impl Model {
    /// The messages of a channel, in no order.
    pub(crate) fn of(&self, key: ChannelKey) -> &[Message] {
        self.messages.get(&key).map_or(&[], Vec::as_slice)
    }

    fn is_taken(&self, key: ChannelKey, tick: i64, except: Option<MessageId>) -> bool {
        self.of(key).iter().any(|other| Some(other.id) != except && other.ticks.contains(&tick))
    }

    fn committed(&mut self, message: &Message) {
        let head = self.heads.entry(message.key).or_default();
        if message.seq > head.seq {
            *head = Head { seq: message.seq, visible_count: message.visible_count };
        }
    }

    pub(crate) fn head(&self, key: ChannelKey) -> Head {
        self.heads.get(&key).copied().unwrap_or_default()
    }

    pub(crate) fn heads(&self) -> Vec<(ChannelKey, Head)> {
        self.heads.iter().map(|(key, head)| (*key, *head)).collect()
    }

    pub(crate) fn insert(&mut self, key: ChannelKey, messages: &[Message]) -> Inserted {
        for (committed, message) in messages.iter().enumerate() {
            let is_repeat = message.client_message_id.is_some()
                && self.of(key).iter().any(|other| {
                    other.author == message.author && other.client_message_id == message.client_message_id
                });
            let conflict = if is_repeat {
                Some(Conflict::ClientMessageId)
            } else if message.ticks.iter().any(|tick| self.is_taken(key, *tick, None)) {
                Some(Conflict::Tick)
            } else {
                None
            };
            if conflict.is_some() {
                return Inserted { committed, conflict };
            }
            self.messages.entry(key).or_default().push(message.clone());
            self.committed(message);
        }
        Inserted { committed: messages.len(), conflict: None }
    }

    pub(crate) fn replace(&mut self, message: &Message, expected_seq: i64) -> Replaced {
        let stored = self.of(message.key).iter().position(|other| other.id == message.id);
        let Some(at) = stored.filter(|at| self.of(message.key)[*at].seq == expected_seq) else {
            return Replaced::Stale;
        };
        if message.ticks.iter().any(|tick| self.is_taken(message.key, *tick, Some(message.id))) {
            return Replaced::TickTaken;
        }
        self.messages.get_mut(&message.key).unwrap()[at] = message.clone();
        self.committed(message);
        Replaced::Done
    }

    pub(crate) fn clear_thread_pending(&mut self, key: ChannelKey, replies: &[MessageId]) {
        for message in self.messages.entry(key).or_default() {
            message.thread_pending &= !replies.contains(&message.id);
        }
    }

    pub(crate) fn get(&self, ids: &[(ChannelKey, MessageId)]) -> Vec<Message> {
        let all = self.messages.values().flatten();
        all.filter(|message| ids.contains(&(message.key, message.id))).cloned().collect()
    }

    pub(crate) fn by_client_ids(&self, key: ChannelKey, ids: &[(UserId, String)]) -> Vec<Message> {
        let wanted = |message: &&Message| {
            let id = message.client_message_id.as_ref();
            id.is_some_and(|id| ids.contains(&(message.author, id.clone())))
        };
        self.of(key).iter().filter(wanted).cloned().collect()
    }

    fn sorted(
        &self,
        key: ChannelKey,
        keep: impl Fn(&Message) -> bool,
        by: fn(&Message) -> i64,
    ) -> Vec<Message> {
        let mut messages: Vec<_> = self.of(key).iter().filter(|message| keep(message)).cloned().collect();
        messages.sort_by_key(by);
        messages
    }

    pub(crate) fn page(&self, key: ChannelKey, query: PageQuery) -> Vec<Message> {
        let in_scope = |message: &Message| match query.scope {
            Scope::Timeline => message.in_timeline(),
            Scope::Thread(root) => message.thread_root == Some(root),
        };
        let keep =
            |message: &Message| in_scope(message) && message.ts > query.after && message.ts < query.before;
        let mut messages = self.sorted(key, keep, |message| message.ts);
        if query.newest_first {
            messages.reverse();
        }
        messages.truncate(query.limit);
        messages
    }

    pub(crate) fn changes(&self, key: ChannelKey, after: i64, limit: usize) -> Vec<Message> {
        let mut messages = self.sorted(key, |message| message.seq > after, |message| message.seq);
        messages.truncate(limit);
        messages
    }

    pub(crate) fn newest(&self, keys: &[(ChannelKey, i64)]) -> Vec<Message> {
        let newest = |(key, after): &(ChannelKey, i64)| {
            let keep = |message: &Message| message.counts() && message.in_timeline() && message.ts > *after;
            self.sorted(*key, keep, |message| message.ts).pop()
        };
        keys.iter().filter_map(newest).collect()
    }

    pub(crate) fn unread(
        &self,
        reader: UserId,
        queries: &[UnreadQuery],
        limit: usize,
    ) -> Vec<(ChannelKey, Unread)> {
        let unread = |UnreadQuery { key, after, up_to }: &UnreadQuery| {
            let keep = |message: &Message| {
                let in_stretch = message.ts > *after && message.ts <= *up_to;
                in_stretch && message.counts() && message.in_timeline() && message.author != reader
            };
            let mut found = self.sorted(*key, keep, |message| message.ts);
            found.truncate(limit);
            let count = i64::try_from(found.len()).unwrap();
            found.first().map(|first| (*key, Unread { count, first: first.id }))
        };
        queries.iter().filter_map(unread).collect()
    }

    pub(crate) fn thread_summary(&self, key: ChannelKey, root: MessageId) -> ThreadSummary {
        let keep = |message: &Message| message.thread_root == Some(root) && message.counts();
        let replies = self.sorted(key, keep, |message| message.ts);
        let mut summary = ThreadSummary {
            reply_count: i64::try_from(replies.len()).unwrap(),
            last_reply_at: replies.iter().map(|reply| reply.created_at).max(),
            participants: Vec::new(),
        };
        for reply in replies {
            if !summary.participants.contains(&reply.author)
                && summary.participants.len() < ThreadSummary::PARTICIPANTS
            {
                summary.participants.push(reply.author);
            }
        }
        summary
    }

    pub(crate) fn pending_replies(&self, key: ChannelKey) -> Vec<Message> {
        self.sorted(key, |message| message.thread_pending, |message| message.ts)
    }

    pub(crate) fn pending_channels(&self, before: Timestamp) -> BTreeSet<ChannelKey> {
        let all = self.messages.values().flatten();
        all.filter(|message| message.thread_pending && message.created_at < before)
            .map(|message| message.key)
            .collect()
    }

    pub(crate) fn delete_channel(&mut self, key: ChannelKey) {
        self.messages.remove(&key);
        self.heads.remove(&key);
    }

    pub(crate) fn expire(&mut self, now: Timestamp) {
        for messages in self.messages.values_mut() {
            messages.retain(|message| message.purge_at.is_none_or(|at| at > now));
        }
    }
}
