//! One socket, from the upgrade to the close frame.

use std::{sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use tokio::time::{Instant, MissedTickBehavior, Sleep, interval_at, sleep};

use super::{
    Close,
    operations::{self, Operations, Refused},
    outbox::{self, Item, Outbox},
    protocol::{self, Incoming},
};
use crate::{
    app::App,
    arrival::Arrival,
    expiry::{Announcement, Expiry, Turn},
    failure::{ErrorCode, Failure},
    identity::{Caller, Identity},
    operation::Params,
    sessions::Registration,
};

/// Pings without any sign of life before a peer counts as dead.
const MISSES: u32 = 2;
/// Pings of a peer between two of ours. Answers to them wait in the library's own buffer, which has no bound.
const PEER_PINGS: u32 = 1_000;

/// Closes a socket that nothing can be said on.
pub(super) async fn refuse(mut socket: WebSocket, close: Close) {
    let frame = CloseFrame { code: close.code, reason: close.reason.as_ref().into() };
    let closing = async {
        let _ = socket.send(Message::Close(Some(frame))).await;
        // Wait for the peer's close frame, or its last words would reset the connection before it reads ours.
        while let Some(Ok(_)) = socket.recv().await {}
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), closing).await;
}

/// Serves a socket until either side ends it.
pub(super) async fn run(socket: WebSocket, app: Arc<App>, caller: Caller, arrival: Arrival) {
    let gauge_app = Arc::clone(&app);
    let _gauge = gauge_app.counters.socket();
    let (sink, mut frames) = socket.split();
    let operations = Arc::new(Operations::default());
    let limits = &gauge_app.settings.limits;
    let (outbox, writer) = outbox::open(sink, Arc::clone(&operations), limits.write_timeout);
    let written = outbox.clone();
    let mut connection = Connection {
        timer: Box::pin(sleep(limits.init_timeout)),
        operations: Arc::clone(&operations),
        phase: Phase::Silent,
        peer_pings: 0,
        registration: None,
        expiry: Expiry::new(None, limits.token_notice),
        app,
        caller,
        outbox,
    };
    let mut pings = interval_at(Instant::now() + limits.ping_interval, limits.ping_interval);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unanswered = 0;

    let close = loop {
        let step = tokio::select! {
            biased;
            step = connection.event() => step,
            _ = pings.tick() => {
                if unanswered >= MISSES {
                    break Some(Close::NO_ANSWER);
                }
                unanswered += 1;
                connection.peer_pings = 0;
                // Without room for it the peer is not reading, and is timed out as a writer's peer.
                connection.outbox.try_send(Item::Plain(Message::Ping(Bytes::new())));
                Ok(())
            }
            () = written.closed() => break None,
            frame = frames.next() => {
                unanswered = 0;
                match frame {
                    Some(Ok(Message::Text(text))) => {
                        arrival.whole(text.len());
                        connection.hear(&text)
                    }
                    Some(Ok(Message::Ping(payload))) => {
                        arrival.control(payload.len());
                        connection.pinged()
                    }
                    Some(Ok(Message::Pong(payload))) => {
                        arrival.control(payload.len());
                        Ok(())
                    }
                    Some(Ok(Message::Binary(_))) => Err(Close::INVALID_MESSAGE),
                    Some(Ok(Message::Close(_))) | None => break None,
                    Some(Err(error)) => break arrival.broken().or_else(|| close_of(error)),
                }
            }
        };
        if let Err(close) = step {
            break Some(close);
        }
    };
    operations.stop_all();
    drop(connection);
    let is_ours = close.is_some();
    writer.finish(close).await;
    if is_ours {
        // As in `refuse`: let the peer answer the close frame.
        let _ = tokio::time::timeout(Duration::from_secs(2), async {
            while let Some(Ok(_)) = frames.next().await {}
        })
        .await;
    }
}

/// What a socket is closed with that cannot be read from; None when it is gone. The crate below axum is not ours to name; its
/// text is all there is.
fn close_of(error: axum::Error) -> Option<Close> {
    let text = error.into_inner().to_string();
    if text.starts_with("Space limit exceeded") {
        Some(Close::TOO_LARGE)
    } else if text.starts_with("UTF-8 encoding error") {
        Some(Close::NOT_UTF8)
    } else {
        let gone = ["Connection reset without", "Remote sent after"];
        let broken = text.strip_prefix("WebSocket protocol error: ")?;
        (!gone.iter().any(|start| broken.starts_with(start))).then_some(Close::PROTOCOL_ERROR)
    }
}

