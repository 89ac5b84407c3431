//! The body of a `POST`.

use std::{sync::Arc, time::Duration};

use async_graphql::Value;
use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper::body::Body as _;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    failure::{ErrorCode, Failure},
    limits::Limits,
    operation::{Params, RawParams},
};

/// Refuses every type but JSON in UTF-8. The other types that a form can send are what makes cross-site requests possible.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Failure> {
    let refuse = |message: &'static str| {
        Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::BadRequest, message))
    };
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return refuse("Content-Type must be application/json");
    };
    let mut parts = value.split(';').map(str::trim);
    if !parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return refuse("Content-Type must be application/json");
    }
    let charset =
        parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("charset"));
    match charset {
        Some((_, charset)) if !charset.trim_matches('"').eq_ignore_ascii_case("utf-8") => {
            refuse("the charset must be utf-8")
        }
        _ => match headers.get(header::CONTENT_ENCODING) {
            Some(encoding) if encoding != "identity" => refuse("compressed bodies are not supported"),
            _ => Ok(()),
        },
    }
}

/// Of a body that is too large, how much is still taken, so that its sender lives to see the answer: many clients read nothing
/// before they have sent everything, and a connection closed on them only tells them that it broke.
const REST_BYTES: usize = 100 * 1024 * 1024;
/// And for how long.
const REST_TIME: Duration = Duration::from_secs(2);

/// Of each body, what does not count among the large ones, so that those cannot keep ordinary requests out.
pub(crate) const SMALL_BYTES: usize = 64 * 1024;
/// What a permit for large bodies stands for.
const PERMIT_BYTES: usize = 1024;

/// A permit for each kilobyte of large bodies that may be in memory at a time; see [`Limits::bodies_bytes`].
pub(crate) fn large_bodies(limits: &Limits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((limits.bodies_bytes / PERMIT_BYTES).min(Semaphore::MAX_PERMITS)))
}

/// The whole body within its limits, with what it holds of `large` ones.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limits: &Limits,
    large: &Arc<Semaphore>,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Failure> {
    let limit = limits.body_bytes;
    let too_large = || {
        let message = format!("the body is too large, at most {limit} bytes are allowed");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::BadRequest, message)
    };
    let mut chunks = body.into_data_stream();
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        // Who asks first sends nothing after this answer.
        if !headers.contains_key(header::EXPECT) {
            drop_rest(chunks).await;
        }
        return Err(too_large());
    }
    let collect = async {
        let mut whole = BytesMut::new();
        let mut held = None;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Failure::bad_request("the body broke off"))?;
            if whole.len() + chunk.len() > limit {
                return Ok(None);
            }
            whole.extend_from_slice(&chunk);
            hold(&mut held, large, whole.len().saturating_sub(SMALL_BYTES))?;
        }
        Ok(Some((whole.freeze(), held)))
    };
    let collected = tokio::time::timeout(limits.body_timeout, collect).await.unwrap_or_else(|_| {
        let message = "the body did not arrive in time";
        Err(Failure::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::BadRequest, message))
    })?;
    if let Some(whole) = collected {
        Ok(whole)
    } else {
        drop_rest(chunks).await;
        Err(too_large())
    }
}

/// Sees to it that `held` covers so many bytes.
pub(crate) fn hold(
    held: &mut Option<OwnedSemaphorePermit>,
    large: &Arc<Semaphore>,
    bytes: usize,
) -> Result<(), Failure> {
    let missing = bytes
        .div_ceil(PERMIT_BYTES)
        .saturating_sub(held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
    let more = u32::try_from(missing)
        .ok()
        .and_then(|missing| Arc::clone(large).try_acquire_many_owned(missing).ok());
    match (held.as_mut(), more) {
        (_, None) => Err(Failure {
            retry_after: Some(Duration::from_secs(1)),
            ..Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorCode::Unavailable,
                "too many large bodies arrive at a time, try again",
            )
        }),
        (Some(held), Some(more)) => {
            held.merge(more);
            Ok(())
        }
        (None, more) => {
            *held = more;
            Ok(())
        }
    }
}

/// Takes what a client sends that was refused before its body was read, so that it comes to read the answer; without that the
/// connection is reset under it.
pub(super) async fn discard(headers: &HeaderMap, body: Body) {
    // Who asks first sends nothing after this answer.
    if !headers.contains_key(header::EXPECT) && !body.is_end_stream() {
        drop_rest(body.into_data_stream()).await;
    }
}

async fn drop_rest(mut chunks: BodyDataStream) {
    let drop = async {
        let mut left = REST_BYTES;
        while let Some(Ok(chunk)) = chunks.next().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whether it came to its end or not, the answer goes out.
    let _ = tokio::time::timeout(REST_TIME, drop).await;
}

/// What a JSON body asks for.
pub(super) enum Asked {
    /// One operation.
    One(Params),
    /// A list of them, each with what is wrong with it.
    Many(Vec<Result<Params, Failure>>),
}

/// The parameters in a JSON body; `lists` tells whether it may hold several.
pub(super) fn params(bytes: &[u8], lists: bool) -> Result<Asked, Failure> {
    let is_list = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if is_list && !lists {
        return Err(Failure::bad_request("batching is switched off, send one operation per request"));
    }
    if !is_list {
        let raw: RawParams = parse(bytes, "the body must be a JSON object with `query`")?;
        return raw.try_into().map(Asked::One);
    }
    let all: Vec<Value> = parse(bytes, "the body must be a list of JSON objects with `query`")?;
    Ok(Asked::Many(all.into_iter().map(one).collect()))
}

fn one(operation: Value) -> Result<Params, Failure> {
    let Value::Object(mut members) = operation else {
        return Err(Failure::bad_request("each operation of a list must be a JSON object with `query`"));
    };
    let mut take = |name| members.swap_remove(name);
    RawParams {
        query: take("query"),
        operation_name: take("operationName"),
        variables: take("variables"),
        extensions: take("extensions"),
    }
    .try_into()
}

fn parse<T: DeserializeOwned>(bytes: &[u8], expected: &'static str) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => Failure::bad_request(expected),
        _ => Failure::bad_request(format!(
            "the body is not valid JSON (line {}, column {})",
            error.line(),
            error.column()
        )),
    })
}
