//! Base-2 exponential histograms: buckets that grow with the range of what was seen, and merge when there are too many.
//!
//! Bucket `i` of scale `s` holds values in `(b^i, b^(i+1)]` with `b = 2^(2^-s)`.
//! spec <https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram>

use crate::config::otlp::Exponential;
use std::collections::VecDeque;

/// Counts of positive values, by exponent.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::export) struct ExponentialHistogram {
    pub(in crate::export) scale: i32,
    /// Index of the first bucket.
    pub(in crate::export) offset: i32,
    pub(in crate::export) buckets: VecDeque<u64>,
    /// Values that are 0.
    pub(in crate::export) zero: u64,
    max_buckets: usize,
}

impl ExponentialHistogram {
    pub(super) fn new(bounds: Exponential) -> Self {
        Self {
            scale: bounds.max_scale,
            offset: 0,
            buckets: VecDeque::new(),
            zero: 0,
            max_buckets: bounds.max_buckets.max(2),
        }
    }

    /// Counts a value that is not negative.
    pub(super) fn observe(&mut self, value: f64) {
        if value <= 0. {
            self.zero += 1;
            return;
        }
        let mut index = index(value, self.scale);
        // nearly always it is there
        if let Some(bucket) = self.bucket(index) {
            *bucket += 1;
            return;
        }
        while !self.fits(index) {
            self.halve();
            index >>= 1;
        }
        let at = self.make_room(index);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
    }

    /// What was counted after `earlier`, which is an older state of the same histogram.
    pub(in crate::export) fn since(&self, earlier: &Self) -> Self {
        let mut earlier = earlier.clone();
        while earlier.scale > self.scale {
            earlier.halve();
        }
        let mut rest = self.clone();
        rest.zero -= earlier.zero.min(rest.zero);
        for (index, n) in (earlier.offset..).zip(&earlier.buckets) {
            let at = usize::try_from(index - self.offset).ok();
            if let Some(bucket) = at.and_then(|at| rest.buckets.get_mut(at)) {
                *bucket -= (*n).min(*bucket);
            }
        }
        rest
    }

    /// The same within other bounds: as if it had been counted within them.
    pub(in crate::export) fn within(&self, bounds: Exponential) -> Self {
        let mut coarser = self.clone();
        while coarser.scale > bounds.max_scale || coarser.buckets.len() > bounds.max_buckets.max(2) {
            coarser.halve();
        }
        coarser
    }

    fn bucket(&mut self, index: i32) -> Option<&mut u64> {
        let at = usize::try_from(index - self.offset).ok()?;
        self.buckets.get_mut(at)
    }

    fn fits(&self, index: i32) -> bool {
        if self.buckets.is_empty() {
            return true;
        }
        let first = self.offset.min(index);
        let last = (self.offset + self.len() - 1).max(index);
        usize::try_from(last - first).is_ok_and(|span| span < self.max_buckets)
    }

    fn len(&self) -> i32 {
        i32::try_from(self.buckets.len()).unwrap_or(i32::MAX)
    }

    /// Place of the bucket `index`, which fits.
    fn make_room(&mut self, index: i32) -> usize {
        if self.buckets.is_empty() {
            self.offset = index;
        }
        while index < self.offset {
            self.buckets.push_front(0);
            self.offset -= 1;
        }
        while index >= self.offset + self.len() {
            self.buckets.push_back(0);
        }
        usize::try_from(index - self.offset).unwrap_or_default()
    }

    /// One scale coarser: two neighbours become one.
    pub(in crate::export) fn halve(&mut self) {
        let old = std::mem::take(&mut self.buckets);
        let first = self.offset;
        self.offset = first >> 1;
        self.scale -= 1;
        for (index, n) in (first..).zip(old) {
            let at = self.make_room_from(index >> 1);
            if let Some(bucket) = self.buckets.get_mut(at) {
                *bucket += n;
            }
        }
    }

    /// As [`Self::make_room`], where the offset is known already.
    fn make_room_from(&mut self, index: i32) -> usize {
        while index >= self.offset + self.len() {
            self.buckets.push_back(0);
        }
        usize::try_from(index - self.offset).unwrap_or_default()
    }
}

/// Scale up to which bounds are known: that of native histograms by default.
const TABLE_SCALE: i32 = 3;

/// Fractions, as a number has them, of the lower bounds of the buckets of [`TABLE_SCALE`] between 1 and 2: 2^(n/8).
const LOWER_BOUNDS: [u64; 1 << TABLE_SCALE] = [
    fraction(1.),
    fraction(1.090_507_732_665_257_7),
    fraction(1.189_207_115_002_721),
    fraction(1.296_839_554_651_009_6),
    fraction(std::f64::consts::SQRT_2),
    fraction(1.542_210_825_407_940_7),
    fraction(1.681_792_830_507_429),
    fraction(1.834_008_086_409_342_4),
];

const FRACTION_BITS: u32 = 52;

const fn fraction(value: f64) -> u64 {
    value.to_bits() & ((1 << FRACTION_BITS) - 1)
}

fn exponent(value: f64) -> i32 {
    const BIAS: i32 = 1023;
    i32::try_from((value.to_bits() >> FRACTION_BITS) & 0x7ff).unwrap_or_default() - BIAS
}

