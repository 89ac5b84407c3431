//! Waiting for what is to become true, instead of for time to pass.

use std::{future::Future, time::Duration};

/// For what takes milliseconds on an idle machine; tests run on busy ones.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Asks `probe` until it answers, and fails after `within`, saying `what` was awaited.
pub(crate) async fn eventually<T, F>(what: &str, within: Duration, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(25));
        loop {
            ticks.tick().await;
            if let Some(found) = probe().await {
                return found;
            }
        }
    };
    match tokio::time::timeout(within, asking).await {
        Ok(found) => found,
        Err(_) => panic!("not within {within:?}: {what}"),
    }
}
