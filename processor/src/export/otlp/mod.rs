//! Traces and metrics to an OpenTelemetry collector, over gRPC or HTTP.
//!
//! in   spans, into a queue that never makes the pipeline wait; the newest are dropped when it is full
//! out  OTLP requests, one at a time, from a thread of its own
//! out  the table of series, each interval
//! keeps the queue, and one batch that is being built or under way
//!
//! Every span that comes in is counted once, as exported or as dropped with its reason, when its fate is known; until then
//! it is held. What is sent again although the collector may have it is counted beside that.

mod answer;
mod client;
mod complaints;
mod connect;
pub(crate) mod courier;
mod delivery;
mod exchange;
mod failure;
mod greeting;
mod metrics;
mod points;
mod request;
mod resource;
mod retry;
mod spans;
mod stop;
mod tls;
mod traces;

use super::series::Store;
use super::{BoxedExporter, ExportError, Exporter, Parts};
use crate::config::otlp::{Metrics as MetricSettings, Settings, Temporality, Traces as TraceSettings};
use crate::discover::sdk::Tells;
use crate::model::Span;
use crate::telemetry::Telemetry;
use client::Client;
use complaints::Complaints;
use delivery::Delivery;
use metrics::{Metrics, Told};
pub use request::ClientError;
use resource::Machine;
use retry::InDoubt;
use std::sync::mpsc as sync_mpsc;
use std::time::Duration;
use stop::Stop;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use traces::Traces;

const NAME: &str = "otlp";
pub(crate) const TRACE_SERVICE: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Time for the thread to end by itself once its time to deliver is over.
const GRACE: Duration = Duration::from_millis(500);

pub(crate) const METRICS_SERVICE: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
pub(crate) const LOGS_SERVICE: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// Starts what has an endpoint.
pub(super) fn create(parts: &Parts<'_>) -> Result<Option<BoxedExporter>, ExportError> {
    let otlp = &parts.config.otlp;
    if otlp.traces.is_none() && otlp.metrics.is_none() {
        return Ok(None);
    }
    let (stop, stopped) = watch::channel(None);
    let common = Common {
        machine: Machine::here(otlp.resource_attributes.clone(), parts.config.attributes.clone()),
        stop: Stop(stopped),
        telemetry: parts.telemetry.clone(),
    };
    let (queue, traces) = otlp.traces.clone().map(|settings| common.traces(settings)).transpose()?.unzip();
    let store = parts.series.clone();
    let metrics = otlp.metrics.clone().map(|settings| common.metrics(settings, store)).transpose()?;
    let ended = start(traces, metrics)?;
    let within = parts.config.shutdown_timeout;
    Ok(Some(Box::new(Otlp { queue, stop, ended, within, telemetry: parts.telemetry.clone() })))
}

/// What both signals need.
struct Common {
    machine: Machine,
    stop: Stop,
    telemetry: Telemetry,
}

impl Common {
    fn traces(&self, settings: TraceSettings) -> Result<(mpsc::Sender<Span>, Traces), ExportError> {
        let (sender, queue) = mpsc::channel(settings.queue_spans);
        let to = settings.settings.clone();
        let delivery = self.delivery("traces", TRACE_SERVICE, to, InDoubt::SendAgain)?;
        let Self { machine, stop, telemetry } = self;
        let (machine, stop, telemetry) = (machine.clone(), stop.clone(), telemetry.clone());
        Ok((sender, Traces { queue, settings, delivery, machine, stop, telemetry }))
    }

    fn metrics(&self, settings: MetricSettings, store: Store) -> Result<Metrics, ExportError> {
        let mut to = settings.settings.clone();
        // The next points say it all again, and newer.
        to.backoff.max_elapsed = to.backoff.max_elapsed.min(settings.interval);
        let in_doubt = match settings.temporality {
            Temporality::Cumulative => InDoubt::SendAgain,
            Temporality::Delta => InDoubt::GiveUp,
        };
        let delivery = self.delivery("metrics", METRICS_SERVICE, to, in_doubt)?;
        let Self { machine, stop, telemetry } = self;
        let (machine, stop, telemetry) = (machine.clone(), stop.clone(), telemetry.clone());
        Ok(Metrics { store, settings, delivery, machine, stop, telemetry, told: Told::default() })
    }

    fn delivery(
        &self,
        signal: &'static str,
        service: &str,
        settings: Settings,
        in_doubt: InDoubt,
    ) -> Result<Delivery, ExportError> {
        let backoff = settings.backoff;
        let client = Client::new(settings, service).map_err(|source| ExportError::Otlp { signal, source })?;
        tracing::info!(signal, endpoint = client.place(), "Exporting by OTLP");
        let complaints = Complaints::new(signal, client.place());
        let (stop, telemetry) = (self.stop.clone(), self.telemetry.clone());
        Ok(Delivery { client, signal, backoff, in_doubt, stop, telemetry, complaints })
    }
}

/// A thread for both signals; what it gives back ends with it.
fn start(traces: Option<Traces>, metrics: Option<Metrics>) -> Result<sync_mpsc::Receiver<()>, ExportError> {
    let thread = |source| ExportError::Thread { exporter: NAME, source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread)?;
    let (end, ended) = sync_mpsc::channel();
    let run = move || {
        let _end: sync_mpsc::Sender<()> = end;
        runtime.block_on(async {
            let traces = async {
                if let Some(traces) = traces {
                    traces.run().await;
                }
            };
            let metrics = async {
                if let Some(metrics) = metrics {
                    metrics.run().await;
                }
            };
            tokio::join!(traces, metrics)
        });
        // A look-up of a name that hangs must not hold the end up.
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name(NAME.to_owned()).spawn(run).map_err(thread)?;
    Ok(ended)
}

/// The pipeline's end of the queue.
struct Otlp {
    queue: Option<mpsc::Sender<Span>>,
    stop: watch::Sender<Option<Instant>>,
    ended: sync_mpsc::Receiver<()>,
    within: Duration,
    telemetry: Telemetry,
}

impl Exporter for Otlp {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tells(&self) -> Tells {
        Tells::Traces
    }

    fn export(&mut self, spans: &[Span]) {
        let Some(queue) = &self.queue else { return };
        // What the sampler left out is no loss, and was counted where it did so.
        let is_wanted = |span: &&Span| span.signals.traces && span.is_sampled();
        self.telemetry.spans_came(NAME, count(spans.iter().filter(is_wanted).count()));
        let wanted = spans.iter().filter(is_wanted);
        let lost = wanted.filter(|span| queue.try_send((*span).clone()).is_err()).count();
        self.telemetry.spans_settled(NAME, 0, count(lost), "queue_full");
    }

    fn shut_down(&mut self) {
        self.queue = None;
        // If the thread is gone, there is nobody to be told.
        let _ = self.stop.send(Some(Instant::now() + self.within));
        if self.ended.recv_timeout(self.within + GRACE) == Err(sync_mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("The OTLP exporter did not end in time");
        }
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
