//! What fresh queries give of a channel: the state that every subscriber has to arrive at.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::{
    people::Person,
    state::{FIELDS, Observed, Own, State},
};

/// Threads that are asked for at a time.
const AT_ONCE: usize = 8;

/// A message with what no event tells.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) state: State,
    /// The first message of its thread, of replies.
    pub(super) root: Option<String>,
    /// Emojis and who put them.
    pub(super) reactors: Vec<(String, String)>,
}

impl Found {
    /// What the message is to `viewer`.
    pub(super) fn own(&self, viewer: &str) -> Own {
        let groups = self.state.reactions.iter().map(|group| group.emoji.clone());
        let has = |emoji: &String| self.reactors.iter().any(|(of, user)| of == emoji && user == viewer);
        Own {
            reacted: groups.filter(has).collect(),
            has_client_message_id: self.state.author.id == viewer && !self.state.is_system(),
        }
    }
}

/// A channel.
#[derive(Debug, Clone, Default)]
pub(super) struct ChannelTruth {
    /// By id; tombstones and replies included.
    pub(super) messages: HashMap<String, Found>,
    /// Who is in it.
    pub(super) members: HashSet<String>,
}

impl ChannelTruth {
    /// Asks for all of a channel; gives it with the cursor that was read before it.
    pub(super) async fn fetch(
        person: &Person,
        channel: &str,
        observed: &Observed,
    ) -> Result<(String, Self), String> {
        let mut truth = Self::default();
        let mut cursor = None;
        let document = format!(
            "query($id: ID!, $after: String) {{ channel(id: $id) {{ messages(first: 100, after: $after) {{
                syncCursor nodes {{ {FIELDS} reactions(first: 100) {{ nodes {{ emoji user {{ id }} }} }} }}
                pageInfo {{ hasNextPage endCursor }}
            }} }} }}"
        );
        let mut after = Value::Null;
        loop {
            let data = person.ask(&document, json!({ "id": channel, "after": after })).await?;
            let page = &data["channel"]["messages"];
            truth.read(page, None)?;
            cursor = cursor.or_else(|| page["syncCursor"].as_str().map(str::to_owned));
            if page["pageInfo"]["hasNextPage"] != true {
                break;
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
        let roots: Vec<String> = {
            let found = truth.messages.values().map(|found| &found.state);
            found.filter(|state| state.thread.is_some()).map(|state| state.id.clone()).collect()
        };
        let mut threads = stream::iter(roots.into_iter().map(|root| replies(person.clone(), root)))
            .buffer_unordered(AT_ONCE);
        while let Some(found) = threads.next().await {
            let (root, pages) = found?;
            for page in pages {
                truth.read(&page, Some(&root))?;
            }
        }
        drop(threads);
        let document =
            "query($id: ID!) { channel(id: $id) { members(first: 100) { nodes { user { id } } } } }";
        let data = person.ask(document, json!({ "id": channel })).await?;
        let members = data["channel"]["members"]["nodes"].as_array().ok_or("no members")?;
        truth.members =
            members.iter().filter_map(|node| node["user"]["id"].as_str().map(str::to_owned)).collect();
        for found in truth.messages.values() {
            observed.tell(channel, &found.state);
        }
        Ok((cursor.ok_or("no syncCursor")?, truth))
    }

    fn read(&mut self, page: &Value, root: Option<&str>) -> Result<(), String> {
        for node in page["nodes"].as_array().ok_or_else(|| format!("no page: {page}"))? {
            let state = State::read(node)?;
            let reactions = node["reactions"]["nodes"].as_array().into_iter().flatten();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let reactors =
                reactions.map(|reaction| (text(&reaction["emoji"]), text(&reaction["user"]["id"]))).collect();
            let found = Found { state, root: root.map(str::to_owned), reactors };
            self.messages.insert(found.state.id.clone(), found);
        }
        Ok(())
    }

    /// Where the channel contradicts itself: a root's summary and its replies, a group's count and its people.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut replies: HashMap<&str, usize> = HashMap::new();
        for found in self.messages.values().filter(|found| !found.state.is_deleted) {
            if let Some(root) = &found.root {
                *replies.entry(root).or_default() += 1;
            }
        }
        let mut contradictions = Vec::new();
        for (id, found) in &self.messages {
            let said = found.state.thread.as_ref().map_or(0, |thread| thread.reply_count);
            let counted = replies.get(id.as_str()).copied().unwrap_or(0);
            if said != counted {
                contradictions.push(format!("{counted} replies, and its root says: {:?}", found.state));
            }
            for group in &found.state.reactions {
                let people: HashSet<_> =
                    found.reactors.iter().filter(|(emoji, _)| *emoji == group.emoji).collect();
                if people.len() != group.count {
                    contradictions
                        .push(format!("{people:?} reacted, and the message says {:?}", found.state));
                }
            }
        }
        contradictions
    }
}

/// The pages of replies to a root.
async fn replies(person: Person, root: String) -> Result<(String, Vec<Value>), String> {
    let document = format!(
        "query($id: ID!, $after: String) {{ message(id: $id) {{ thread {{ replies(first: 100, after: $after) {{
            nodes {{ {FIELDS} reactions(first: 100) {{ nodes {{ emoji user {{ id }} }} }} }}
            pageInfo {{ hasNextPage endCursor }}
        }} }} }} }}"
    );
    let mut pages = Vec::new();
    let mut after = Value::Null;
    loop {
        let mut data = person.ask(&document, json!({ "id": root, "after": after })).await?;
        let page = data["message"]["thread"]["replies"].take();
        let info = page["pageInfo"].clone();
        pages.push(page);
        if info["hasNextPage"] != true {
            return Ok((root, pages));
        }
        after = info["endCursor"].clone();
    }
}
