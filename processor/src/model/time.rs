//! Two clocks that must never be mixed up.

use std::time::Duration;

/// Nanoseconds of `CLOCK_BOOTTIME`: what records carry, and what every timer of the pipeline runs on.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KtimeNs(pub u64);

impl KtimeNs {
    /// Time from `earlier` to here, zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment plus `by`, at most the end of time.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Nanoseconds since 1970-01-01 UTC: what leaves the processor.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixNanos(pub u64);

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClockPair {
    /// `CLOCK_BOOTTIME`.
    pub ktime: KtimeNs,
    /// `CLOCK_REALTIME`.
    pub unix: UnixNanos,
}

impl ClockPair {
    /// The wall clock at `ktime`, by this pair.
    #[must_use]
    pub const fn unix(&self, ktime: KtimeNs) -> UnixNanos {
        let shift = ktime.0.wrapping_sub(self.ktime.0);
        UnixNanos(self.unix.0.wrapping_add(shift))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_before_the_pair_is_before_it_on_the_wall_too() {
        let pair = ClockPair { ktime: KtimeNs(1_000), unix: UnixNanos(1_700_000_000_000_000_000) };
        assert_eq!(pair.unix(KtimeNs(400)), UnixNanos(1_699_999_999_999_999_400));
        assert_eq!(pair.unix(KtimeNs(1_600)), UnixNanos(1_700_000_000_000_000_600));
    }
}
