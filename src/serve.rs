//! `quikapp serve`: the schema behind the transports, and the work that goes on beside them.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use quikapp_chat::{Chat, access::Viewer, entities::SessionId, live::Control, sessions::SessionStates};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior},
};

use crate::{
    app::App,
    config::Config,
    guard::Shape,
    health::Store,
    identity::{Authenticator, Identity},
    metrics::Metric,
    operation::Shared,
    presence, server, shutdown,
};

/// How often the sessions of open sockets are compared with the database, for changes that nobody announced, and for refreshes.
const SESSION_SWEEP: Duration = Duration::from_millis(800);
/// How often tombstones, dead sessions, and channels whose counters a killed node left behind are looked for.
const CLEAN_UP: Duration = Duration::from_mins(10);
/// How often replies are looked for that a stopped node wrote and told no root of.
const FINISH: Duration = Duration::from_secs(15);
/// How often it is looked for changes that are not told, by a node that stopped or as the message store was away. What stays
/// from one look to the next is told: so a stream ends within a second although the node is gone that put its viewer out.
const TELL_LEFT_OVER: Duration = Duration::from_millis(500);
/// How long the node may take, at its end, to tell whose connections closed and to write the channels' counters.
const LAST_WORDS: Duration = Duration::from_secs(3);

struct Accounts(Chat);

#[async_trait]
impl Authenticator for Accounts {
    async fn authenticate(&self, token: &str) -> quikapp_chat::Result<Identity> {
        let viewer = self.0.authenticate(token).await?;
        Ok(Identity::new(viewer.user().0, viewer.session().0, viewer.expires_at(), viewer))
    }
}

/// Puts the schema over `chat` behind the transports.
///
/// # Errors
/// When the schema cannot be read back, which a test excludes.
pub fn app(chat: &Chat, config: &Config) -> io::Result<Arc<App>> {
    let api = Shared(quikapp_graphql::Api::new(chat.clone(), config.settings.introspection));
    let shape =
        Shape::new(&quikapp_graphql::sdl(), quikapp_graphql::FIELD_COSTS).map_err(io::Error::other)?;
    let (context, readiness, metrics) = (chat.clone(), chat.clone(), chat.clone());
    let app = App::new(api, Accounts(chat.clone()), config.settings.clone())
        .with_shape(shape)
        .with_turns(chat.hub().slices().clone())
        .with_context(move |request, caller| {
            let viewer: Option<Viewer> = caller.identity.as_ref().and_then(Identity::viewer).copied();
            if let Some(viewer) = &viewer {
                context.note_act(viewer.user());
            }
            let client = quikapp_graphql::Client { ip: caller.ip, user_agent: caller.user_agent.clone() };
            quikapp_graphql::prepare(request, &context, viewer, client)
        })
        .with_readiness(move || {
            let chat = readiness.clone();
            Box::pin(async move {
                let stores = chat.ping().await;
                stores.into_iter().map(|(name, answer)| Store { name, is_ready: answer.is_ok() }).collect()
            })
        })
        .with_metrics(move || {
            let (database, messages) = metrics.store_queries();
            let metric = |store, value| Metric {
                name: "quikapp_store_queries_total",
                help: "Queries and writes sent to the stores",
                is_counter: true,
                label: Some(("store", store)),
                value,
            };
            vec![metric("database", database), metric("messages", messages)]
        });
    Ok(Arc::new(app))
}

/// Serves until the process is told to stop.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(chat: Chat, config: &Config) -> io::Result<()> {
    let listener = server::listen(config.listen)?;
    let address = listener.local_addr()?;
    let app = app(&chat, config)?;
    tokio::spawn(close_sockets(chat.clone(), Arc::downgrade(&app)));
    tokio::spawn(sweep_sessions(chat.clone(), Arc::downgrade(&app)));
    let presence = tokio::spawn(presence::keep(chat.clone(), Arc::downgrade(&app)));
    tokio::spawn(tell_left_over(chat.clone()));
    tokio::spawn(clean_up(chat.clone()));
    println!("listening on http://{address}");
    if config.settings.graphiql {
        println!("GraphiQL at   http://{address}/graphiql");
    }
    server::serve(listener, app, shutdown::requested()).await;
    let (told, written) = tokio::join!(
        tokio::time::timeout(LAST_WORDS, presence),
        tokio::time::timeout(LAST_WORDS, chat.flush_counters()),
    );
    if told.is_err() {
        tracing::warn!("who was connected here stays online for a while");
    }
    if written.is_err() {
        tracing::warn!("the counters of some channels are behind for a while");
    }
    Ok(())
}

/// Closes sockets whose sessions end, on whatever node that was said.
async fn close_sockets(chat: Chat, app: Weak<App>) {
    let mut controls = chat.hub().controls();
    loop {
        let control = controls.recv().await;
        let Some(app) = app.upgrade() else { return };
        match control {
            Ok(Control::SessionRevoked { session }) => app.sessions().close_session(session.0),
            Ok(Control::UserDisabled { user }) => app.sessions().close_user(user.0),
            // The sweep finds what was missed.
            Ok(Control::AccessChanged { .. } | Control::ChannelAccessChanged { .. } | Control::Missed)
            | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn sweep_sessions(chat: Chat, app: Weak<App>) {
    let mut tick = tokio::time::interval(SESSION_SWEEP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(app) = app.upgrade() else { return };
        let open: Vec<SessionId> = app.sessions().sessions().into_iter().map(SessionId).collect();
        if open.is_empty() {
            continue;
        }
        match chat.check_sessions(&open).await {
            Ok(SessionStates { live, ended }) => {
                for (session, end) in live {
                    app.sessions().renew(session.0, end);
                }
                for session in ended {
                    app.sessions().close_session(session.0);
                }
            }
            Err(error) => tracing::debug!(%error, "open sessions could not be checked"),
        }
    }
}

/// Tells changes that were committed and not told, at once and then as long as the node runs.
async fn tell_left_over(chat: Chat) {
    let mut left_over = chat.left_over();
    let mut tick = tokio::time::interval(TELL_LEFT_OVER);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = left_over.tell().await {
            tracing::debug!(%error, "what is left over to be told could not be looked for");
        }
    }
}

/// Does what a stopped node left over, once, and removes what has had its time, now and then.
async fn clean_up(chat: Chat) {
    while let Err(error) = chat.catch_up().await {
        tracing::warn!(%error, "what a stopped node left over could not be finished yet");
        tokio::time::sleep(FINISH).await;
    }
    let mut finish = tokio::time::interval(FINISH);
    finish.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tick = tokio::time::interval(CLEAN_UP);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counters = tokio::time::interval_at(Instant::now() + CLEAN_UP, CLEAN_UP);
    counters.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = counters.tick() => {
                if let Err(error) = chat.catch_up_counters().await {
                    tracing::debug!(%error, "channel counters could not be compared with the logs yet");
                }
            }
            _ = finish.tick() => {
                if let Err(error) = chat.finish_threads().await {
                    tracing::debug!(%error, "left-over replies could not be told to their roots yet");
                }
            }
            _ = tick.tick() => {
                for result in [chat.purge().await, chat.purge_sessions().await] {
                    if let Err(error) = result {
                        tracing::warn!(%error, "clean-up failed");
                    }
                }
            }
        }
    }
}
