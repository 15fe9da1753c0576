//! Whether the processor lives and is ready, for those who start and watch it.
//!
//! in   what the pipeline and the line to the loader tell [`Health`]
//! out  `GET /healthz` and `/readyz` on a port or a unix socket; `READY=1`, `STATUS=` and `WATCHDOG=1` for systemd
//!
//! All of it runs on the pipeline's own thread: a pipeline that hangs does not say that it lives.

pub(crate) mod http;
mod listen;
mod notify;
#[cfg(test)]
mod tests;

pub use listen::{HealthError, listen};
pub use notify::{notify_stopping, notify_systemd};

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A loader says something every 100 ms; one that is silent for so long is stopped or hangs.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// Whether requests are seen now, and what is missing if not. Its text is one line for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Readiness {
    /// No loader is connected.
    NotConnected {
        /// Why.
        why: String,
    },
    /// It did not introduce itself yet.
    NoHello,
    /// It has no probe at work.
    NoTier,
    /// It has not announced all processes yet.
    NoSnapshot,
    /// It says nothing any more.
    Silent,
    /// A tier is at work, and all processes were announced.
    Ready {
        /// Its name.
        tier: String,
    },
}

impl Readiness {
    /// Requests are seen.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected { why } => write!(f, "not connected to the loader: {why}"),
            Self::NoHello => f.write_str("the loader did not introduce itself yet"),
            Self::NoTier => f.write_str("the loader has no tier at work"),
            Self::NoSnapshot => f.write_str("the loader has not announced all processes yet"),
            Self::Silent => write!(f, "the loader has been silent for {} s", SILENT_AFTER.as_secs()),
            Self::Ready { tier } => write!(f, "ready, tier {tier}"),
        }
    }
}

#[derive(Debug)]
struct Inner {
    now: Readiness,
    tier: String,
    heard: Instant,
}

/// Readiness, as it changes. A clone is a handle to the same.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<Inner>>);

impl Default for Health {
    fn default() -> Self {
        let now = Readiness::NotConnected { why: "not tried yet".to_owned() };
        Self(Arc::new(Mutex::new(Inner { now, tier: String::new(), heard: Instant::now() })))
    }
}

impl Health {
    /// How it is now.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let inner = self.lock();
        let is_silent = inner.heard.elapsed() >= SILENT_AFTER;
        match &inner.now {
            Readiness::NotConnected { .. } => inner.now.clone(),
            _ if is_silent => Readiness::Silent,
            now => now.clone(),
        }
    }

    /// No loader is connected, for this reason; control characters become spaces, so that it stays one line.
    pub fn not_connected(&self, why: &str) {
        let why = why.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.lock().now = Readiness::NotConnected { why };
    }

    /// A loader is connected.
    pub fn connected(&self) {
        let mut inner = self.lock();
        (inner.now, inner.heard) = (Readiness::NoHello, Instant::now());
    }

    /// It introduced itself, with this tier (empty: none).
    pub fn greeted(&self, tier: &str) {
        let mut inner = self.lock();
        tier.clone_into(&mut inner.tier);
        inner.now = if tier.is_empty() { Readiness::NoTier } else { Readiness::NoSnapshot };
    }

    /// It announced all processes.
    pub fn announced(&self) {
        let mut inner = self.lock();
        if inner.now == Readiness::NoSnapshot {
            inner.now = Readiness::Ready { tier: inner.tier.clone() };
        }
    }

    /// It said something.
    pub fn heard(&self) {
        self.lock().heard = Instant::now();
    }

    /// Every change is one assignment, so a panic elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn heard_before(&self, ago: Duration) {
        let mut inner = self.lock();
        inner.heard = inner.heard.checked_sub(ago).unwrap_or(inner.heard);
    }
}
