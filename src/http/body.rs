//! The body of a `POST`.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::error::Category;

use crate::{
    failure::{ErrorCode, Failure},
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

/// The whole body, at most `limit` bytes within `time_limit`.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    time_limit: Duration,
) -> Result<Bytes, Failure> {
    let too_large = || {
        let message = format!("the body is too large, at most {limit} bytes are allowed");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::BadRequest, message)
    };
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let collect = async {
        let mut chunks = body.into_data_stream();
        let mut whole = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Failure::bad_request("the body broke off"))?;
            if whole.len() + chunk.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    };
    tokio::time::timeout(time_limit, collect).await.unwrap_or_else(|_| {
        let message = "the body did not arrive in time";
        Err(Failure::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::BadRequest, message))
    })
}

/// The parameters in a JSON body.
pub(super) fn params(bytes: &[u8]) -> Result<Params, Failure> {
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Failure::bad_request("batches are not supported, send one operation per request"));
    }
    let raw: RawParams = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => Failure::bad_request("the body must be a JSON object with `query`"),
        _ => Failure::bad_request(format!(
            "the body is not valid JSON (line {}, column {})",
            error.line(),
            error.column()
        )),
    })?;
    raw.try_into()
}
