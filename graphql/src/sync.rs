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
    access::{ChannelReader, Viewer},
    entities::{ChannelId, ids::MessageKey},
    live::positions::Positions,
    messages::model::ChannelKey,
};

use crate::identity::Identity;

/// A channel's position, and the viewer's.
const SYNC_CURSOR: &str = "syncCursor";
/// The viewer's, in what they have not read.
const AS_OF: &str = "asOf";
/// Most channels of one query whose positions are read first. No more ids than that are looked up at once.
const CHANNELS: usize = 100;

/// The positions of one query.
struct Starts {
    viewer: Option<Result<Positions>>,
    channels: HashMap<ChannelId, Result<i64>>,
}

/// The viewer's position, if the query goes on from it.
pub(crate) fn viewer(ctx: &Context<'_>) -> Option<Result<Positions>> {
    ctx.data_opt::<Starts>()?.viewer.clone()
}

/// A channel's position, if a root field of the query names the channel, or one of its messages, by id and goes on from there.
pub(crate) fn channel(ctx: &Context<'_>, channel: ChannelId) -> Option<Result<i64>> {
    ctx.data_opt::<Starts>()?.channels.get(&channel).cloned()
}

/// Reads the positions that a query goes on from.
pub(crate) async fn prepare(chat: &Chat, mut request: Request) -> Request {
    if !request.query.contains(SYNC_CURSOR) && !request.query.contains(AS_OF) {
        return request;
    }
    let Some(asking) = asking(&request) else { return request };
    let Some(wanted) = Wanted::of(&mut request) else { return request };
    let viewer: OptionFuture<_> = wanted.viewer.then(|| chat.viewer_positions(&asking)).into();
    let (viewer, channels) = join(viewer, positions(chat, &asking, wanted.channels)).await;
    request.data(Starts { viewer, channels })
}

/// The positions of those of the channels that the viewer may read.
async fn positions(
    chat: &Chat,
    viewer: &Viewer,
    channels: HashSet<ChannelId>,
) -> HashMap<ChannelId, Result<i64>> {
    let readers = channels.iter().take(CHANNELS).map(|channel| chat.channel_reader(viewer, *channel));
    let readers: Vec<_> = join_all(readers).await.into_iter().flatten().collect();
    // Whoever asks for a single one gets it as cheaply as from the channel.
    if let [reader] = readers.as_slice() {
        return HashMap::from([(reader.key().channel, chat.position(reader).await)]);
    }
    let keys: Vec<_> = readers.iter().map(ChannelReader::key).collect();
    let positions = chat.positions(&keys).await;
    let of = |key: &ChannelKey| positions.as_ref().map(|all| all.get(key).copied().unwrap_or(0));
    keys.iter().map(|key| (key.channel, of(key).map_err(Clone::clone))).collect()
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
    /// None of mutations, whose fields run one after the other.
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
            if root.name.node == "viewer" {
                wanted.viewer |= Fields::of(document, &root.selection_set.node).any(|field| {
                    let is_as_of = |field: &Field| field.name.node == AS_OF;
                    is_sync_cursor(field) || Fields::of(document, &field.selection_set.node).any(is_as_of)
                });
            } else if !root.arguments.is_empty() && is_below(document, root) {
                wanted
                    .channels
                    .extend(ids(root, operation, variables).iter().filter_map(|id| channel_of(id)));
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

/// Whatever a field's arguments may name by an id.
fn ids(field: &Field, operation: &OperationDefinition, variables: &Variables) -> Vec<String> {
    let default = |name: &Name| {
        let definition =
            operation.variable_definitions.iter().find(|definition| definition.node.name.node == *name)?;
        Some(definition.node.default_value.as_ref()?.node.clone())
    };
    let given = field.arguments.iter().filter_map(|(_, argument)| {
        let of_variable = |name: Name| variables.get(&name).cloned().or_else(|| default(&name)).ok_or(());
        argument.node.clone().into_const_with(of_variable).ok()
    });
    let texts = given.flat_map(|given| match given {
        Value::List(all) => all,
        one => vec![one],
    });
    let text = |value| if let Value::String(text) = value { Some(text) } else { None };
    texts.filter_map(text).collect()
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
            "{ viewer { unread { ...D } } } fragment D on UnreadSummary { asOf }",
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
                nodes(ids: [$other]) {{ ... on Channel {{ syncCursor }} }}
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
