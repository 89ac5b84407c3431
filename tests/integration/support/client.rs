//! GraphQL over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

use super::Server;

/// A caller, signed in or not.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    address: String,
    token: Option<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) data: Value,
    pub(crate) errors: Vec<Value>,
}

impl Client {
    pub(crate) fn new(server: &Server, token: Option<String>) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).no_proxy().build().unwrap();
        Self { http, address: server.address().to_owned(), token }
    }

    /// The same caller at another node.
    pub(crate) fn at(&self, server: &Server) -> Self {
        Self { address: server.address().to_owned(), ..self.clone() }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Sends an operation; fails only where no GraphQL answer comes back.
    pub(crate) async fn query(&self, document: &str, variables: Value) -> Answer {
        match self.try_query(document, variables).await {
            Ok(answer) => answer,
            Err(error) => panic!("no answer from {}: {error:?}", self.address),
        }
    }

    /// Sends an operation to a server that may be gone.
    pub(crate) async fn try_query(&self, document: &str, variables: Value) -> reqwest::Result<Answer> {
        let mut request = self
            .http
            .post(format!("http://{}/graphql", self.address))
            .header("accept", "application/graphql-response+json")
            .json(&json!({ "query": document, "variables": variables }));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let mut body: Value = request.send().await?.json().await?;
        let errors = match body["errors"].take() {
            Value::Array(errors) => errors,
            _ => Vec::new(),
        };
        Ok(Answer { data: body["data"].take(), errors })
    }
}

impl Answer {
    /// The data of an operation that has to succeed.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.errors.is_empty(), "refused: {:#?}", self.errors);
        self.data
    }

    /// The code of an operation that has to fail; several errors have to share it.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        let codes = self.codes();
        assert!(!codes.is_empty(), "expected an error, got {:#}", self.data);
        assert!(codes.iter().all(|code| *code == codes[0]), "different codes: {:#?}", self.errors);
        codes[0].clone()
    }

    /// The codes of all errors.
    pub(crate) fn codes(&self) -> Vec<String> {
        self.errors
            .iter()
            .map(|error| error["extensions"]["code"].as_str().unwrap_or("none").to_owned())
            .collect()
    }

    /// The input fields that are complained about, nested with dots, sorted.
    pub(crate) fn fields(&self) -> Vec<String> {
        let name = |part: &Value| part.as_str().map_or_else(|| part.to_string(), str::to_owned);
        let paths = self.errors.iter().filter_map(|error| error["extensions"]["path"].as_array());
        let mut fields: Vec<_> =
            paths.map(|path| path.iter().map(name).collect::<Vec<_>>().join(".")).collect();
        fields.sort();
        fields
    }
}
