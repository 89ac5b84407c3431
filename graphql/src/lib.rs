//! The GraphQL schema of `QuikApp` over its domain. Resolvers unpack arguments, call the domain, and wrap what it gives;
//! whatever decides something is in `quikapp-chat`.

// The macros of GraphQL types want them `pub`; what leaves the crate is what is exported below.
#![allow(unreachable_pub)]
// GraphQL resolvers are async by their macro, whether they wait for something or not.
#![allow(clippy::unused_async)]

mod accounts;
mod blocks;
mod budget;
mod channel_members;
mod channel_mutations;
mod channels;
mod context;
mod costs;
mod cursors;
mod error;
mod fanout;
mod history;
mod identity;
mod ids;
mod inputs;
mod loaders;
mod messages;
mod node;
mod paging;
mod presence;
mod reactions;
mod reads;
mod scalars;
mod server;
mod streams;
mod sync;
mod threads;
mod typing;
mod users;
mod workspaces;

use async_graphql::{MergedObject, MergedSubscription, SDLExportOptions};

pub use context::{Client, prepare};
pub use costs::{FIELD_COSTS, FieldCost, Reads};
pub use error::{ErrorCode, expand};
pub use fanout::{Api, Delivered, Rendered};

/// What can be asked.
#[derive(MergedObject, Default)]
pub struct Query(
    node::NodeQuery,
    accounts::AccountQuery,
    users::UserQuery,
    workspaces::WorkspaceQuery,
    channels::ChannelQuery,
    messages::MessageQuery,
    server::ServerQuery,
);

/// What can be done. Each mutation changes everything that it says, or nothing.
#[derive(MergedObject, Default)]
pub struct Mutation(
    accounts::AccountMutation,
    workspaces::WorkspaceMutation,
    channel_mutations::ChannelMutation,
    messages::MessageMutation,
    reactions::ReactionMutation,
    reads::ReadMutation,
    presence::PresenceMutation,
    typing::TypingMutation,
);

/// What can be followed live.
#[derive(MergedSubscription, Default)]
pub struct Subscription(
    streams::StreamSubscription,
    typing::TypingSubscription,
    presence::PresenceSubscription,
);

/// The schema.
pub type Schema = async_graphql::Schema<Query, Mutation, Subscription>;

fn builder() -> async_graphql::SchemaBuilder<Query, Mutation, Subscription> {
    // The transports bound documents before they come here, each fragment counted once.
    Schema::build(Query::default(), Mutation::default(), Subscription::default()).limit_recursive_depth(256)
}

/// The schema in its own language: the same bytes in every mode.
#[must_use]
pub fn sdl() -> String {
    // With it, or tools that read the file would know less of scalars than those that ask the server.
    builder().finish().sdl_with_options(SDLExportOptions::new().include_specified_by())
}
