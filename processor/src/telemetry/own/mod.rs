//! The agent's telemetry about itself, by the SDK of OpenTelemetry: off unless it is asked for.
//!
//! in   the counters of [`Telemetry`], log lines of `ratatosk`, [`Operation`]s
//! out  OTLP requests, encoded by `opentelemetry-otlp`, carried as those of the observed processes are
//! keeps at most [`MAX_WAITING`] log records and as many spans, and one batch of each on its way
//!
//! Nothing here makes the pipeline wait, and nothing that fails ends the processor: losses are counted.

mod client;
mod gate;
mod instruments;
mod loader;
mod operation;

pub use operation::Operation;
pub(super) use operation::Spans;

use super::Telemetry;
use crate::config::Config;
use crate::config::otlp::{Internal, InternalMetrics, Settings};
use crate::export::ExportError;
use crate::export::otlp::courier::{Courier, Line};
use crate::export::otlp::{LOGS_SERVICE, METRICS_SERVICE, TRACE_SERVICE};
use client::Client;
use gate::{Counted, Gate};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{self, BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::resource::{ResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{self, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanLimits};
use std::time::{Duration, Instant};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{Layer, Registry};

/// Records of each kind that wait for the collector: as the SDK's own default, some 2 MiB of log lines.
pub const MAX_WAITING: usize = 2048;
/// Records of one request.
const BATCH: usize = 512;
/// Longest wait for a batch to fill.
const DELAY: Duration = Duration::from_secs(1);
/// Time to tell what is left if there is no more by the settings: one request to a collector nearby.
const LEAST_TO_END: Duration = Duration::from_millis(500);
/// Time for that to be noticed once the time to end is over.
const TO_GIVE_UP: Duration = Duration::from_millis(500);
/// The crates whose log lines are told. Those of the libraries that carry them are not: they would never end.
const TOLD_TARGETS: &str = env!("CARGO_PKG_NAME");

/// What tells about the agent. Dropped without [`Own::shut_down`], it still tells what it holds.
#[derive(Debug)]
pub struct Own {
    metrics: Option<SdkMeterProvider>,
    logs: Option<SdkLoggerProvider>,
    traces: Option<SdkTracerProvider>,
    gates: Vec<Gate>,
    courier: Option<Courier>,
    telemetry: Telemetry,
}

impl Own {
    /// Tells nothing yet.
    fn of(telemetry: &Telemetry) -> Self {
        let telemetry = telemetry.clone();
        Self { metrics: None, logs: None, traces: None, gates: Vec::new(), courier: None, telemetry }
    }

    /// Starts what the settings ask for. [`Telemetry::operation`] is heard from now on.
    ///
    /// # Errors
    /// [`ExportError`]: a setting can't be used, or a thread could not be started.
    pub fn start(config: &Config, telemetry: &Telemetry) -> Result<Self, ExportError> {
        let Internal { metrics, logs, traces } = config.otlp.internal.clone();
        let mut own = Self::of(telemetry);
        let mut lines = Vec::new();
        let resource = resource(config);
        if let Some(metrics) = metrics {
            own.start_metrics(metrics, &resource, &mut lines)?;
        }
        if let Some(logs) = logs {
            own.start_logs(logs, &resource, &mut lines)?;
        }
        if let Some(traces) = traces {
            own.start_traces(traces, &resource, &mut lines)?;
        }
        if !lines.is_empty() {
            own.courier = Some(Courier::start(lines)?);
        }
        Ok(own)
    }

    fn start_metrics(
        &mut self,
        metrics: InternalMetrics,
        resource: &Resource,
        lines: &mut Vec<Line>,
    ) -> Result<(), ExportError> {
        let InternalMetrics { mut settings, interval } = metrics;
        // The next points say it all again, and newer.
        settings.backoff.max_elapsed = settings.backoff.max_elapsed.min(interval);
        let client = self.client("internal_metrics", METRICS_SERVICE, settings, lines)?;
        let exporter = client.metric_exporter().map_err(not_built("internal_metrics"))?;
        let reader = PeriodicReader::builder(exporter).with_interval(interval).build();
        let provider =
            SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(reader).build();
        instruments::register(&provider, scope(), &self.telemetry);
        self.metrics = Some(provider);
        Ok(())
    }

    fn start_logs(
        &mut self,
        settings: Settings,
        resource: &Resource,
        lines: &mut Vec<Line>,
    ) -> Result<(), ExportError> {
        let client = self.client("internal_logs", LOGS_SERVICE, settings, lines)?;
        let gate = Gate::new("logs", self.telemetry.clone(), client.fate());
        let exporter = client.log_exporter().map_err(not_built("internal_logs"))?;
        let batches = logs::BatchConfigBuilder::default()
            .with_max_queue_size(MAX_WAITING)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let exporter = Counted::new(exporter, gate.clone());
        let inner = BatchLogProcessor::builder(exporter).with_batch_config(batches).build();
        let provider = SdkLoggerProvider::builder().with_resource(resource.clone());
        self.logs = Some(provider.with_log_processor(gate.before(inner)).build());
        self.gates.push(gate);
        Ok(())
    }

    fn start_traces(
        &mut self,
        settings: Settings,
        resource: &Resource,
        lines: &mut Vec<Line>,
    ) -> Result<(), ExportError> {
        let client = self.client("internal_traces", TRACE_SERVICE, settings, lines)?;
        let gate = Gate::new("traces", self.telemetry.clone(), client.fate());
        let exporter = client.span_exporter().map_err(not_built("internal_traces"))?;
        let batches = trace::BatchConfigBuilder::default()
            .with_max_queue_size(MAX_WAITING)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let exporter = Counted::new(exporter, gate.clone());
        let inner = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        // Said outright: the SDK would take the variables that are meant for spans of observed processes.
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_sampler(Sampler::AlwaysOn)
            .with_span_limits(SpanLimits::default())
            .with_span_processor(gate.before(inner))
            .build();
        self.telemetry.begin_traces(provider.tracer_with_scope(scope()));
        self.traces = Some(provider);
        self.gates.push(gate);
        Ok(())
    }

    fn client(
        &self,
        signal: &'static str,
        service: &str,
        settings: Settings,
        lines: &mut Vec<Line>,
    ) -> Result<Client, ExportError> {
        let (letterbox, line) = Line::new(signal, service, settings, self.telemetry.clone())?;
        lines.push(line);
        Ok(Client::new(letterbox))
    }

    /// Hands log lines on, if that is asked for.
    #[must_use]
    pub fn log_layer(&self) -> Option<impl Layer<Registry> + use<>> {
        let told = Targets::new().with_target(TOLD_TARGETS, LevelFilter::TRACE);
        self.logs.as_ref().map(|logs| OpenTelemetryTracingBridge::new(logs).with_filter(told))
    }

    /// Tells what is left, before `until` or in half a second. What can't be told is counted and given up.
    pub fn shut_down(&mut self, until: Instant) {
        let Some(courier) = self.courier.take() else { return };
        let within = until.saturating_duration_since(Instant::now()).max(LEAST_TO_END);
        self.telemetry.end_traces();
        courier.hurry(within);
        // When the time is over, what is under way is given up first, and then queues empty themselves.
        let patience = within + TO_GIVE_UP;
        // At once: one collector that hangs must not take the time of another. Their results say what is counted anyway.
        std::thread::scope(|scope| {
            let Self { metrics, logs, traces, .. } = self;
            scope.spawn(|| metrics.take().map(|metrics| metrics.shutdown()));
            scope.spawn(|| logs.take().map(|logs| logs.shutdown_with_timeout(patience)));
            scope.spawn(|| traces.take().map(|traces| traces.shutdown_with_timeout(patience)));
        });
        let left: usize = self.gates.drain(..).map(|gate| gate.give_up()).sum();
        let has_ended = courier.wait();
        if left > 0 || !has_ended {
            tracing::warn!(left, "Not everything about the agent itself was told before the end");
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.shut_down(Instant::now());
    }
}

fn not_built(signal: &'static str) -> impl Fn(ExporterBuildError) -> ExportError {
    move |source| ExportError::Internal { signal, source }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME")).with_version(env!("CARGO_PKG_VERSION")).build()
}

/// Who speaks. What `OTEL_RESOURCE_ATTRIBUTES` says is true of the agent, too, where it says nothing itself.
fn resource(config: &Config) -> Resource {
    let host = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let pid = std::process::id();
    let said = config.otlp.resource_attributes.iter();
    Resource::builder_empty()
        .with_attributes(said.map(|(key, value)| KeyValue::new(key.clone(), value.clone())))
        .with_detector(Box::new(TelemetryResourceDetector) as Box<dyn ResourceDetector>)
        .with_attributes([
            KeyValue::new("service.name", env!("CARGO_PKG_NAME")),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", format!("{host}:{pid}")),
            KeyValue::new("telemetry.distro.name", env!("CARGO_PKG_NAME")),
            KeyValue::new("telemetry.distro.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("process.pid", i64::from(pid)),
            KeyValue::new("host.name", host),
            KeyValue::new("os.type", "linux"),
        ])
        .build()
}
