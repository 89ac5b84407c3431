//! Everything that can go wrong, as the API tells it.

use std::time::Duration;

/// What a domain function returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One thing that is wrong with one input field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The argument's name in the API, nested with dots and indexes: `input.blocks.2.code`.
    pub field: String,
    /// What is wrong with it, for the person at the keyboard.
    pub message: String,
}

impl FieldError {
    /// A complaint about `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// A failure with everything a client may know about it. Text of drivers never gets in here: a store's failure is logged
/// where it happens and becomes [`Error::Unavailable`] or [`Error::Internal`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// One or more inputs break a rule; nothing was changed.
    #[error("{}", join(.0))]
    Invalid(Vec<FieldError>),
    /// No valid credentials.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The viewer sees the thing and may not do this to it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// There is no such thing, or the viewer may not know that there is.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The name is taken.
    #[error("{}", .0.message)]
    AlreadyExists(FieldError),
    /// The thing has changed since the client read it.
    #[error("{0}")]
    Conflict(&'static str),
    /// The channel is archived and read-only.
    #[error("the channel is archived")]
    Archived,
    /// A stated limit is reached.
    #[error("{0}")]
    QuotaExceeded(String),
    /// Too many requests of this kind.
    #[error("too many requests")]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// A store does not answer; the same request may succeed later.
    #[error("{store} is unavailable, try again")]
    Unavailable {
        /// Which one, by role: `database`, `message store`, `live relay`.
        store: &'static str,
    },
    /// A bug; details are in the server's log only.
    #[error("internal error")]
    Internal,
}

impl Error {
    /// An [`Error::Invalid`] about a single field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// An [`Error::AlreadyExists`] about `field`.
    pub fn already_exists(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::AlreadyExists(FieldError::new(field, message))
    }

    /// Whether the same request may succeed later without a change.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::RateLimited { .. })
    }

    /// How long a client should wait before it tries again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { .. } => Some(Duration::from_secs(1)),
            Self::RateLimited { retry_after } => Some(*retry_after),
            _ => None,
        }
    }
}

fn join(fields: &[FieldError]) -> String {
    fields.iter().map(|field| format!("{}: {}", field.field, field.message)).collect::<Vec<_>>().join("; ")
}

/// Collects what is wrong with an input, so that all of it is said at once.
#[derive(Debug, Default)]
pub struct Validation(Vec<FieldError>);

impl Validation {
    /// Notes `message` about `field` unless `ok`.
    pub fn check(&mut self, ok: bool, field: &str, message: impl Into<String>) -> &mut Self {
        if !ok {
            self.0.push(FieldError::new(field, message));
        }
        self
    }

    /// Notes a length outside `min..=max` characters (Unicode scalar values, as the stores count them).
    pub fn length(&mut self, field: &str, text: &str, min: usize, max: usize) -> &mut Self {
        let length = text.chars().count();
        self.check(
            length >= min,
            field,
            if min == 1 {
                "must not be empty".into()
            } else {
                format!("must have at least {min} characters")
            },
        );
        self.check(length <= max, field, format!("must have at most {max} characters"))
    }

    /// Fails with everything noted so far.
    pub fn finish(&mut self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(std::mem::take(&mut self.0))) }
    }
}
