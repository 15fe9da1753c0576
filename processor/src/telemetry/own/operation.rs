//! Spans about what the agent itself does: one for something that takes time and may fail, never one per request that it
//! observes.

use super::loader::Loader;
use crate::telemetry::Telemetry;
use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, Tracer};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Operations of one name: so many at once, and one more each [`PACE`]. At 4000 requests a second eight exports begin in
/// each: more of them say nothing new.
const BURST: u32 = 10;
const PACE: Duration = Duration::from_secs(1);

/// Something that the agent does. It ends when it is dropped; without traces it is nothing.
#[derive(Debug, Default)]
pub struct Operation(Option<Box<SdkSpan>>);

impl Operation {
    /// Says something about it; each key once.
    pub fn set<V: Into<Value>>(&mut self, key: &'static str, value: impl FnOnce() -> V) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value()));
        }
    }

    /// Something happened in it, with this result.
    pub fn note(&mut self, event: &'static str, result: &str) {
        if let Some(span) = &mut self.0 {
            span.add_event(event, vec![KeyValue::new("result", result.to_owned())]);
        }
    }

    /// It failed for this reason.
    pub fn fail(&mut self, reason: &str) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new("error.type", reason.to_owned()));
            span.set_status(Status::error(reason.to_owned()));
        }
    }
}

/// Where operations become spans, once somebody wants them.
#[derive(Debug, Default)]
pub(in crate::telemetry) struct Spans(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    tracer: Option<SdkTracer>,
    /// When an operation of this name that follows the pace would begin.
    paces: BTreeMap<&'static str, Instant>,
    loader: Loader,
}

impl Spans {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Telemetry {
    /// Begins an operation: a span, if traces about the agent are asked for and it is not one too many.
    #[must_use]
    pub fn operation(&self, name: &'static str) -> Operation {
        // What carries these spans must not make more of them.
        if Context::is_current_telemetry_suppressed() {
            return Operation::default();
        }
        let mut state = self.spans.lock();
        let Some(tracer) = state.tracer.clone() else { return Operation::default() };
        let is_due = keeps_pace(state.paces.entry(name).or_insert_with(Instant::now), Instant::now());
        drop(state);
        if !is_due {
            self.internal_dropped("traces", "rate_limited", 1);
            return Operation::default();
        }
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Client);
        Operation(Some(Box::new(tracer.build_with_context(builder, &Context::new()))))
    }

    /// The stream of the loader opened: it said who it is.
    pub fn loader_greeted(&self, tier: &str, version: &str) {
        let stream = self.operation("loader stream");
        self.spans.lock().loader.greeted(stream, tier, version);
    }

    /// The stream of the loader ended, or did not open, for this reason.
    pub fn loader_lost(&self, why: &str) {
        let was_open = self.spans.lock().loader.lost(why);
        if was_open {
            let connecting = self.operation("loader connect");
            self.spans.lock().loader.connecting(connecting);
        }
    }

    /// From now on operations are heard; the agent looks for the loader.
    pub(super) fn begin_traces(&self, tracer: SdkTracer) {
        self.spans.lock().tracer = Some(tracer);
        let connecting = self.operation("loader connect");
        self.spans.lock().loader.connecting(connecting);
    }

    /// Ends what is under way.
    pub(super) fn end_traces(&self) {
        let ended = std::mem::take(&mut *self.spans.lock());
        drop(ended);
    }
}

/// Whether an operation may begin now; if so, the next one is a pace later.
fn keeps_pace(next: &mut Instant, now: Instant) -> bool {
    let begins = (*next).max(now);
    let is_due = begins.duration_since(now) < PACE * BURST;
    if is_due {
        *next = begins + PACE;
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_operations_begin_at_once_and_then_one_a_second() {
        let begun = Instant::now();
        let mut next = begun;
        let due = |next: &mut Instant, after_ms: u64, tries: usize| {
            let now = begun + Duration::from_millis(after_ms);
            (0..tries).filter(|_| keeps_pace(next, now)).count()
        };
        assert_eq!(due(&mut next, 0, 50), 10);
        assert_eq!(due(&mut next, 500, 50), 1);
        assert_eq!(due(&mut next, 5_500, 50), 5);
        assert_eq!(due(&mut next, 600_000, 50), 10);
    }

    #[test]
    fn without_traces_an_operation_is_nothing_and_its_values_are_not_made() {
        let telemetry = Telemetry::new();
        let mut operation = telemetry.operation("loader connect");
        operation.set("key", || -> String { panic!("made") });
        operation.fail("reason");
        assert!(operation.0.is_none());
    }
}
