//! Scalars beyond GraphQL's own. The schema takes a scalar's description from its `impl ScalarType`.

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use quikapp_chat::entities::Timestamp;

/// A moment: RFC 3339 in UTC with milliseconds, such as `2026-11-21T04:26:00.000Z`. Any RFC 3339 offset is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTime(pub Timestamp);

/// A moment: RFC 3339 in UTC with milliseconds, such as `2026-11-21T04:26:00.000Z`. Any RFC 3339 offset is accepted.
#[Scalar(specified_by_url = "https://scalars.graphql.org/andimarek/date-time")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        Timestamp::parse_rfc3339(text).map(Self).ok_or_else(|| InputValueError::custom("is no RFC 3339 time"))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_rfc3339())
    }
}

impl From<Timestamp> for DateTime {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

/// A whole number up to 2^53 - 1, written as a JSON number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BigInt(pub i64);

/// A whole number up to 2^53 - 1, written as a JSON number.
#[Scalar]
impl ScalarType for BigInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) => number
                .as_i64()
                .filter(|number| number.unsigned_abs() < (1 << 53))
                .map(Self)
                .ok_or_else(|| InputValueError::custom("is no whole number up to 2^53 - 1")),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::from(self.0)
    }
}

/// An absolute http or https address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::upper_case_acronyms)] // the scalar's name
pub struct URL(pub String);

/// An absolute http or https address.
#[Scalar(name = "URL")]
impl ScalarType for URL {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            value => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// Any JSON value.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::upper_case_acronyms)] // the scalar's name
pub struct JSON(pub serde_json::Value);

/// Any JSON value.
#[Scalar(name = "JSON")]
impl ScalarType for JSON {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value.into_json()?))
    }

    fn to_value(&self) -> Value {
        Value::from_json(self.0.clone()).unwrap_or(Value::Null)
    }
}

/// A position in a stream of events. Keep it, give it back in `after`, never parse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCursor(pub String);

/// A position in a stream of events. Keep it, give it back in `after`, never parse it.
#[Scalar]
impl ScalarType for EventCursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => Ok(Self(text)),
            value => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.clone())
    }
}
