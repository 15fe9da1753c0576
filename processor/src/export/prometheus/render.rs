//! A snapshot in the format that a scraper asked for, in pieces: no scrape needs more memory however many series there are.

use super::labels::{self, Row};
use super::negotiate::Format;
use super::{protobuf, text};
use crate::config::NativeHistograms;
use crate::export::series::{Shown, Store, Table, Tables};
use crate::select::AttributeSelection;
use crate::telemetry::Telemetry;
use crate::telemetry::exposition::{self, Kind, push, write_label};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;

/// Series per piece: a few tens of kB.
pub(super) const SERIES_PER_PIECE: usize = 64;

/// What there is to render.
pub(super) struct Source {
    pub(super) store: Store,
    /// For `target_info`.
    pub(super) host_name: String,
    pub(super) selection: AttributeSelection,
    pub(super) native: NativeHistograms,
}

/// Pieces of a body.
pub(super) type Pieces = Box<dyn Iterator<Item = Bytes> + Send>;

impl Source {
    /// Everything that is known at `now`.
    pub(super) fn pieces(&self, format: Format, now: Instant) -> Pieces {
        let tables = self.store.snapshot(now);
        let mut first = gauges(&self.store.telemetry);
        self.target_info(&mut first, &tables);
        let tables = tables.requests.into_iter();
        match format {
            Format::Text => {
                let rest = tables.flat_map(|table| of_table(table, text::histograms));
                Box::new(std::iter::once(first.into()).chain(rest))
            }
            Format::OpenMetrics => {
                let first = text::without_suffix(&first).into();
                let rest = tables.flat_map(|table| of_table(table, text::open_metrics_histograms));
                let end = Bytes::from_static(b"# EOF\n");
                Box::new(std::iter::once(first).chain(rest).chain(std::iter::once(end)))
            }
            Format::Protobuf => {
                let native = self.native;
                let histograms = move |shown, rows| protobuf::histograms(shown, rows, native);
                let rest = tables.flat_map(move |table| of_table(table, histograms));
                Box::new(std::iter::once(protobuf::families(&first)).chain(rest))
            }
        }
    }

    fn target_info(&self, out: &mut String, tables: &Tables) {
        let services = tables.targets.services();
        if !services.is_empty() {
            exposition::head(out, "target_info", Kind::Gauge, "Attributes of the observed processes.");
        }
        for service in services {
            let mut text = String::new();
            labels::of_target(service, &self.host_name, &self.selection, |label, value| {
                if !text.is_empty() {
                    text.push(',');
                }
                write_label(&mut text, label, value);
            });
            push(out, format_args!("target_info{{{text}}} 1\n"));
        }
    }
}

fn gauges(telemetry: &Telemetry) -> String {
    let mut out = String::new();
    telemetry.render(&mut out);
    out
}

/// Each metric of a table that has series.
fn of_table(table: Table, histograms: impl Fn(Shown, Arc<[Row]>) -> Pieces) -> Pieces {
    let rows: Arc<[Row]> =
        if table.layout.prometheus.is_empty() { Arc::default() } else { labels::rows(table.requests).into() };
    if rows.is_empty() {
        return Box::new(std::iter::empty());
    }
    let metrics: Vec<Pieces> =
        table.layout.prometheus.iter().map(|shown| histograms(*shown, Arc::clone(&rows))).collect();
    Box::new(metrics.into_iter().flatten())
}

/// The places of pieces of `n` series.
pub(super) fn places(n: usize) -> impl Iterator<Item = std::ops::Range<usize>> + Send {
    (0..n).step_by(SERIES_PER_PIECE).map(move |from| from..n.min(from + SERIES_PER_PIECE))
}