enum Phase {
    /// Nothing has been heard yet.
    Silent,
    /// The token of `connection_init` is being checked.
    Asking(BoxFuture<'static, quikapp_chat::Result<Identity>>),
    /// Acknowledged.
    Open,
}

struct Connection {
    app: Arc<App>,
    caller: Caller,
    outbox: Outbox,
    operations: Arc<Operations>,
    phase: Phase,
    /// Since our last one.
    peer_pings: u32,
    registration: Option<Registration>,
    expiry: Expiry,
    /// The end of the time for `connection_init`.
    timer: std::pin::Pin<Box<Sleep>>,
}

impl Connection {
    /// Waits for what comes from elsewhere than the socket.
    async fn event(&mut self) -> Result<(), Close> {
        let shutdown = self.app.shutdown.cancelled();
        let ended = async {
            match &self.registration {
                Some(registration) => registration.closed().await,
                None => std::future::pending().await,
            }
        };
        let is_silent = !matches!(self.phase, Phase::Open);
        let answer = async {
            match &mut self.phase {
                Phase::Asking(answer) => answer.await,
                _ => std::future::pending().await,
            }
        };
        let answer = tokio::select! {
            biased;
            () = shutdown => return Err(Close::GOING_AWAY),
            close = ended => return Err(close),
            turn = self.expiry.turn() => return self.token_turns(turn),
            answer = answer => answer,
            () = self.timer.as_mut(), if is_silent => return Err(Close::INIT_TIMEOUT),
        };
        match answer {
            Ok(identity) => {
                self.caller.identity = Some(identity);
                self.acknowledge()
            }
            Err(quikapp_chat::Error::Unavailable { .. } | quikapp_chat::Error::RateLimited { .. }) => {
                Err(Close::TRY_AGAIN)
            }
            Err(_) => Err(Close::FORBIDDEN),
        }
    }

    fn token_turns(&self, turn: Turn) -> Result<(), Close> {
        let Turn::Announce(end) = turn else { return Err(Close::TOKEN_EXPIRED) };
        let item = Item::Plain(Message::text(protocol::ping(&Announcement::new(end))));
        let outbox = self.outbox.clone();
        // It waits for room, one for each token: a peer that is slow at this moment has to be told all the same.
        tokio::spawn(async move { outbox.send(item).await });
        Ok(())
    }

    fn acknowledge(&mut self) -> Result<(), Close> {
        self.phase = Phase::Open;
        if let Some(identity) = &self.caller.identity {
            let limits = &self.app.settings.limits;
            let registration = self.app.sessions.register(identity, limits.connections_per_user);
            self.registration = Some(registration.ok_or(Close::TOO_MANY_SOCKETS)?);
            self.expiry = Expiry::new(self.registration.as_ref(), limits.token_notice);
        }
        self.say(protocol::ack())
    }

    fn say(&self, text: String) -> Result<(), Close> {
        if self.outbox.try_send(Item::Plain(Message::text(text))) { Ok(()) } else { Err(Close::FLOOD) }
    }

    fn hear(&mut self, text: &str) -> Result<(), Close> {
        match protocol::read(text).map_err(|_| Close::INVALID_MESSAGE)? {
            Incoming::Init { token } => self.init(token),
            // A pong that finds no room is one of many that a peer asks for and does not read.
            Incoming::Ping { payload } => {
                self.outbox.try_send(Item::Plain(Message::text(protocol::pong(payload))));
                self.pinged()
            }
            Incoming::Pong => Ok(()),
            Incoming::Subscribe { id, params } => self.subscribe(&id, *params),
            Incoming::Complete { id } => {
                self.operations.stop(&id);
                Ok(())
            }
        }
    }

    /// Of either kind.
    fn pinged(&mut self) -> Result<(), Close> {
        self.peer_pings += 1;
        if self.peer_pings > PEER_PINGS { Err(Close::FLOOD) } else { Ok(()) }
    }

    fn init(&mut self, token: Option<String>) -> Result<(), Close> {
        if !matches!(self.phase, Phase::Silent) {
            return Err(Close::TOO_MANY_INITS);
        }
        let Some(token) = token else { return self.acknowledge() };
        let app = Arc::clone(&self.app);
        let asking = async move {
            let _turn = app.turns.take().await;
            app.authenticate(&token).await
        };
        self.phase = Phase::Asking(asking.boxed());
        Ok(())
    }

    fn subscribe(&mut self, id: &str, params: Params) -> Result<(), Close> {
        if !matches!(self.phase, Phase::Open) {
            return Err(Close::UNAUTHORIZED);
        }
        let limit = self.app.settings.limits.operations_per_socket;
        let caller = self.caller.next_request();
        match self.operations.start(id, limit) {
            Ok(ticket) => {
                let work =
                    operations::run(Arc::clone(&self.app), caller, ticket, params, self.outbox.clone());
                tokio::spawn(work);
                Ok(())
            }
            Err(Refused::Duplicate) => Err(Close::subscriber_exists(id)),
            Err(Refused::TooMany) => {
                let failure = Failure::new(
                    axum::http::StatusCode::TOO_MANY_REQUESTS,
                    ErrorCode::QuotaExceeded,
                    format!("at most {limit} operations may run on one socket"),
                );
                self.say(protocol::error(id, &[failure.to_error(&caller.request_id)]))
            }
        }
    }
}
