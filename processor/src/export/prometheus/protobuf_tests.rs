use super::*;
use crate::config::otlp::Exponential;
use crate::export::prometheus::messages::BucketSpan;
use crate::export::prometheus::negotiate::Format;
use crate::export::prometheus::render::Source;
use crate::export::samples::{client_span, server_span};
use crate::export::series::{Keep, MAX_SERIES, Store};
use crate::model::Span;
use crate::select::AttributeSelection;
use crate::telemetry::Telemetry;
use std::collections::BTreeMap;
use std::time::Instant;

const NATIVE: NativeHistograms = NativeHistograms { max_schema: 3, max_buckets: 100 };

fn body(spans: &[Span], format: Format, native: NativeHistograms, bounds: Exponential) -> Vec<u8> {
    let keep = Keep { exponential: Some(bounds), ..Keep::default() };
    let store = Store::of_defaults(Telemetry::new(), keep);
    let now = Instant::now();
    store.record(spans, now);
    let selection = AttributeSelection::default();
    let source = Source { store, host_name: "box".to_owned(), selection, native };
    source.pieces(format, now).flatten().collect()
}

fn told_within(spans: &[Span], native: NativeHistograms) -> BTreeMap<String, MetricFamily> {
    let body = body(spans, Format::Protobuf, native, native.bounds());
    let (mut rest, mut families) = (body.as_slice(), BTreeMap::new());
    while !rest.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut rest).unwrap();
        let name = family.name.clone().unwrap();
        assert!(families.insert(name.clone(), family).is_none(), "{name} stands twice");
    }
    families
}

fn told(spans: &[Span]) -> BTreeMap<String, MetricFamily> {
    told_within(spans, NATIVE)
}

fn durations(families: &BTreeMap<String, MetricFamily>) -> &Histogram {
    families["http_server_request_duration_seconds"].metric[0].histogram.as_ref().unwrap()
}

fn lasting(ns: u64) -> Span {
    let mut span = server_span();
    span.end = UnixNanos(span.start.0 + ns);
    span
}

/// Counts of buckets by their index.
fn counts(histogram: &Histogram) -> BTreeMap<i32, i64> {
    let mut deltas = histogram.positive_delta.iter();
    let (mut index, mut count, mut counts) = (0, 0, BTreeMap::new());
    for BucketSpan { offset, length } in &histogram.positive_span {
        index += offset.unwrap();
        for _ in 0..length.unwrap() {
            count += deltas.next().expect("a delta for each bucket");
            counts.insert(index, count);
            index += 1;
        }
    }
    assert_eq!(deltas.next(), None);
    counts
}

#[test]
fn fixed_and_native_buckets_hold_the_same_requests() {
    let spans: Vec<Span> = [4_000, 1_000_000, 1_050_000, 1_000_000_000, 2_000_000_000].map(lasting).to_vec();
    let families = told(&spans);
    let histogram = durations(&families);
    assert_eq!((histogram.sample_count, histogram.schema), (Some(5), Some(3)));
    assert!((histogram.sample_sum.unwrap() - 3.002_054).abs() < 1e-9);
    assert_eq!(histogram.zero_threshold, Some(2_f64.powi(-128)));
    assert_eq!(histogram.zero_count, Some(0));
    let counts = counts(histogram);
    assert_eq!(counts.values().sum::<i64>(), 5);
    // 1 s is the upper bound of bucket 0, and 2 s that of bucket 8
    assert_eq!((counts.get(&0), counts.get(&8)), (Some(&1), Some(&1)));
    let holds = |index: i32, value: f64| {
        let bound = |index| f64::exp2(f64::from(index) / 8.);
        bound(index - 1) < value && value <= bound(index)
    };
    assert!(counts.keys().any(|index| holds(*index, 4e-6)) && counts.keys().any(|index| holds(*index, 1e-3)));
    let fixed: Vec<u64> = histogram.bucket.iter().map(|bucket| bucket.cumulative_count.unwrap()).collect();
    assert_eq!(fixed, [0, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 5]);
    assert_eq!(histogram.bucket[1].upper_bound, Some(0.005));
    assert_eq!(histogram.bucket[15].upper_bound, Some(f64::INFINITY));
}

#[test]
fn a_body_of_no_bytes_is_zero_and_the_native_histogram_is_still_one() {
    let families = told(&[server_span()]);
    let sizes = families["http_server_request_body_size_bytes"].metric[0].histogram.clone().unwrap();
    assert_eq!((sizes.zero_count, sizes.schema, sizes.positive_span.len()), (Some(1), Some(3), 0));
    assert!(sizes.exemplars.is_empty());
}

