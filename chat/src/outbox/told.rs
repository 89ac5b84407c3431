//! Rows that were told are crossed out in the background, many with one statement.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quikapp_entities::{MessageId, outbox};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use tokio::sync::mpsc;

use super::failed::Failed;
use crate::database::Database;

/// How long rows are gathered.
const GATHERED: Duration = Duration::from_millis(100);
/// How long to wait for a database that does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Rows crossed out with one statement.
const AT_ONCE: usize = 500;

type Ids = Arc<Mutex<HashSet<MessageId>>>;

/// Rows that were told on this node and still stand in the table. A process that ends before they are crossed out tells
/// them again, to no effect.
#[derive(Clone)]
pub(crate) struct Told {
    ids: Ids,
    poke: mpsc::UnboundedSender<()>,
    /// Those that could not be told.
    pub(super) failed: Arc<Failed>,
}

impl Told {
    /// Crosses out until all handles are gone. Needs a Tokio runtime.
    pub(crate) fn start(db: Database) -> Self {
        let ids = Ids::default();
        let (poke, poked) = mpsc::unbounded_channel();
        tokio::spawn(run(db, Arc::clone(&ids), poked));
        Self { ids, poke, failed: Arc::default() }
    }

    pub(super) fn contains(&self, id: MessageId) -> bool {
        lock(&self.ids).contains(&id)
    }

    pub(super) fn cross_out(&self, told: Vec<MessageId>) {
        if !told.is_empty() {
            lock(&self.ids).extend(told);
            let _ = self.poke.send(());
        }
    }
}

fn lock(ids: &Ids) -> std::sync::MutexGuard<'_, HashSet<MessageId>> {
    ids.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(db: Database, ids: Ids, mut poked: mpsc::UnboundedReceiver<()>) {
    while poked.recv().await.is_some() {
        tokio::time::sleep(GATHERED).await;
        while poked.try_recv().is_ok() {}
        loop {
            let mut some: Vec<_> = lock(&ids).iter().copied().take(AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            // In one order on all nodes, so that two of them do not wait for each other.
            some.sort_unstable();
            let some: Arc<[MessageId]> = some.into();
            let rows = Arc::clone(&some);
            let deleted = db.write(move |tx| {
                let rows = Arc::clone(&rows);
                Box::pin(async move {
                    let rows = outbox::Column::Id.is_in(rows.iter().copied());
                    outbox::Entity::delete_many().filter(rows).exec(tx).await?;
                    Ok(())
                })
            });
            if deleted.await.is_ok() {
                let mut ids = lock(&ids);
                for id in some.iter() {
                    ids.remove(id);
                }
            } else {
                tracing::debug!("what was told is crossed out late");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
