//! Password hashes: Argon2id with the crate's recommended costs (19 MiB, two passes; some 15 ms of a core each).

use std::{sync::Arc, time::Duration};

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::{Error, Result};

/// Checked where there is no hash to check, so that an unknown address takes as long as a wrong password. It has the
/// costs of every new hash, and nobody has its password.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LW5vYm9keS1ubw$J9NvTUoKmKSjyZTYtGIqKZg7Wy4Sr2YBIuzqo2sYsX0";

/// How long a request waits for its turn before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hashes and checks passwords, on as many threads at a time as there are cores. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { turns: Arc::new(Semaphore::new(cores)) }
    }

    /// A hash to store. `salt` has to be new for each password.
    pub(crate) async fn hash(&self, password: String, salt: [u8; 16]) -> Result<String> {
        self.run(move || {
            Argon2::default()
                .hash_password_with_salt(password.as_bytes(), &salt)
                .map(|hash| hash.to_string())
                .map_err(|error| {
                    tracing::error!(%error, "a password could not be hashed");
                    Error::Internal
                })
        })
        .await?
    }

    /// Whether the password belongs to the hash; never without one, and that takes as long.
    pub(crate) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        self.run(move || {
            let known = hash.is_some();
            let hash = hash.as_deref().unwrap_or(NOBODY);
            let right = Argon2::default().verify_password(password.as_bytes(), hash).is_ok();
            right && known
        })
        .await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| Error::RateLimited { retry_after: PATIENCE })?
            .map_err(|_| Error::Internal)?;
        let work = tokio::task::spawn_blocking(move || {
            // Held by the thread: a caller that has gone away does not free a core that is still at work.
            let _turn = turn;
            work()
        });
        work.await.map_err(|error| {
            tracing::error!(%error, "hashing stopped");
            Error::Internal
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use argon2::password_hash::phc::PasswordHash;

    use super::*;

    #[tokio::test]
    async fn only_the_right_password_passes() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".into(), [7; 16]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("correct horsf".into(), Some(hash)).await.unwrap());
        assert!(!passwords.verify("correct horse".into(), None).await.unwrap());
        assert!(!passwords.verify("correct horse".into(), Some("broken".into())).await.unwrap());
    }

    #[tokio::test]
    async fn a_missing_hash_costs_what_a_hash_costs() {
        let hash = Passwords::new().hash("correct horse".into(), [7; 16]).await.unwrap();
        let (hash, nobody) = (PasswordHash::new(&hash).unwrap(), PasswordHash::new(NOBODY).unwrap());
        assert_eq!(nobody.algorithm, hash.algorithm);
        assert_eq!(nobody.version, hash.version);
        assert_eq!(nobody.params.as_str(), hash.params.as_str());
        assert_eq!(nobody.hash.unwrap().len(), hash.hash.unwrap().len());
    }
}
