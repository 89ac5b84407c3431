//! What a failure of `SQLite` means.

use rusqlite::ErrorCode;

use crate::Error;

/// The store does not answer; the caller may try again.
pub(super) fn unavailable() -> Error {
    Error::Unavailable { store: "message store" }
}

/// Logs a failure and sorts it.
pub(super) fn tell(what: &'static str, error: &rusqlite::Error) -> Error {
    let passing = matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
        )
    );
    if passing {
        tracing::warn!(what, %error, "the message store does not answer");
        unavailable()
    } else {
        tracing::error!(what, %error, "the message store refused a statement");
        Error::Internal
    }
}
