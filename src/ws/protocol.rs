//! The messages.

use async_graphql::ServerError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    expiry::Announcement,
    http::credentials::strip_scheme,
    operation::{Outcome, Params, RawParams},
};

/// Of the id of an operation.
const ID_BYTES: usize = 256;

/// What a client says.
#[derive(Debug)]
pub(super) enum Incoming {
    Init { token: Option<String> },
    Ping { payload: Option<Value> },
    Pong,
    Subscribe { id: String, params: Box<Params> },
    Complete { id: String },
}

/// Not a message of the protocol.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid;

#[derive(Deserialize)]
struct Frame {
    r#type: String,
    id: Option<Value>,
    payload: Option<Value>,
}

pub(super) fn read(text: &str) -> Result<Incoming, Invalid> {
    let frame: Frame = serde_json::from_str(text).map_err(|_| Invalid)?;
    match frame.r#type.as_str() {
        "connection_init" => Ok(Incoming::Init { token: token(object(frame.payload)?)? }),
        "ping" => Ok(Incoming::Ping { payload: object(frame.payload)? }),
        "pong" => object(frame.payload).map(|_| Incoming::Pong),
        "subscribe" => {
            let id = id(frame.id)?;
            let payload = object(frame.payload)?.ok_or(Invalid)?;
            let raw: RawParams = serde_json::from_value(payload).map_err(|_| Invalid)?;
            let params = Params::try_from(raw).map_err(|_| Invalid)?;
            Ok(Incoming::Subscribe { id, params: Box::new(params) })
        }
        "complete" => Ok(Incoming::Complete { id: id(frame.id)? }),
        _ => Err(Invalid),
    }
}

fn object(payload: Option<Value>) -> Result<Option<Value>, Invalid> {
    match payload {
        None | Some(Value::Null) => Ok(None),
        Some(payload) if payload.is_object() => Ok(Some(payload)),
        Some(_) => Err(Invalid),
    }
}

fn id(id: Option<Value>) -> Result<String, Invalid> {
    match id {
        Some(Value::String(id)) if (1..=ID_BYTES).contains(&id.len()) => Ok(id),
        _ => Err(Invalid),
    }
}

/// The access token among the parameters of a connection: `Authorization` in any case, with or without `Bearer`, or `token`.
fn token(payload: Option<Value>) -> Result<Option<String>, Invalid> {
    let Some(Value::Object(fields)) = payload else { return Ok(None) };
    let is_token = |name: &str| name.eq_ignore_ascii_case("authorization") || name == "token";
    match fields.into_iter().find(|(name, _)| is_token(name)).map(|(_, value)| value) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) => {
            let token = strip_scheme(&value).unwrap_or(value.trim());
            Ok((!token.is_empty()).then(|| token.to_owned()))
        }
        Some(_) => Err(Invalid),
    }
}

#[derive(Serialize)]
struct Outgoing<'m, P> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'m str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<P>,
}

fn write<P: Serialize>(r#type: &'static str, id: Option<&str>, payload: Option<P>) -> String {
    serde_json::to_string(&Outgoing { r#type, id, payload }).unwrap_or_else(|error| {
        tracing::error!(%error, "a message cannot be written as JSON");
        String::new()
    })
}

pub(super) fn ack() -> String {
    write("connection_ack", None, None::<()>)
}

/// What the server says of its own accord. Clients answer with `pong`, whether they understand the payload or not.
pub(super) fn ping(announcement: &Announcement) -> String {
    write("ping", None, Some(announcement))
}

pub(super) fn pong(payload: Option<Value>) -> String {
    write("pong", None, payload)
}

pub(super) fn next(id: &str, outcome: &Outcome) -> String {
    // What was rendered for many is copied as it is, not read and written again.
    let mut text = String::from(r#"{"type":"next","id":"#);
    text.push_str(&Value::from(id).to_string());
    text.push_str(r#","payload":"#);
    outcome.write(&mut text);
    text.push('}');
    text
}

pub(super) fn error(id: &str, errors: &[ServerError]) -> String {
    write("error", Some(id), Some(errors))
}

pub(super) fn complete(id: &str) -> String {
    write("complete", Some(id), None::<()>)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn what_is_no_message_is_refused() {
        for text in [
            "",
            "1",
            "{}",
            r#"{"type":1}"#,
            r#"{"type":"connection_ack"}"#,
            r#"{"type":"start","id":"1","payload":{"query":"{a}"}}"#,
            r#"{"type":"connection_init","payload":[]}"#,
            r#"{"type":"connection_init","payload":{"token":1}}"#,
            r#"{"type":"ping","payload":"x"}"#,
            r#"{"type":"complete"}"#,
            r#"{"type":"subscribe","payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":1,"payload":{"query":"{a}"}}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":null}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":[]}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","operationName":1}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","extensions":""}}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_token_is_found_under_its_names() {
        let token =
            |payload: &str| match read(&format!(r#"{{"type":"connection_init","payload":{payload}}}"#)) {
                Ok(Incoming::Init { token }) => token,
                other => panic!("{other:?}"),
            };
        for payload in [
            r#"{"Authorization":"Bearer t"}"#,
            r#"{"authorization":"bearer t"}"#,
            r#"{"token":"t"}"#,
            r#"{"Authorization":"t"}"#,
        ] {
            assert_eq!(token(payload).as_deref(), Some("t"), "{payload}");
        }
        for payload in ["null", "{}", r#"{"token":null}"#, r#"{"Authorization":""}"#, r#"{"other":1}"#] {
            assert_eq!(token(payload), None, "{payload}");
        }
    }
}
