//! Histograms with fixed buckets, in integers.

/// Upper bounds of request durations, nanoseconds: those of OpenTelemetry's HTTP conventions, and 0.
pub(in crate::export) const DURATION_BOUNDS_NS: [u64; 15] = [
    0,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// Upper bounds of body sizes, bytes.
pub(in crate::export) const SIZE_BOUNDS_BYTES: [u64; 10] = [0, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];

/// Counts per bucket (not cumulative), and their sum. What is above the last bound is in `above`.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Histogram<const N: usize> {
    pub(in crate::export) buckets: [u64; N],
    pub(in crate::export) above: u64,
    pub(in crate::export) sum: u64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: [0; N], above: 0, sum: 0 }
    }
}

impl<const N: usize> Histogram<N> {
    /// Counts a value and says in which bucket; `bounds` are ascending, and a value equal to a bound is in its bucket.
    pub(in crate::export) fn observe(&mut self, bounds: &[u64; N], value: u64) -> usize {
        let bucket = bounds.partition_point(|&bound| bound < value);
        *self.buckets.get_mut(bucket).unwrap_or(&mut self.above) += 1;
        self.sum = self.sum.saturating_add(value);
        bucket
    }

    /// Values in it.
    pub(in crate::export) fn count(&self) -> u64 {
        self.buckets.iter().sum::<u64>() + self.above
    }

    /// What was counted after `earlier`, which is an older state of the same histogram.
    pub(in crate::export) fn since(&self, earlier: &Self) -> Self {
        let mut rest = *self;
        rest.buckets.iter_mut().zip(earlier.buckets).for_each(|(n, before)| *n = n.saturating_sub(before));
        rest.above = rest.above.saturating_sub(earlier.above);
        rest.sum = rest.sum.saturating_sub(earlier.sum);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_in_its_bucket() {
        let mut histogram = Histogram::default();
        for value in [0, 1, 32, 33, 8192, 8193, u64::MAX] {
            histogram.observe(&SIZE_BOUNDS_BYTES, value);
        }
        assert_eq!(histogram.buckets, [1, 2, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((histogram.above, histogram.sum), (2, u64::MAX));
    }
}
