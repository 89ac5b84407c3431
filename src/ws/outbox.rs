//! What is still to be written to a socket.

use std::{sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{SinkExt, stream::SplitSink};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    Close,
    operations::{Operations, Ticket},
};
use crate::answers::Held;

/// Messages waiting for a peer that reads slowly; operations wait beyond that.
const WAITING: usize = 32;
/// Messages written between two flushes.
const BURST: usize = 16;
/// For a close frame to be taken.
const CLOSE_TIME_LIMIT: Duration = Duration::from_secs(2);

/// One message to be written.
pub(super) enum Item {
    /// Of the connection itself.
    Plain(Message),
    /// Of an operation; not written any more once that is stopped.
    Of { ticket: Ticket, text: String, is_last: bool, held: Option<Held> },
}

/// The sending end. Operations take turns at it in the order in which they ask. Items are boxed, as room for a queue of them is
/// set aside for each socket.
#[derive(Clone)]
pub(super) struct Outbox(mpsc::Sender<Box<Item>>);

impl Outbox {
    /// Waits for room. False when the socket is gone.
    pub(super) async fn send(&self, item: Item) -> bool {
        self.0.send(Box::new(item)).await.is_ok()
    }

    /// Waits until nothing is written any more.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }

    /// Does not wait. False when there is no room.
    pub(super) fn try_send(&self, item: Item) -> bool {
        self.0.try_send(Box::new(item)).is_ok()
    }
}

/// The task that writes.
pub(super) struct Writer {
    close: oneshot::Sender<Option<Close>>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Sends a close frame, unless the peer did, and waits for the end.
    pub(super) async fn finish(self, close: Option<Close>) {
        let _ = self.close.send(close);
        let _ = self.task.await;
    }
}

/// Starts writing what comes out of the outbox to `sink`. A message that the peer does not take within `time_limit` ends it.
pub(super) fn open(
    sink: SplitSink<WebSocket, Message>,
    operations: Arc<Operations>,
    time_limit: Duration,
) -> (Outbox, Writer) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (close, closed) = oneshot::channel();
    let task = tokio::spawn(write(sink, receiver, closed, operations, time_limit));
    (Outbox(sender), Writer { close, task })
}

async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut items: mpsc::Receiver<Box<Item>>,
    mut closed: oneshot::Receiver<Option<Close>>,
    operations: Arc<Operations>,
    time_limit: Duration,
) {
    let writing = async {
        while let Some(item) = items.recv().await {
            let burst = async {
                let mut next = Some(item);
                // What was fed waits in the sink until it is flushed.
                let mut fed = Vec::new();
                for _ in 0..BURST {
                    let Some(item) = next else { break };
                    if let Some((message, held)) = message(*item, &operations) {
                        fed.extend(held);
                        sink.feed(message).await?;
                    }
                    next = items.try_recv().ok();
                }
                if let Some((message, held)) = next.and_then(|item| message(*item, &operations)) {
                    fed.extend(held);
                    sink.feed(message).await?;
                }
                sink.flush().await
            };
            if !matches!(tokio::time::timeout(time_limit, burst).await, Ok(Ok(()))) {
                return false;
            }
        }
        true
    };
    let close = tokio::select! {
        biased;
        close = &mut closed => close.ok().flatten(),
        // All senders may be gone a moment before it is said how to close.
        is_peer_there = writing => {
            if !is_peer_there {
                return;
            }
            closed.await.ok().flatten()
        }
    };
    let closing = async {
        match close {
            Some(close) => {
                let frame = CloseFrame { code: close.code, reason: close.reason.as_ref().into() };
                sink.send(Message::Close(Some(frame))).await
            }
            // The answer to the peer's close frame was made when that was read, and waits to be written.
            None => sink.flush().await,
        }
    };
    let _ = tokio::time::timeout(CLOSE_TIME_LIMIT, closing).await;
}

/// None when the operation has been stopped. The id of an operation is free as soon as its last message is on its way, and not
/// before: a client may use it again the moment that it reads the message.
fn message(item: Item, operations: &Operations) -> Option<(Message, Option<Held>)> {
    match item {
        Item::Plain(message) => Some((message, None)),
        Item::Of { ticket, text, is_last, held } => {
            let is_running = if is_last { operations.finish(&ticket) } else { ticket.is_running() };
            is_running.then(|| (Message::text(text), held))
        }
    }
}
