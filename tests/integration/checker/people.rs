//! People who ask nodes that may be gone, and ask again elsewhere.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::cluster::Cluster;
use crate::support::{Client, Server, User};

/// For one answer. A server gives up on an operation after thirty seconds of its own, and says so.
const ANSWER: Duration = Duration::from_secs(33);
/// How often a query is asked again.
const QUERIES: usize = 60;

/// What came of an operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    /// It was done.
    Done(Value),
    /// It was refused, with this code: nothing happened.
    Refused(String),
    /// No answer, or one that does not tell: it may have happened, or may still happen.
    Unknown(String),
}

/// Somebody.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) id: String,
    email: String,
    password: String,
    cluster: Arc<Cluster>,
    client: Arc<Mutex<Client>>,
    random: Arc<Mutex<StdRng>>,
    /// Answers that no server should give.
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Person {
    pub(super) fn new(user: &User, cluster: &Arc<Cluster>, seed: u64) -> Self {
        Self {
            id: user.id.clone(),
            email: user.email.clone(),
            password: user.password.clone(),
            cluster: Arc::clone(cluster),
            client: Arc::new(Mutex::new((**user).clone())),
            random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
            complaints: Arc::default(),
        }
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    pub(super) fn complain(&self, text: String) {
        self.complaints.lock().unwrap().push(text);
    }

    /// Some node, which may be gone.
    pub(super) fn node(&self) -> Server {
        self.cluster.any(&mut self.random.lock().unwrap())
    }

    pub(super) fn token(&self) -> String {
        self.client.lock().unwrap().token().unwrap_or_default().to_owned()
    }

    /// Runs an operation at some node, once, and waits no longer than `limit` for the answer.
    pub(super) async fn call(&self, document: &str, variables: &Value, limit: Option<Duration>) -> Reply {
        loop {
            let token = self.token();
            let client = self.client.lock().unwrap().at(&self.node());
            let asking = client.try_query(document, variables.clone());
            let answer = match tokio::time::timeout(limit.unwrap_or(ANSWER), asking).await {
                Err(_) if limit.is_none() => {
                    self.complain(format!("no answer within {ANSWER:?}: {document}"));
                    return Reply::Unknown("no answer".into());
                }
                Err(_) => return Reply::Unknown("the answer was not awaited".into()),
                Ok(Err(error)) => return Reply::Unknown(error.to_string()),
                Ok(Ok(answer)) => answer,
            };
            let Some(code) = answer.codes().into_iter().next() else { return Reply::Done(answer.data) };
            match code.as_str() {
                "UNAUTHENTICATED" => self.sign_in_again(&token).await,
                "UNAVAILABLE" => return Reply::Unknown(code),
                "INTERNAL" | "none" => {
                    self.complain(format!("{:?} to {document} {variables}", answer.errors));
                    return Reply::Unknown(code);
                }
                _ => return Reply::Refused(code),
            }
        }
    }

    /// Asks until a node answers.
    pub(super) async fn ask(&self, document: &str, variables: Value) -> Result<Value, String> {
        let mut last = String::new();
        for _ in 0..QUERIES {
            match self.call(document, &variables, None).await {
                Reply::Done(data) => return Ok(data),
                Reply::Refused(code) => return Err(format!("{code}: {document} {variables}")),
                Reply::Unknown(error) => last = error,
            }
            self.pause().await;
        }
        Err(format!("no answer to {document}: {last}"))
    }

    /// A moment before the next attempt.
    pub(super) async fn pause(&self) {
        let time = self.random.lock().unwrap().random_range(50..500);
        tokio::time::sleep(Duration::from_millis(time)).await;
    }

    /// Gets a new token, unless somebody else has done so: one lasts 15 minutes.
    pub(super) async fn sign_in_again(&self, old: &str) {
        let document = "mutation($email: String!, $password: String!) {
            signIn(email: $email, password: $password) { accessToken }
        }";
        let variables = json!({ "email": self.email, "password": self.password });
        while self.token() == old {
            let node = self.node();
            let asking = node.anonymous();
            let asking = asking.try_query(document, variables.clone());
            if let Ok(Ok(answer)) = tokio::time::timeout(ANSWER, asking).await {
                if let Some(token) = answer.data["signIn"]["accessToken"].as_str() {
                    *self.client.lock().unwrap() = Client::new(&node, Some(token.to_owned()));
                    return;
                }
                if answer.codes().iter().any(|code| code != "UNAVAILABLE") {
                    self.complain(format!("cannot sign in: {:?}", answer.errors));
                }
            }
            self.pause().await;
        }
    }
}
