//! Subscriptions over HTTP: an answer that goes on until either side ends it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{Cut, wire::Format};
use crate::{
    answers::keep,
    app::App,
    expiry::{Announcement, Expiry, Turn},
    failure::{ErrorCode, Failure},
    identity::{Caller, Identity},
    operation::{self, Outcome, Prepared},
    sessions::Registration,
};

/// Stops nginx from keeping items back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// For the last words of a stream that the server ends.
const CLOSE_TIME_LIMIT: Duration = Duration::from_secs(2);

/// All of a stream of one result.
pub(super) fn whole(outcome: &Outcome, format: Format) -> Vec<u8> {
    [format.start(), format.item(outcome), format.end()].concat()
}

/// Runs a subscription in a task of its own, so that it ends on time whether or not its client reads.
///
/// # Errors
/// When the caller has too many connections.
pub(super) fn start(
    app: &Arc<App>,
    prepared: Prepared,
    caller: &Caller,
    format: Format,
    cut: Cut,
) -> Result<Response, Failure> {
    let registration = caller.identity.as_ref().map(|identity| register(app, identity)).transpose()?;
    let id = caller.request_id.clone();
    let outcomes = operation::stream(app, prepared, id.clone());
    let (answers, user) = (Arc::clone(&app.answers), caller.user());
    let request_id = id.clone();
    let items = outcomes.scan(false, move |is_over, outcome| {
        let item = (!*is_over).then(|| {
            let bytes = format.item(&outcome);
            *is_over = outcome.is_request_error || outcome.is_lost();
            match answers.hold(user, bytes.len()) {
                Ok(held) => keep(bytes, held),
                Err(failure) => {
                    *is_over = true;
                    format.failure(&failure, &request_id)
                }
            }
        });
        std::future::ready(item)
    });
    let (sender, body) = body();
    let carrier = Carrier { app: Arc::clone(app), registration, format, sender, cut };
    tokio::spawn(app.tasks.track_future(async move {
        let mut last = match carrier.carry(items).await {
            End::Complete => Vec::new(),
            End::Interrupted(failure) => format.failure(&failure, &id).into(),
            End::Lost => return,
        };
        last.extend_from_slice(&format.end());
        carrier.close(last.into()).await;
    }));
    Ok(respond(format, body))
}

/// Counts a stream in.
///
/// # Errors
/// When its user has too many connections.
pub(super) fn register(app: &App, identity: &Identity) -> Result<Registration, Failure> {
    let limit = app.settings.limits.connections_per_user;
    app.sessions.register(identity, limit).ok_or_else(|| {
        let message = format!("at most {limit} WebSockets and streams of one user may be open");
        Failure::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::QuotaExceeded, message)
    })
}

/// A body for one chunk at a time: the next is asked for when the connection has taken it.
pub(super) fn body() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, chunks) = mpsc::channel(1);
    (sender, Body::from_stream(ReceiverStream::new(chunks).map(Ok::<_, Infallible>)))
}

pub(super) fn respond(format: Format, body: Body) -> Response {
    let head = [
        (header::CONTENT_TYPE, format.content_type()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, HeaderValue::from_static("accept, authorization")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    (head, body).into_response()
}

/// How a stream came to its end.
pub(super) enum End {
    /// There is nothing more to tell.
    Complete,
    /// The server ends it.
    Interrupted(Failure),
    /// Nothing more can be said to the client.
    Lost,
}

/// Why nothing more can be said to a client.
enum Lost {
    /// It went away.
    Gone,
    /// It takes nothing.
    Stalled,
}

/// An open answer.
pub(super) struct Carrier {
    pub(super) app: Arc<App>,
    pub(super) registration: Option<Registration>,
    pub(super) format: Format,
    pub(super) sender: mpsc::Sender<Bytes>,
    pub(super) cut: Cut,
}

impl Carrier {
    /// Writes `items` as they come, with signs of life between them. They are dropped at the end, whichever it is, before this
    /// returns.
    pub(super) async fn carry(&self, items: impl Stream<Item = Bytes> + Send) -> End {
        let _gauge = self.app.counters.stream();
        tokio::select! {
            biased;
            failure = interruption(&self.app, self.registration.as_ref()) => End::Interrupted(failure),
            delivered = self.deliver(items) => match delivered {
                Ok(()) => End::Complete,
                Err(Lost::Gone) => End::Lost,
                Err(Lost::Stalled) => {
                    self.cut.make();
                    End::Lost
                }
            },
        }
    }

    /// Writes the last words.
    pub(super) async fn close(self, last: Bytes) {
        if timeout(CLOSE_TIME_LIMIT, self.sender.send(last)).await.is_err() {
            self.cut.make();
        }
    }

    async fn deliver(&self, items: impl Stream<Item = Bytes> + Send) -> Result<(), Lost> {
        let limits = &self.app.settings.limits;
        let period = match self.format {
            Format::Events => limits.event_heartbeat,
            Format::Parts => limits.part_heartbeat,
        };
        let mut expiry = Expiry::new(self.registration.as_ref(), limits.token_notice);
        let mut heartbeats = interval_at(Instant::now() + period, period);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.sender.send(self.format.start()).await.map_err(|_| Lost::Gone)?;
        futures_util::pin_mut!(items);
        loop {
            let room = timeout(limits.write_timeout, self.sender.reserve()).await;
            let room = room.map_err(|_| Lost::Stalled)?.map_err(|_| Lost::Gone)?;
            tokio::select! {
                biased;
                // Its end is an interruption.
                Turn::Announce(end) = expiry.turn() => {
                    room.send(self.format.announcement(&Announcement::new(end)));
                }
                item = items.next() => {
                    let Some(item) = item else { return Ok(()) };
                    room.send(item);
                    heartbeats.reset();
                }
                _ = heartbeats.tick() => room.send(self.format.heartbeat()),
                () = self.sender.closed() => return Err(Lost::Gone),
            }
        }
    }
}

/// Waits for what ends a stream from outside.
pub(super) async fn interruption(app: &App, registration: Option<&Registration>) -> Failure {
    let ended = async {
        match registration {
            Some(registration) => registration.closed().await,
            None => std::future::pending().await,
        }
    };
    let mut expiry = Expiry::new(registration, Duration::ZERO);
    let unauthenticated =
        |message: &'static str| Failure::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, message);
    tokio::select! {
        biased;
        () = app.shutdown.cancelled() => Failure {
            retry_after: Some(Duration::from_secs(1)),
            ..Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Unavailable,
                "the server is shutting down",
            )
        },
        _ = ended => unauthenticated("the session has ended"),
        // Without notice there is nothing to announce.
        _ = expiry.turn() => unauthenticated("the access token has expired"),
    }
}
