//! How often a request is sent, and when: waits that grow, and what they end with.

use super::answer::Answer;
use super::delivery::Delivered;
use crate::config::otlp::Backoff;
use std::time::Duration;
use tokio::time::Instant;

/// Two that were refused at once must not come back at once: each wait is between this part of it and the whole.
const JITTER_FROM: f64 = 0.5;

/// A first wait of nothing would never grow.
const LEAST_WAIT: Duration = Duration::from_millis(10);

/// Attempts of one request without an answer. Each may be one more copy at a collector that stands still, and may be
/// what fells it. With the usual time of a request that is more than a minute and a half.
pub(super) const MAX_LOST: u32 = 8;

/// What to do with a request that may have been taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum InDoubt {
    /// The receiver can tell two copies from each other: spans by their ids, cumulative points because the later one
    /// says it all again.
    SendAgain,
    /// Two copies count twice: delta points are added up.
    GiveUp,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Another attempt after so long.
    Wait(Duration),
    /// None.
    End(Delivered),
}

/// The attempts of one request so far.
#[derive(Debug)]
pub(super) struct Attempts {
    waits: Waits,
    begun: Instant,
    longest: Duration,
    policy: InDoubt,
    lost: u32,
    in_doubt: bool,
}

impl Attempts {
    pub(super) fn new(backoff: Backoff, policy: InDoubt) -> Self {
        let (waits, longest) = (Waits::new(backoff), backoff.max_elapsed);
        Self { waits, begun: Instant::now(), longest, policy, lost: 0, in_doubt: false }
    }

    /// What follows an answer.
    pub(super) fn after(&mut self, answer: &Answer) -> Next {
        match answer {
            Answer::Accepted { rejected, .. } => Next::End(Delivered::Accepted { rejected: *rejected }),
            Answer::Refused(failure) => Next::End(self.given_up(failure.kind.name())),
            Answer::Later { wait, .. } => self.again(*wait),
            Answer::Unsure { wait, .. } => {
                self.in_doubt = true;
                self.again(*wait)
            }
            Answer::Lost(_) => {
                self.in_doubt = true;
                self.lost += 1;
                let is_last = self.policy == InDoubt::GiveUp || self.lost >= MAX_LOST;
                if is_last { Next::End(Delivered::Unknown) } else { self.again(None) }
            }
        }
    }

    /// How it ends without being accepted. What one attempt left in doubt, no later one makes sure.
    pub(super) const fn given_up(&self, reason: &'static str) -> Delivered {
        if self.in_doubt { Delivered::Unknown } else { Delivered::Failed { reason } }
    }

    /// A wait that the collector asks for is kept, and not in vain: another attempt follows, even where it is the last
    /// one. It may be as long as all attempts together.
    fn again(&mut self, asked: Option<Duration>) -> Next {
        let elapsed = self.begun.elapsed();
        let wait = self.waits.next_wait(asked.map(|asked| asked.min(self.longest)));
        let is_over = if asked.is_some() { elapsed } else { elapsed.saturating_add(wait) } >= self.longest;
        if is_over { Next::End(self.given_up("retries_exhausted")) } else { Next::Wait(wait) }
    }
}

/// Waits that double, each shortened by chance, and each in addition to what the collector asks for: it says the same to
/// everybody.
#[derive(Debug)]
struct Waits {
    next: Duration,
    longest: Duration,
}

impl Waits {
    fn new(backoff: Backoff) -> Self {
        let next = backoff.initial.min(backoff.longest).max(LEAST_WAIT);
        Self { next, longest: backoff.longest.max(LEAST_WAIT) }
    }

    fn next_wait(&mut self, asked: Option<Duration>) -> Duration {
        let wait = self.next.mul_f64(JITTER_FROM + (1. - JITTER_FROM) * fastrand::f64());
        self.next = self.next.saturating_mul(2).min(self.longest);
        wait.saturating_add(asked.unwrap_or_default())
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
