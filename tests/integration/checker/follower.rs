//! A subscriber at its work: follows one stream over connection after connection, each at some node over some transport,
//! until everything has been told.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    Run,
    fold::{Fold, Said, Target},
    people::Person,
    state::{FIELDS, OWN_FIELDS},
    transport::{Connection, Failure, Incoming, Request, TRANSPORTS, Transport},
    truth::ChannelTruth,
};

/// For a connection to be made.
const OPENING: Duration = Duration::from_secs(6);

/// How connections went.
#[derive(Default)]
pub(super) struct Connections {
    pub(super) made: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) resets: AtomicU64,
}

pub(super) struct Follower {
    pub(super) fold: Arc<Mutex<Fold>>,
    pub(super) target: Target,
    person: Person,
    random: StdRng,
}

impl Follower {
    pub(super) fn new(name: String, person: &Person, target: Target, run: &Run, seed: u64) -> Self {
        let fold = Fold::new(name, &person.id, target.clone(), Arc::clone(&run.observed));
        Self {
            fold: Arc::new(Mutex::new(fold)),
            target,
            person: person.clone(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    fn violation(&self, text: impl std::fmt::Display) {
        self.fold.lock().unwrap().violation(text);
    }

    /// Asks for everything, then follows what comes after it, until the run is over.
    pub(super) async fn follow(mut self, run: Arc<Run>) {
        loop {
            match self.ask_for_all(&run).await {
                Ok((cursor, truths)) => break self.fold.lock().unwrap().begin(cursor, &truths),
                Err(error) => self.violation(format_args!("no query to begin with: {error}")),
            }
        }
        let mut over = run.over.subscribe();
        tokio::select! {
            () = self.reconnect(&run) => {}
            _ = over.wait_for(|over| *over) => {}
        }
    }

    /// The cursor to go on after, and what was queried after it.
    async fn ask_for_all(&self, run: &Run) -> Result<(String, Vec<(String, ChannelTruth)>), String> {
        let mut cursor = None;
        if let Target::Viewer { .. } = &self.target {
            let data = self.person.ask("{ viewer { syncCursor } }", json!({})).await?;
            cursor = data["viewer"]["syncCursor"].as_str().map(str::to_owned);
        }
        let mut truths = Vec::new();
        for channel in run.channels.iter().filter(|channel| self.target.covers(channel)) {
            let (own, truth) = ChannelTruth::fetch(&self.person, channel, &run.observed).await?;
            cursor.get_or_insert(own);
            truths.push((channel.clone(), truth));
        }
        Ok((cursor.ok_or("no channel")?, truths))
    }

    async fn reconnect(&mut self, run: &Run) {
        loop {
            let transport = TRANSPORTS.choose(&mut self.random).copied().unwrap_or(Transport::Socket);
            match self.connect(transport).await {
                Ok(connection) => {
                    run.connections.made.fetch_add(1, Ordering::Relaxed);
                    self.read(connection, transport, run).await;
                }
                Err(failure) => {
                    run.connections.failed.fetch_add(1, Ordering::Relaxed);
                    self.failed(failure).await;
                }
            }
            let pause = self.random.random_range(0..600);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn connect(&mut self, transport: Transport) -> Result<Connection, Failure> {
        let node = self.person.node();
        let fields = if self.random.random_bool(0.5) { FIELDS } else { OWN_FIELDS };
        let document = document(&self.target, fields);
        let cursor = self.fold.lock().unwrap().cursor().map(str::to_owned);
        let mut variables = match &self.target {
            Target::Channel { channel } => json!({ "id": channel }),
            Target::Thread { root, .. } => json!({ "id": root }),
            Target::Viewer { workspace } => json!({ "id": workspace }),
        };
        // The browser's way: the request as it was, and the last event's id beside it.
        let by_header = transport == Transport::Events && self.random.random_bool(0.5);
        if !by_header {
            variables["after"] = cursor.clone().map_or(Value::Null, Value::String);
        }
        let token = self.person.token();
        let request = Request {
            address: node.address(),
            token: &token,
            document: &document,
            variables,
            last_event_id: cursor.as_deref().filter(|_| by_header),
        };
        tokio::time::timeout(OPENING, Connection::open(transport, request))
            .await
            .unwrap_or_else(|_| Err(Failure::Broken("the connection takes too long".into())))
    }

    /// Reads until the connection ends or is cut.
    async fn read(&mut self, mut connection: Connection, transport: Transport, run: &Run) {
        let time = run.began.elapsed().as_secs_f64();
        self.fold.lock().unwrap().connected(&format!("{time:.2} s: {transport:?}"));
        let mut cuts = run.cuts.subscribe();
        let mut calm = run.calm.subscribe();
        let lifetime = Duration::from_millis(self.random.random_range(100..run.plan.longest_connection));
        let end = Instant::now() + lifetime;
        // In the calm at the end nothing is cut by itself.
        let is_cut = async {
            let calm = async {
                let _ = calm.wait_for(|calm| *calm).await;
            };
            tokio::select! {
                () = sleep_until(end) => return,
                _ = cuts.recv() => return,
                () = calm => {}
            }
            std::future::pending::<()>().await;
        };
        tokio::pin!(is_cut);
        loop {
            let incoming = tokio::select! {
                incoming = connection.next() => incoming,
                () = &mut is_cut => return,
            };
            match incoming {
                Incoming::Item(id, item) => {
                    let said = self.fold.lock().unwrap().item(&item, id.as_deref());
                    if said == Said::Slow {
                        run.connections.resets.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
                Incoming::End(failure) => return self.failed(failure).await,
            }
        }
    }

    /// The connection was not made, or ended by itself: which is to be expected while servers go and come.
    async fn failed(&mut self, failure: Failure) {
        match failure {
            Failure::Closed(4401 | 4403) => self.sign_in_again().await,
            Failure::Closed(code @ (4400 | 4408 | 4409 | 4429)) => {
                self.violation(format_args!("closed with {code}"));
            }
            Failure::Broken(_) | Failure::Closed(_) => {}
            Failure::Refused(codes, text) => {
                if codes.iter().any(|code| code == "UNAUTHENTICATED") {
                    self.sign_in_again().await;
                } else if codes.iter().any(|code| code != "UNAVAILABLE") {
                    self.violation(format_args!("refused: {text}"));
                }
            }
            Failure::Malformed(text) => self.violation(text),
        }
    }

    async fn sign_in_again(&self) {
        let token = self.person.token();
        self.person.sign_in_again(&token).await;
    }
}

fn document(target: &Target, fields: &str) -> String {
    let (field, argument) = match target {
        Target::Channel { .. } => ("channelEvents", "channelId"),
        Target::Thread { .. } => ("threadEvents", "rootId"),
        Target::Viewer { .. } => ("viewerEvents", "workspaceId"),
    };
    format!(
        "subscription($id: ID!, $after: EventCursor) {{ {field}({argument}: $id, after: $after) {{
            cursor seq replayed event {{ __typename
                ... on MessageCreated {{ message {{ channelId {fields} }} }}
                ... on MessageUpdated {{ changed message {{ channelId {fields} }} }}
                ... on MessageDeleted {{ message {{ channelId {fields} }} }}
                ... on MemberJoined {{ channelId userId }}
                ... on MemberLeft {{ channelId userId }}
                ... on MemberUpdated {{ channelId userId }}
                ... on ChannelUpdated {{ channelId }}
                ... on StreamCaughtUp {{ replayedCount }}
                ... on StreamReset {{ reason }}
            }}
        }} }}"
    )
}
