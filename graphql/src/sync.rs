//! Where a query goes on from: positions that are read before anything else that it asks for.
//!
//! A field that stands in several fragments is one field of the answer, but each of them is resolved by itself, and all
//! at once; so are different root fields. A position that one of them read could be newer than what another one shows,
//! and what happened in between would never be told.

use std::{
    any::TypeId,
    collections::{HashMap, HashSet},
};

use async_graphql::{
    Context, Name, Request, Value, Variables,
    parser::types::{ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet},
};
use futures_util::future::{OptionFuture, join, join_all};
use quikapp_chat::{
    Chat, Result,
    access::Viewer,
    entities::{ChannelId, ids::MessageKey},
    live::positions::Positions,
};

use crate::identity::Identity;

const SYNC_CURSOR: &str = "syncCursor";

/// The positions of one query.
struct Starts {
    viewer: Option<Result<Positions>>,
    channels: HashMap<ChannelId, Result<i64>>,
}

/// The viewer's position, if the query goes on from it.
pub(crate) fn viewer(ctx: &Context<'_>) -> Option<Result<Positions>> {
    ctx.data_opt::<Starts>()?.viewer.clone()
}

/// A channel's position, if the query names the channel, or one of its messages, and goes on from there.
pub(crate) fn channel(ctx: &Context<'_>, channel: ChannelId) -> Option<Result<i64>> {
    ctx.data_opt::<Starts>()?.channels.get(&channel).cloned()
}

/// Reads the positions that a query goes on from.
pub(crate) async fn prepare(chat: &Chat, mut request: Request) -> Request {
    if !request.query.contains(SYNC_CURSOR) {
        return request;
    }
    let Some(asking) = asking(&request) else { return request };
    let Some(wanted) = Wanted::of(&mut request) else { return request };
    let viewer: OptionFuture<_> = wanted.viewer.then(|| chat.viewer_positions(&asking)).into();
    let channels = wanted.channels.into_iter().map(|channel| async move {
        let position = async { chat.position(&chat.channel_reader(&asking, channel).await?).await };
        (channel, position.await)
    });
    let (viewer, channels) = join(viewer, join_all(channels)).await;
    request.data(Starts { viewer, channels: channels.into_iter().collect() })
}

fn asking(request: &Request) -> Option<Viewer> {
    request.data.get(&TypeId::of::<Identity>())?.downcast_ref::<Identity>()?.get()
}

/// What a query goes on from.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    viewer: bool,
    channels: HashSet<ChannelId>,
}

impl Wanted {
    /// None of mutations, whose fields run one after the other, and of documents that are refused later.
    fn of(request: &mut Request) -> Option<Self> {
        request.parsed_query().ok()?;
        let variables = request.variables.clone();
        let document = request.parsed_query().ok()?;
        // The guard leaves in the document the one that is to run.
        let (_, operation) = document.operations.iter().next()?;
        let operation = &operation.node;
        (operation.ty == OperationType::Query).then(|| Self::of_query(document, operation, &variables))
    }

    fn of_query(
        document: &ExecutableDocument,
        operation: &OperationDefinition,
        variables: &Variables,
    ) -> Self {
        let mut wanted = Self::default();
        for root in Fields::of(document, &operation.selection_set.node) {
            let mut below = Fields::of(document, &root.selection_set.node);
            match root.name.node.as_str() {
                "viewer" => wanted.viewer |= below.any(is_sync_cursor),
                "channel" | "message" | "node" if is_below(document, root) => {
                    wanted.channels.extend(id(root, operation, variables).as_deref().and_then(channel_of));
                }
                _ => {}
            }
        }
        wanted
    }
}

fn is_sync_cursor(field: &Field) -> bool {
    field.name.node == SYNC_CURSOR
}

/// Whether it is asked for somewhere below a field.
fn is_below(document: &ExecutableDocument, field: &Field) -> bool {
    let mut sets = vec![&field.selection_set.node];
    // Each fragment once, however often it is spread.
    let mut spread = HashSet::new();
    while let Some(set) = sets.pop() {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) if is_sync_cursor(&field.node) => return true,
                Selection::Field(field) => sets.push(&field.node.selection_set.node),
                Selection::InlineFragment(fragment) => sets.push(&fragment.node.selection_set.node),
                Selection::FragmentSpread(fragment) => {
                    let name = &fragment.node.fragment_name.node;
                    let fragment = document.fragments.get(name).filter(|_| spread.insert(name));
                    sets.extend(fragment.map(|fragment| &fragment.node.selection_set.node));
                }
            }
        }
    }
    false
}

