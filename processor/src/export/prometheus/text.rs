//! The text format and OpenMetrics, which differ in little.

use super::labels::Row;
use super::render::{Pieces, places};
use crate::export::series::{DURATION_BOUNDS_NS, Exemplar, Field, Histogram, SIZE_BOUNDS_BYTES, Shown};
use crate::telemetry::exposition::{self, Kind, Seconds, push, write_label};
use bytes::Bytes;
use std::sync::Arc;

/// A metric in the text format.
pub(super) fn histograms(shown: Shown, rows: Arc<[Row]>) -> Pieces {
    pieces(shown, rows, false)
}

/// A metric in OpenMetrics.
pub(super) fn open_metrics_histograms(shown: Shown, rows: Arc<[Row]>) -> Pieces {
    pieces(shown, rows, true)
}

fn pieces(shown: Shown, rows: Arc<[Row]>, has_examples: bool) -> Pieces {
    let mut head = String::new();
    exposition::head(&mut head, shown.metric.prometheus, Kind::Histogram, shown.metric.help);
    let places = places(rows.len());
    let piece = move |place| {
        let mut out = String::new();
        for row in rows.get(place).unwrap_or_default() {
            append_row(&mut out, shown, row, has_examples);
        }
        Bytes::from(out)
    };
    Box::new(std::iter::once(Bytes::from(head)).chain(places.map(piece)))
}

/// OpenMetrics opens the counter `a` whose sample is `a_total`.
pub(super) fn without_suffix(text: &str) -> String {
    let open = |line: &str| match line.strip_prefix("# ") {
        Some(_) => format!("{}\n", line.replacen("_total ", " ", 1)),
        None => format!("{line}\n"),
    };
    text.lines().map(open).collect()
}

fn append_row(out: &mut String, shown: Shown, row: &Row, has_examples: bool) {
    let (name, series) = (shown.metric.prometheus, &row.series);
    let mut labels = String::new();
    row.labels(shown.attributes, |label, text| {
        write_label(&mut labels, label, text);
        labels.push(',');
    });
    let examples = if has_examples { series.exemplars.as_slice() } else { &[] };
    match shown.metric.field {
        Field::Duration => {
            append(out, name, &labels, &DURATION_BOUNDS_NS, &series.duration_ns, Seconds::text, examples);
        }
        Field::RequestBytes => sizes(out, name, &labels, &series.request_bytes),
        Field::ResponseBytes => sizes(out, name, &labels, &series.response_bytes),
    }
}

fn sizes(out: &mut String, name: &str, labels: &str, histogram: &Histogram<{ SIZE_BOUNDS_BYTES.len() }>) {
    append(out, name, labels, &SIZE_BOUNDS_BYTES, histogram, |bytes| bytes.to_string(), &[]);
}

/// `labels` are empty or end with a comma.
fn append<const N: usize>(
    out: &mut String,
    name: &str,
    labels: &str,
    bounds: &[u64; N],
    histogram: &Histogram<N>,
    text: fn(u64) -> String,
    examples: &[Exemplar],
) {
    let mut count = 0;
    let bounds = bounds.iter().map(|bound| text(*bound)).chain(["+Inf".to_owned()]);
    let counts = histogram.buckets.iter().chain([&histogram.above]);
    for (bucket, (bound, n)) in bounds.zip(counts).enumerate() {
        count += n;
        push(out, format_args!("{name}_bucket{{{labels}le=\"{bound}\"}} {count}"));
        if let Some(example) = examples.iter().find(|example| example.bucket == bucket) {
            append_example(out, example);
        }
        out.push('\n');
    }
    let labels = labels.strip_suffix(",").unwrap_or(labels);
    push(out, format_args!("{name}_sum{{{labels}}} {}\n", text(histogram.sum)));
    push(out, format_args!("{name}_count{{{labels}}} {count}\n"));
}

fn append_example(out: &mut String, example: &Exemplar) {
    let Exemplar { trace_id, span_id, duration_ns, time, .. } = example;
    let (value, at) = (Seconds(*duration_ns), Seconds(time.0));
    push(out, format_args!(" # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} {value} {at}"));
}
