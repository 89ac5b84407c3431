//! Time and chance, passed in so that tests can fix them.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use quikapp_entities::Timestamp;
use uuid::Uuid;

/// Where the domain reads the time.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Where the domain draws secrets from.
pub trait Random: Send + Sync + 'static {
    /// 32 bytes nobody can guess.
    fn secret(&self) -> [u8; 32];
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn secret(&self) -> [u8; 32] {
        rand::random()
    }
}

/// Both, as the domain holds them.
#[derive(Clone)]
pub struct Environment {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Environment {
    /// An environment with the given sources.
    pub fn new(clock: impl Clock, random: impl Random) -> Self {
        Self { clock: Arc::new(clock), random: Arc::new(random) }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// 32 bytes nobody can guess.
    #[must_use]
    pub fn secret(&self) -> [u8; 32] {
        self.random.secret()
    }

    /// A new time-ordered id.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::new(SystemClock, SystemRandom)
    }
}
