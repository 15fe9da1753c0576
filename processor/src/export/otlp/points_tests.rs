use super::*;
use crate::config::otlp::Exponential;
use crate::export::samples::{client_span, server_span};
use crate::export::series::{Keep, Readers, Store};
use crate::model::Span;
use crate::select::AttributeSelection;
use crate::telemetry::Telemetry;
use std::time::Instant;

/// Somebody else may want them finer.
const FINE: Exponential = Exponential { max_buckets: 1024, max_scale: 20 };

const NOW: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

fn told(spans: &[Span], exponential: Option<Exponential>) -> ExportMetricsServiceRequest {
    let keep = Keep { exponential: Some(FINE), ..Keep::default() };
    told_of(&Store::of_defaults(Telemetry::new(), keep), spans, exponential)
}

fn told_of(store: &Store, spans: &[Span], exponential: Option<Exponential>) -> ExportMetricsServiceRequest {
    store.record(spans, Instant::now());
    let rows = rows(store.snapshot(Instant::now()));
    let temporality = AggregationTemporality::Cumulative;
    request(&rows, &Common { now: NOW, temporality, exponential, machine: &Machine::default() })
}

fn metrics(request: &ExportMetricsServiceRequest) -> Vec<&OtlpMetric> {
    request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics[0].metrics).collect()
}

#[test]
fn a_service_tells_three_histograms_of_each_side() {
    let request = told(&[server_span(), client_span(), server_span()], None);
    assert_eq!(request.resource_metrics.len(), 2);
    let named: Vec<(&str, &str)> =
        metrics(&request).iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
    let expected = [
        ("http.server.request.duration", "s"),
        ("http.server.request.body.size", "By"),
        ("http.server.response.body.size", "By"),
        ("http.client.request.duration", "s"),
        ("http.client.request.body.size", "By"),
        ("http.client.response.body.size", "By"),
    ];
    assert_eq!(named, expected);
}

#[test]
fn fixed_buckets_hold_counts_sums_and_an_example() {
    let request = told(&[server_span(), server_span()], None);
    let Some(Data::Histogram(histogram)) = &metrics(&request)[0].data else { panic!() };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.bucket_counts.iter().sum::<u64>()), (2, 2));
    assert_eq!((point.bucket_counts.len(), point.explicit_bounds.len()), (16, 15));
    assert_eq!((point.bucket_counts[1], point.explicit_bounds[1]), (2, 0.005));
    assert!((point.sum.unwrap() - 0.002_469_134).abs() < 1e-12);
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (server_span().start.0, NOW.0));
    let [example] = &point.exemplars[..] else { panic!("{:?}", point.exemplars) };
    assert_eq!((&example.trace_id, &example.span_id), (&vec![1; 16], &vec![2; 8]));
    assert_eq!(example.value, Some(exemplar::Value::AsDouble(0.001_234_567)));
}

#[test]
fn exponential_buckets_hold_the_same_counts() {
    let request = told(&[server_span(), server_span()], Some(Exponential::default()));
    let Some(Data::ExponentialHistogram(durations)) = &metrics(&request)[0].data else { panic!() };
    let point = &durations.data_points[0];
    let positive = point.positive.as_ref().unwrap();
    assert_eq!((point.count, point.zero_count, point.scale), (2, 0, 20));
    assert_eq!(positive.bucket_counts, [2]);
    let upper = f64::exp2(f64::from(positive.offset + 1) / f64::exp2(20.));
    assert!((upper - 0.001_234_567).abs() < 1e-8, "{upper}");
    let Some(Data::ExponentialHistogram(sizes)) = &metrics(&request)[1].data else { panic!() };
    assert_eq!(sizes.data_points[0].zero_count, 2);
}

#[test]
fn a_folded_series_says_so_and_names_the_service_only() {
    let spans: Vec<Span> = (0..=crate::export::series::MAX_SERIES)
        .map(|n| {
            let mut span = server_span();
            span.http.server_address = format!("h{n}").into();
            span
        })
        .collect();
    let request = told(&spans, None);
    let folded = &request.resource_metrics[0];
    let Some(Data::Histogram(histogram)) = &folded.scope_metrics[0].metrics[0].data else { panic!() };
    assert_eq!(histogram.data_points[0].attributes[0].key, "otel.metric.overflow");
    let keys: Vec<&str> =
        folded.resource.as_ref().unwrap().attributes.iter().map(|a| a.key.as_str()).collect();
    assert!(keys.contains(&"service.name") && !keys.contains(&"service.instance.id"), "{keys:?}");
}

/// Names of the attributes of each point, by metric.
fn keys(request: &ExportMetricsServiceRequest) -> Vec<(&str, Vec<Vec<&str>>)> {
    metrics(request)
        .into_iter()
        .map(|metric| {
            let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
            let keys = histogram.data_points.iter().map(|point| {
                let mut keys: Vec<&str> = point.attributes.iter().map(|a| a.key.as_str()).collect();
                keys.sort_unstable();
                keys
            });
            (metric.name.as_str(), keys.collect())
        })
        .collect()
}

#[test]
fn each_metric_tells_what_is_selected_for_it() {
    let lists = r#"{
        "http.server.request.duration": {"include": ["url.path", "client.address", "http.request.method"]},
        "http_server_response_*": {"exclude": ["server*", "http_*", "url*", "instance", "job"]}}"#;
    let selection = AttributeSelection::new(&serde_json::from_str(lists).unwrap()).unwrap();
    let readers = Readers { prometheus: false, otlp: true };
    let store = Store::new(Telemetry::new(), Keep::default(), &selection, readers);
    let mut other = server_span();
    other.http.path = "/b".into();
    let request = told_of(&store, &[server_span(), other], None);
    let duration = vec!["client.address", "http.request.method", "url.path"];
    let usual =
        ["http.request.method", "http.response.status_code", "server.address", "server.port", "url.scheme"];
    let expected = [
        ("http.server.request.duration", vec![duration.clone(), duration]),
        ("http.server.request.body.size", vec![usual.to_vec()]),
        ("http.server.response.body.size", vec![vec![]]),
    ];
    assert_eq!(keys(&request), expected);
    assert_eq!(request.resource_metrics.len(), 1, "one process");
    let Some(Data::Histogram(sizes)) = &metrics(&request)[1].data else { panic!() };
    assert_eq!(sizes.data_points[0].count, 2);
}
