//! RED metrics (rate, errors, duration) of the observed processes: in tables, which the readers of metrics show.
//!
//! in   spans; each is two hash look-ups at most for each reader and no allocation once its series exists, one comparison
//!      if it is like one of the last
//! out  snapshots, for the Prometheus endpoint and for OTLP
//! keeps at most [`table::MAX_SERIES`] series per metric and reader, beyond them one folded series per service; a series without
//!      news for [`table::TIME_TO_LIVE`] ends
//!
//! Names, attributes and buckets are those of OpenTelemetry eBPF Instrumentation, so that dashboards for it work.

mod attributes;
mod exemplar;
mod exponential;
mod histogram;
mod key;
mod layout;
mod metric;
mod recent;
mod table;

use super::{BoxedExporter, ExportError, Exporter, Parts};
use crate::config::Config;
use crate::config::otlp::{Exemplars, Exponential};
use crate::discover::sdk::Tells;
use crate::model::{Service, Span};
use crate::select::AttributeSelection;
use crate::telemetry::Telemetry;
pub(super) use attributes::{Attribute, AttributeSet};
pub(super) use exemplar::Exemplar;
pub(super) use exponential::ExponentialHistogram;
pub(super) use histogram::{DURATION_BOUNDS_NS, Histogram, SIZE_BOUNDS_BYTES};
pub(super) use key::{Identity, Key};
pub(super) use layout::{Layout, Readers, Shown};
pub(super) use metric::Field;
#[cfg(test)]
pub(super) use metric::SERVER;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
pub(super) use table::{Exponentials, Requests, Series, Targets, real};
#[cfg(test)]
pub(super) use table::{MAX_SERIES, TIME_TO_LIVE};

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
        let (otlp, prometheus) = (config.otlp.metrics.as_ref(), config.prometheus.as_ref());
        let exponential = otlp.and_then(|metrics| metrics.exponential);
        let native = prometheus.map(|prometheus| prometheus.native.bounds());
        Self {
            exponential: exponential.into_iter().chain(native).reduce(Exponential::or_finer),
            exemplars: otlp.map(|metrics| metrics.exemplars).unwrap_or_default(),
        }
    }
}

/// What is counted. A clone is a handle to the same.
#[derive(Clone)]
pub(super) struct Store {
    tables: Arc<Mutex<Tables>>,
    pub(super) telemetry: Telemetry,
    keep: Keep,
}

/// A clone is a snapshot: keys are shared, only numbers are copied.
#[derive(Clone)]
pub(super) struct Tables {
    pub(super) requests: Vec<Table>,
    pub(super) targets: Targets,
}

/// The series of some metrics.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) layout: Arc<Layout>,
    pub(super) requests: Requests,
}

impl Store {
    /// Tables for what `readers` read.
    pub(super) fn new(
        telemetry: Telemetry,
        keep: Keep,
        selection: &AttributeSelection,
        readers: Readers,
    ) -> Self {
        let table = |layout| Table { layout: Arc::new(layout), requests: Requests::default() };
        let requests = layout::layouts(selection, readers).into_iter().map(table).collect();
        let tables = Tables { requests, targets: Targets::default() };
        Self { tables: Arc::new(Mutex::new(tables)), telemetry, keep }
    }

    pub(super) fn record(&self, spans: &[Span], now: Instant) {
        let mut tables = self.lock();
        let recorded = tables.record(spans, &self.keep, now);
        let overflow = tables.take_overflow();
        drop(tables);
        self.telemetry.spans_exported(NAME, recorded);
        for (metric, n) in overflow {
            self.telemetry.series_overflow(metric, n);
        }
    }

    /// Short under the lock: expired series go, numbers are copied.
    pub(super) fn snapshot(&self, now: Instant) -> Tables {
        let mut tables = self.lock();
        tables.requests.iter_mut().for_each(|table| table.requests.expire(now));
        tables.targets.expire(now);
        tables.clone()
    }

    /// A panic elsewhere spoils at most the last observation.
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn record(&mut self, spans: &[Span], keep: &Keep, now: Instant) -> u64 {
        let mut recorded = 0;
        let mut seen: Option<&Arc<Service>> = None;
        for span in spans.iter().filter(|span| span.signals.metrics) {
            recorded += 1;
            // spans of one service come in runs
            if seen.replace(&span.service).is_none_or(|before| !Arc::ptr_eq(before, &span.service)) {
                self.targets.saw(&span.service, now);
            }
            for table in self.requests.iter_mut().filter(|table| table.layout.kind == span.kind) {
                table.requests.record(span, table.layout.identity, keep, now);
            }
        }
        recorded
    }

    /// Observations that went to an overflow series, by metric. One that two readers read apart counts once.
    fn take_overflow(&mut self) -> BTreeMap<&'static str, u64> {
        let mut overflow = BTreeMap::new();
        for table in &mut self.requests {
            let n = std::mem::take(&mut table.requests.overflowed);
            let shown = table.layout.prometheus.iter().chain(&table.layout.otlp);
            for metric in shown.map(|shown| shown.metric.prometheus).filter(|_| n > 0) {
                let most = overflow.entry(metric).or_insert(0);
                *most = n.max(*most);
            }
        }
        overflow
    }
}

#[cfg(test)]
impl Store {
    /// With the defaults, for both readers.
    pub(super) fn of_defaults(telemetry: Telemetry, keep: Keep) -> Self {
        let readers = Readers { prometheus: true, otlp: true };
        Self::new(telemetry, keep, &AttributeSelection::default(), readers)
    }
}

#[cfg(test)]
mod tests;
