//! Writing channels: one task writes several of them, a lot at a time.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use quikapp_entities::{
    ChannelId, MessageId, UserId,
    channels::{self, ChannelType},
    workspace_members::MemberRole,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::Receiver;

use crate::{
    Chat, Error, Result, activity,
    channel_members::rows,
    channels::{DIRECT_PREFIX, blank, insert},
    database::Fault,
    import::{
        EntryKind, ImportEvent, ImportListener, ImportSummary, Row, lots::Lot, nicks::Nicks, people::hex,
        place::Place,
    },
    log::Draft,
    messages::model::{ChannelKey, MessageKind},
};

/// Messages appended together.
const GROUP: usize = 500;
/// Members entered in one transaction.
const MEMBERS: usize = 500;
/// How often a group is tried when the store does not answer.
const ATTEMPTS: u32 = 3;
/// Longest name of a channel, in characters.
const NAME: usize = 80;

/// A message of this history.
#[derive(Clone, Copy)]
struct Known {
    id: MessageId,
    author: UserId,
    /// Where it stands in the history.
    line: u64,
}

/// A channel that is being written.
struct Target {
    key: ChannelKey,
    members: HashSet<UserId>,
    nicks: Nicks,
    /// The messages of this history so far, by entry id.
    ids: HashMap<String, Known>,
    /// Whether messages may be there already.
    check: bool,
    /// Whether the row's counters are behind the log.
    stale: bool,
}

impl Target {
    /// The row's message turned out to be there under another id.
    fn rename(&mut self, row: &Row, id: MessageId) {
        if let Some(known) = self.ids.get_mut(&row.entry.id) {
            known.id = id;
        }
    }
}

/// One of the tasks.
pub(super) struct Writer {
    chat: Chat,
    place: Arc<Place>,
    listener: ImportListener,
    targets: HashMap<Arc<str>, Target>,
    summary: ImportSummary,
}

impl Writer {
    pub(super) fn new(chat: Chat, place: Arc<Place>, listener: ImportListener) -> Self {
        Self { chat, place, listener, targets: HashMap::new(), summary: ImportSummary::default() }
    }

    /// Writes what comes, until nothing does any more.
    pub(super) async fn run(mut self, mut lots: Receiver<Lot>) -> Result<ImportSummary> {
        while let Some(Lot { channel, rows }) = lots.recv().await {
            let mut target = match self.targets.remove(&channel) {
                Some(target) => target,
                None => match self.open(&channel_name(&channel)).await? {
                    Ok(target) => target,
                    Err(reason) => {
                        self.refuse(&rows, &reason);
                        continue;
                    }
                },
            };
            self.enter(&mut target, &rows).await?;
            for row in &rows {
                target.nicks.add(&row.entry.user, row.author);
            }
            let total = rows.len();
            let written: Vec<Row> = rows.into_iter().filter(|row| row.entry.kind.is_written()).collect();
            (self.listener)(ImportEvent::Done(total - written.len()));
            let result = self.write(&mut target, &written).await;
            // Also after a failure, for what did get in.
            let flushed = self.flush(&mut target).await;
            result.and(flushed)?;
            self.targets.insert(channel, target);
        }
        Ok(self.summary)
    }

    fn refuse(&mut self, rows: &[Row], reason: &str) {
        for row in rows {
            self.skip(row.entry.line, reason.to_owned());
        }
        (self.listener)(ImportEvent::Done(rows.len()));
    }

    fn skip(&mut self, line: u64, reason: String) {
        self.summary.skipped += 1;
        (self.listener)(ImportEvent::Skipped { line, reason });
    }

