//! What is done to channels and their members.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};
use quikapp_chat::{
    access::ChannelMember,
    channel_members::ChannelPreferences,
    channels::{ChannelChanges, NewChannel},
    entities::ChannelId,
};

use crate::{
    channel_members::{ChannelMembership, MemberRole, MembershipStatus, NotificationLevel},
    channels::{Channel, ChannelType, HistoryVisibility},
    context::ContextExt,
    error::Result,
    ids,
    inputs::change,
};

/// A channel to make.
#[derive(InputObject)]
pub struct CreateChannelInput {
    /// Where.
    workspace_id: ID,
    /// PUBLIC, PRIVATE or TOPIC. Direct conversations are opened with `openDirectChannel`.
    #[graphql(name = "type")]
    kind: ChannelType,
    /// 1 to 80 characters, unique in the workspace.
    name: Option<String>,
    /// What it is about at the moment, up to 250 characters.
    topic: Option<String>,
    /// What it is for, up to 4,000 characters.
    description: Option<String>,
    /// The type of the thing that a TOPIC channel is about, up to 100 characters.
    entity_type: Option<String>,
    /// The id of that thing, up to 191 characters.
    entity_id: Option<String>,
    /// Which part of the history members see. Without it SHARED, and SINCE_JOIN for PRIVATE.
    history_visibility: Option<HistoryVisibility>,
    /// People of the workspace to be in it from the start, up to 100.
    member_ids: Option<Vec<ID>>,
}

/// Changes of a channel. What is left out stays; null takes a field away.
#[derive(InputObject)]
pub struct UpdateChannelInput {
    /// 1 to 80 characters, unique in the workspace.
    name: Option<String>,
    /// What it is about at the moment, up to 250 characters.
    topic: MaybeUndefined<String>,
    /// What it is for, up to 4,000 characters.
    description: MaybeUndefined<String>,
    /// Which part of the history members see.
    history_visibility: Option<HistoryVisibility>,
}

/// The viewer's own settings for a channel. What is left out stays.
#[derive(InputObject)]
pub struct ChannelPreferencesInput {
    /// Whether the channel stays silent.
    is_muted: Option<bool>,
    /// Whether it stands before the others in the list.
    is_pinned: Option<bool>,
    /// What of it notifies.
    notification_level: Option<NotificationLevel>,
}

