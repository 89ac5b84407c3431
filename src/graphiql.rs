//! The explorer's page and its files, which are part of the binary.

use std::{fmt::Write as _, io::Read as _};

use axum::{
    extract::{Path, RawQuery},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use flate2::read::GzDecoder;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::http::accept;

/// Built by `web/build.mjs`: `index.html` as it is, everything else as `NAME.gz`.
#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Files;

/// What the page may load: only from here. Its editor writes style elements and starts its workers from blobs.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     font-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'",
);
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// `GET /`: to the explorer.
pub async fn home() -> Redirect {
    Redirect::temporary("/graphiql")
}

/// `GET /graphiql`.
pub async fn page(headers: HeaderMap) -> Response {
    let Some(file) = Files::get("index.html") else { return StatusCode::NOT_FOUND.into_response() };
    let tag = tag(&file, "");
    if is_known(&headers, &tag) {
        return not_modified(tag, REVALIDATE);
    }
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, REVALIDATE),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::ETAG, tag),
    ];
    (head, file.data).into_response()
}

/// `GET /graphiql/{name}`. An address with a version (`?v=`) changes with its content, so it may be kept for ever.
pub async fn asset(Path(name): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let Some(file) = Files::get(&format!("{name}.gz")) else { return StatusCode::NOT_FOUND.into_response() };
    let has_version = query.is_some_and(|query| query.starts_with("v="));
    let caching = if has_version { FOR_EVER } else { REVALIDATE };
    let takes_gzip = accept::takes_gzip(&headers);
    let tag = tag(&file, if takes_gzip { "-gz" } else { "" });
    if is_known(&headers, &tag) {
        return not_modified(tag, caching);
    }
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type(&name))),
        (header::CACHE_CONTROL, caching),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
        (header::ETAG, tag),
        // Workers are documents of their own and take the policy from here.
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    if takes_gzip {
        return (head, [(header::CONTENT_ENCODING, "gzip")], file.data).into_response();
    }
    let mut plain = Vec::new();
    match GzDecoder::new(file.data.as_ref()).read_to_end(&mut plain) {
        Ok(_) => (head, plain).into_response(),
        Err(error) => {
            tracing::error!(%error, name, "a file of the explorer cannot be unpacked");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn tag(file: &EmbeddedFile, suffix: &str) -> HeaderValue {
    let mut tag = String::from("\"");
    for byte in &file.metadata.sha256_hash()[..12] {
        // Writing to a string does not fail.
        let _ = write!(tag, "{byte:02x}");
    }
    let _ = write!(tag, "{suffix}\"");
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))
}

fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let Some(known) = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()) else {
        return false;
    };
    known.split(',').map(|known| known.trim().trim_start_matches("W/")).any(|known| known == tag)
}

fn not_modified(tag: HeaderValue, caching: HeaderValue) -> Response {
    let head: [(HeaderName, HeaderValue); 2] = [(header::ETAG, tag), (header::CACHE_CONTROL, caching)];
    (StatusCode::NOT_MODIFIED, head).into_response()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("ttf") => "font/ttf",
        Some("woff2") => "font/woff2",
        Some("svg") => "image/svg+xml",
        Some("json" | "map") => "application/json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