/// The fields of a selection, those of its fragments included.
struct Fields<'d> {
    document: &'d ExecutableDocument,
    selections: Vec<&'d Selection>,
    spread: HashSet<&'d Name>,
}

impl<'d> Fields<'d> {
    fn of(document: &'d ExecutableDocument, set: &'d SelectionSet) -> Self {
        let mut fields = Self { document, selections: Vec::new(), spread: HashSet::new() };
        fields.add(set);
        fields
    }

    fn add(&mut self, set: &'d SelectionSet) {
        self.selections.extend(set.items.iter().map(|selection| &selection.node));
    }
}

impl<'d> Iterator for Fields<'d> {
    type Item = &'d Field;

    fn next(&mut self) -> Option<&'d Field> {
        loop {
            match self.selections.pop()? {
                Selection::Field(field) => return Some(&field.node),
                Selection::InlineFragment(fragment) => self.add(&fragment.node.selection_set.node),
                Selection::FragmentSpread(fragment) => {
                    let name = &fragment.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name)
                        && self.spread.insert(name)
                    {
                        self.add(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }
}

/// The argument `id` of a field.
fn id(field: &Field, operation: &OperationDefinition, variables: &Variables) -> Option<String> {
    let default = |name: &Name| {
        let definition =
            operation.variable_definitions.iter().find(|definition| definition.node.name.node == *name)?;
        Some(definition.node.default_value.as_ref()?.node.clone())
    };
    let given = field.get_argument("id")?.node.clone();
    let of_variable = |name: Name| variables.get(&name).cloned().or_else(|| default(&name)).ok_or(());
    match given.into_const_with(of_variable).ok()? {
        Value::String(id) => Some(id),
        _ => None,
    }
}

/// The channel that an id names, or that its message is in.
fn channel_of(id: &str) -> Option<ChannelId> {
    let of_message = || id.parse().ok().map(|key: MessageKey| key.channel);
    id.parse().ok().or_else(of_message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use async_graphql::value;
    use quikapp_chat::entities::MessageId;

    use super::*;

    fn wanted(document: &str, variables: Value) -> Option<Wanted> {
        Wanted::of(&mut Request::new(document).variables(Variables::from_value(variables)))
    }

    fn some_channel() -> ChannelId {
        ChannelId(uuid::Uuid::now_v7())
    }

    #[test]
    fn the_viewer_is_wanted_wherever_the_cursor_stands() {
        let documents = [
            "{ viewer { syncCursor } }",
            "{ serverInfo { version } me: viewer { at: syncCursor } }",
            "{ ...A ...B } fragment A on Query { viewer { email } } fragment B on Query { viewer { ...C } }
                fragment C on Viewer { ... { syncCursor } }",
        ];
        for document in documents {
            let expected = Wanted { viewer: true, channels: HashSet::new() };
            assert_eq!(wanted(document, value!({})), Some(expected), "{document}");
        }
        let of_channel = "{ viewer { channels { nodes { channel { syncCursor } } } } }";
        assert_eq!(wanted(of_channel, value!({})), Some(Wanted::default()));
    }

    #[test]
    fn channels_are_wanted_by_their_ids_and_those_of_their_messages() {
        let (first, second, third) = (some_channel(), some_channel(), some_channel());
        let message = MessageKey { channel: second, id: MessageId(uuid::Uuid::now_v7()) };
        let document = format!(
            "query($id: ID!, $other: ID = \"{third}\") {{
                channel(id: $id) {{ messages {{ ...Page }} }}
                message(id: \"{message}\") {{ thread {{ replies {{ syncCursor }} }} }}
                node(id: $other) {{ ... on Channel {{ syncCursor }} }}
                unasked: channel(id: \"{}\") {{ name }}
                unknown: channel(id: \"nonsense\") {{ syncCursor }}
            }} fragment Page on MessageConnection {{ syncCursor }}",
            some_channel(),
        );
        let channels = HashSet::from([first, second, third]);
        let expected = Wanted { viewer: false, channels };
        assert_eq!(wanted(&document, value!({ "id": first.to_string() })), Some(expected));
    }

    #[test]
    fn what_is_no_query_goes_on_from_nowhere() {
        for document in ["mutation { a { viewer { syncCursor } } }", "{ viewer { syncCursor }"] {
            assert_eq!(wanted(document, value!({})), None, "{document}");
        }
        let unending = "{ viewer { ...A } } fragment A on Viewer { ...B } fragment B on Viewer { ...A }";
        assert_eq!(wanted(unending, value!({})), Some(Wanted::default()));
    }
}
