//! GraphQL schema.
