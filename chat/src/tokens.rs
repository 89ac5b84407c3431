//! The two tokens of a session: a signed access token that lives for minutes, and an opaque refresh token of which only a
//! hash is kept.

use std::{sync::OnceLock, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quikapp_entities::{SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Result, access::Viewer};

/// How long an access token lives unless it is set.
pub(crate) const ACCESS_TOKEN_LIFE: Duration = Duration::from_mins(15);
/// How far the clocks of two nodes may differ.
const CLOCK_SKEW: Duration = Duration::from_mins(1);
/// No token of ours is longer, in bytes.
const MAX_LENGTH: usize = 1_024;
const ISSUER: &str = "quikapp";

#[derive(Serialize, Deserialize)]
struct Claims {
    /// The user's id, as the API shows it.
    sub: String,
    /// The session's id, as the API shows it.
    sid: String,
    iss: String,
    /// Seconds since 1970, as of the next two.
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// Signs and checks access tokens.
pub(crate) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    life: OnceLock<Duration>,
}

impl Tokens {
    pub(crate) fn new(secret: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "sub"]);
        // Both times are checked below, by the clock of the domain; this crate knows only the machine's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            life: OnceLock::new(),
        }
    }

    /// Lets access tokens live so long. Counts once.
    pub(crate) fn set_life(&self, life: Duration) {
        if self.life.set(life).is_err() {
            tracing::error!("the life of access tokens is set already");
        }
    }

    /// When a token ends that is issued then. Tokens count in seconds.
    pub(crate) fn end(&self, issued: Timestamp) -> Timestamp {
        Timestamp(issued.0.div_euclid(1_000).saturating_mul(1_000))
            .plus(*self.life.get().unwrap_or(&ACCESS_TOKEN_LIFE))
    }

    /// An access token that is good from now on, and when it ends.
    pub(crate) fn issue(
        &self,
        user: UserId,
        session: SessionId,
        now: Timestamp,
    ) -> Result<(String, Timestamp)> {
        let issued = now.0.div_euclid(1_000);
        let end = self.end(now);
        let claims = Claims {
            sub: user.to_string(),
            sid: session.to_string(),
            iss: ISSUER.to_owned(),
            iat: issued,
            nbf: issued,
            exp: end.0.div_euclid(1_000),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(
            |error| {
                tracing::error!(%error, "an access token could not be signed");
                Error::Internal
            },
        )?;
        Ok((token, end))
    }

    /// Who the token was issued to, if it is ours and good now. Says nothing about the session's present state.
    pub(crate) fn check(&self, token: &str, now: Timestamp) -> Result<Viewer> {
        const REFUSED: Error = Error::Unauthenticated("the access token is not valid");
        if token.len() > MAX_LENGTH {
            return Err(REFUSED);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| REFUSED)?
            .claims;
        let expires_at = Timestamp(claims.exp.saturating_mul(1_000));
        if expires_at <= now {
            return Err(Error::Unauthenticated("the access token has expired"));
        }
        if Timestamp(claims.nbf.saturating_mul(1_000)) > now.plus(CLOCK_SKEW) {
            return Err(REFUSED);
        }
        let user = claims.sub.parse().map_err(|_| REFUSED)?;
        let session = claims.sid.parse().map_err(|_| REFUSED)?;
        Ok(Viewer::new(user, session, expires_at))
    }
}

/// A new refresh token: the session's id, a dot, and the secret.
pub(crate) fn refresh_token(session: SessionId, secret: &[u8; 32]) -> String {
    format!("{session}.{}", URL_SAFE_NO_PAD.encode(secret))
}

/// The session that a refresh token claims to be of, if it has the form of one.
pub(crate) fn refresh_token_session(token: &str) -> Option<SessionId> {
    let (session, secret) = token.split_once('.')?;
    let well_formed = token.len() <= MAX_LENGTH && URL_SAFE_NO_PAD.decode(secret).ok()?.len() == 32;
    session.parse().ok().filter(|_| well_formed)
}

/// What is kept of a token: its SHA-256 in hex.
pub(crate) fn hash(token: &str) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use uuid::Uuid;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_123);
    const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

    fn ids() -> (UserId, SessionId) {
        (UserId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)))
    }

    fn sign(header: &Header, claims: &serde_json::Value, secret: &[u8]) -> String {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret)).unwrap()
    }

    #[test]
    fn an_access_token_is_good_for_fifteen_minutes() {
        let (user, session) = ids();
        let tokens = Tokens::new(SECRET);
        let (token, expires_at) = tokens.issue(user, session, NOW).unwrap();
        assert_eq!(expires_at, Timestamp(1_800_000_900_000));
        let viewer = Viewer::new(user, session, expires_at);
        assert_eq!(tokens.check(&token, NOW), Ok(viewer));
        assert_eq!(tokens.check(&token, Timestamp(expires_at.0 - 1)), Ok(viewer));
        assert!(tokens.check(&token, expires_at).is_err());
        // Issued by a node whose clock is a little ahead, or far ahead.
        assert!(tokens.check(&token, Timestamp(NOW.0 - 30_000)).is_ok());
        assert!(tokens.check(&token, Timestamp(NOW.0 - 90_000)).is_err());
    }

    #[test]
    fn nothing_else_is_an_access_token() {
        let (user, session) = ids();
        let tokens = Tokens::new(SECRET);
        let (token, _) = tokens.issue(user, session, NOW).unwrap();
        let claims = serde_json::json!({
            "sub": user.to_string(), "sid": session.to_string(), "iss": "quikapp",
            "iat": 1_800_000_000, "nbf": 1_800_000_000, "exp": 1_800_000_900,
        });
        let hs256 = Header::new(Algorithm::HS256);
        assert!(tokens.check(&sign(&hs256, &claims, SECRET), NOW).is_ok());
        assert!(tokens.check(&sign(&hs256, &claims, b"another secret"), NOW).is_err());
        assert!(tokens.check(&sign(&Header::new(Algorithm::HS512), &claims, SECRET), NOW).is_err());
        for claim in ["sub", "sid", "iss", "iat", "nbf", "exp"] {
            let mut less = claims.clone();
            less.as_object_mut().unwrap().remove(claim);
            assert!(tokens.check(&sign(&hs256, &less, SECRET), NOW).is_err(), "{claim}");
        }
        for (claim, value) in [("iss", "other"), ("sub", &session.to_string()), ("sid", "session_0")] {
            let mut other = claims.clone();
            other[claim] = value.into();
            assert!(tokens.check(&sign(&hs256, &other, SECRET), NOW).is_err(), "{claim}");
        }
        // The unsigned form, with the header that says so.
        let body = token.split('.').nth(1).unwrap();
        let unsigned = format!("{}.{body}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#));
        for bad in ["", ".", "..", &unsigned, &token[..token.len() - 2], &"x".repeat(100_000)] {
            assert!(tokens.check(bad, NOW).is_err());
        }
    }

    #[test]
    fn a_refresh_token_names_its_session() {
        let (_, session) = ids();
        let token = refresh_token(session, &[9; 32]);
        assert_eq!(refresh_token_session(&token), Some(session));
        assert_eq!(hash(&token).len(), 64);
        for bad in ["", ".", "session_0.AAAA", &token[1..], &token[..token.len() - 1], &format!("{token}.")] {
            assert_eq!(refresh_token_session(bad), None, "{bad}");
        }
    }
}