    /// Finds the channel, or makes it; or says why nothing can be written there.
    async fn open(&mut self, name: &str) -> Result<Result<Target, String>> {
        let channel = match self.find(name).await? {
            Some(channel) => channel,
            None => match self.create(name).await {
                Ok(channel) => {
                    self.summary.channels += 1;
                    channel
                }
                // Another import was faster.
                Err(Fault::Unique(_)) => self.find(name).await?.ok_or(Error::Internal)?,
                Err(fault) => return Err(fault.into()),
            },
        };
        if channel.kind != ChannelType::Public {
            return Ok(Err(format!("there is a channel `{name}` that is not public")));
        }
        if channel.is_archived {
            return Ok(Err(format!("the channel `{name}` is archived")));
        }
        let key = ChannelKey { workspace: self.place.workspace, channel: channel.id };
        let head = self.chat.log.head(key).await?;
        Ok(Ok(Target {
            key,
            members: HashSet::new(),
            nicks: Nicks::default(),
            ids: HashMap::new(),
            check: head.seq > 0,
            stale: head.seq > channel.log_seq,
        }))
    }

    async fn find(&self, name: &str) -> Result<Option<channels::Model>> {
        let found = channels::Entity::find()
            .filter(channels::Column::WorkspaceId.eq(self.place.workspace))
            .filter(channels::Column::Name.eq(name));
        Ok(self.chat.db.read(found.one(self.chat.db.pool())).await?)
    }

    async fn create(&self, name: &str) -> Result<channels::Model, Fault> {
        let (id, now) = (ChannelId(self.chat.env.uuid()), self.chat.env.now());
        let workspace = self.place.workspace;
        let row = blank(id, workspace, ChannelType::Public, name.to_owned(), self.place.owner, now);
        let channel = Arc::new(row.clone());
        let write = self.chat.db.write(move |tx| {
            let channel = Arc::clone(&channel);
            Box::pin(async move {
                rows::lock_workspace(tx, workspace).await?;
                insert(tx, &channel, &[]).await
            })
        });
        write.await?;
        Ok(row)
    }

    /// Makes members of all who are in `rows` and never were in the channel; who left or was removed stays outside.
    async fn enter(&self, target: &mut Target, rows: &[Row]) -> Result<()> {
        let mut seen = HashSet::new();
        let new: Vec<UserId> = rows
            .iter()
            .map(|row| row.author)
            .filter(|user| !target.members.contains(user) && seen.insert(*user))
            .collect();
        let (id, now) = (target.key.channel, self.chat.env.now());
        for users in new.chunks(MEMBERS) {
            let people: Arc<[UserId]> = users.into();
            let entered = self.chat.db.write(move |tx| {
                let people = Arc::clone(&people);
                Box::pin(async move {
                    let channel = rows::lock_channel(tx, id).await?;
                    let known = rows::find(tx, id, &people).await?;
                    let new: Vec<_> = people
                        .iter()
                        .filter(|user| !known.contains_key(user))
                        .map(|user| (*user, MemberRole::Member))
                        .collect();
                    if !new.is_empty() {
                        rows::enter(tx, &channel, &new, 0, now).await?;
                    }
                    Ok(())
                })
            });
            entered.await?;
            target.members.extend(users);
        }
        Ok(())
    }

    async fn write(&mut self, target: &mut Target, rows: &[Row]) -> Result<()> {
        for group in rows.chunks(GROUP) {
            let mut fresh = Vec::with_capacity(group.len());
            for row in group {
                let new = MessageId(self.chat.env.uuid());
                match target.ids.get(&row.entry.id) {
                    None => {
                        let known = Known { id: new, author: row.author, line: row.entry.line };
                        target.ids.insert(row.entry.id.clone(), known);
                        fresh.push((row, new));
                    }
                    Some(known) if known.author == row.author => self.summary.already_there += 1,
                    Some(_) => self.skip(row.entry.line, format!("the id `{}` stands twice", row.entry.id)),
                }
            }
            self.append(target, &fresh).await?;
            (self.listener)(ImportEvent::Done(group.len()));
        }
        Ok(())
    }