#[test]
fn more_buckets_than_allowed_make_it_coarser_and_lose_nothing() {
    let spans: Vec<Span> = (0..200).map(|n| lasting(1_000 + n * n * n * 1_000)).collect();
    for (max_buckets, max_schema) in [(100, 8), (100, 3), (20, 3), (7, 0), (1, 8)] {
        let native = NativeHistograms { max_schema, max_buckets };
        let families = told_within(&spans, native);
        let histogram = durations(&families);
        let counts = counts(histogram);
        assert!(counts.len() <= max_buckets || histogram.schema == Some(-4), "{native:?}: {}", counts.len());
        assert!(histogram.schema <= Some(max_schema), "{native:?}");
        assert_eq!(counts.values().sum::<i64>(), 200, "{native:?}");
    }
}

#[test]
fn what_is_kept_finer_for_somebody_else_is_served_at_its_own_schema() {
    let fine = Exponential { max_buckets: 160, max_scale: 20 };
    let spans = [1_000, 7_000_000, 7_100_000].map(lasting);
    let finer = body(&spans, Format::Protobuf, NATIVE, fine);
    assert_eq!(finer.len(), body(&spans, Format::Protobuf, NATIVE, NATIVE.bounds()).len());
}

#[test]
fn an_example_stands_in_its_bucket_and_beside_the_native_ones() {
    let families = told(&[server_span()]);
    let histogram = durations(&families);
    let [example] = &histogram.exemplars[..] else { panic!("{:?}", histogram.exemplars) };
    assert_eq!(histogram.bucket[1].exemplar.as_ref(), Some(example));
    assert_eq!(example.value, Some(0.001_234_567));
    assert_eq!(example.label, [pair("span_id", &"02".repeat(8)), pair("trace_id", &"01".repeat(16))]);
    assert_eq!(example.timestamp, Some(Timestamp { seconds: 1_700_000_000, nanos: 124_691_356 }));
    assert_eq!(histogram.created_timestamp, Some(Timestamp { seconds: 1_700_000_000, nanos: 123_456_789 }));
}

#[test]
fn labels_are_sorted_and_the_same_as_in_the_text() {
    let mut hostile = client_span();
    hostile.http.server_address = "a\"}\n\\".into();
    let families = told(&[hostile]);
    let labels = &families["http_client_request_duration_seconds"].metric[0].label;
    assert!(labels.is_sorted_by_key(|label| label.name.clone()), "{labels:?}");
    assert!(labels.contains(&pair("server_address", "a\"}\n\\")), "{labels:?}");
    assert!(labels.contains(&pair("job", "shop/worker")), "{labels:?}");
    let info = &families["target_info"];
    assert_eq!(info.r#type, Some(MetricType::Gauge.into()));
    assert!(info.metric[0].label.contains(&pair("host_name", "box")));
}

#[test]
fn every_sample_of_the_text_that_is_no_histogram_is_there_with_its_value() {
    let spans = [server_span(), client_span()];
    let text = String::from_utf8(body(&spans, Format::Text, NATIVE, NATIVE.bounds())).unwrap();
    let families = told(&spans);
    let samples = text.lines().filter(|line| !line.starts_with(['#', 'h'])).count();
    let metrics = families.values().filter(|family| family.r#type != Some(MetricType::Histogram.into()));
    assert_eq!(metrics.map(|family| family.metric.len()).sum::<usize>(), samples);
    let exported = &families["ratatosk_spans_exported_total"];
    assert_eq!(exported.r#type, Some(MetricType::Counter.into()));
    assert_eq!(exported.metric[0].counter, Some(Number { value: Some(2.) }));
    assert!(exported.metric[0].label.contains(&pair("exporter", "metrics")), "{exported:?}");
}

#[test]
fn escaped_labels_are_read_as_they_were_written() {
    let families = families("# HELP a b c\n# TYPE a gauge\na{x=\"1\\\"}\\n\\\\\",y=\"= ,\"} 3.5\na 1\n");
    let family = MetricFamily::decode_length_delimited(families).unwrap();
    assert_eq!(family.metric[0].label, [pair("x", "1\"}\n\\"), pair("y", "= ,")]);
    assert_eq!(family.metric[0].gauge, Some(Number { value: Some(3.5) }));
    assert_eq!(family.metric[1].label, []);
    assert_eq!((family.help.as_deref(), family.metric.len()), (Some("b c"), 2));
}

#[test]
fn a_full_table_comes_in_small_pieces_that_add_up_to_its_length() {
    let with_host = |n| {
        let mut span = server_span();
        span.http.server_address = format!("h{n}").into();
        span
    };
    let spans: Vec<Span> = (0..=MAX_SERIES).map(with_host).collect();
    let families = told(&spans);
    assert_eq!(families["http_server_request_duration_seconds"].metric.len(), MAX_SERIES + 1);
    let store = Store::of_defaults(Telemetry::new(), Keep::default());
    store.record(&spans, Instant::now());
    let selection = AttributeSelection::default();
    let source = Source { store, host_name: String::new(), selection, native: NATIVE };
    let largest = source.pieces(Format::Protobuf, Instant::now()).map(|piece| piece.len()).max();
    assert!(largest < Some(100_000), "{largest:?}");
}
