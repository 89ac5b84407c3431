//! What this node tells of its open sockets and streams: whose they are, and when they open and close.

use std::sync::Weak;

use quikapp_chat::{Chat, entities::UserId, live::Control};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::MissedTickBehavior,
};
use uuid::Uuid;

use crate::{app::App, sessions::SocketChange};

/// Openings and closings told together.
const AT_ONCE: usize = 1_024;

/// Keeps the owners of open sockets online and lets them go when their last one closes, until the sockets are all closed and
/// the app is gone.
pub async fn keep(chat: Chat, app: Weak<App>) {
    let Some(mut changes) = app.upgrade().map(|app| app.sessions().changes()) else { return };
    let mut controls = chat.hub().controls();
    let mut heartbeat = tokio::time::interval(chat.presence_heartbeat());
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(AT_ONCE);
    loop {
        tokio::select! {
            _ = heartbeat.tick() => confirm(&chat, &app).await,
            // Redis may have forgotten everybody.
            () = lost(&mut controls) => confirm(&chat, &app).await,
            count = changes.recv_many(&mut batch, AT_ONCE) => {
                if count == 0 {
                    break;
                }
                tell(&chat, &mut batch).await;
            }
        }
    }
    if let Err(error) = chat.flush_last_seen().await {
        tracing::warn!(%error, "who was last seen here is not written down");
    }
}

/// Waits until the live store was away and is back.
async fn lost(controls: &mut Receiver<Control>) {
    loop {
        match controls.recv().await {
            Ok(Control::Missed) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

async fn confirm(chat: &Chat, app: &Weak<App>) {
    let Some(app) = app.upgrade() else { return };
    let open: Vec<(UserId, Uuid)> = app
        .sessions()
        .connections()
        .into_iter()
        .map(|(user, connection)| (user.into(), connection))
        .collect();
    drop(app);
    // A store that is away is told at the next heartbeat, or as soon as it is back.
    if let Err(error) = chat.confirm_connections(&open).await {
        tracing::debug!(%error, "presence is late");
    }
}

async fn tell(chat: &Chat, batch: &mut Vec<SocketChange>) {
    let (opened, closed): (Vec<_>, Vec<_>) = batch.drain(..).partition(|change| change.is_open);
    let [opened, closed] = [opened, closed].map(|changes| {
        changes.into_iter().map(|change| (change.user.into(), change.connection)).collect::<Vec<_>>()
    });
    let told = async {
        chat.connections_opened(&opened).await?;
        chat.connections_closed(&closed).await
    };
    if let Err(error) = told.await {
        tracing::debug!(%error, "presence is late");
    }
}