    /// Appends what is not there yet. A store that does not answer is asked again; each try looks first at what of the one
    /// before got in.
    async fn append(&mut self, target: &mut Target, group: &[(&Row, MessageId)]) -> Result<()> {
        let mut attempt = 1;
        let known = loop {
            match self.try_append(target, group).await {
                Ok(known) => break known,
                Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                    target.check = true;
                    tokio::time::sleep(error.retry_after().unwrap_or(Duration::from_secs(1)) * attempt).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        for (row, _) in group.iter().filter(|(row, _)| !known.contains(&row.entry.id)) {
            match row.entry.kind {
                EntryKind::Action => self.summary.actions += 1,
                _ => self.summary.messages += 1,
            }
            if let Some(reply_to) = &row.entry.reply_to
                && answered(target, row).is_none()
            {
                self.summary.unanswered += 1;
                let (line, reply_to) = (row.entry.line, reply_to.clone());
                (self.listener)(ImportEvent::Unanswered { line, reply_to });
            }
        }
        self.summary.already_there += known.len() as u64;
        Ok(())
    }

    /// The entries that were there before this import.
    async fn try_append(&self, target: &mut Target, group: &[(&Row, MessageId)]) -> Result<HashSet<String>> {
        let mut found = HashMap::new();
        if target.check && !group.is_empty() {
            let ids: Vec<_> = group.iter().map(|(row, _)| (row.author, row.entry.id.clone())).collect();
            for message in self.chat.store.by_client_ids(target.key, &ids).await? {
                if let Some(id) = message.client_message_id {
                    found.insert(id, message.id);
                }
            }
        }
        let mut known = HashSet::new();
        let mut drafts = Vec::with_capacity(group.len());
        let mut appended = Vec::with_capacity(group.len());
        for (row, new) in group {
            if let Some(there) = found.get(&row.entry.id) {
                target.rename(row, *there);
                if there != new {
                    known.insert(row.entry.id.clone());
                }
                continue;
            }
            drafts.push(draft(target, row, *new));
            appended.push((*row, *new));
        }
        if !drafts.is_empty() {
            target.stale = true;
            let messages = self.chat.log.append_all(target.key, drafts).await?;
            for ((row, new), written) in appended.into_iter().zip(messages) {
                // Another import of the same history was faster.
                if written.message.id != new {
                    target.rename(row, written.message.id);
                    known.insert(row.entry.id.clone());
                }
            }
        }
        Ok(known)
    }

    /// Brings the row's counters up to the log.
    async fn flush(&self, target: &mut Target) -> Result<()> {
        if !target.stale {
            return Ok(());
        }
        activity::copy(&self.chat.db, self.chat.store.as_ref(), &[target.key]).await?;
        target.stale = false;
        Ok(())
    }
}

/// The message that a row answers, if it is one before it in the same channel.
fn answered(target: &Target, row: &Row) -> Option<MessageId> {
    let known = target.ids.get(row.entry.reply_to.as_ref()?)?;
    (known.line < row.entry.line).then_some(known.id)
}

fn draft(target: &Target, row: &Row, id: MessageId) -> Draft {
    Draft {
        id,
        author: row.author,
        created_at: row.entry.at,
        kind: match row.entry.kind {
            EntryKind::Action => MessageKind::Action,
            _ => MessageKind::Text,
        },
        text: row.entry.text.clone(),
        blocks: Vec::new(),
        mentions: target.nicks.addressed(&row.entry.text),
        mentions_everyone: false,
        client_message_id: Some(row.entry.id.clone()),
        thread_root: None,
        reply_to: answered(target, row),
        broadcast: false,
        system: None,
    }
}

/// A valid channel name made from an excerpt's. Where the excerpt's is not valid itself a part of its hash keeps it apart
/// from others.
pub(super) fn channel_name(excerpt: &str) -> String {
    let mut name: String =
        excerpt.trim().chars().map(|c| if c.is_control() { '-' } else { c }).take(NAME).collect();
    if name.starts_with(DIRECT_PREFIX) {
        name.replace_range(..DIRECT_PREFIX.len(), "dm-");
    }
    if name == excerpt {
        return name;
    }
    let mark = hex(&Sha256::digest(excerpt)[..4]);
    let kept: String = name.chars().take(NAME - mark.len() - 1).collect();
    format!("{}-{mark}", kept.trim_end())
}
