//! What a change has to tell, and the row that it stands in until then.

use quikapp_entities::{
    ChannelId, MessageId, Timestamp, UserId, WorkspaceId, outbox, workspace_members::MemberRole,
};
use sea_orm::Set;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    database::Fault,
    live::{Control, viewer::workspace_log},
    messages::model::{ChannelKey, SystemEvent},
    reads::{membership_entry, read_log},
};

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Notice {
    /// A line in the channel's timeline. One about a member also makes the member's streams look at their access again.
    Line(SystemEvent),
    /// An entry in the log of the workspace, or in somebody's read log. There is one for each part of it, which moves up
    /// each time: who was away learns of it once.
    Entry(SystemEvent),
    /// Announcements to all nodes.
    Announcements(Vec<Control>),
}

/// A row of the outbox to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Untold {
    pub(super) id: MessageId,
    pub(super) key: ChannelKey,
    pub(super) author: UserId,
    pub(super) notice: Notice,
}

/// Rows of one subject in one log are told one after the other.
pub(super) type Sequence = (ChannelId, Uuid);

impl Untold {
    fn new(key: ChannelKey, author: UserId, notice: Notice) -> Self {
        Self { id: MessageId(Uuid::now_v7()), key, author, notice }
    }

    /// A line for the timeline of a channel.
    pub(crate) fn line(key: ChannelKey, author: UserId, event: SystemEvent) -> Self {
        Self::new(key, author, Notice::Line(event))
    }

    /// A part of the workspace, its own fields or somebody in it, is not as it was.
    pub(crate) fn of_workspace(workspace: WorkspaceId, author: UserId, event: SystemEvent) -> Self {
        Self::new(workspace_log(workspace), author, Notice::Entry(event))
    }

    /// Somebody's own membership of a channel is not as it was; for their own devices only. Of whoever goes out of a channel
    /// too: a stream of theirs that never knew the channel does not read the channel's log.
    pub(crate) fn of_membership(key: ChannelKey, user: UserId) -> Self {
        let event = SystemEvent::MembershipChanged { channel: key.channel };
        Self::new(read_log(key.workspace, user), user, Notice::Entry(event))
    }

    /// What these people may do in the channel, or in the whole workspace, is not as it was, and no line says so.
    pub(crate) fn access(
        workspace: WorkspaceId,
        channel: Option<ChannelId>,
        users: impl IntoIterator<Item = UserId>,
        author: UserId,
    ) -> Self {
        let controls =
            users.into_iter().map(|user| Control::AccessChanged { user, workspace, channel }).collect();
        Self::new(workspace_log(workspace), author, Notice::Announcements(controls))
    }

    /// What all members of the channel may see of it is not as it was.
    pub(crate) fn channel_access(key: ChannelKey, author: UserId) -> Self {
        let control = Control::ChannelAccessChanged { workspace: key.workspace, channel: key.channel };
        Self::new(workspace_log(key.workspace), author, Notice::Announcements(vec![control]))
    }

    /// The lines of people who came into a channel.
    pub(crate) fn entered(key: ChannelKey, author: UserId, users: &[UserId]) -> Vec<Self> {
        let line = |user: &UserId| Self::line(key, author, SystemEvent::MemberJoined { user: *user });
        users.iter().map(line).collect()
    }

    /// The lines of somebody who went out of a channel, which may have got a new owner by that.
    pub(crate) fn departed(
        key: ChannelKey,
        author: UserId,
        (user, removed_by): (UserId, Option<UserId>),
        heir: Option<UserId>,
    ) -> Vec<Self> {
        let mut lines = vec![Self::line(key, author, SystemEvent::MemberLeft { user, removed_by })];
        if let Some(user) = heir {
            let event = SystemEvent::MemberChanged { user, role: MemberRole::Owner };
            lines.push(Self::line(key, author, event));
        }
        lines
    }

    /// Whom or what it is about.
    pub(super) fn subject(&self) -> Uuid {
        match &self.notice {
            Notice::Line(event) | Notice::Entry(event) => match event {
                SystemEvent::MemberJoined { user }
                | SystemEvent::MemberLeft { user, .. }
                | SystemEvent::MemberChanged { user, .. }
                | SystemEvent::UserUpdated { user } => user.0,
                SystemEvent::ChannelCreated { channel }
                | SystemEvent::MembershipChanged { channel }
                | SystemEvent::ReadUpTo { channel, .. } => channel.0,
                SystemEvent::ChannelUpdated { .. } | SystemEvent::WorkspaceUpdated => self.key.channel.0,
            },
            Notice::Announcements(_) => self.id.0,
        }
    }

    /// The id of the entry that it is told with.
    pub(super) fn entry(&self) -> MessageId {
        if let Notice::Entry(SystemEvent::MembershipChanged { channel }) = &self.notice {
            return membership_entry(*channel, self.author);
        }
        let part = self.subject().as_u128().rotate_left(64);
        MessageId(Uuid::from_u128(self.key.workspace.0.as_u128() ^ part))
    }

    pub(super) fn sequence(&self) -> Sequence {
        (self.key.channel, self.subject())
    }

    /// Whether it is folded: what it says holds until the next one of its sequence. Others only say that something is to
    /// be looked at again.
    pub(super) fn is_ordered(&self) -> bool {
        self.member().is_some()
    }

    pub(super) fn is_announcement(&self) -> bool {
        matches!(self.notice, Notice::Announcements(_))
    }

    fn member(&self) -> Option<UserId> {
        match self.notice {
            Notice::Line(
                SystemEvent::MemberJoined { user }
                | SystemEvent::MemberLeft { user, .. }
                | SystemEvent::MemberChanged { user, .. },
            ) => Some(user),
            _ => None,
        }
    }

    /// Who went out of which channel, if that is what it tells.
    pub(super) fn departure(&self) -> Option<(ChannelId, UserId)> {
        match self.notice {
            Notice::Line(SystemEvent::MemberLeft { user, .. }) => Some((self.key.channel, user)),
            _ => None,
        }
    }

    pub(super) fn controls(&self) -> Vec<Control> {
        if let Notice::Announcements(controls) = &self.notice {
            return controls.clone();
        }
        let ChannelKey { workspace, channel } = self.key;
        let of = |user| Control::AccessChanged { user, workspace, channel: Some(channel) };
        self.member().map(of).into_iter().collect()
    }

    pub(super) fn into_row(self, now: Timestamp) -> Result<outbox::ActiveModel, Fault> {
        let notice = serde_json::to_value(&self.notice).map_err(|error| {
            tracing::error!(%error, "a notice cannot be written as JSON");
            Fault::Internal
        })?;
        Ok(outbox::ActiveModel {
            id: Set(self.id),
            workspace_id: Set(self.key.workspace),
            channel_id: Set(self.key.channel),
            subject_id: Set(self.subject()),
            author_id: Set(self.author),
            notice: Set(notice),
            created_at: Set(now),
            ..Default::default()
        })
    }

    /// None of a row that this version does not understand.
    pub(super) fn of_row(row: &outbox::Model) -> Option<Self> {
        let key = ChannelKey { workspace: row.workspace_id, channel: row.channel_id };
        let notice = serde_json::from_value(row.notice.clone()).ok()?;
        Some(Self { id: row.id, key, author: row.author_id, notice })
    }
}
