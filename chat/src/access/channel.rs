//! Proofs for channels: to see one, to read it, to act in it.

use std::{collections::HashMap, ops::Deref};

use quikapp_entities::{
    ChannelId,
    channel_members::{self, MembershipStatus},
    channels::{self, ChannelType, HistoryVisibility},
    workspace_members::MemberRole,
};
use sea_orm::{ColumnTrait, QueryFilter};

use super::{Viewer, VisibleChannels, standing::Standing, visible};
use crate::{Chat, Error, Result, messages::model::ChannelKey};

/// The viewer may read the channel: is in it, or the channel is open (PUBLIC, TOPIC) and the viewer belongs to its
/// workspace as more than a guest and was not removed from the channel. Holds no more than what rights depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelReader {
    viewer: Viewer,
    standing: Standing,
}

impl ChannelReader {
    /// The right to read, if there is one. The same rule as [`visible`].
    pub(super) fn new(viewer: &Viewer, standing: Standing) -> Option<Self> {
        let readable = match standing.status() {
            Some(MembershipStatus::Active | MembershipStatus::Muted) => true,
            Some(MembershipStatus::Removed) => false,
            Some(MembershipStatus::Left) | None => standing.is_open(),
        };
        readable.then_some(Self { viewer: *viewer, standing })
    }

    /// Who.
    #[must_use]
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// Where the channel's messages are.
    #[must_use]
    pub fn key(&self) -> ChannelKey {
        self.standing.key
    }

    /// The channel's kind.
    #[must_use]
    pub fn kind(&self) -> ChannelType {
        self.standing.kind
    }

    /// Whether everybody in the workspace belongs to the channel.
    #[must_use]
    pub fn is_general(&self) -> bool {
        self.standing.is_general
    }

    /// The viewer's role in the channel's workspace.
    #[must_use]
    pub fn workspace_role(&self) -> MemberRole {
        self.standing.workspace_role
    }

    /// The channel's tick at the viewer's latest join; none of those who are not in the channel now.
    #[must_use]
    pub fn joined_seq(&self) -> Option<i64> {
        self.standing.present().map(|membership| membership.joined_seq)
    }

    /// Whether the viewer is in the channel as one of its moderators.
    #[must_use]
    pub fn moderates(&self) -> bool {
        self.standing.present().is_some_and(|membership| {
            power(membership.role, self.standing.workspace_role) >= MemberRole::Admin
        })
    }

    /// Messages with `ts` up to this tick are not shown to the viewer; 0 = all are.
    #[must_use]
    pub fn floor(&self) -> i64 {
        match (self.joined_seq(), self.standing.history_visibility) {
            (_, HistoryVisibility::Shared) => 0,
            (Some(joined_seq), HistoryVisibility::SinceJoin) => joined_seq,
            // Who is not in an open channel of this kind has not joined yet.
            (None, HistoryVisibility::SinceJoin) => i64::MAX,
        }
    }
}

/// The viewer is in the channel and not silenced: may act in it. Reads as a [`ChannelReader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelMember {
    reader: ChannelReader,
    role: MemberRole,
}

impl ChannelMember {
    /// The viewer's role in the channel.
    #[must_use]
    pub fn role(&self) -> MemberRole {
        self.role
    }

    /// The proof of reading that this one implies.
    #[must_use]
    pub fn reader(&self) -> &ChannelReader {
        &self.reader
    }

    /// What the viewer may do to the channel: the role in it, or that of an ADMIN or OWNER of the workspace.
    #[must_use]
    pub fn power(&self) -> MemberRole {
        power(self.role, self.reader.workspace_role())
    }

    /// This proof, if the channel takes changes; [`Error::Archived`] otherwise.
    pub fn writable(&self) -> Result<&Self> {
        if self.reader.standing.is_archived { Err(Error::Archived) } else { Ok(self) }
    }

    /// Fails with [`Error::Forbidden`] unless the viewer moderates the channel.
    pub(crate) fn moderate(&self) -> Result<()> {
        if self.power() >= MemberRole::Admin {
            Ok(())
        } else {
            Err(Error::Forbidden("only admins of the channel may do this"))
        }
    }
}

impl Deref for ChannelMember {
    type Target = ChannelReader;

    fn deref(&self) -> &ChannelReader {
        &self.reader
    }
}