/// The bucket of a positive value: by the table where that is fine enough, else by logarithm, which takes three times as long.
fn index(value: f64, scale: i32) -> i32 {
    let fraction = fraction(value);
    if scale <= TABLE_SCALE {
        let below = LOWER_BOUNDS.partition_point(|bound| *bound < fraction);
        let next = (exponent(value) << TABLE_SCALE) + i32::try_from(below).unwrap_or_default();
        return (next - 1) >> (TABLE_SCALE - scale);
    }
    // a power of two is the upper bound of its bucket, and a logarithm is not that exact
    if fraction == 0 {
        return (exponent(value) << scale) - 1;
    }
    last_below(value.log2() * f64::from(1_u32 << scale))
}

/// The largest integer that is less: not by rounding, which is a call where the processor may be of any age.
#[allow(clippy::cast_possible_truncation, reason = "at most 1024 << 20, which a 32-bit integer holds")]
fn last_below(value: f64) -> i32 {
    let towards_zero = value as i32;
    towards_zero - i32::from(f64::from(towards_zero) >= value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>, max_buckets: usize) -> ExponentialHistogram {
        let mut histogram = ExponentialHistogram::new(Exponential { max_buckets, max_scale: 20 });
        values.into_iter().for_each(|value| histogram.observe(value));
        histogram
    }

    fn bounds(histogram: &ExponentialHistogram, at: usize) -> (f64, f64) {
        let base = f64::exp2(f64::exp2(f64::from(-histogram.scale)));
        let index = histogram.offset + i32::try_from(at).unwrap();
        (base.powi(index), base.powi(index + 1))
    }

    #[test]
    fn a_power_of_two_is_the_upper_bound_of_its_bucket() {
        for scale in [-2, -1, 0, 1, 5, 20] {
            for value in [0.25, 0.5, 1., 2., 8., 1024.] {
                assert!(
                    index(value, scale) < index(value * 1.000_001, scale).max(index(value * 16.1, scale))
                );
                assert!(index(value, scale) >= index(value * 0.999_999, scale));
            }
        }
        assert_eq!((index(1., 0), index(1.5, 0), index(2., 0), index(2.1, 0)), (-1, 0, 0, 1));
        assert_eq!((index(4., 1), index(4.1, 1)), (3, 4));
    }

    #[test]
    fn by_the_table_every_value_is_in_the_bucket_that_its_logarithm_says() {
        let by_logarithm = |value: f64, scale: i32| last_below(value.log2() * f64::exp2(f64::from(scale)));
        let mut value = 1e-9_f64;
        while value < 1e18 {
            for scale in [3, 2, 1, 0, -1, -4] {
                assert_eq!(index(value, scale), by_logarithm(value, scale), "{value} at {scale}");
            }
            value *= 1.000_37;
        }
    }

    #[test]
    fn it_never_has_more_buckets_than_allowed_and_loses_no_value() {
        let values = (0..2_000).map(|n| 1e-6 * 1.01_f64.powi(n));
        for max_buckets in [2, 7, 160] {
            let histogram = of(values.clone(), max_buckets);
            assert!(histogram.buckets.len() <= max_buckets, "{}", histogram.buckets.len());
            assert_eq!(histogram.buckets.iter().sum::<u64>(), 2_000);
        }
    }

    #[test]
    fn every_value_lies_within_its_bucket() {
        let values = [0.001, 0.004, 0.25, 3.7, 9.2];
        let histogram = of(values, 160);
        let filled = histogram.buckets.iter().enumerate().filter(|(_, n)| **n > 0);
        for ((at, _), value) in filled.zip(values) {
            let (low, high) = bounds(&histogram, at);
            assert!(low * 0.999 < value && value <= high * 1.001, "{value} in ({low}, {high}]");
        }
    }

    #[test]
    fn zeros_have_a_count_of_their_own() {
        let histogram = of([0., 0., 1.], 160);
        assert_eq!((histogram.zero, histogram.buckets.len()), (2, 1));
    }

    #[test]
    fn what_was_counted_finer_is_the_same_within_other_bounds() {
        let values = || (0..500).map(|n| 1e-4 * 1.02_f64.powi(n)).chain([0., 0.5, 1., 2.]);
        let fine = of(values(), 1024);
        for max_scale in [20, 4, 0, -3] {
            for max_buckets in [160, 20, 2] {
                let bounds = Exponential { max_buckets, max_scale };
                let mut coarse = ExponentialHistogram::new(bounds);
                values().for_each(|value| coarse.observe(value));
                let reduced = fine.within(bounds);
                assert_eq!((reduced.scale, reduced.offset, reduced.zero), (coarse.scale, coarse.offset, 1));
                assert_eq!(reduced.buckets, coarse.buckets, "{bounds:?}");
            }
        }
    }

    #[test]
    fn a_difference_holds_what_came_after_even_at_a_coarser_scale() {
        let early = of([0.1, 0.2, 0.], 8);
        let mut late = early.clone();
        [0.1, 700., 0.].into_iter().for_each(|value| late.observe(value));
        assert!(late.scale < early.scale);
        let rest = late.since(&early);
        assert_eq!((rest.zero, rest.buckets.iter().sum::<u64>(), rest.scale), (1, 2, late.scale));
    }
}
