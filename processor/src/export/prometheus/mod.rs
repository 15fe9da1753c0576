//! RED metrics (rate, errors, duration) of the observed processes and our own metrics, on one Prometheus endpoint.
//!
//! in   spans; each is two hash look-ups at most and no allocation once its series exists
//! out  text format 0.0.4, streamed from a snapshot: a slow scraper neither stops the pipeline nor fills our memory
//! keeps at most [`table::MAX_SERIES`] series per metric, beyond them one folded series per service; a series without
//!      news for [`table::TIME_TO_LIVE`] ends
//!
//! Names, labels and buckets are those of OpenTelemetry eBPF Instrumentation, so that dashboards for it work.

mod histogram;
mod key;
mod render;
mod server;
mod table;
#[cfg(test)]
mod tests;

use super::{BoxedExporter, ExportError, Exporter};
use crate::config::Config;
use crate::discover::sdk::Tells;
use crate::model::{Span, SpanKind};
use crate::telemetry::Telemetry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use table::{Requests, Targets};

const NAME: &str = "prometheus";

pub(super) fn create(config: &Config, telemetry: &Telemetry) -> Result<Option<BoxedExporter>, ExportError> {
    let Some(prometheus) = &config.prometheus else { return Ok(None) };
    let store = Store::new(telemetry.clone());
    server::start(prometheus, store.clone())?;
    Ok(Some(Box::new(Prometheus { store })))
}

struct Prometheus {
    store: Store,
}

impl Exporter for Prometheus {
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

/// What is counted. A clone is a handle to the same.
#[derive(Clone)]
struct Store {
    tables: Arc<Mutex<Tables>>,
    telemetry: Telemetry,
}

/// One table per kind of span. A clone is a snapshot: keys are shared, only numbers are copied.
#[derive(Clone, Default)]
struct Tables {
    server: Requests,
    client: Requests,
    targets: Targets,
}

impl Store {
    fn new(telemetry: Telemetry) -> Self {
        Self { tables: Arc::default(), telemetry }
    }

    fn record(&self, spans: &[Span], now: Instant) {
        let mut tables = self.lock();
        let mut overflow = [0_u64; 2];
        for span in spans {
            tables.targets.saw(&span.service, now);
            let (requests, overflow) = match (span.kind, &mut overflow) {
                (SpanKind::Server, [server, _]) => (&mut tables.server, server),
                (SpanKind::Client, [_, client]) => (&mut tables.client, client),
            };
            *overflow += u64::from(!requests.record(span, now));
        }
        drop(tables);
        self.telemetry.spans_exported(NAME, u64::try_from(spans.len()).unwrap_or(u64::MAX));
        self.count_overflow(render::SERVER, overflow[0]);
        self.count_overflow(render::CLIENT, overflow[1]);
    }

    /// The three metrics of a table share their series.
    fn count_overflow(&self, metrics: [render::Metric; 3], n: u64) {
        if n > 0 {
            metrics.iter().for_each(|metric| self.telemetry.series_overflow(metric.name, n));
        }
    }

    /// Short under the lock: expired series go, numbers are copied.
    fn snapshot(&self, now: Instant) -> Tables {
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
