//! Why a benchmark could not be run.

use std::fmt;

/// One line for whoever runs it.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// Of anything here.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// With these words.
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// `Failure` itself is no `Error`, so that this covers all that are.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}
