//! Who is in which channel, for lists and loaders.

use std::collections::HashMap;

use quikapp_entities::{
    ChannelId, UserId,
    channel_members::{self, Column, MembershipStatus},
    channels::{self, ChannelType},
};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Query};

use crate::{
    Chat, Result,
    access::{ChannelReader, Viewer, present},
    paging::{Page, Window},
};

impl Chat {
    /// The members of a channel by user id: those of the given status or, without one, those who are in it.
    pub async fn channel_members(
        &self,
        reader: &ChannelReader,
        status: Option<MembershipStatus>,
        window: &Window<UserId>,
    ) -> Result<Page<channel_members::Model>> {
        let mut query = channel_members::Entity::find()
            .filter(Column::ChannelId.eq(reader.key().channel))
            .filter(match status {
                Some(status) => Column::Status.eq(status),
                None => present(),
            });
        if let Some(after) = window.after {
            query = query.filter(Column::UserId.gt(after));
        }
        let query = query.order_by_asc(Column::UserId).limit(window.rows());
        let rows = self.db.read(query.all(self.db.pool())).await?;
        Ok(Page::cut(rows, window))
    }

    /// Memberships of any status in channels that the viewer may see; the others are left out. Two queries.
    pub async fn memberships_by_ids(
        &self,
        viewer: &Viewer,
        ids: &[(ChannelId, UserId)],
    ) -> Result<HashMap<(ChannelId, UserId), channel_members::Model>> {
        let channels: Vec<ChannelId> = ids.iter().map(|(channel, _)| *channel).collect();
        let visible = self.visible_channels(viewer, &channels).await?;
        let mut users: HashMap<ChannelId, Vec<UserId>> = HashMap::new();
        for (channel, user) in ids.iter().filter(|(channel, _)| visible.contains_key(channel)) {
            users.entry(*channel).or_default().push(*user);
        }
        if users.is_empty() {
            return Ok(HashMap::new());
        }
        let wanted = users.into_iter().fold(Condition::any(), |any, (channel, users)| {
            any.add(Condition::all().add(Column::ChannelId.eq(channel)).add(Column::UserId.is_in(users)))
        });
        let query = channel_members::Entity::find().filter(wanted);
        let rows = self.db.read(query.all(self.db.pool())).await?;
        Ok(rows.into_iter().map(|row| ((row.channel_id, row.user_id), row)).collect())
    }

    /// Everybody whom a direct conversation of the viewer's is between, by user id, also those who left it: what it is
    /// named after. Other channels are left out. One query.
    pub async fn members_of_direct(
        &self,
        viewer: &Viewer,
        channels: &[ChannelId],
    ) -> Result<HashMap<ChannelId, Vec<UserId>>> {
        if channels.is_empty() {
            return Ok(HashMap::new());
        }
        let mine = Query::select()
            .column(Column::ChannelId)
            .from(channel_members::Entity)
            .and_where(Column::UserId.eq(viewer.user()))
            .and_where(Column::ChannelId.is_in(channels.iter().copied()))
            .and_where(present())
            .take();
        let query = channel_members::Entity::find()
            .select_only()
            .column(Column::ChannelId)
            .column(Column::UserId)
            .inner_join(channels::Entity)
            .filter(channels::Column::Kind.is_in([ChannelType::Direct, ChannelType::GroupDirect]))
            .filter(Column::ChannelId.in_subquery(mine))
            .order_by_asc(Column::ChannelId)
            .order_by_asc(Column::UserId)
            .into_tuple::<(ChannelId, UserId)>();
        let rows = self.db.read(query.all(self.db.pool())).await?;
        let mut members: HashMap<ChannelId, Vec<UserId>> = HashMap::new();
        for (channel, user) in rows {
            members.entry(channel).or_default().push(user);
        }
        Ok(members)
    }
}
