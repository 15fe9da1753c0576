//! `Processed N requests`: how many there were since the start, at most once a second, and at the end.

use crate::telemetry::exposition::push;
use std::time::{Duration, Instant};

/// Faster than anybody reads is no use.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Counter {
    seen: u64,
    said: u64,
    said_at: Option<Instant>,
}

impl Counter {
    pub(super) fn append(&mut self, out: &mut String, n: usize) {
        self.seen = self.seen.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
        if self.said_at.is_none_or(|at| at.elapsed() >= INTERVAL) {
            self.say(out);
        }
    }

    pub(super) fn finish(&mut self, out: &mut String) {
        if self.seen != self.said || self.said_at.is_none() {
            self.say(out);
        }
    }

    fn say(&mut self, out: &mut String) {
        push(out, format_args!("Processed {} requests\n", self.seen));
        self.said = self.seen;
        self.said_at = Some(Instant::now());
    }
}
