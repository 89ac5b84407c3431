//! How the driver is called: each call in a task of its own, with a time limit, its failures sorted and logged.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use mongodb::error::{Error as DriverError, ErrorKind, RETRYABLE_WRITE_ERROR, WriteFailure};

use super::document::DecodeError;
use crate::Error;

/// How long a caller waits for an answer.
pub(super) const TIME_LIMIT: Duration = Duration::from_millis(4_500);
/// How long a call may go on after its caller has given up. Ending it closes its connection, so it must not happen in the
/// ordinary course of things, and must happen at last when a server has vanished without a word.
const ABANDON: Duration = Duration::from_secs(30);
/// How long the server may work on a read.
pub(super) const SERVER_TIME_LIMIT: Duration = Duration::from_secs(4);

const DUPLICATE_KEY: i32 = 11_000;
/// Codes of a server that cannot answer now: stepping down, shutting down, out of time, out of disk; or that answered in
/// part and has lost its place since; or whose collections or indexes have just changed.
const PASSING: [i32; 26] = [
    6, 7, 24, 43, 50, 64, 89, 91, 112, 133, 134, 175, 189, 202, 237, 246, 262, 365, 9_001, 10_107, 11_600,
    11_601, 11_602, 13_435, 13_436, 14_031,
];

/// What went wrong inside of a call.
#[derive(Debug)]
pub(super) enum Failure {
    /// The driver or the server failed.
    Driver(Box<DriverError>),
    /// A message cannot be written as BSON, or a document is not a message.
    Format(String),
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self::Driver(Box::new(error))
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Format(error.to_string())
    }
}

impl From<bson::error::Error> for Failure {
    fn from(error: bson::error::Error) -> Self {
        Self::Format(error.to_string())
    }
}

/// A unique index that refused the write of one document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Duplicate {
    /// The index.
    pub(super) index: String,
}

impl Duplicate {
    /// The duplicate that `error` tells of, if it tells of one and of nothing worse.
    pub(super) fn of(error: &DriverError) -> Option<Self> {
        let ErrorKind::Write(WriteFailure::WriteError(error)) = error.kind.as_ref() else { return None };
        index_in(error.code, &error.message).map(|index| Self { index })
    }
}

/// The unique index that refused, if that is what the server says.
fn index_in(code: i32, message: &str) -> Option<String> {
    if code != DUPLICATE_KEY {
        return None;
    }
    // `E11000 duplicate key error collection: chat.messages index: channel_ticks dup key: { … }`: what users wrote comes only
    // behind the index.
    let (_, rest) = message.split_once(" index: ")?;
    Some(rest.split(' ').next().unwrap_or_default().to_owned())
}

/// An ordered insert that the server refused, in whole or from one document on, for a reason that does not pass.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The first document that is not written, from 0; the ones before it are. None if the server took nothing of it.
    pub(super) at: Option<usize>,
    /// The unique index that the document collided in, if it was that.
    pub(super) index: Option<String>,
    /// The driver's words.
    pub(super) failure: Failure,
}

impl Refusal {
    /// Tells a refusal from a failure after which it is not known what was written.
    pub(super) fn of(error: DriverError) -> Result<Self, Failure> {
        if is_passing(&error) {
            return Err(error.into());
        }
        let (at, index) = match error.kind.as_ref() {
            ErrorKind::InsertMany(many) => match many.write_errors.as_deref() {
                Some([first, ..]) => (Some(first.index), index_in(first.code, &first.message)),
                _ => return Err(error.into()),
            },
            _ => (None, None),
        };
        Ok(Self { at, index, failure: error.into() })
    }
}

/// Whether the same call may succeed later.
fn is_passing(error: &DriverError) -> bool {
    let passing = match error.kind.as_ref() {
        ErrorKind::Io(_)
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::Shutdown
        | ErrorKind::Write(WriteFailure::WriteConcernError(_)) => true,
        ErrorKind::Command(error) => PASSING.contains(&error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => PASSING.contains(&error.code),
        ErrorKind::InsertMany(many) => {
            many.write_concern_error.is_some()
                || many.write_errors.iter().flatten().any(|error| PASSING.contains(&error.code))
        }
        _ => false,
    };
    passing || error.contains_label(RETRYABLE_WRITE_ERROR)
}

pub(super) fn unavailable() -> Error {
    Error::Unavailable { store: "message store" }
}

/// Logs a failure and sorts it for the domain.
pub(super) fn tell(what: &'static str, failure: &Failure) -> Error {
    match failure {
        Failure::Driver(error) if is_passing(error) => {
            tracing::warn!(what, %error, "the message store does not answer");
            unavailable()
        }
        Failure::Driver(error) => {
            tracing::error!(what, %error, "the message store refused a call");
            Error::Internal
        }
        Failure::Format(error) => {
            tracing::error!(what, error, "a message cannot be written or read");
            Error::Internal
        }
    }
}

/// Runs calls and counts them.
#[derive(Debug, Default)]
pub(super) struct Calls(AtomicU64);

impl Calls {
    /// Calls so far.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts a round trip made within a call beside its first.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs `call` to its end even if the caller goes away: dropping a future of the driver in mid-flight costs its
    /// connection, and many at once stall the pool for seconds.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Error> {
        self.add();
        let task = tokio::spawn(tokio::time::timeout(ABANDON, call));
        match tokio::time::timeout(TIME_LIMIT, task).await {
            Ok(Ok(Ok(Ok(value)))) => Ok(value),
            Ok(Ok(Ok(Err(failure)))) => Err(tell(what, &failure)),
            Ok(Err(error)) if error.is_panic() => {
                tracing::error!(what, %error, "a call of the message store panicked");
                Err(Error::Internal)
            }
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => {
                tracing::warn!(what, "the message store did not answer in time");
                Err(unavailable())
            }
        }
    }
}