macro_rules! payload {
    ($(#[$doc:meta])* $name:ident { $(#[$field_doc:meta])* $field:ident: $type:ty }) => {
        $(#[$doc])*
        #[derive(SimpleObject)]
        pub struct $name {
            $(#[$field_doc])*
            $field: $type,
        }
    };
}

payload!(/// What making a channel gives.
    CreateChannelPayload { /// The channel.
        channel: Channel });
payload!(/// What changing a channel gives.
    UpdateChannelPayload { /// The channel as it is now.
        channel: Channel });
payload!(/// What archiving gives.
    ArchiveChannelPayload { /// The channel as it is now.
        channel: Channel });
payload!(/// What joining gives.
    JoinChannelPayload { /// The viewer's membership.
        membership: ChannelMembership });
payload!(/// What leaving gives.
    LeaveChannelPayload { /// The channel that was left.
        channel_id: ID });
payload!(/// What adding members gives.
    AddChannelMembersPayload { /// Their memberships, of those who were in it already too.
        memberships: Vec<ChannelMembership> });
payload!(/// What removing a member gives.
    RemoveChannelMemberPayload { /// The membership as it is now.
        membership: ChannelMembership });
payload!(/// What changing a member gives.
    UpdateChannelMemberPayload { /// The membership as it is now.
        membership: ChannelMembership });
payload!(/// What setting preferences gives.
    SetChannelPreferencesPayload { /// The viewer's membership as it is now.
        membership: ChannelMembership });

/// What opening a direct conversation gives.
#[derive(SimpleObject)]
pub struct OpenDirectChannelPayload {
    /// The conversation.
    channel: Channel,
    /// Whether it is new.
    created: bool,
}

async fn member(ctx: &Context<'_>, id: &ID) -> Result<ChannelMember> {
    let viewer = ctx.viewer()?;
    let channel: ChannelId = ids::parse(id, "id")?;
    Ok(ctx.chat()?.channel_member(&viewer, channel).await?)
}

/// Changing channels.
#[derive(Default)]
pub struct ChannelMutation;

#[Object]
impl ChannelMutation {
    /// Makes a channel. The viewer becomes its owner.
    async fn create_channel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel.")] input: CreateChannelInput,
    ) -> Result<CreateChannelPayload> {
        let viewer = ctx.viewer()?;
        let new = NewChannel {
            kind: input.kind.into(),
            name: input.name,
            topic: input.topic,
            description: input.description,
            entity_type: input.entity_type,
            entity_id: input.entity_id,
            history_visibility: input.history_visibility.map(Into::into),
            member_ids: ids::parse_all(&input.member_ids.unwrap_or_default(), "input.memberIds")?,
        };
        let workspace = ids::parse(&input.workspace_id, "input.workspaceId")?;
        let member = ctx.chat()?.workspace_member(&viewer, workspace).await?;
        Ok(CreateChannelPayload { channel: ctx.chat()?.create_channel(&member, new).await?.into() })
    }

    /// Changes a channel. Its admins may, and those of the workspace who are in it.
    async fn update_channel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] id: ID,
        #[graphql(desc = "The changes.")] input: UpdateChannelInput,
    ) -> Result<UpdateChannelPayload> {
        let changes = ChannelChanges {
            name: input.name,
            topic: change(input.topic),
            description: change(input.description),
            history_visibility: input.history_visibility.map(Into::into),
        };
        let member = member(ctx, &id).await?;
        Ok(UpdateChannelPayload { channel: ctx.chat()?.update_channel(&member, changes).await?.into() })
    }

    /// Makes a channel read-only and takes it out of the lists, or takes that back. Its admins may.
    async fn archive_channel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] id: ID,
        #[graphql(desc = "False takes it back.", default = true)] archived: bool,
    ) -> Result<ArchiveChannelPayload> {
        let member = member(ctx, &id).await?;
        Ok(ArchiveChannelPayload { channel: ctx.chat()?.archive_channel(&member, archived).await?.into() })
    }

    /// Opens the conversation with these people: always the same one for the same people.
    async fn open_direct_channel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The workspace's id.")] workspace_id: ID,
        #[graphql(desc = "One person for a direct channel (oneself for notes), two to eight for a group.")]
        user_ids: Vec<ID>,
    ) -> Result<OpenDirectChannelPayload> {
        let viewer = ctx.viewer()?;
        let users = ids::parse_all(&user_ids, "userIds")?;
        let member = ctx.chat()?.workspace_member(&viewer, ids::parse(&workspace_id, "workspaceId")?).await?;
        let (channel, created) = ctx.chat()?.open_direct_channel(&member, &users).await?;
        Ok(OpenDirectChannelPayload { channel: channel.into(), created })
    }

    /// Goes into an open channel.
    async fn join_channel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] id: ID,
    ) -> Result<JoinChannelPayload> {
        let viewer = ctx.viewer()?;
        let joined = ctx.chat()?.join_channel(&viewer, ids::parse(&id, "id")?).await?;
        let membership = joined.membership().cloned().ok_or(quikapp_chat::Error::Internal)?;
        Ok(JoinChannelPayload { membership: membership.into() })
    }

    /// Goes out of a channel. The general channel cannot be left.
    async fn leave_channel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] id: ID,
    ) -> Result<LeaveChannelPayload> {
        let viewer = ctx.viewer()?;
        let reader = ctx.chat()?.channel_reader(&viewer, ids::parse(&id, "id")?).await?;
        ctx.chat()?.leave_channel(&reader).await?;
        Ok(LeaveChannelPayload { channel_id: id })
    }

    /// Brings people of the workspace into a channel. Those who are in it already stay as they are.
    async fn add_channel_members(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] id: ID,
        #[graphql(desc = "Whom, up to 100 people.")] user_ids: Vec<ID>,
    ) -> Result<AddChannelMembersPayload> {
        ctx.viewer()?;
        let users = ids::parse_all(&user_ids, "userIds")?;
        let member = member(ctx, &id).await?;
        let memberships = ctx.chat()?.add_channel_members(&member, &users).await?;
        Ok(AddChannelMembersPayload { memberships: memberships.into_iter().map(Into::into).collect() })
    }

    /// Takes somebody out of a channel; only being added brings them back. Its admins may.
    async fn remove_channel_member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] id: ID,
        #[graphql(desc = "Whom.")] user_id: ID,
    ) -> Result<RemoveChannelMemberPayload> {
        ctx.viewer()?;
        let user = ids::parse(&user_id, "userId")?;
        let member = member(ctx, &id).await?;
        let membership = ctx.chat()?.remove_channel_member(&member, user).await?;
        Ok(RemoveChannelMemberPayload { membership: membership.into() })
    }

    /// Changes a member's role, or silences a member. Admins of the channel may, for those below them.
    async fn update_channel_member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] id: ID,
        #[graphql(desc = "Whom.")] user_id: ID,
        #[graphql(desc = "The new role.")] role: Option<MemberRole>,
        #[graphql(desc = "MUTED silences, ACTIVE takes it back.")] status: Option<MembershipStatus>,
    ) -> Result<UpdateChannelMemberPayload> {
        ctx.viewer()?;
        let user = ids::parse(&user_id, "userId")?;
        let member = member(ctx, &id).await?;
        let (role, status) = (role.map(Into::into), status.map(Into::into));
        let membership = ctx.chat()?.update_channel_member(&member, user, role, status).await?;
        Ok(UpdateChannelMemberPayload { membership: membership.into() })
    }

    /// Sets the viewer's own settings for a channel. Nobody else sees them; the viewer's other devices are told with
    /// `MemberUpdated` on `viewerEvents`.
    async fn set_channel_preferences(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The channel's id.")] id: ID,
        #[graphql(desc = "The settings.")] input: ChannelPreferencesInput,
    ) -> Result<SetChannelPreferencesPayload> {
        let viewer = ctx.viewer()?;
        let reader = ctx.chat()?.channel_reader(&viewer, ids::parse(&id, "id")?).await?;
        let preferences = ChannelPreferences {
            is_muted: input.is_muted,
            is_pinned: input.is_pinned,
            notification_level: input.notification_level.map(Into::into),
        };
        let membership = ctx.chat()?.set_channel_preferences(&reader, preferences).await?;
        Ok(SetChannelPreferencesPayload { membership: membership.into() })
    }
}
