//! The limits as settings: each with its name, default and range. `README.md` has the same table; a test holds them equal.

use std::time::Duration;

use clap::{Args, value_parser};

use crate::{guard, limits::Limits};

/// How much one client may take, as it was said.
#[derive(Debug, Clone, Args)]
#[group(skip)]
#[allow(clippy::doc_markdown, reason = "these texts are printed on a terminal")]
pub struct LimitOptions {
    /// Connections open at a time, WebSockets and streams among them; others wait to be accepted
    #[arg(long, env = "MAX_CONNECTIONS", default_value_t = 20_000, value_parser = value_parser!(u32).range(1..),
        value_name = "COUNT", global = true, help_heading = "Limits of connections")]
    pub max_connections: u32,
    /// WebSockets and streams of one user open at a time on this server
    #[arg(long, env = "MAX_USER_CONNECTIONS", default_value_t = 100, value_parser = value_parser!(u32).range(1..),
        value_name = "COUNT", global = true, help_heading = "Limits of connections")]
    pub max_user_connections: u32,
    /// From the opening of a WebSocket to its `connection_init`
    #[arg(long, env = "INIT_TIMEOUT", default_value_t = 10, value_parser = value_parser!(u32).range(1..),
        value_name = "SECONDS", global = true, help_heading = "Limits of connections")]
    pub init_timeout: u32,
    /// For the head of an HTTP request; idle connections are kept as long
    #[arg(long, env = "HEADER_TIMEOUT", default_value_t = 10, value_parser = value_parser!(u32).range(1..),
        value_name = "SECONDS", global = true, help_heading = "Limits of connections")]
    pub header_timeout: u32,
    /// For the body of an HTTP request, and for a WebSocket message from its first byte to its last
    #[arg(long, env = "BODY_TIMEOUT", default_value_t = 30, value_parser = value_parser!(u32).range(1..),
        value_name = "SECONDS", global = true, help_heading = "Limits of connections")]
    pub body_timeout: u32,
    /// For a query or mutation
    #[arg(long, env = "OPERATION_TIMEOUT", default_value_t = 30, value_parser = value_parser!(u32).range(1..),
        value_name = "SECONDS", global = true, help_heading = "Limits of connections")]
    pub operation_timeout: u32,
    /// For a client to take what is sent to it: one message of a WebSocket or stream, 64 KiB of an answer
    #[arg(long, env = "WRITE_TIMEOUT", default_value_t = 30, value_parser = value_parser!(u32).range(1..),
        value_name = "SECONDS", global = true, help_heading = "Limits of connections")]
    pub write_timeout: u32,
    /// Between two pings on a WebSocket; without a sign of life for three of them it is closed
    #[arg(long, env = "PING_INTERVAL", default_value_t = 20, value_parser = value_parser!(u32).range(1..),
        value_name = "SECONDS", global = true, help_heading = "Limits of connections")]
    pub ping_interval: u32,
    /// Between two signs of life on a quiet stream of events (SSE)
    #[arg(long, env = "EVENT_HEARTBEAT", default_value_t = 12, value_parser = value_parser!(u32).range(1..),
        value_name = "SECONDS", global = true, help_heading = "Limits of connections")]
    pub event_heartbeat: u32,
    /// Between two signs of life on a quiet stream of parts (multipart)
    #[arg(long, env = "PART_HEARTBEAT", default_value_t = 5, value_parser = value_parser!(u32).range(1..),
        value_name = "SECONDS", global = true, help_heading = "Limits of connections")]
    pub part_heartbeat: u32,
    /// For running requests to end after a shutdown began
    #[arg(long, env = "SHUTDOWN_GRACE", default_value_t = 10, value_parser = value_parser!(u32).range(0..),
        value_name = "SECONDS", global = true, help_heading = "Limits of connections")]
    pub shutdown_grace: u32,

    /// Of the head of an HTTP request, its address included
    #[arg(long, env = "MAX_HEADER_BYTES", default_value_t = 131_072, value_parser = value_parser!(u32).range(8_192..),
        value_name = "BYTES", global = true, help_heading = "Limits of requests")]
    pub max_header_bytes: u32,
    /// Of an HTTP request body
    #[arg(long, env = "MAX_BODY_BYTES", default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1_000..),
        value_name = "BYTES", global = true, help_heading = "Limits of requests")]
    pub max_body_bytes: u32,
    /// Of all HTTP request bodies and WebSocket messages that arrive at a time, beyond the first 64 KiB of each
    #[arg(long, env = "MAX_BODIES_BYTES", default_value_t = 268_435_456, value_parser = value_parser!(u32).range(1_000_000..),
        value_name = "BYTES", global = true, help_heading = "Limits of requests")]
    pub max_bodies_bytes: u32,
    /// Of all answers of more than 64 KiB that wait to be taken; those of one user have a quarter of it
    #[arg(long, env = "MAX_ANSWERS_BYTES", default_value_t = 268_435_456, value_parser = value_parser!(u32).range(134_217_728..),
        value_name = "BYTES", global = true, help_heading = "Limits of requests")]
    pub max_answers_bytes: u32,
    /// Of one WebSocket message from a client
    #[arg(long, env = "MAX_MESSAGE_BYTES", default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1_000..),
        value_name = "BYTES", global = true, help_heading = "Limits of requests")]
    pub max_message_bytes: u32,
    /// Operations running at a time on one WebSocket
    #[arg(long, env = "MAX_SOCKET_OPERATIONS", default_value_t = 100, value_parser = value_parser!(u32).range(1..),
        value_name = "COUNT", global = true, help_heading = "Limits of requests")]
    pub max_socket_operations: u32,
    /// Operations of an HTTP request that is a JSON list of them, which run one after the other; 0 refuses lists
    #[arg(long, env = "MAX_BATCH_OPERATIONS", default_value_t = 0, value_parser = value_parser!(u32).range(0..=100),
        value_name = "COUNT", global = true, help_heading = "Limits of requests")]
    pub max_batch_operations: u32,

    /// Of a document
    #[arg(long, env = "MAX_DOCUMENT_BYTES", default_value_t = 65_536, value_parser = value_parser!(u32).range(1_000..),
        value_name = "BYTES", global = true, help_heading = "Limits of documents")]
    pub max_document_bytes: u32,
    /// Tokens of a document
    #[arg(long, env = "MAX_TOKENS", default_value_t = 10_000, value_parser = value_parser!(u32).range(100..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_tokens: u32,
    /// Brackets of a document open at a time
    #[arg(long, env = "MAX_NESTING", default_value_t = 64, value_parser = value_parser!(u32).range(16..=64),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_nesting: u32,
    /// Fragments that a document defines
    #[arg(long, env = "MAX_FRAGMENTS", default_value_t = 100, value_parser = value_parser!(u32).range(0..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_fragments: u32,
    /// Fields within fields
    #[arg(long, env = "MAX_DEPTH", default_value_t = 20, value_parser = value_parser!(u32).range(1..=50),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_depth: u32,
    /// Fields within `__schema` or `__type`
    #[arg(long, env = "MAX_INTROSPECTION_DEPTH", default_value_t = 30, value_parser = value_parser!(u32).range(1..=50),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_introspection_depth: u32,
    /// Fields of an answer within `__schema` and `__type`; a client's usual introspection has 40,000
    #[arg(long, env = "MAX_INTROSPECTION_COST", default_value_t = 200_000, value_parser = value_parser!(u32).range(1..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_introspection_cost: u32,
    /// Fields and fragments of an operation, with every fragment written out
    #[arg(long, env = "MAX_SELECTIONS", default_value_t = 2_000, value_parser = value_parser!(u32).range(1..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_selections: u32,
    /// Aliases of an operation, with every fragment written out
    #[arg(long, env = "MAX_ALIASES", default_value_t = 100, value_parser = value_parser!(u32).range(0..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_aliases: u32,
    /// Directives of an operation, with every fragment written out
    #[arg(long, env = "MAX_DIRECTIVES", default_value_t = 100, value_parser = value_parser!(u32).range(0..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_directives: u32,
    /// Arguments of an operation, with every fragment written out
    #[arg(long, env = "MAX_ARGUMENTS", default_value_t = 1_000, value_parser = value_parser!(u32).range(1..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_arguments: u32,
    /// Variables that an operation declares
    #[arg(long, env = "MAX_VARIABLES", default_value_t = 100, value_parser = value_parser!(u32).range(0..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_variables: u32,
    /// Values in the variables of a request, those within lists and objects included
    #[arg(long, env = "MAX_VARIABLE_VALUES", default_value_t = 10_000, value_parser = value_parser!(u32).range(1..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_variable_values: u32,
    /// Values in the arguments of an operation, those of variables each time that one is used; 64 bytes of text count as one
    #[arg(long, env = "MAX_ARGUMENT_VALUES", default_value_t = 200_000, value_parser = value_parser!(u32).range(1..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_argument_values: u32,
    /// Root fields of a query
    #[arg(long, env = "MAX_QUERY_FIELDS", default_value_t = 20, value_parser = value_parser!(u32).range(1..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_query_fields: u32,
    /// Root fields of a mutation
    #[arg(long, env = "MAX_MUTATION_FIELDS", default_value_t = 10, value_parser = value_parser!(u32).range(1..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_mutation_fields: u32,
    /// Of the document and the variables of a subscription
    #[arg(long, env = "MAX_SUBSCRIPTION_BYTES", default_value_t = 65_536, value_parser = value_parser!(u32).range(1_000..),
        value_name = "BYTES", global = true, help_heading = "Limits of documents")]
    pub max_subscription_bytes: u32,
    /// Fields of an answer, or of one event: those of a list times its length
    #[arg(long, env = "MAX_COST", default_value_t = 50_000, value_parser = value_parser!(u32).range(1..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_cost: u32,
    /// Queries that the stores get for an operation, or for one event, estimated from above
    #[arg(long, env = "MAX_STORE_QUERIES", default_value_t = 500, value_parser = value_parser!(u32).range(1..),
        value_name = "COUNT", global = true, help_heading = "Limits of documents")]
    pub max_store_queries: u32,
}

