//! RED metrics of the observed processes and our own metrics, on one Prometheus endpoint.
//!
//! in   scrapes
//! out  text format 0.0.4, or OpenMetrics with examples for whoever asks; streamed from a snapshot of [`series`](super::series): a slow scraper neither stops the
//!      pipeline nor fills our memory

mod render;
mod server;
#[cfg(test)]
mod tests;

use super::{BoxedExporter, ExportError, Parts};

const NAME: &str = "prometheus";

/// Serves. It takes no spans itself: it shows the table that others fill.
pub(super) fn create(parts: &Parts<'_>) -> Result<Option<BoxedExporter>, ExportError> {
    if let Some(prometheus) = &parts.config.prometheus {
        server::start(prometheus, parts.series.clone())?;
    }
    Ok(None)
}
