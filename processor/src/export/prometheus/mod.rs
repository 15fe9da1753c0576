//! RED metrics of the observed processes and our own metrics, on one Prometheus endpoint.
//!
//! in   scrapes
//! out  text format 0.0.4; OpenMetrics with examples, or protobuf with examples and native histograms, for whoever asks.
//!      Streamed from a snapshot of [`series`](super::series): a slow scraper neither stops the pipeline nor fills our
//!      memory

mod labels;
mod messages;
mod native;
mod negotiate;
mod protobuf;
mod render;
mod server;
#[cfg(test)]
mod tests;
mod text;

use super::{BoxedExporter, ExportError, Parts};
use render::Source;

const NAME: &str = "prometheus";

/// Serves. It takes no spans itself: it shows the table that others fill.
pub(super) fn create(parts: &Parts<'_>) -> Result<Option<BoxedExporter>, ExportError> {
    if let Some(prometheus) = &parts.config.prometheus {
        let source = Source {
            store: parts.series.clone(),
            host_name: host_name(),
            selection: parts.config.attributes.clone(),
            native: prometheus.native,
        };
        server::start(prometheus, source)?;
    }
    Ok(None)
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
