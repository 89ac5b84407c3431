//! `GET /metrics`, in the text format of Prometheus.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use async_graphql_parser::types::OperationType;
use axum::{
    extract::State,
    http::{HeaderName, StatusCode, header},
};

use crate::app::App;

/// A figure from outside the transports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Its whole name, such as `quikapp_store_queries_total`. Figures of one name stand together.
    pub name: &'static str,
    /// What it tells.
    pub help: &'static str,
    /// Only ever rises; otherwise it goes both ways.
    pub is_counter: bool,
    /// A label and its value, such as `store` and `relational`.
    pub label: Option<(&'static str, &'static str)>,
    /// The figure.
    pub value: u64,
}

/// The figures of the transports.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    answers: [AtomicU64; 5],
    operations: [AtomicU64; 3],
    sockets: AtomicU64,
    socket_operations: AtomicU64,
    streams: AtomicU64,
}

/// Something that is going on while this is held.
pub(crate) struct Gauge<'c>(&'c AtomicU64);

impl<'c> Gauge<'c> {
    fn new(value: &'c AtomicU64) -> Self {
        value.fetch_add(1, Relaxed);
        Self(value)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const KINDS: [&str; 3] = ["query", "mutation", "subscription"];

impl Counters {
    pub(crate) fn answer(&self, status: StatusCode) {
        if let Some(counter) = self.answers.get(usize::from(status.as_u16() / 100).saturating_sub(1)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn operation(&self, kind: OperationType) {
        let index = match kind {
            OperationType::Query => 0,
            OperationType::Mutation => 1,
            OperationType::Subscription => 2,
        };
        self.operations[index].fetch_add(1, Relaxed);
    }

    pub(crate) fn socket(&self) -> Gauge<'_> {
        Gauge::new(&self.sockets)
    }

    pub(crate) fn socket_operation(&self) -> Gauge<'_> {
        Gauge::new(&self.socket_operations)
    }

    pub(crate) fn stream(&self) -> Gauge<'_> {
        Gauge::new(&self.streams)
    }

    fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for (class, counter) in CLASSES.into_iter().zip(&self.answers) {
            metrics.push(Metric {
                name: "quikapp_http_responses_total",
                help: "HTTP answers by class of status",
                is_counter: true,
                label: Some(("status", class)),
                value: counter.load(Relaxed),
            });
        }
        for (kind, counter) in KINDS.into_iter().zip(&self.operations) {
            metrics.push(Metric {
                name: "quikapp_operations_total",
                help: "GraphQL operations executed, on all transports",
                is_counter: true,
                label: Some(("type", kind)),
                value: counter.load(Relaxed),
            });
        }
        metrics.push(Metric {
            name: "quikapp_sockets",
            help: "Open WebSockets",
            is_counter: false,
            label: None,
            value: self.sockets.load(Relaxed),
        });
        metrics.push(Metric {
            name: "quikapp_socket_operations",
            help: "Operations running on WebSockets",
            is_counter: false,
            label: None,
            value: self.socket_operations.load(Relaxed),
        });
        metrics.push(Metric {
            name: "quikapp_streams",
            help: "Open streams over HTTP",
            is_counter: false,
            label: None,
            value: self.streams.load(Relaxed),
        });
        metrics
    }
}

/// `GET /metrics`.
pub async fn text(State(app): State<Arc<App>>) -> ([(HeaderName, &'static str); 1], String) {
    let mut metrics = app.counters.metrics();
    metrics.extend((app.metrics)());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render(&metrics))
}

fn render(metrics: &[Metric]) -> String {
    let mut text = String::new();
    let mut previous = "";
    for metric in metrics {
        if metric.name != previous {
            let kind = if metric.is_counter { "counter" } else { "gauge" };
            // Writing to a string does not fail.
            let _ = writeln!(text, "# HELP {0} {1}\n# TYPE {0} {kind}", metric.name, metric.help);
            previous = metric.name;
        }
        let _ = match metric.label {
            Some((label, value)) => writeln!(text, "{}{{{label}=\"{value}\"}} {}", metric.name, metric.value),
            None => writeln!(text, "{} {}", metric.name, metric.value),
        };
    }
    text
}
