//! Which web pages may call the API from a browser.

use axum::http::{HeaderMap, HeaderValue, header};
use url::Url;

/// The origins that are let in besides the server's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// Only pages of this server.
    #[default]
    Own,
    /// These as well, each as `scheme://host[:port]`.
    Listed(Vec<String>),
    /// All.
    Any,
}

impl Origins {
    /// Reads a comma-separated list; `*` stands for all.
    ///
    /// # Errors
    /// The part that is not an origin.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Ok(Self::Own);
        }
        if parts.contains(&"*") {
            return Ok(Self::Any);
        }
        parts
            .into_iter()
            .map(|part| {
                let url = Url::parse(part).map_err(|_| part.to_owned())?;
                let is_origin = matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && matches!(url.path(), "" | "/")
                    && url.query().is_none()
                    && url.fragment().is_none()
                    && url.username().is_empty()
                    && url.password().is_none();
                if is_origin { Ok(url.origin().ascii_serialization()) } else { Err(part.to_owned()) }
            })
            .collect::<Result<_, _>>()
            .map(Self::Listed)
    }

    /// Whether `origin` is on the list.
    #[must_use]
    pub fn lists(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Own => false,
            Self::Listed(origins) => origin
                .to_str()
                .is_ok_and(|origin| origins.iter().any(|listed| listed.eq_ignore_ascii_case(origin))),
            Self::Any => true,
        }
    }

    /// Whether a request with these headers may open a WebSocket: browsers send those without asking first, so the server
    /// has to look. Programs send no `Origin` and are let in.
    #[must_use]
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        self.lists(origin) || is_own(origin, headers)
    }
}

fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let Some(origin) = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok()) else { return false };
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    // The scheme is left out of it: behind a proxy the server does not know its own.
    let Ok(own) = Url::parse(&format!("{}://{host}", origin.scheme())) else { return false };
    origin.host() == own.host() && origin.port_or_known_default() == own.port_or_known_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn headers(origin: &str, host: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(header::HOST, host.parse().unwrap());
        headers
    }

    #[test]
    fn own_origin_and_listed_ones_are_admitted() {
        let origins = Origins::parse("https://app.example.com, http://localhost:3000/").unwrap();
        assert!(origins.admits(&HeaderMap::new()));
        assert!(origins.admits(&headers("http://127.0.0.1:8000", "127.0.0.1:8000")));
        assert!(origins.admits(&headers("https://chat.example.com", "chat.example.com")));
        assert!(origins.admits(&headers("https://app.example.com", "chat.example.com")));
        assert!(origins.admits(&headers("http://localhost:3000", "chat.example.com")));
        assert!(!origins.admits(&headers("http://127.0.0.1:8001", "127.0.0.1:8000")));
        assert!(!origins.admits(&headers("https://app.example.com.evil.test", "chat.example.com")));
        assert!(!origins.admits(&headers("null", "chat.example.com")));
        assert!(Origins::Any.admits(&headers("null", "chat.example.com")));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in
            ["example.com", "https://example.com/path", "ftp://example.com", "https://u:p@example.com"]
        {
            assert!(Origins::parse(text).is_err(), "{text}");
        }
        assert_eq!(Origins::parse(" , "), Ok(Origins::Own));
        assert_eq!(Origins::parse("*"), Ok(Origins::Any));
    }
}
