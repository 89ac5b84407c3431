//! Work that goes on when its caller has gone.

use crate::{Error, Result};

/// Runs `work` to its end even if the caller goes away, so that what follows a committed change comes at once.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a change did not run to its end");
        Err(Error::Internal)
    })
}
