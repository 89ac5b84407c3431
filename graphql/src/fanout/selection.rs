//! What subscriptions choose to be told: the same document with the same variables is one selection.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use async_graphql::{
    Name, Variables,
    parser::types::{DocumentOperations, ExecutableDocument, Selection as Part},
};
use async_graphql_value::{ConstValue, Value};
use sha2::{Digest, Sha256};

/// The argument of a subscription that tells where it goes on. It differs among subscribers, and is done with when the
/// subscription begins.
const AFTER: &str = "after";
/// So many selections may end before the map is looked through for them.
const DEAD: usize = 256;

/// What one or more subscriptions of this node chose.
pub(crate) struct Selection {
    /// Of this process.
    pub(crate) id: u64,
    pub(crate) document: ExecutableDocument,
    pub(crate) variables: Variables,
    /// Whether an answer turned out to hold for one viewer only: then nobody waits for another's.
    pub(crate) is_personal: AtomicBool,
}

/// A digest of the operation's name, the text and the variables, which may be long, and of subscriptions that were refused.
type Key = [u8; 32];

/// The selections of this node's subscriptions.
#[derive(Default)]
pub(crate) struct Selections {
    known: Mutex<HashMap<Key, Weak<Selection>>>,
    next: AtomicU64,
}

impl Selections {
    /// The selection of a subscription: of the `operation` in `text`, which is the only one in the parsed `document`.
    pub(crate) fn find(
        &self,
        text: &str,
        operation: Option<&str>,
        document: &ExecutableDocument,
        variables: &Variables,
    ) -> Arc<Selection> {
        let mut variables = variables.clone();
        if let Some(name) = only_after(text, document)
            && variables.contains_key(&name)
        {
            variables.insert(name, ConstValue::String(String::new()));
        }
        let variables_text = serde_json::to_string(&variables).unwrap_or_default();
        let head = format!("{} {}\n", operation.unwrap_or_default(), text.len());
        let key: Key = Sha256::digest([&head, text, &variables_text].concat()).into();
        // A poisoned lock guards a plain map: it is as good as before.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(selection) = known.get(&key).and_then(Weak::upgrade) {
            return selection;
        }
        let selection = Arc::new(Selection {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            document: document.clone(),
            variables,
            is_personal: AtomicBool::new(false),
        });
        if known.len() >= DEAD && known.len().is_power_of_two() {
            known.retain(|_, selection| selection.strong_count() > 0);
        }
        known.insert(key, Arc::downgrade(&selection));
        selection
    }
}

/// The variable that the root field's `after` takes, if nothing else takes it.
fn only_after(text: &str, document: &ExecutableDocument) -> Option<Name> {
    let DocumentOperations::Single(operation) = &document.operations else { return None };
    let mut selections = operation.node.selection_set.node.items.iter();
    let field = selections.find_map(|part| match &part.node {
        Part::Field(field) => Some(&field.node),
        _ => None,
    })?;
    let (_, value) = field.arguments.iter().find(|(name, _)| name.node == AFTER)?;
    let Value::Variable(name) = &value.node else { return None };
    // Once where it is declared, once here; a longer name that begins like it, or a word in a string, counts as well, which
    // only means that the subscription is told alone.
    (text.matches(&format!("${name}")).count() == 2).then(|| name.clone())
}