/// A channel to show to somebody who may see it, as it was when the proof was made. Reads as a [`ChannelReader`].
#[derive(Debug, Clone)]
pub struct VisibleChannel {
    reader: ChannelReader,
    channel: channels::Model,
    membership: Option<channel_members::Model>,
}

impl VisibleChannel {
    /// The same rule as [`ChannelReader::new`].
    pub(super) fn new(
        viewer: &Viewer,
        channel: channels::Model,
        membership: Option<channel_members::Model>,
        workspace_role: MemberRole,
    ) -> Option<Self> {
        let standing = Standing::new(&channel, membership.as_ref(), workspace_role);
        let reader = ChannelReader::new(viewer, standing)?;
        Some(Self { reader, channel, membership: membership.filter(channel_members::Model::is_present) })
    }

    /// The proof of reading it.
    #[must_use]
    pub fn reader(&self) -> &ChannelReader {
        &self.reader
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &channels::Model {
        &self.channel
    }

    /// The viewer's membership; only of those who are in the channel now.
    #[must_use]
    pub fn membership(&self) -> Option<&channel_members::Model> {
        self.membership.as_ref()
    }
}

impl Deref for VisibleChannel {
    type Target = ChannelReader;

    fn deref(&self) -> &ChannelReader {
        &self.reader
    }
}

/// What a role in a channel amounts to for somebody with this role in its workspace.
pub(crate) fn power(in_channel: MemberRole, in_workspace: MemberRole) -> MemberRole {
    if in_workspace >= MemberRole::Admin { in_channel.max(in_workspace) } else { in_channel }
}

/// Whether somebody may change the membership of somebody else: of lesser power, or any as an OWNER.
pub(crate) fn may_touch(own: MemberRole, other: MemberRole) -> bool {
    own == MemberRole::Owner || (own >= MemberRole::Admin && other < own)
}

impl Chat {
    /// The viewer's right to read a channel; [`Error::NotFound`] without it. One query.
    pub async fn channel_reader(&self, viewer: &Viewer, channel: ChannelId) -> Result<ChannelReader> {
        let standing = self.standing(viewer, channel).await?;
        standing.and_then(|standing| ChannelReader::new(viewer, standing)).ok_or(Error::NotFound("channel"))
    }

    /// The viewer's right to act in a channel. [`Error::NotFound`] if the viewer may not see it, [`Error::Forbidden`] if
    /// the viewer is not in it or silenced. One query.
    pub async fn channel_member(&self, viewer: &Viewer, channel: ChannelId) -> Result<ChannelMember> {
        let reader = self.channel_reader(viewer, channel).await?;
        match reader.standing.present() {
            None => Err(Error::Forbidden("join the channel first")),
            Some(membership) if membership.status == MembershipStatus::Muted => {
                Err(Error::Forbidden("you are muted in this channel"))
            }
            Some(membership) => Ok(ChannelMember { role: membership.role, reader }),
        }
    }

    /// A channel to show; [`Error::NotFound`] if the viewer may not see it. One query.
    pub async fn visible_channel(&self, viewer: &Viewer, channel: ChannelId) -> Result<VisibleChannel> {
        let sighting = self.sightings.look_up(&self.db, viewer.user(), channel).await?;
        sighting.and_then(|sighting| sighting.visible(viewer)).ok_or(Error::NotFound("channel"))
    }

    /// The same for many channels, in one query; those that the viewer may not see are left out.
    pub async fn visible_channels(
        &self,
        viewer: &Viewer,
        channels: &[ChannelId],
    ) -> Result<HashMap<ChannelId, VisibleChannel>> {
        if channels.is_empty() {
            return Ok(HashMap::new());
        }
        let ids = channels.iter().copied();
        let found =
            self.channels_where(viewer, |query| query.filter(channels::Column::Id.is_in(ids))).await?;
        Ok(found.into_iter().map(|visible| (visible.channel.id, visible)).collect())
    }

    /// The channels that the viewer may see, narrowed and ordered by `narrow`; one query.
    pub(crate) async fn channels_where(
        &self,
        viewer: &Viewer,
        narrow: impl FnOnce(VisibleChannels) -> VisibleChannels,
    ) -> Result<Vec<VisibleChannel>> {
        let sightings = self.channels_seen(viewer, |query| narrow(query.filter(visible()))).await?;
        Ok(sightings.into_iter().filter_map(|sighting| sighting.visible(viewer)).collect())
    }
}
