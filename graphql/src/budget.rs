//! How much text one answer carries, and is read for it. Pages bound how many messages there are, but not how long they are,
//! and each alias repeats them.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_graphql::{
    Context, ContextSelectionSet, Error, ErrorExtensions, OutputType, Positioned, ServerResult, Value,
    parser::types::Field, registry::Registry,
};
use quikapp_chat::messages;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{error::ErrorCode, scalars::JSON};

/// Bytes of long texts in one answer, or in one event. A page of 100 messages has at most half of it.
const ANSWER_TEXT_BYTES: usize = 16_000_000;

/// Bytes of texts in all pages of messages that are read for it. They are in memory at the same time.
const PAGES_TEXT_BYTES: usize = 64_000_000;

/// Pages of messages that are read at a time, so that not all of them are there before any of them is counted.
const PAGES_AT_A_TIME: usize = 4;

/// What is left for a request.
pub(crate) struct Budget {
    answer: AtomicUsize,
    pages: AtomicUsize,
    turns: Semaphore,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            answer: AtomicUsize::new(ANSWER_TEXT_BYTES),
            pages: AtomicUsize::new(PAGES_TEXT_BYTES),
            turns: Semaphore::new(PAGES_AT_A_TIME),
        }
    }
}

fn take(from: &AtomicUsize, bytes: usize) -> bool {
    from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
}

/// Waits until a page of messages may be read; it is until what comes back is dropped.
pub(crate) async fn turn<'b>(ctx: &'b Context<'_>) -> Option<SemaphorePermit<'b>> {
    // It is never closed.
    ctx.data_opt::<Budget>()?.turns.acquire().await.ok()
}

/// Counts a page of messages that was read.
pub(crate) fn count_page(ctx: &Context<'_>, messages: &[messages::Message]) -> Result<(), Error> {
    let bytes = messages.iter().map(|message| message.text.len()).sum();
    if ctx.data_opt::<Budget>().is_none_or(|budget| take(&budget.pages, bytes)) {
        return Ok(());
    }
    Err(too_costly(format!("the pages have more than {PAGES_TEXT_BYTES} bytes of text; ask for fewer")))
}

fn too_costly(message: String) -> Error {
    Error::new(message).extend_with(|_, extensions| {
        extensions.set("code", ErrorCode::TooCostly.name());
        extensions.set("retryable", false);
    })
}

/// Bytes of a text in JSON.
fn written(text: &str) -> usize {
    let more = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..0x20 => 5,
        _ => 0,
    };
    text.len() + text.bytes().map(more).sum::<usize>()
}

fn spend(ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>, bytes: usize) -> ServerResult<()> {
    if ctx.data_opt::<Budget>().is_none_or(|budget| take(&budget.answer, bytes)) {
        return Ok(());
    }
    let message =
        format!("the answer has more than {ANSWER_TEXT_BYTES} bytes of text; ask for smaller pages");
    Err(ctx.set_error_path(too_costly(message).into_server_error(field.pos)))
}

/// A `String` of up to many kilobytes.
#[derive(Debug, Clone)]
pub enum LongText {
    /// A piece of something.
    Piece(String),
    /// The words of a message, which may stand in an answer many times.
    Of(Arc<messages::Message>),
}

impl LongText {
    fn as_str(&self) -> &str {
        match self {
            Self::Piece(text) => text,
            Self::Of(message) => &message.text,
        }
    }
}

impl OutputType for LongText {
    fn type_name() -> Cow<'static, str> {
        <String as OutputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <String as OutputType>::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        spend(ctx, field, written(self.as_str()))?;
        Ok(Value::String(self.as_str().to_owned()))
    }
}

/// A `JSON` of up to many kilobytes.
#[derive(Debug, Clone)]
pub struct LongJson(pub(crate) JSON);

impl OutputType for LongJson {
    fn type_name() -> Cow<'static, str> {
        <JSON as OutputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <JSON as OutputType>::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        // In memory a value takes several times its text.
        spend(ctx, field, self.0.0.to_string().len())?;
        OutputType::resolve(&self.0, ctx, field).await
    }
}
