//! Exponential buckets as native histograms say them: runs of buckets that are not empty, each as its difference to the one
//! before.
//!
//! Bucket `i` of schema `s` holds values in `(b^(i-1), b^i]` with `b = 2^(2^-s)`: one more than OpenTelemetry's index.
//! spec <https://prometheus.io/docs/specs/native_histograms/>

use super::messages::BucketSpan;
use crate::config::NativeHistograms;
use crate::export::series::ExponentialHistogram;

/// Coarsest schema of the format. All durations and sizes that there can be are five of its buckets.
const MIN_SCHEMA: i32 = -4;

/// Values up to here are zero, 2^-128: the default of Prometheus' own libraries. Ours are 0 or at least 1e-9.
pub(super) const ZERO_THRESHOLD: f64 = f64::from_bits((1023 - 128) << 52);

/// Buckets of positive values.
#[derive(Debug, PartialEq)]
pub(super) struct Native {
    pub(super) schema: i32,
    pub(super) spans: Vec<BucketSpan>,
    pub(super) deltas: Vec<i64>,
}

impl Native {
    /// Within `bounds`: made coarser until it fits.
    pub(super) fn new(histogram: &ExponentialHistogram, bounds: NativeHistograms) -> Self {
        let mut histogram = histogram.clone();
        while histogram.scale > MIN_SCHEMA
            && (histogram.scale > bounds.max_schema || filled(&histogram).count() > bounds.max_buckets)
        {
            histogram.halve();
        }
        let mut native = Self { schema: histogram.scale, spans: Vec::new(), deltas: Vec::new() };
        let (mut next, mut last) = (0, 0);
        for (index, n) in filled(&histogram) {
            native.extend_span(index - next);
            native.deltas.push(n - last);
            (next, last) = (index + 1, n);
        }
        native
    }

    /// A bucket after `gap` empty ones.
    fn extend_span(&mut self, gap: i32) {
        match self.spans.last_mut() {
            Some(BucketSpan { length: Some(length), .. }) if gap == 0 => *length += 1,
            _ => self.spans.push(BucketSpan { offset: Some(gap), length: Some(1) }),
        }
    }
}

/// Buckets that are not empty, by Prometheus' index.
fn filled(histogram: &ExponentialHistogram) -> impl Iterator<Item = (i32, i64)> {
    let counts = histogram.buckets.iter().map(|n| i64::try_from(*n).unwrap_or(i64::MAX));
    (histogram.offset + 1..).zip(counts).filter(|(_, n)| *n > 0)
}
