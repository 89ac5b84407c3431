//! What the client can read.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::{answer::Media, wire::Format};
use crate::failure::{ErrorCode, Failure};

/// What a client reads, at least one of the two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    answer: Option<(Media, u16)>,
    stream: Option<(Format, u16)>,
}

/// The form of a single result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The body is the result.
    Answer(Media),
    /// A stream of one.
    Stream(Format),
}

impl Accepted {
    /// For a query, a mutation or a refusal. A client that reads both gets a plain answer, unless it likes streams better.
    pub(crate) fn single(self) -> Form {
        match (self.answer, self.stream) {
            (Some((_, answer)), Some((format, stream))) if stream > answer => Form::Stream(format),
            (None, Some((format, _))) => Form::Stream(format),
            (Some((media, _)), _) => Form::Answer(media),
            (None, None) => Form::Answer(Media::GraphqlResponse),
        }
    }

    /// Whether the client wants a stream of events and nothing else.
    pub(crate) fn is_for_events(self) -> bool {
        self.single() == Form::Stream(Format::Events)
    }

    /// For a subscription; None when the client reads no streams.
    pub(crate) fn stream(self) -> Option<Format> {
        self.stream.map(|(format, _)| format)
    }
}

/// One alternative of an `Accept…` header, with its quality in thousandths.
struct Range<'h> {
    name: &'h str,
    charset: Option<&'h str>,
    subscription_spec: Option<&'h str>,
    quality: u16,
}

impl Range<'_> {
    fn is_in_utf8(&self) -> bool {
        self.charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"))
    }

    /// Streams have to be named: clients that write `*/*` do not expect one.
    fn format(&self) -> Option<Format> {
        if self.name.eq_ignore_ascii_case("text/event-stream") {
            Some(Format::Events)
        } else if self.name.eq_ignore_ascii_case("multipart/mixed") && self.subscription_spec == Some("1.0") {
            Some(Format::Parts)
        } else {
            None
        }
    }
}

fn ranges(headers: &HeaderMap, name: HeaderName) -> Vec<Range<'_>> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(range).collect()
}

fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let mut range = Range { name, charset: None, subscription_spec: None, quality: 1000 };
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        if key.trim().eq_ignore_ascii_case("q") {
            range.quality = quality(value)?;
        } else if key.trim().eq_ignore_ascii_case("charset") {
            range.charset = Some(value);
        } else if key.trim().eq_ignore_ascii_case("subscriptionSpec") {
            range.subscription_spec = Some(value);
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

/// The types to answer with.
///
/// Without `Accept` it is `application/graphql-response+json`, as the specification has it since 2025. `*/*` is what `fetch` and
/// curl send by themselves; they get `application/json`, which every client reads.
///
/// # Errors
/// 406 when the client reads none that there is.
pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Accepted, Failure> {
    if !headers.contains_key(header::ACCEPT) {
        return Ok(Accepted { answer: Some((Media::GraphqlResponse, 1000)), stream: None });
    }
    let mut ranges = ranges(headers, header::ACCEPT);
    ranges.retain(Range::is_in_utf8);
    let accepted = Accepted { answer: answer(&ranges), stream: stream(&ranges) };
    if accepted.answer.is_none() && accepted.stream.is_none() {
        return Err(Failure::new(
            StatusCode::NOT_ACCEPTABLE,
            ErrorCode::BadRequest,
            "answers come as application/graphql-response+json or application/json, streams as text/event-stream or \
             multipart/mixed;subscriptionSpec=1.0",
        ));
    }
    Ok(accepted)
}

/// For an answer in plain text.
///
/// # Errors
/// 406 when the client does not read that.
pub(crate) fn check_plain_text(headers: &HeaderMap) -> Result<(), Failure> {
    let reads = |range: &Range<'_>| {
        range.quality > 0
            && ["text/plain", "text/*", "*/*"].iter().any(|name| range.name.eq_ignore_ascii_case(name))
    };
    if !headers.contains_key(header::ACCEPT) || ranges(headers, header::ACCEPT).iter().any(reads) {
        return Ok(());
    }
    let message = "the token of a stream comes as text/plain";
    Err(Failure::new(StatusCode::NOT_ACCEPTABLE, ErrorCode::BadRequest, message))
}

