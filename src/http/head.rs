//! What is wrong with the head of a request that the library below lets pass.

use axum::{
    extract::Request,
    http::{StatusCode, Version, header, uri::Authority},
};

use crate::failure::{ErrorCode, Failure};

/// Refuses requests that others on the way could understand differently.
///
/// # Errors
/// 400 for what has not exactly one valid `Host` (RFC 9112, section 3.2), 501 for a body in another transfer coding than `chunked`
/// (section 6.1), which would be read as it is.
pub(crate) fn check(request: &Request) -> Result<(), Failure> {
    let headers = request.headers();
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, other) = (hosts.next(), hosts.next());
    let is_missing = host.is_none() && request.version() == Version::HTTP_11;
    let is_valid = |host: &[u8]| {
        host.is_empty() || Authority::try_from(host).is_ok_and(|host| !host.as_str().contains('@'))
    };
    if is_missing || other.is_some() || !host.is_none_or(|host| is_valid(host.as_bytes())) {
        return Err(Failure::bad_request("a request has one header Host, with a valid name"));
    }
    let codings = headers.get_all(header::TRANSFER_ENCODING);
    if codings.iter().any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")) {
        let message = "bodies are sent as they are or with Transfer-Encoding: chunked";
        return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, ErrorCode::BadRequest, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::body::Body;

    use super::*;

    fn status(version: Version, headers: &[(&str, &str)]) -> Option<StatusCode> {
        let mut request = Request::builder().version(version).uri("/graphql");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(Body::empty()).unwrap()).err().map(|failure| failure.status)
    }

    #[test]
    fn a_request_has_one_valid_host() {
        let bad = Some(StatusCode::BAD_REQUEST);
        for host in ["a", "a:80", "127.0.0.1:4000", "[::1]:4000", "a_b.example", ""] {
            assert_eq!(status(Version::HTTP_11, &[("host", host)]), None, "{host}");
        }
        for host in ["a b", "a/c?", "u@a", "a, b"] {
            assert_eq!(status(Version::HTTP_11, &[("host", host)]), bad, "{host}");
        }
        assert_eq!(status(Version::HTTP_11, &[]), bad);
        assert_eq!(status(Version::HTTP_10, &[]), None);
        assert_eq!(status(Version::HTTP_11, &[("host", "a"), ("host", "a")]), bad);
    }

    #[test]
    fn bodies_are_plain_or_chunked() {
        let with = |coding| status(Version::HTTP_11, &[("host", "a"), ("transfer-encoding", coding)]);
        assert_eq!((with("chunked"), with(" Chunked")), (None, None));
        for coding in ["gzip, chunked", "identity", "chunked, chunked"] {
            assert_eq!(with(coding), Some(StatusCode::NOT_IMPLEMENTED), "{coding}");
        }
    }
}
