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
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{Cut, wire::Format};
use crate::{
    app::App,
    failure::{ErrorCode, Failure},
    identity::{Caller, Identity},
    operation::{self, Outcome, Prepared},
    sessions::Registration,
};

/// Stops nginx from keeping items back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// For the last words of a stream that the server ends.
const CLOSE_TIME_LIMIT: Duration = Duration::from_secs(2);
/// A day; timers cannot reach as far as a token may live.
const FAR: Duration = Duration::from_hours(24);

/// A stream of one result.
pub(super) fn single(outcome: &Outcome, format: Format) -> Response {
    let whole = [format.start(), format.item(outcome), format.end()].concat();
    respond(format, Body::from(whole))
}

/// Runs a subscription in a task of its own, so that it ends on time whether or not its client reads.
///
/// # Errors
/// When the caller's session has too many of them.
pub(super) fn start(
    app: &Arc<App>,
    prepared: Prepared,
    caller: &Caller,
    format: Format,
    cut: Cut,
) -> Result<Response, Failure> {
    let limit = app.settings.limits.streams_per_session;
    let register = |identity| {
        app.sessions.register_stream(identity, limit).ok_or_else(|| {
            let message = format!("at most {limit} subscriptions of one session may run over HTTP");
            Failure::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::QuotaExceeded, message)
        })
    };
    let registration = caller.identity.as_ref().map(register).transpose()?;
    let outcomes = operation::stream(app, prepared, caller.request_id.clone());
    // One item waits for the connection; the next one is asked for when that has been taken.
    let (sender, items) = mpsc::channel(1);
    let subscription = Subscription {
        app: Arc::clone(app),
        identity: caller.identity.clone(),
        request_id: caller.request_id.clone(),
        registration,
        format,
        sender,
        cut,
    };
    tokio::spawn(app.tasks.track_future(subscription.run(outcomes)));
    Ok(respond(format, Body::from_stream(ReceiverStream::new(items).map(Ok::<_, Infallible>))))
}

fn respond(format: Format, body: Body) -> Response {
    let head = [
        (header::CONTENT_TYPE, format.content_type()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, HeaderValue::from_static("accept, authorization")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    (head, body).into_response()
}

/// Why nothing more can be said to a client.
enum Lost {
    /// It went away.
    Gone,
    /// It takes nothing.
    Stalled,
}

struct Subscription {
    app: Arc<App>,
    identity: Option<Identity>,
    request_id: String,
    registration: Option<Registration>,
    format: Format,
    sender: mpsc::Sender<Bytes>,
    cut: Cut,
}

impl Subscription {
    async fn run(self, outcomes: impl Stream<Item = Outcome> + Send) {
        let _gauge = self.app.counters.stream();
        // Ends the operation in either case, before anything is written.
        let failure = tokio::select! {
            biased;
            failure = self.interruption() => Some(failure),
            delivered = self.deliver(outcomes) => match delivered {
                Ok(()) => None,
                Err(Lost::Gone) => return,
                Err(Lost::Stalled) => return self.cut.make(),
            },
        };
        let mut last =
            failure.map_or_else(Vec::new, |failure| self.format.failure(&failure, &self.request_id).into());
        last.extend_from_slice(&self.format.end());
        if timeout(CLOSE_TIME_LIMIT, self.sender.send(last.into())).await.is_err() {
            self.cut.make();
        }
    }

    /// Waits for what ends the stream from outside.
    async fn interruption(&self) -> Failure {
        let ended = async {
            match &self.registration {
                Some(registration) => registration.closed().await,
                None => std::future::pending().await,
            }
        };
        let expired = async {
            let Some(identity) = &self.identity else { return std::future::pending().await };
            loop {
                let remaining = identity.remaining();
                if remaining.is_zero() {
                    return;
                }
                sleep(remaining.min(FAR)).await;
            }
        };
        let unauthenticated = |message: &'static str| {
            Failure::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, message)
        };
        tokio::select! {
            biased;
            () = self.app.shutdown.cancelled() => Failure {
                retry_after: Some(Duration::from_secs(1)),
                ..Failure::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    ErrorCode::Unavailable,
                    "the server is shutting down",
                )
            },
            _ = ended => unauthenticated("the session has ended"),
            () = expired => unauthenticated("the access token has expired"),
        }
    }

    async fn deliver(&self, outcomes: impl Stream<Item = Outcome> + Send) -> Result<(), Lost> {
        let limits = &self.app.settings.limits;
        let period = match self.format {
            Format::Events => limits.event_heartbeat,
            Format::Parts => limits.part_heartbeat,
        };
        let mut heartbeats = interval_at(Instant::now() + period, period);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.sender.send(self.format.start()).await.map_err(|_| Lost::Gone)?;
        futures_util::pin_mut!(outcomes);
        loop {
            let room = timeout(limits.write_timeout, self.sender.reserve()).await;
            let room = room.map_err(|_| Lost::Stalled)?.map_err(|_| Lost::Gone)?;
            tokio::select! {
                biased;
                outcome = outcomes.next() => {
                    let Some(outcome) = outcome else { return Ok(()) };
                    room.send(self.format.item(&outcome));
                    heartbeats.reset();
                    if outcome.is_request_error || outcome.is_lost() {
                        return Ok(());
                    }
                }
                _ = heartbeats.tick() => room.send(self.format.heartbeat()),
                () = self.sender.closed() => return Err(Lost::Gone),
            }
        }
    }
}
