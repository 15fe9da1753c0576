//! One request per bucket that shows what the bucket holds: the way from a histogram to a trace.

use crate::config::otlp::Exemplars;
use crate::model::{Span, SpanId, TraceId, UnixNanos};

/// Sampled, of the trace flags (W3C Trace Context 3.2.2.5).
const SAMPLED: u8 = 1;

/// The last request of a bucket of durations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::export) struct Exemplar {
    /// Index of the bucket; the number of bounds is the one above all.
    pub(in crate::export) bucket: usize,
    pub(in crate::export) duration_ns: u64,
    pub(in crate::export) time: UnixNanos,
    pub(in crate::export) trace_id: TraceId,
    pub(in crate::export) span_id: SpanId,
}

/// Those of one series: at most one a bucket, none is made before it is needed.
pub(super) type PerBucket = Vec<Exemplar>;

/// `span` becomes the example of its bucket, if `filter` lets it.
pub(super) fn remember(
    exemplars: &mut PerBucket,
    span: &Span,
    bucket: usize,
    duration_ns: u64,
    filter: Exemplars,
) {
    let is_wanted = match filter {
        Exemplars::TraceBased => span.trace_flags & SAMPLED != 0,
        Exemplars::AlwaysOn => true,
        Exemplars::AlwaysOff => false,
    };
    if !is_wanted {
        return;
    }
    let new =
        Exemplar { bucket, duration_ns, time: span.end, trace_id: span.trace_id, span_id: span.span_id };
    match exemplars.iter_mut().find(|old| old.bucket == bucket) {
        Some(old) => *old = new,
        None => exemplars.push(new),
    }
}
