//! Conversations between fixed people: one for each set of people in a workspace.

use std::{fmt::Write, sync::Arc};

use quikapp_entities::{
    ChannelId, UserId,
    channels::{self, ChannelType},
    workspace_members::{self, MemberRole},
};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect};
use sha2::{Digest, Sha256};

use crate::{
    Chat, Error, Result,
    access::{VisibleChannel, WorkspaceMember},
    aftermath::to_the_end,
    channel_members::{distinct, key_of, rows},
    channels::{DIRECT_PREFIX, blank, insert},
    database::Fault,
    outbox::{self, Untold},
};

/// The most people in a group beside the one who opens it.
pub const MAX_OTHERS: usize = 8;

/// What stands in place of a name: the same for the same people in any order.
fn name_of(people: &[UserId]) -> String {
    let mut sorted = people.to_vec();
    sorted.sort_unstable();
    let mut hash = Sha256::new();
    for user in sorted {
        hash.update(user.0.as_bytes());
    }
    let mut name = DIRECT_PREFIX.to_owned();
    for byte in hash.finalize() {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

impl Chat {
    /// The conversation between the viewer and the given people, and whether it is new: a DIRECT channel with one other
    /// person or with none (notes to oneself), a `GROUP_DIRECT` one with 2 to 8. Who left it is in it again.
    /// [`Error::NotFound`] if one of them does not belong to the workspace.
    pub async fn open_direct_channel(
        &self,
        member: &WorkspaceMember,
        users: &[UserId],
    ) -> Result<(VisibleChannel, bool)> {
        let viewer = member.viewer();
        if users.is_empty() {
            return Err(Error::invalid("userIds", "must not be empty"));
        }
        let people = distinct(&[&[viewer.user()], users].concat());
        if people.len() > MAX_OTHERS + 1 {
            return Err(Error::invalid("userIds", format!("at most {MAX_OTHERS} people")));
        }
        let (name, workspace) = (name_of(&people), member.id());
        let found = self.named(member, &name).await?;
        let mut joined_seq = 0;
        if let Some(channel) = &found {
            if channel.member_count == i32::try_from(people.len()).unwrap_or(i32::MAX) {
                return Ok((self.visible_channel(viewer, channel.id).await?, false));
            }
            joined_seq = self.log.head(key_of(channel)).await?.seq;
        }
        let kind = if people.len() > 2 { ChannelType::GroupDirect } else { ChannelType::Direct };
        let id = ChannelId(self.env.uuid());
        let channel = Arc::new(blank(id, workspace, kind, name.clone(), viewer.user(), self.env.now()));
        let chat = self.clone();
        let created = to_the_end(async move {
            let (created, untold) = chat
                .db
                .write(move |tx| {
                    let (channel, people) = (Arc::clone(&channel), Arc::clone(&people));
                    Box::pin(async move { open(tx, &channel, &people, joined_seq).await })
                })
                .await?;
            chat.tell(untold).await;
            Ok(created)
        })
        .await?;
        let id = match created {
            Some(id) => id,
            None => self.named(member, &name).await?.ok_or(Error::NotFound("channel"))?.id,
        };
        Ok((self.visible_channel(viewer, id).await?, created.is_some()))
    }

    async fn named(&self, member: &WorkspaceMember, name: &str) -> Result<Option<channels::Model>> {
        let query = channels::Entity::find()
            .filter(channels::Column::WorkspaceId.eq(member.id()))
            .filter(channels::Column::Name.eq(name));
        Ok(self.db.read(query.one(self.db.pool())).await?)
    }
}

/// Makes the channel or brings back who left it. The lock of the workspace's row lets one opening happen at a time; the
/// unique index of names is what guarantees a single channel. Gives its id if it is new, and what is to be told.
async fn open(
    tx: &DatabaseTransaction,
    new: &channels::Model,
    people: &[UserId],
    joined_seq: i64,
) -> std::result::Result<(Option<ChannelId>, Vec<Untold>), Fault> {
    rows::lock_workspace(tx, new.workspace_id).await?;
    let members = workspace_members::Entity::find()
        .filter(workspace_members::Column::WorkspaceId.eq(new.workspace_id))
        .filter(workspace_members::Column::UserId.is_in(people.iter().copied()))
        .count(tx)
        .await?;
    if usize::try_from(members).ok() != Some(people.len()) {
        return Err(Error::NotFound("user").into());
    }
    let people: Vec<_> = people.iter().map(|user| (*user, MemberRole::Member)).collect();
    let known = channels::Entity::find()
        .filter(channels::Column::WorkspaceId.eq(new.workspace_id))
        .filter(channels::Column::Name.eq(new.name.as_str()))
        .lock_exclusive()
        .one(tx)
        .await?;
    let (author, now) = (new.created_by, new.created_at);
    let (created, untold) = match known {
        None => {
            insert(tx, new, &people).await?;
            let users = people.iter().map(|(user, _)| *user);
            (Some(new.id), vec![Untold::access(new.workspace_id, Some(new.id), users, author)])
        }
        Some(known) => {
            let (_, entered) = rows::enter(tx, &known, &people, joined_seq, now).await?;
            (None, Untold::entered(key_of(&known), author, &entered))
        }
    };
    outbox::keep(tx, &untold, now).await?;
    Ok((created, untold))
}
