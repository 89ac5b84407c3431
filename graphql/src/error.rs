//! What clients learn about failures. The one place where a domain error becomes a GraphQL error.

use async_graphql::{Enum, ErrorExtensionValues, ErrorExtensions, ServerError, Value};
use quikapp_chat::FieldError;

/// What resolvers return. The alias has to be called `Result`: `#[Subscription]` goes by the name.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A domain error on its way to a client. It has no `Display` on purpose: so this conversion is the only one, and no
/// driver's text can slip through `?`.
#[derive(Debug, Clone)]
pub struct Error(quikapp_chat::Error);

impl Error {
    /// Whether there is no such thing, or none that the viewer may see.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self.0, quikapp_chat::Error::NotFound(_))
    }
}

impl From<quikapp_chat::Error> for Error {
    fn from(error: quikapp_chat::Error) -> Self {
        Self(error)
    }
}

/// The values of `extensions.code` on every error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum ErrorCode {
    /// The request is no well-formed GraphQL request, or does not fit the schema.
    BadRequest,
    /// Inputs break a rule. There is one error for each bad input, with `extensions.path`; nothing was changed.
    Invalid,
    /// No valid credentials. Sign in, or refresh the session.
    Unauthenticated,
    /// The viewer sees the thing and may not do this to it.
    Forbidden,
    /// There is no such thing, or the viewer may not know that there is.
    NotFound,
    /// The name is taken; `extensions.path` tells which.
    AlreadyExists,
    /// The thing has changed since the client read it. Read it again.
    Conflict,
    /// The channel is archived and read-only.
    Archived,
    /// A stated limit is reached.
    QuotaExceeded,
    /// Too many requests. Wait for `extensions.retryAfterMs`.
    RateLimited,
    /// The request would cost more than one may. Ask for less at a time.
    TooCostly,
    /// A store does not answer. Wait for `extensions.retryAfterMs` and try again.
    Unavailable,
    /// A bug of the server.
    Internal,
}

impl ErrorCode {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::BadRequest,
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Archived,
        Self::QuotaExceeded,
        Self::RateLimited,
        Self::TooCostly,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The code as it stands in `extensions.code`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "BAD_REQUEST",
            Self::Invalid => "INVALID",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::Conflict => "CONFLICT",
            Self::Archived => "ARCHIVED",
            Self::QuotaExceeded => "QUOTA_EXCEEDED",
            Self::RateLimited => "RATE_LIMITED",
            Self::TooCostly => "TOO_COSTLY",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    fn of(error: &quikapp_chat::Error) -> Self {
        use quikapp_chat::Error as Domain;
        match error {
            Domain::Invalid(_) => Self::Invalid,
            Domain::Unauthenticated(_) => Self::Unauthenticated,
            Domain::Forbidden(_) => Self::Forbidden,
            Domain::NotFound(_) => Self::NotFound,
            Domain::AlreadyExists(_) => Self::AlreadyExists,
            Domain::Conflict(_) => Self::Conflict,
            Domain::Archived => Self::Archived,
            Domain::QuotaExceeded(_) => Self::QuotaExceeded,
            Domain::RateLimited { .. } => Self::RateLimited,
            Domain::Unavailable { .. } => Self::Unavailable,
            Domain::Internal => Self::Internal,
        }
    }
}

/// The list of bad inputs, until [`expand`] makes an error of each.
const FIELDS: &str = "fields";

impl From<Error> for async_graphql::Error {
    fn from(Error(error): Error) -> Self {
        let mut result = Self::new(error.to_string());
        result = result.extend_with(|_, extensions| {
            extensions.set("code", ErrorCode::of(&error).name());
            extensions.set("retryable", error.is_retryable());
            if let Some(after) = error.retry_after() {
                extensions.set("retryAfterMs", u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
            }
            match &error {
                quikapp_chat::Error::Invalid(fields) => {
                    extensions.set(FIELDS, fields.iter().map(field_value).collect::<Vec<_>>());
                }
                quikapp_chat::Error::AlreadyExists(field) => {
                    extensions.set(FIELDS, vec![field_value(field)]);
                }
                _ => {}
            }
        });
        result
    }
}

fn field_value(field: &FieldError) -> Value {
    Value::List(vec![
        Value::from(field.field.as_str()),
        Value::from(format!("{}: {}", field.field, field.message)),
    ])
}

/// Makes one error of each bad input, with the input's place in `extensions.path`. For the transports, on every response.
pub fn expand(errors: &mut Vec<ServerError>) {
    if !errors.iter().any(|error| fields(error).is_some()) {
        return;
    }
    let mut expanded = Vec::with_capacity(errors.len());
    for error in errors.drain(..) {
        let Some(Value::List(fields)) = fields(&error).cloned() else {
            expanded.push(error);
            continue;
        };
        for field in fields {
            let Value::List(parts) = field else { continue };
            let [Value::String(name), Value::String(message)] = parts.as_slice() else { continue };
            let mut one = error.clone();
            one.message.clone_from(message);
            if let Some(extensions) = &mut one.extensions {
                extensions.unset(FIELDS);
                let path = name
                    .split('.')
                    .map(|part| part.parse::<u64>().map_or_else(|_| Value::from(part), Value::from));
                extensions.set("path", path.collect::<Vec<_>>());
            }
            expanded.push(one);
        }
    }
    *errors = expanded;
}

fn fields(error: &ServerError) -> Option<&Value> {
    error.extensions.as_ref().and_then(|extensions: &ErrorExtensionValues| extensions.get(FIELDS))
}

/// What the viewer may see; none of what they may not, or not any more.
pub(crate) fn seen<T>(found: Result<T>) -> Result<Option<T>> {
    found.map(Some).or_else(|error| if error.is_not_found() { Ok(None) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::Pos;

    #[test]
    fn every_bad_input_gets_an_error_with_its_place() {
        let error = quikapp_chat::Error::Invalid(vec![
            FieldError::new("email", "is no address"),
            FieldError::new("input.blocks.2.code", "is too long"),
        ]);
        let mut errors = vec![async_graphql::Error::from(Error(error)).into_server_error(Pos::default())];
        expand(&mut errors);
        let told: Vec<_> = errors
            .iter()
            .map(|error| serde_json::to_value(error).unwrap_or_default()["extensions"].clone())
            .collect();
        assert_eq!(told[0], serde_json::json!({"code": "INVALID", "retryable": false, "path": ["email"]}));
        assert_eq!(
            told[1],
            serde_json::json!({"code": "INVALID", "retryable": false, "path": ["input", "blocks", 2, "code"]})
        );
        assert_eq!(errors[0].message, "email: is no address");
    }
}