impl LimitOptions {
    /// What it means.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Limits {
            connections: self.max_connections as usize,
            connections_per_user: self.max_user_connections as usize,
            init_timeout: seconds(self.init_timeout),
            header_timeout: seconds(self.header_timeout),
            body_timeout: seconds(self.body_timeout),
            operation_timeout: seconds(self.operation_timeout),
            write_timeout: seconds(self.write_timeout),
            ping_interval: seconds(self.ping_interval),
            event_heartbeat: seconds(self.event_heartbeat),
            part_heartbeat: seconds(self.part_heartbeat),
            shutdown_grace: seconds(self.shutdown_grace),
            head_bytes: self.max_header_bytes as usize,
            body_bytes: self.max_body_bytes as usize,
            bodies_bytes: self.max_bodies_bytes as usize,
            answers_bytes: self.max_answers_bytes as usize,
            message_bytes: self.max_message_bytes as usize,
            operations_per_socket: self.max_socket_operations as usize,
            batch_operations: self.max_batch_operations as usize,
            guard: guard::Limits {
                document_bytes: self.max_document_bytes as usize,
                tokens: self.max_tokens as usize,
                nesting: self.max_nesting as usize,
                fragments: self.max_fragments as usize,
                depth: self.max_depth.into(),
                introspection_depth: self.max_introspection_depth.into(),
                introspection_cost: self.max_introspection_cost.into(),
                selections: self.max_selections.into(),
                aliases: self.max_aliases.into(),
                directives: self.max_directives.into(),
                arguments: self.max_arguments.into(),
                variables: self.max_variables as usize,
                variable_values: self.max_variable_values as usize,
                argument_values: u64::from(self.max_argument_values),
                query_fields: self.max_query_fields.into(),
                mutation_fields: self.max_mutation_fields.into(),
                subscription_bytes: self.max_subscription_bytes as usize,
                cost: self.max_cost.into(),
                store_queries: self.max_store_queries.into(),
            },
            ..Limits::default()
        }
    }
}
