//! Subscriptions that are told together: an event is executed and written once for all subscribers of this node who chose
//! the same of it, as far as who they are makes no difference.

mod rendering;
mod selection;

use std::{
    future::ready,
    sync::{Arc, Mutex, PoisonError},
};

use async_graphql::{Context, Request, Response, ValidationMode, parser::types::ExecutableDocument};
use futures_util::{
    FutureExt, Stream, StreamExt,
    stream::{self, BoxStream},
};
use quikapp_chat::{Chat, access::Viewer};

pub use rendering::Rendered;
pub(crate) use selection::Selection;

use crate::{
    Schema,
    budget::Budget,
    builder,
    context::{Client, ContextExt},
    error::Result,
    fanout::selection::Selections,
    streams::Happening,
    sync,
};

/// One item of a subscription.
pub enum Delivered {
    /// As the executor gives it, for this subscriber alone.
    Response(Response),
    /// Already written, for everybody who chose the same.
    Rendered(Rendered),
}

/// The schema over a domain, able to tell one event to many subscribers at once. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    schema: Schema,
    /// For documents that were validated when their subscription began.
    trusting: Schema,
    chat: Chat,
    selections: Arc<Selections>,
}

impl Api {
    /// The schema over a domain. `introspection`: whether clients may ask for it.
    #[must_use]
    pub fn new(chat: Chat, introspection: bool) -> Self {
        let build = |mode| {
            let builder = builder().data(chat.clone()).validation_mode(mode);
            if introspection { builder.finish() } else { builder.disable_introspection().finish() }
        };
        Self {
            schema: build(ValidationMode::Strict),
            trusting: build(ValidationMode::Fast),
            selections: Arc::default(),
            chat,
        }
    }

    /// Runs a query or mutation.
    pub async fn execute(&self, request: Request) -> Response {
        let request = sync::prepare(&self.chat, request.data(Budget::default())).await;
        self.schema.execute(request).await
    }

    /// Marks a request for a subscription with what it chose, so that it can be told together with others. `document` is
    /// its parsed text, with the one `operation` that is to run.
    #[must_use]
    pub fn select(
        &self,
        request: Request,
        operation: Option<&str>,
        document: &ExecutableDocument,
    ) -> Request {
        let selection = self.selections.find(&request.query, operation, document, &request.variables);
        request.data(selection)
    }

    /// Runs a subscription that went through [`Api::select`].
    #[must_use]
    pub fn stream(&self, request: Request) -> BoxStream<'static, Delivered> {
        let api = self.clone();
        let opening = async move {
            let slice = api.chat.hub().slices().take().await;
            let handover = Handover::default();
            let responses = api.schema.execute_stream(request.data(handover.clone()));
            // Boxed, as what opens a subscription is not kept while that goes on.
            let responses = responses.map(Delivered::Response).boxed();
            // Handed over, if at all, before the executor's own stream is at its end.
            let handed = stream::once(async move {
                drop(slice);
                handover.take().map(|handed| api.tell(handed))
            });
            responses.chain(handed.filter_map(ready).flatten())
        };
        stream::once(opening.boxed()).flatten().boxed()
    }

    fn tell(self, handed: Handed) -> BoxStream<'static, Delivered> {
        let Handed { happenings, selection, viewer, client } = handed;
        let teller = Arc::new(rendering::Teller { api: self, selection, viewer, client });
        happenings
            .then(move |happenings| {
                let teller = Arc::clone(&teller);
                async move { teller.tell(happenings).await }
            })
            .flat_map(stream::iter)
            .boxed()
    }
}

/// A subscription that passed its checks, with what it needs to be told.
struct Handed {
    happenings: BoxStream<'static, Vec<Happening>>,
    selection: Arc<Selection>,
    viewer: Viewer,
    client: Client,
}

/// Where a resolver leaves a subscription for [`Api::stream`].
#[derive(Clone, Default)]
struct Handover(Arc<Mutex<Option<Handed>>>);

impl Handover {
    fn take(&self) -> Option<Handed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The one event that a rendering is about.
struct Subject(Happening);

/// The event that the executor is to tell just now, when it is not to open a subscription. Every resolver of a subscription
/// that uses [`hand_over`] asks for it first, before it checks anything: that was done when the subscription began.
pub(crate) fn subject(ctx: &Context<'_>) -> Option<Happening> {
    ctx.data_opt::<Subject>().map(|subject| subject.0.clone())
}

/// Leaves a subscription to be told together with others. Happenings that come together are looked up together. What comes
/// back is at its end; or, where nobody takes it, is the subscription itself.
pub(crate) fn hand_over(
    ctx: &Context<'_>,
    happenings: impl Stream<Item = Vec<Happening>> + Send + 'static,
) -> Result<BoxStream<'static, Happening>> {
    let taken = ctx.data_opt::<Handover>().zip(ctx.data_opt::<Arc<Selection>>());
    let Some((handover, selection)) = taken else {
        return Ok(happenings.flat_map(stream::iter).boxed());
    };
    *handover.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Handed {
        happenings: happenings.boxed(),
        selection: Arc::clone(selection),
        viewer: ctx.viewer()?,
        client: ctx.client(),
    });
    Ok(stream::empty().boxed())
}
