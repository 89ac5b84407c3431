//! Whether the server runs, and whether it can work.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::app::App;

/// How long the stores may take to answer.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The state of one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Store {
    /// Which one, by role: `database`, `messages`, `relay`.
    pub name: &'static str,
    /// Whether it answers.
    pub is_ready: bool,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    stores: BTreeMap<&'static str, &'static str>,
}

/// `GET /healthz`: 200 while the process answers at all.
pub async fn alive() -> Response {
    answer(StatusCode::OK, "ok", &[])
}

/// `GET /readyz`: 200 while every store answers, 503 otherwise and during a shutdown.
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.shutdown.is_cancelled() {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "stopping", &[]);
    }
    match tokio::time::timeout(TIME_LIMIT, (app.readiness)()).await {
        Ok(stores) if stores.iter().all(|store| store.is_ready) => answer(StatusCode::OK, "ready", &stores),
        Ok(stores) => answer(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &stores),
        Err(_) => answer(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &[]),
    }
}

fn answer(code: StatusCode, status: &'static str, stores: &[Store]) -> Response {
    let state = |store: &Store| if store.is_ready { "ok" } else { "unavailable" };
    let stores = stores.iter().map(|store| (store.name, state(store))).collect();
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (code, no_store, Json(Report { status, stores })).into_response()
}
