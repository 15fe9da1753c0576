//! The protobuf format: each metric a message after its length, with fixed buckets and native ones side by side.

use super::labels::Row;
use super::messages::{
    Bucket, Exemplar as Example, Histogram, LabelPair, Metric, MetricFamily, MetricType, Number, Timestamp,
};
use super::native::{Native, ZERO_THRESHOLD};
use super::render::{Pieces, places};
use crate::config::NativeHistograms;
use crate::export::series::{
    DURATION_BOUNDS_NS, Exemplar, Exponentials, Field, Histogram as Buckets, SIZE_BOUNDS_BYTES, Shown, real,
};
use crate::model::UnixNanos;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use std::sync::Arc;

/// Nanoseconds of a second, as a number to divide by.
const NS_PER_S: f64 = 1e9;

/// Number of the field of [`MetricFamily`] that holds series, of which each key is one byte.
const METRIC: u32 = 4;

/// A metric. Its length stands before it, so each series is made twice: once to be measured.
pub(super) fn histograms(shown: Shown, rows: Arc<[Row]>, native: NativeHistograms) -> Pieces {
    let family = MetricFamily {
        name: Some(shown.metric.prometheus.to_owned()),
        help: Some(shown.metric.help.to_owned()),
        r#type: Some(MetricType::Histogram.into()),
        metric: Vec::new(),
    };
    let length = move |row: &Row| {
        let length = metric(shown, row, native).encoded_len();
        1 + encoded_len_varint(wide(length)) + length
    };
    let all: usize = family.encoded_len() + rows.iter().map(length).sum::<usize>();
    let mut head = BytesMut::new();
    encode_varint(wide(all), &mut head);
    head.put(family.encode_to_vec().as_slice());
    let places = places(rows.len());
    let piece = move |place| {
        let mut out = BytesMut::new();
        for row in rows.get(place).unwrap_or_default() {
            let metric = metric(shown, row, native);
            encode_key(METRIC, WireType::LengthDelimited, &mut out);
            out.put(metric.encode_length_delimited_to_vec().as_slice());
        }
        out.freeze()
    };
    Box::new(std::iter::once(head.freeze()).chain(places.map(piece)))
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn metric(shown: Shown, row: &Row, native: NativeHistograms) -> Metric {
    let series = &row.series;
    let mut label = Vec::new();
    row.labels(shown.attributes, |name, text| label.push(pair(name, text)));
    label.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let (durations, sizes) = (&DURATION_BOUNDS_NS, &SIZE_BOUNDS_BYTES);
    let mut histogram = match shown.metric.field {
        Field::Duration => fixed(durations, &series.duration_ns, NS_PER_S, &series.exemplars),
        Field::RequestBytes => fixed(sizes, &series.request_bytes, 1., &[]),
        Field::ResponseBytes => fixed(sizes, &series.response_bytes, 1., &[]),
    };
    histogram.created_timestamp = Some(timestamp(series.began));
    if let Some(exponentials) = &series.exponential {
        add_native(&mut histogram, exponentials, shown.metric.field, native);
    }
    Metric { label, histogram: Some(histogram), ..Metric::default() }
}

fn add_native(histogram: &mut Histogram, source: &Exponentials, field: Field, bounds: NativeHistograms) {
    let source = match field {
        Field::Duration => &source.duration_s,
        Field::RequestBytes => &source.request_bytes,
        Field::ResponseBytes => &source.response_bytes,
    };
    let Native { schema, spans, deltas } = Native::new(source, bounds);
    histogram.schema = Some(schema);
    histogram.zero_threshold = Some(ZERO_THRESHOLD);
    histogram.zero_count = Some(source.zero);
    histogram.positive_span = spans;
    histogram.positive_delta = deltas;
    // newer servers take those of a native histogram from here, older ones from the buckets
    histogram.exemplars = histogram.bucket.iter().filter_map(|bucket| bucket.exemplar.clone()).collect();
}

fn fixed<const N: usize>(
    bounds: &[u64; N],
    histogram: &Buckets<N>,
    per_unit: f64,
    examples: &[Exemplar],
) -> Histogram {
    let mut count = 0;
    let bounds = bounds.iter().map(|bound| real(*bound) / per_unit).chain([f64::INFINITY]);
    let counts = histogram.buckets.iter().chain([&histogram.above]);
    let bucket = |(n, (bound, in_it)): (usize, (f64, &u64))| {
        count += in_it;
        let exemplar = examples.iter().find(|example| example.bucket == n).map(example);
        Bucket { cumulative_count: Some(count), upper_bound: Some(bound), exemplar }
    };
    Histogram {
        bucket: bounds.zip(counts).enumerate().map(bucket).collect(),
        sample_count: Some(histogram.count()),
        sample_sum: Some(real(histogram.sum) / per_unit),
        ..Histogram::default()
    }
}

fn example(exemplar: &Exemplar) -> Example {
    let (trace_id, span_id) = (exemplar.trace_id.to_string(), exemplar.span_id.to_string());
    Example {
        label: vec![pair("span_id", &span_id), pair("trace_id", &trace_id)],
        value: Some(real(exemplar.duration_ns) / NS_PER_S),
        timestamp: Some(timestamp(exemplar.time)),
    }
}

fn timestamp(time: UnixNanos) -> Timestamp {
    const WHOLE_S: u64 = 1_000_000_000;
    Timestamp {
        seconds: i64::try_from(time.0 / WHOLE_S).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.0 % WHOLE_S).unwrap_or_default(),
    }
}

fn pair(name: &str, value: &str) -> LabelPair {
    LabelPair { name: Some(name.to_owned()), value: Some(value.to_owned()) }
}

/// Counters and gauges that we wrote as text, as messages. A line that is none of these would be a fault of ours, and is
/// left out.
pub(super) fn families(text: &str) -> Bytes {
    let mut families: Vec<MetricFamily> = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            let (name, help) = (Some(name.to_owned()), Some(help.to_owned()));
            families.push(MetricFamily { name, help, ..MetricFamily::default() });
        } else if let Some(family) = families.last_mut() {
            extend(family, line);
        }
    }
    families.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

fn extend(family: &mut MetricFamily, line: &str) {
    if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
        let kind = if kind == "counter" { MetricType::Counter } else { MetricType::Gauge };
        family.r#type = Some(kind.into());
        return;
    }
    let Some((series, value)) = line.rsplit_once(' ') else { return };
    let Ok(value) = value.parse() else { return };
    let labels = series.split_once('{').and_then(|(_, labels)| labels.strip_suffix('}'));
    let number = Some(Number { value: Some(value) });
    let is_counter = family.r#type == Some(MetricType::Counter.into());
    let (counter, gauge) = if is_counter { (number, None) } else { (None, number) };
    let label = labels.map(pairs).unwrap_or_default();
    family.metric.push(Metric { label, gauge, counter, histogram: None });
}

/// Reads `a="b",c="d"`, escaped as [`write_label`](crate::telemetry::exposition::write_label) does it.
fn pairs(text: &str) -> Vec<LabelPair> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.chars();
        while let Some(c) = chars.next().filter(|c| *c != '"') {
            match (c, if c == '\\' { chars.next() } else { None }) {
                (_, Some('n')) => value.push('\n'),
                (_, Some(escaped)) => value.push(escaped),
                (c, None) => value.push(c),
            }
        }
        pairs.push(pair(name, &value));
        rest = chars.as_str().trim_start_matches(',');
    }
    pairs
}

#[cfg(test)]
#[path = "protobuf_tests.rs"]
mod tests;
