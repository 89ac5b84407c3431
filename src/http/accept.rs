//! What the client can read.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::answer::Media;
use crate::failure::{ErrorCode, Failure};

/// One alternative of an `Accept…` header, with its quality in thousandths.
struct Range<'h> {
    name: &'h str,
    charset: Option<&'h str>,
    quality: u16,
}

fn ranges(headers: &HeaderMap, name: HeaderName) -> Vec<Range<'_>> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(range).collect()
}

fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut range = Range { name, charset: None, quality: 1000 };
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        if key.trim().eq_ignore_ascii_case("q") {
            range.quality = quality(value)?;
        } else if key.trim().eq_ignore_ascii_case("charset") {
            range.charset = Some(value);
        }
    }
    Some(range)
}

/// `0`, `1` or up to three decimals in between, in thousandths.
fn quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match whole {
        "1" => Some(1000),
        "0" => format!("{decimals:0<3}").parse().ok(),
        _ => None,
    }
}

/// The type to answer with.
///
/// Without `Accept` it is `application/graphql-response+json`, as the specification has it since 2025. `*/*` is what `fetch` and
/// curl send by themselves; they get `application/json`, which every client reads.
///
/// # Errors
/// 406 when the client reads neither.
pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Media, Failure> {
    if !headers.contains_key(header::ACCEPT) {
        return Ok(Media::GraphqlResponse);
    }
    let ranges = ranges(headers, header::ACCEPT);
    let in_utf8 = |range: &&Range| range.charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"));
    // The most specific range decides for a type, whatever its quality.
    let preference = |media: Media| {
        let specific = |range: &Range| {
            if range.name.eq_ignore_ascii_case(media.essence()) {
                3
            } else if range.name.eq_ignore_ascii_case("application/*") {
                2
            } else {
                u8::from(range.name == "*/*")
            }
        };
        let matching = ranges.iter().filter(in_utf8).map(|range| (specific(range), range.quality));
        matching.filter(|(specific, _)| *specific > 0).max().map(|(specific, quality)| (quality, specific))
    };
    let of = |media| preference(media).filter(|(quality, _)| *quality > 0);
    match (of(Media::GraphqlResponse), of(Media::Json)) {
        (Some((graphql, specific)), Some((json, _))) => {
            let is_named = specific == 3;
            Ok(if graphql > json || (graphql == json && is_named) {
                Media::GraphqlResponse
            } else {
                Media::Json
            })
        }
        (Some(_), None) => Ok(Media::GraphqlResponse),
        (None, Some(_)) => Ok(Media::Json),
        (None, None) => Err(Failure::new(
            StatusCode::NOT_ACCEPTABLE,
            ErrorCode::BadRequest,
            "answers come as application/graphql-response+json or application/json",
        )),
    }
}

/// Whether `Accept-Encoding` lets gzip in.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let ranges = ranges(headers, header::ACCEPT_ENCODING);
    let named = ranges.iter().find(|range| range.name.eq_ignore_ascii_case("gzip"));
    named.or_else(|| ranges.iter().find(|range| range.name == "*")).is_some_and(|range| range.quality > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn accept(value: &str) -> Option<Media> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        negotiate(&headers).ok()
    }

    #[test]
    fn the_best_type_that_both_know_is_chosen() {
        let (graphql, json) = (Some(Media::GraphqlResponse), Some(Media::Json));
        assert_eq!(negotiate(&HeaderMap::new()).ok(), graphql);
        for (value, expected) in [
            ("application/graphql-response+json", graphql),
            ("application/json", json),
            ("application/graphql-response+json, application/json;q=0.9", graphql),
            ("application/json, application/graphql-response+json", graphql),
            ("application/graphql-response+json;q=0.5, application/json", json),
            ("application/graphql-response+json;q=0, */*", json),
            ("application/json;q=0, */*;q=0.1", graphql),
            ("*/*", json),
            ("application/*", json),
            ("text/html, application/xhtml+xml, */*;q=0.8", json),
            ("application/graphql-response+json; charset=utf-8", graphql),
            ("application/json; charset=utf-16", None),
            ("text/html", None),
            ("text/event-stream", None),
            ("application/json;q=0", None),
            ("application/json;q=7", None),
        ] {
            assert_eq!(accept(value), expected, "{value}");
        }
    }

    #[test]
    fn gzip_is_read_with_its_quality() {
        let takes = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            takes_gzip(&headers)
        };
        assert!(takes("gzip, deflate, br") && takes("*") && takes("br;q=1.0, gzip;q=0.8"));
        assert!(!takes("identity") && !takes("gzip;q=0, *") && !takes("br"));
    }
}