fn answer(ranges: &[Range<'_>]) -> Option<(Media, u16)> {
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
        let matching = ranges.iter().map(|range| (specific(range), range.quality));
        matching.filter(|(specific, _)| *specific > 0).max().map(|(specific, quality)| (quality, specific))
    };
    let of = |media| preference(media).filter(|(quality, _)| *quality > 0);
    match (of(Media::GraphqlResponse), of(Media::Json)) {
        (Some((graphql, specific)), Some((json, _))) => {
            let is_named = specific == 3;
            Some(if graphql > json || (graphql == json && is_named) {
                (Media::GraphqlResponse, graphql)
            } else {
                (Media::Json, json)
            })
        }
        (Some((graphql, _)), None) => Some((Media::GraphqlResponse, graphql)),
        (None, Some((json, _))) => Some((Media::Json, json)),
        (None, None) => None,
    }
}

/// The best of those named, the first of equals.
fn stream(ranges: &[Range<'_>]) -> Option<(Format, u16)> {
    let named = ranges.iter().filter_map(|range| Some((range.format()?, range.quality)));
    let taken = named.filter(|(_, quality)| *quality > 0);
    taken.reduce(|best, other| if other.1 > best.1 { other } else { best })
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

    fn accepted(value: &str) -> Option<Accepted> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        negotiate(&headers).ok()
    }

    fn accept(value: &str) -> Option<Media> {
        accepted(value).map(|accepted| match accepted.single() {
            Form::Answer(media) => media,
            Form::Stream(format) => panic!("{value}: {format:?}"),
        })
    }

    #[test]
    fn the_best_type_that_both_know_is_chosen() {
        let (graphql, json) = (Some(Media::GraphqlResponse), Some(Media::Json));
        assert_eq!(negotiate(&HeaderMap::new()).unwrap().single(), Form::Answer(Media::GraphqlResponse));
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
            ("text/*", None),
            ("text/event-stream;q=0", None),
            ("multipart/mixed", None),
            ("multipart/mixed;deferSpec=20220824", None),
            ("multipart/mixed;deferSpec=20220824,application/json", json),
            ("application/json;q=0", None),
            ("application/json;q=7", None),
        ] {
            assert_eq!(accept(value), expected, "{value}");
        }
    }

    #[test]
    fn streams_have_to_be_named() {
        let (events, parts) = (Some(Format::Events), Some(Format::Parts));
        for (value, stream, single) in [
            ("text/event-stream", events, Form::Stream(Format::Events)),
            ("text/event-stream, */*;q=0.1", events, Form::Stream(Format::Events)),
            ("text/event-stream, application/json", events, Form::Answer(Media::Json)),
            ("multipart/mixed;subscriptionSpec=1.0", parts, Form::Stream(Format::Parts)),
            (
                "multipart/mixed;boundary=\"graphql\";subscriptionSpec=1.0,application/json",
                parts,
                Form::Answer(Media::Json),
            ),
            (
                "application/graphql-response+json, text/event-stream;q=0.5, multipart/mixed;subscriptionSpec=\"1.0\"",
                parts,
                Form::Answer(Media::GraphqlResponse),
            ),
            ("text/event-stream, multipart/mixed;subscriptionSpec=1.0", events, Form::Stream(Format::Events)),
            ("application/json, multipart/mixed;subscriptionSpec=2.0", None, Form::Answer(Media::Json)),
            ("*/*", None, Form::Answer(Media::Json)),
        ] {
            let accepted = accepted(value).unwrap();
            assert_eq!((accepted.stream(), accepted.single()), (stream, single), "{value}");
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
