//! Documents that were parsed before: clients send the same few again and again, and nothing else before the execution costs as
//! much as to parse one.

use std::{sync::Arc, time::Duration};

use async_graphql_parser::{parse_query, types::ExecutableDocument};
use moka::sync::Cache;

use super::{Limits, refuse_unused_fragments, scan, syntax_error};
use crate::failure::Failure;

/// The longest text that is remembered, in bytes. Clients that send the same one again write far shorter ones.
const LONGEST: usize = 16 * 1024;
/// What a parsed document takes at most, in bytes: so much, and so much for each byte of its text. One that is made to take
/// much, of fields within fields with names of one letter, comes near it; what clients send takes a tenth.
const BASE: usize = 2 * 1024;
const EXPANSION: usize = 256;
/// The most bytes that all of them take. Those that are asked for most are kept.
const CAPACITY: u64 = 64 << 20;
/// From how many bytes of text on a document is a heavy one.
const HEAVY: usize = 1_024;
/// How long one is kept that nobody sends: there may be passwords in it, of clients that do not use variables.
const IDLE: Duration = Duration::from_mins(10);

/// Parsed documents by their texts. Cheap to clone.
#[derive(Clone)]
pub struct Documents {
    parsed: Cache<String, Arc<ExecutableDocument>>,
}

impl Default for Documents {
    fn default() -> Self {
        let weigh = |text: &String, _: &Arc<ExecutableDocument>| {
            u32::try_from(text.len().saturating_mul(EXPANSION).saturating_add(BASE)).unwrap_or(u32::MAX)
        };
        let parsed = Cache::builder().max_capacity(CAPACITY).weigher(weigh).time_to_idle(IDLE).build();
        Self { parsed }
    }
}

impl Documents {
    /// The document of a text that keeps the `limits` which do not depend on the operation or its variables. They have to be
    /// the same at each call.
    ///
    /// # Errors
    /// `BAD_REQUEST` for what is no document, `TOO_COSTLY` for what goes beyond the limits.
    pub(super) fn read(&self, text: &str, limits: &Limits) -> Result<Arc<ExecutableDocument>, Failure> {
        if let Some(document) = self.parsed.get(text) {
            return Ok(document);
        }
        scan::scan(text, limits)?;
        let document = parse_query(text).map_err(|error| syntax_error(&error))?;
        if document.fragments.len() > limits.fragments {
            return Err(Failure::too_costly(format!("at most {} fragments are allowed", limits.fragments)));
        }
        refuse_unused_fragments(&document)?;
        Ok(Arc::new(document))
    }

    /// Remembers the document of a text of which an operation may be executed. What is refused would only take room.
    pub(super) fn keep(&self, text: &str, document: Arc<ExecutableDocument>) {
        if text.len() <= LONGEST && !self.parsed.contains_key(text) {
            self.parsed.insert(text.to_owned(), document);
            if text.len() > HEAVY {
                // The library lets others go only now and then, and would have dozens of heavy ones too many until then.
                self.parsed.run_pending_tasks();
            }
        }
    }

    /// What all of them take, in bytes, about.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.parsed.run_pending_tasks();
        self.parsed.weighted_size()
    }
}
