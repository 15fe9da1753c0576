//! Spans to whoever wants them.
//!
//! in   the pipeline calls [`Exporter::export`] with whole batches, from one thread
//! out  lines on stdout, series on the Prometheus endpoint, OTLP to a collector
//!
//! An exporter is a folder with a `create` function and one line in [`ALL`].

pub(crate) mod otlp;
mod print;
mod prometheus;
mod series;

use crate::config::Config;
use crate::discover::sdk::Tells;
use crate::exit::Exit;
use crate::model::Span;
use crate::telemetry::Telemetry;
use std::io;

/// Somebody who takes spans.
pub trait Exporter {
    /// Its name in metrics and logs.
    fn name(&self) -> &'static str;

    /// Takes a batch. Must not block for long: the pipeline waits, and the loader's queue is what fills.
    fn export(&mut self, spans: &[Span]);

    /// There will be no more spans: delivers what it holds, within its time. The pipeline waits.
    fn shut_down(&mut self) {}

    /// What it tells: spans of services that export the same themselves are kept from it.
    fn tells(&self) -> Tells {
        Tells::Everything
    }

    /// Nobody reads what it writes any more (the reader of a pipe ended): there is no use in going on.
    fn is_closed(&self) -> bool {
        false
    }
}

/// An exporter, ready to run.
pub type BoxedExporter = Box<dyn Exporter + Send>;

/// What exporters are made from.
struct Parts<'a> {
    config: &'a Config,
    telemetry: &'a Telemetry,
    /// The table that all readers of metrics share.
    series: series::Store,
}

/// Starts an exporter if the settings ask for it; `None`, too, if it takes no spans itself.
type Create = fn(&Parts<'_>) -> Result<Option<BoxedExporter>, ExportError>;

/// Every exporter there is.
const ALL: &[Create] = &[print::create, series::create, prometheus::create, otlp::create];

/// Why an exporter can't start.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Somebody else listens there.
    #[error(
        "port {port} for Prometheus is in use by another program: free it, or set {variable} to another port"
    )]
    PortInUse {
        /// The port.
        port: u16,
        /// The variable that asked for it.
        variable: String,
    },
    /// The kernel does not let us listen there.
    #[error("cannot listen on port {port} for Prometheus, set by {variable}: {source}")]
    Listen {
        /// The port.
        port: u16,
        /// The variable that asked for it.
        variable: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// Its settings name a file or a value that can't be used.
    #[error("cannot export {signal} by OTLP: {source}")]
    Otlp {
        /// Which signal.
        signal: &'static str,
        /// What is wrong.
        source: otlp::ClientError,
    },
    /// The SDK does not build what would tell about the agent itself.
    #[error("cannot export {signal} by OTLP: {source}")]
    Internal {
        /// Which signal.
        signal: &'static str,
        /// What it says.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// A thread or its runtime could not be started.
    #[error("cannot start the thread of exporter {exporter}: {source}")]
    Thread {
        /// Which exporter.
        exporter: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

impl ExportError {
    /// The exit code for it.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Otlp { .. } => Exit::Usage,
            _ => Exit::Unavailable,
        }
    }
}

/// Starts the exporters that the settings ask for.
pub fn all(config: &Config, telemetry: &Telemetry) -> Result<Vec<BoxedExporter>, ExportError> {
    let readers =
        series::Readers { prometheus: config.prometheus.is_some(), otlp: config.otlp.metrics.is_some() };
    let keep = series::Keep::of(config);
    let series = series::Store::new(telemetry.clone(), keep, &config.attributes, readers);
    let parts = Parts { config, telemetry, series };
    ALL.iter().filter_map(|create| create(&parts).transpose()).collect()
}

/// What the JSON trace printer writes for `spans`: one line each.
#[must_use]
pub fn json(spans: &[Span]) -> String {
    print::json(spans)
}

#[cfg(test)]
pub(crate) mod samples;
