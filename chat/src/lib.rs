//! The domain of `QuikApp`: what can be done, by whom, and what is told to whom. It knows the stores behind their traits
//! and nothing of GraphQL or HTTP.

pub mod access;
pub mod clock;
pub mod error;
pub mod live;
pub mod messages;
pub mod store;

pub use error::{Error, FieldError, Result};
pub use quikapp_entities as entities;
