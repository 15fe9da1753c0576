//! The bound before the SDK's queues, and the books about what became of each record.
//!
//! The SDK drops what is too much and tells nobody how much; here it is counted before it comes to that.

use super::MAX_WAITING;
use super::client::Fate;
use crate::telemetry::Telemetry;
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Counts the records of one signal in and out.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    signal: &'static str,
    telemetry: Telemetry,
    books: Arc<Mutex<Books>>,
    fate: Fate,
}

/// `waiting <= unsettled`: what is on its way waits no more, and has no fate yet.
#[derive(Debug, Default)]
struct Books {
    waiting: usize,
    unsettled: usize,
    is_closed: bool,
}

impl Gate {
    pub(super) fn new(signal: &'static str, telemetry: Telemetry, fate: Fate) -> Self {
        Self { signal, telemetry, books: Arc::default(), fate }
    }

    /// What lets records through to `inner`.
    pub(super) fn before<P>(&self, inner: P) -> Gated<P> {
        Gated { inner, gate: self.clone() }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more may wait; else it is counted.
    fn enter(&self) -> bool {
        let mut books = self.books();
        let reason = if books.is_closed { "shutdown" } else { "queue_full" };
        if books.is_closed || books.waiting >= MAX_WAITING {
            self.telemetry.internal_dropped(self.signal, reason, 1);
            return false;
        }
        books.waiting += 1;
        books.unsettled += 1;
        true
    }

    /// So many, on their way by `export`.
    async fn pass(&self, n: usize, export: impl Future<Output = OTelSdkResult>) -> OTelSdkResult {
        self.leave(n);
        let result = export.await;
        self.arrived(n);
        result
    }

    /// So many are on their way.
    fn leave(&self, n: usize) {
        let mut books = self.books();
        books.waiting = books.waiting.saturating_sub(n);
    }

    /// So many arrived, or did not. What was given up meanwhile is counted already.
    fn arrived(&self, n: usize) {
        let mut books = self.books();
        if books.is_closed {
            return;
        }
        books.unsettled = books.unsettled.saturating_sub(n);
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        let (rejected, reason) = match self.fate.take() {
            Some(Ok(rejected)) => (rejected.min(n), "partial_success"),
            Some(Err(reason)) => (n, reason),
            None => (n, "not_encoded"),
        };
        self.telemetry.internal_exported(self.signal, n - rejected);
        self.telemetry.internal_dropped(self.signal, reason, rejected);
    }

    /// Closes it. How many have no fate yet; they are counted as lost.
    pub(super) fn give_up(&self) -> usize {
        let mut books = self.books();
        books.is_closed = true;
        let left = std::mem::take(&mut books.unsettled);
        self.telemetry.internal_dropped(self.signal, "shutdown", u64::try_from(left).unwrap_or(u64::MAX));
        left
    }
}

/// A processor behind a gate.
#[derive(Debug)]
pub(super) struct Gated<P> {
    inner: P,
    gate: Gate,
}

impl<P: LogProcessor> LogProcessor for Gated<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.gate.enter() {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: SpanProcessor> SpanProcessor for Gated<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.gate.enter() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// An exporter behind a gate.
#[derive(Debug)]
pub(super) struct Counted<E> {
    inner: E,
    gate: Gate,
}

impl<E> Counted<E> {
    pub(super) const fn new(inner: E, gate: Gate) -> Self {
        Self { inner, gate }
    }
}

impl<E: LogExporter> LogExporter for Counted<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.gate.pass(batch.iter().count(), self.inner.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.gate.pass(batch.len(), self.inner.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
