//! RED metrics (rate, errors, duration) of the observed processes: one table that every reader of metrics shows.
//!
//! in   spans; each is two hash look-ups at most and no allocation once its series exists
//! out  snapshots, for the Prometheus endpoint and for OTLP
//! keeps at most [`table::MAX_SERIES`] series per metric, beyond them one folded series per service; a series without
//!      news for [`table::TIME_TO_LIVE`] ends
//!
//! Names, attributes and buckets are those of OpenTelemetry eBPF Instrumentation, so that dashboards for it work.

mod exemplar;
mod exponential;
mod histogram;
mod key;
mod metric;
mod table;

use super::{BoxedExporter, ExportError, Exporter, Parts};
use crate::config::Config;
use crate::config::otlp::{Exemplars, Exponential};
use crate::discover::sdk::Tells;
use crate::model::{Service, Span, SpanKind};
use crate::telemetry::Telemetry;
pub(super) use exemplar::Exemplar;
pub(super) use exponential::ExponentialHistogram;
pub(super) use histogram::{DURATION_BOUNDS_NS, Histogram, SIZE_BOUNDS_BYTES};
pub(super) use key::{Key, ServiceKey};
pub(super) use metric::{CLIENT, Field, Metric, SERVER};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
#[cfg(test)]
pub(super) use table::{MAX_SERIES, TIME_TO_LIVE};
pub(super) use table::{Requests, Series, Targets, real};

const NAME: &str = "metrics";

/// Fills the table if somebody reads it.
pub(super) fn create(parts: &Parts<'_>) -> Result<Option<BoxedExporter>, ExportError> {
    let is_read = parts.config.prometheus.is_some() || parts.config.otlp.metrics.is_some();
    Ok(is_read.then(|| Box::new(Recorder { store: parts.series.clone() }) as BoxedExporter))
}

struct Recorder {
    store: Store,
}

impl Exporter for Recorder {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tells(&self) -> Tells {
        Tells::Metrics
    }

    fn export(&mut self, spans: &[Span]) {
        self.store.record(spans, Instant::now());
    }
}

/// What a series keeps beside its fixed buckets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keep {
    /// Exponential histograms within these bounds.
    pub(super) exponential: Option<Exponential>,
    /// Which requests become examples.
    pub(super) exemplars: Exemplars,
}

impl Keep {
    /// What the readers that `config` asks for need.
    pub(super) fn of(config: &Config) -> Self {
        config.otlp.metrics.as_ref().map_or_else(Self::default, |metrics| Self {
            exponential: metrics.exponential,
            exemplars: metrics.exemplars,
        })
    }
}

/// What is counted. A clone is a handle to the same.
#[derive(Clone)]
pub(super) struct Store {
    tables: Arc<Mutex<Tables>>,
    pub(super) telemetry: Telemetry,
    keep: Keep,
}

/// One table per kind of span. A clone is a snapshot: keys are shared, only numbers are copied.
#[derive(Clone, Default)]
pub(super) struct Tables {
    pub(super) server: Requests,
    pub(super) client: Requests,
    pub(super) targets: Targets,
}

impl Store {
    pub(super) fn new(telemetry: Telemetry, keep: Keep) -> Self {
        Self { tables: Arc::default(), telemetry, keep }
    }

    pub(super) fn record(&self, spans: &[Span], now: Instant) {
        let mut tables = self.lock();
        let (mut overflow, mut recorded) = ([0_u64; 2], 0);
        let mut seen: Option<&Arc<Service>> = None;
        for span in spans.iter().filter(|span| span.signals.metrics) {
            recorded += 1;
            // spans of one service come in runs
            if seen.replace(&span.service).is_none_or(|before| !Arc::ptr_eq(before, &span.service)) {
                tables.targets.saw(&span.service, now);
            }
            let (requests, overflow) = match (span.kind, &mut overflow) {
                (SpanKind::Server, [server, _]) => (&mut tables.server, server),
                (SpanKind::Client, [_, client]) => (&mut tables.client, client),
            };
            *overflow += u64::from(!requests.record(span, &self.keep, now));
        }
        drop(tables);
        self.telemetry.spans_exported(NAME, recorded);
        let [server, client] = overflow;
        self.count_overflow(SERVER, server);
        self.count_overflow(CLIENT, client);
    }

    /// The three metrics of a table share their series.
    fn count_overflow(&self, metrics: [Metric; 3], n: u64) {
        if n > 0 {
            metrics.iter().for_each(|metric| self.telemetry.series_overflow(metric.prometheus, n));
        }
    }

    /// Short under the lock: expired series go, numbers are copied.
    pub(super) fn snapshot(&self, now: Instant) -> Tables {
        let mut tables = self.lock();
        tables.server.expire(now);
        tables.client.expire(now);
        tables.targets.expire(now);
        tables.clone()
    }

    /// A panic elsewhere spoils at most the last observation.
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
