//! Events as they are written for many.

use std::{
    sync::{Arc, LazyLock, atomic::Ordering},
    time::Duration,
};

use async_graphql::{Request, Response, Value};
use data_encoding::HEXLOWER;
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
};
use quikapp_chat::{access::Viewer, clock::Environment};
use tokio::time::timeout;

use crate::{
    budget::Budget,
    context::Client,
    fanout::{Api, Delivered, Selection, Subject},
    identity::{Asked, Identity},
    loaders::Loaders,
    scalars::EventCursor,
    streams::Happening,
};

/// Most answers that are kept of one event: for its author and for the others, say.
const VARIANTS: usize = 16;

/// How long a subscriber waits for another one to write an event: longer than a store may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stands for the subscriber's own cursor in what is written for many. Nobody can guess it, so nobody can write it into a
/// message.
static PLACEHOLDER: LazyLock<String> = LazyLock::new(|| HEXLOWER.encode(&Environment::default().secret()));

/// An item that is already written, but for the subscriber's cursor.
pub struct Rendered {
    pieces: Arc<Pieces>,
    cursor: String,
}

#[derive(Debug)]
struct Pieces {
    /// The JSON of the result, cut where the cursor comes.
    text: Vec<Box<str>>,
    /// Whether the root field has the cursor under its own name.
    names_cursor: bool,
}

impl Rendered {
    /// Appends the JSON of the result, `{"data":…}`.
    pub fn write(&self, out: &mut String) {
        let mut pieces = self.pieces.text.iter();
        if let Some(first) = pieces.next() {
            out.push_str(first);
        }
        for piece in pieces {
            out.push_str(&self.cursor);
            out.push_str(piece);
        }
    }

    /// About how long that is, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.text.iter().map(|piece| piece.len() + self.cursor.len()).sum()
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item's cursor, if the subscriber chose it.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.pieces.names_cursor.then_some(&self.cursor)
    }
}

/// What is written of one event for one selection, each with what it depends on.
type Variants = tokio::sync::Mutex<Vec<(Asked, Arc<Pieces>)>>;

/// What happenings that are told together have in common.
struct Lookup {
    loaders: Arc<Loaders>,
    /// For whom the loaders read.
    identity: Identity,
}

impl Lookup {
    fn new(teller: &Teller) -> Self {
        let identity = Identity::watched(teller.viewer);
        Self { loaders: Arc::new(Loaders::new(&teller.api.chat, &identity)), identity }
    }

    /// Whether anything that was read so far depends on who the viewer is.
    fn is_personal(&self) -> bool {
        self.identity.was_asked_for()
    }
}

/// Tells one subscriber.
pub(super) struct Teller {
    pub(super) api: Api,
    pub(super) selection: Arc<Selection>,
    pub(super) viewer: Viewer,
    pub(super) client: Client,
}

impl Teller {
    /// Tells happenings that come together, and looks up together what belongs to them.
    pub(super) async fn tell(&self, happenings: Vec<Happening>) -> Vec<Delivered> {
        if happenings.len() > 1 {
            let lookup = Lookup::new(self);
            let telling = happenings.into_iter().map(|happening| self.tell_one(happening, Some(&lookup)));
            return join_all(telling).boxed().await;
        }
        let mut delivered = Vec::with_capacity(happenings.len());
        for happening in happenings {
            delivered.push(self.tell_one(happening, None).await);
        }
        delivered
    }

    async fn tell_one(&self, happening: Happening, lookup: Option<&Lookup>) -> Delivered {
        if let Some(rendered) = self.shared(&happening, lookup).await {
            return Delivered::Rendered(rendered);
        }
        let identity = Identity::new(Some(self.viewer));
        Delivered::Response(self.execute(happening, identity, lookup).await)
    }

    /// What was written for others, or is now; none where it is no good to anybody else.
    async fn shared(&self, happening: &Happening, lookup: Option<&Lookup>) -> Option<Rendered> {
        let (notes, key) = happening.shared()?;
        if self.selection.is_personal.load(Ordering::Relaxed) {
            return None;
        }
        let variants = notes.get::<Variants>((self.selection.id, key));
        // Whoever comes first writes while the others wait; not for one that is kept from it, by a client that takes nothing.
        let mut variants = match variants.try_lock() {
            Ok(variants) => variants,
            Err(_) => timeout(PATIENCE, variants.lock()).await.ok()?,
        };
        let known = variants.iter().find(|(asked, _)| asked.holds_for(self.viewer.user()));
        let pieces = match known {
            Some((_, pieces)) => Arc::clone(pieces),
            None if variants.len() >= VARIANTS => return None,
            None => {
                let identity = Identity::watched(self.viewer);
                let subject = happening.with_cursor(EventCursor(PLACEHOLDER.clone()));
                let response = self.execute(subject, identity.clone(), lookup).await;
                let mut asked = identity.take_asked();
                asked.add(lookup.is_some_and(Lookup::is_personal));
                if asked.is_personal() {
                    self.selection.is_personal.store(true, Ordering::Relaxed);
                }
                // An error is told to each with the id of its own request.
                if asked.is_personal() || !response.errors.is_empty() {
                    return None;
                }
                let pieces = Arc::new(cut(&response)?);
                variants.push((asked, Arc::clone(&pieces)));
                pieces
            }
        };
        Some(Rendered { pieces, cursor: happening.cursor()?.0 })
    }

    /// Boxed, so that it takes no room where others did it already.
    fn execute(
        &self,
        happening: Happening,
        identity: Identity,
        lookup: Option<&Lookup>,
    ) -> BoxFuture<'_, Response> {
        let loaders = lookup.map_or_else(
            || Arc::new(Loaders::new(&self.api.chat, &identity)),
            |lookup| Arc::clone(&lookup.loaders),
        );
        let mut request = Request::new("")
            .variables(self.selection.variables.clone())
            .data(loaders)
            .data(identity)
            .data(Budget::default())
            .data(self.client.clone())
            .data(Subject(happening));
        request.set_parsed_query(self.selection.document.clone());
        let execute = async move {
            let mut responses = self.api.trusting.execute_stream(request);
            responses.next().await.unwrap_or_else(|| Response::new(Value::Null))
        };
        execute.boxed()
    }
}

fn cut(response: &Response) -> Option<Pieces> {
    let data = serde_json::to_string(&response.data).ok()?;
    let text = format!("{{\"data\":{data}}}");
    let names_cursor = match &response.data {
        Value::Object(roots) => roots.values().next().is_some_and(|root| match root {
            Value::Object(item) => item
                .get("cursor")
                .is_some_and(|cursor| matches!(cursor, Value::String(text) if *text == *PLACEHOLDER)),
            _ => false,
        }),
        _ => false,
    };
    Some(Pieces { text: text.split(PLACEHOLDER.as_str()).map(Box::from).collect(), names_cursor })
}
