//! The operations of one socket.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_graphql_parser::types::OperationType;
use futures_util::{FutureExt, StreamExt};
use tokio_util::sync::CancellationToken;

use super::{
    outbox::{Item, Outbox},
    protocol,
};
use crate::{
    app::App,
    failure::Failure,
    identity::Caller,
    operation::{self, Outcome, Params},
};

/// One running operation.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    id: Arc<str>,
    stop: CancellationToken,
}

impl Ticket {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.stop.is_cancelled()
    }

    /// Waits until it is stopped.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }
}

/// Why an operation is not started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its id is in use.
    Duplicate,
    /// So many are running.
    TooMany,
}

/// Those that are running, by id.
#[derive(Default)]
pub(crate) struct Operations(Mutex<HashMap<Arc<str>, Ticket>>);

impl Operations {
    pub(crate) fn start(&self, id: &str, limit: usize) -> Result<Ticket, Refused> {
        let mut running = self.lock();
        if running.contains_key(id) {
            return Err(Refused::Duplicate);
        }
        if running.len() >= limit {
            return Err(Refused::TooMany);
        }
        let ticket = Ticket { id: id.into(), stop: CancellationToken::new() };
        running.insert(Arc::clone(&ticket.id), ticket.clone());
        Ok(ticket)
    }

    #[cfg(test)]
    pub(crate) fn is_running(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// At the client's wish; nothing of it is written after this.
    pub(crate) fn stop(&self, id: &str) {
        if let Some(ticket) = self.lock().remove(id) {
            ticket.stop.cancel();
        }
    }

    /// By itself. False when it was stopped before.
    pub(crate) fn finish(&self, ticket: &Ticket) -> bool {
        let mut running = self.lock();
        if !ticket.is_running() {
            return false;
        }
        running.remove(&ticket.id);
        true
    }

    /// All of them; gives their ids.
    pub(crate) fn stop_all(&self) -> Vec<Arc<str>> {
        let stop = |(id, ticket): (Arc<str>, Ticket)| {
            ticket.stop.cancel();
            id
        };
        self.lock().drain().map(stop).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs one operation to its end, or until it is stopped.
pub(super) async fn run(app: Arc<App>, caller: Caller, ticket: Ticket, params: Params, outbox: Outbox) {
    let _gauge = app.counters.socket_operation();
    let id = Arc::clone(&ticket.id);
    let reply = Reply { app: &app, caller: &caller, ticket: &ticket, outbox: &outbox };
    let work = AssertUnwindSafe(answer(&app, &caller, params, &reply)).catch_unwind();
    let refusal = tokio::select! {
        biased;
        () = ticket.stop.cancelled() => return,
        result = work => match result {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => Outcome::refused(&failure, &caller.request_id),
            Err(_) => {
                tracing::error!(request_id = caller.request_id, "an operation panicked");
                Outcome::refused(&Failure::internal(), &caller.request_id)
            }
        },
    };
    reply.last(protocol::error(&id, refusal.errors())).await;
}

struct Reply<'o> {
    app: &'o App,
    caller: &'o Caller,
    ticket: &'o Ticket,
    outbox: &'o Outbox,
}

impl Reply<'_> {
    /// False when nothing may follow.
    async fn next(&self, outcome: &Outcome) -> bool {
        let text = protocol::next(&self.ticket.id, outcome);
        match self.app.answers.hold(self.caller.user(), text.len()) {
            Ok(held) => {
                let item = Item::Of { ticket: self.ticket.clone(), text, is_last: false, held };
                self.outbox.send(item).await
            }
            Err(failure) => {
                drop(text);
                self.last(protocol::error(&self.ticket.id, &[failure.to_error(&self.caller.request_id)]))
                    .await;
                false
            }
        }
    }

    async fn last(&self, text: String) {
        let item = Item::Of { ticket: self.ticket.clone(), text, is_last: true, held: None };
        self.outbox.send(item).await;
    }

    async fn complete(&self) {
        self.last(protocol::complete(&self.ticket.id)).await;
    }

    async fn error(&self, outcome: &Outcome) {
        self.last(protocol::error(&self.ticket.id, outcome.errors())).await;
    }
}

async fn answer(app: &App, caller: &Caller, params: Params, reply: &Reply<'_>) -> Result<(), Failure> {
    let prepared = operation::prepare(app, params, caller)?;
    if prepared.kind == OperationType::Subscription {
        let outcomes = operation::stream(app, prepared, caller.request_id.clone());
        futures_util::pin_mut!(outcomes);
        while let Some(outcome) = outcomes.next().await {
            if outcome.is_request_error {
                reply.error(&outcome).await;
                return Ok(());
            }
            if !reply.next(&outcome).await {
                return Ok(());
            }
            if outcome.is_lost() {
                break;
            }
        }
    } else {
        let outcome = operation::execute(app, prepared, &caller.request_id).await?;
        if outcome.is_request_error {
            reply.error(&outcome).await;
            return Ok(());
        }
        if !reply.next(&outcome).await {
            return Ok(());
        }
    }
    reply.complete().await;
    Ok(())
}
