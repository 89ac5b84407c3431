//! Events as they are written for many.

use std::sync::{Arc, LazyLock, atomic::Ordering};

use async_graphql::{Request, Response, Value};
use data_encoding::HEXLOWER;
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use quikapp_chat::{access::Viewer, clock::Environment};

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

/// Tells one subscriber.
pub(super) struct Teller {
    pub(super) api: Api,
    pub(super) selection: Arc<Selection>,
    pub(super) viewer: Viewer,
    pub(super) client: Client,
}

impl Teller {
    pub(super) async fn tell(&self, happening: Happening) -> Delivered {
        match self.shared(&happening).await {
            Some(rendered) => Delivered::Rendered(rendered),
            None => Delivered::Response(self.execute(happening, Identity::new(Some(self.viewer))).await),
        }
    }

    /// What was written for others, or is now; none where it is no good to anybody else.
    async fn shared(&self, happening: &Happening) -> Option<Rendered> {
        let (notes, key) = happening.shared()?;
        if self.selection.is_personal.load(Ordering::Relaxed) {
            return None;
        }
        let variants = notes.get::<Variants>((self.selection.id, key));
        // Whoever comes first writes while the others wait.
        let mut variants = variants.lock().await;
        let known = variants.iter().find(|(asked, _)| asked.holds_for(self.viewer.user()));
        let pieces = match known {
            Some((_, pieces)) => Arc::clone(pieces),
            None if variants.len() >= VARIANTS => return None,
            None => {
                let identity = Identity::watched(self.viewer);
                let subject = happening.with_cursor(EventCursor(PLACEHOLDER.clone()));
                let response = self.execute(subject, identity.clone()).await;
                let asked = identity.take_asked();
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
    fn execute(&self, happening: Happening, identity: Identity) -> BoxFuture<'_, Response> {
        let mut request = Request::new("")
            .variables(self.selection.variables.clone())
            .data(Loaders::new(&self.api.chat, &identity))
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
