//! A snapshot as text, in pieces.

use crate::export::series::{
    CLIENT, DURATION_BOUNDS_NS, Exemplar, Field, Histogram, Key, Metric, Requests, SERVER, SIZE_BOUNDS_BYTES,
    Series, ServiceKey, Tables,
};
use crate::model::Service;
use crate::telemetry::Telemetry;
use crate::telemetry::exposition::{self, Kind, Seconds, push, write_label};
use std::sync::Arc;

/// Series per piece: a few tens of kB, so that no scrape needs more memory however many series there are.
const SERIES_PER_PIECE: usize = 64;

/// How the text is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// The text format of Prometheus, 0.0.4.
    Text,
    /// OpenMetrics 1.0: counters lose their suffix where they are opened, buckets have examples, and it has an end.
    OpenMetrics,
}

/// All metrics, in pieces. `host_name` is for `target_info`.
pub(super) fn pieces(
    tables: Tables,
    telemetry: &Telemetry,
    host_name: &str,
    format: Format,
) -> impl Iterator<Item = String> + Send + use<> {
    let mut first = String::new();
    telemetry.render(&mut first);
    target_info(&mut first, &tables, host_name);
    let end = match format {
        Format::Text => String::new(),
        Format::OpenMetrics => {
            first = without_suffix(&first);
            "# EOF\n".to_owned()
        }
    };
    let server = request_pieces(tables.server, SERVER, format);
    let client = request_pieces(tables.client, CLIENT, format);
    std::iter::once(first).chain(server).chain(client).chain(std::iter::once(end))
}

/// OpenMetrics opens the counter `a` whose sample is `a_total`.
fn without_suffix(text: &str) -> String {
    let open = |line: &str| match line.strip_prefix("# ") {
        Some(_) => format!("{}\n", line.replacen("_total ", " ", 1)),
        None => format!("{line}\n"),
    };
    text.lines().map(open).collect()
}

fn request_pieces(
    requests: Requests,
    metrics: [Metric; 3],
    format: Format,
) -> impl Iterator<Item = String> + Send {
    let lines: Arc<[(String, Series)]> = labelled(requests).into();
    metrics.into_iter().flat_map(move |metric| {
        let mut head = String::new();
        if !lines.is_empty() {
            exposition::head(&mut head, metric.prometheus, Kind::Histogram, metric.help);
        }
        let lines = Arc::clone(&lines);
        let pieces = (0..lines.len()).step_by(SERIES_PER_PIECE).map(move |from| {
            let mut out = String::new();
            for (labels, series) in lines.iter().skip(from).take(SERIES_PER_PIECE) {
                append_field(&mut out, metric, labels, series, format);
            }
            out
        });
        std::iter::once(head).chain(pieces)
    })
}

/// Series in a stable order, each with its labels as text.
fn labelled(requests: Requests) -> Vec<(String, Series)> {
    let mut series: Vec<_> = requests.series.into_iter().collect();
    series.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut overflow: Vec<_> = requests.overflow.into_iter().collect();
    overflow.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let series = series.into_iter().map(|(key, series)| (labels(&key), series));
    series.chain(overflow.into_iter().map(|(name, series)| (overflow_labels(&name), series))).collect()
}

/// As OBI: a status of 0 is a request without response, and `http_route` is there only if one is known.
fn labels(key: &Key) -> String {
    let (port, status) = (key.server_port.to_string(), key.status.to_string());
    let mut out = service_labels(&key.service.0);
    for (label, text) in [
        ("http_request_method", key.method),
        ("http_response_status_code", &status),
        ("http_route", key.route.as_deref().unwrap_or_default()),
        ("server_address", &key.server_address),
        ("server_port", &port),
        ("url_scheme", "http"),
    ] {
        append_label(&mut out, label, text);
    }
    out
}

fn service_labels(service: &Service) -> String {
    let job = if service.namespace.is_empty() {
        service.name.clone()
    } else {
        format!("{}/{}", service.namespace, service.name)
    };
    let mut out = String::new();
    append_label(&mut out, "instance", &service.instance_id);
    append_label(&mut out, "job", &job);
    append_label(&mut out, "service_name", &service.name);
    append_label(&mut out, "service_namespace", &service.namespace);
    out
}

/// The attribute that OpenTelemetry SDKs give to what they fold, and whose it is.
fn overflow_labels(service_name: &str) -> String {
    let mut out = String::new();
    append_label(&mut out, "otel_metric_overflow", "true");
    append_label(&mut out, "service_name", service_name);
    out
}

fn append_label(out: &mut String, label: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    if !out.is_empty() {
        out.push(',');
    }
    write_label(out, label, text);
}

fn append_field(out: &mut String, metric: Metric, labels: &str, series: &Series, format: Format) {
    let name = metric.prometheus;
    let examples = if format == Format::OpenMetrics { series.exemplars.as_slice() } else { &[] };
    match metric.field {
        Field::Duration => {
            append(out, name, labels, &DURATION_BOUNDS_NS, &series.duration_ns, Seconds::text, examples)
        }
        Field::RequestBytes => sizes(out, name, labels, &series.request_bytes),
        Field::ResponseBytes => sizes(out, name, labels, &series.response_bytes),
    }
}

fn sizes(out: &mut String, name: &str, labels: &str, histogram: &Histogram<{ SIZE_BOUNDS_BYTES.len() }>) {
    append(out, name, labels, &SIZE_BOUNDS_BYTES, histogram, |bytes| bytes.to_string(), &[]);
}

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
        push(out, format_args!("{name}_bucket{{{labels},le=\"{bound}\"}} {count}"));
        if let Some(example) = examples.iter().find(|example| example.bucket == bucket) {
            append_example(out, example);
        }
        out.push('\n');
    }
    push(out, format_args!("{name}_sum{{{labels}}} {}\n", text(histogram.sum)));
    push(out, format_args!("{name}_count{{{labels}}} {count}\n"));
}

fn append_example(out: &mut String, example: &Exemplar) {
    let Exemplar { trace_id, span_id, duration_ns, time, .. } = example;
    let (value, at) = (Seconds(*duration_ns), Seconds(time.0));
    push(out, format_args!(" # {{trace_id=\"{trace_id}\",span_id=\"{span_id}\"}} {value} {at}"));
}

fn target_info(out: &mut String, tables: &Tables, host_name: &str) {
    let mut services: Vec<&ServiceKey> = tables.targets.last_seen.keys().map(|key| &key.0).collect();
    services.sort_unstable();
    if !services.is_empty() {
        exposition::head(out, "target_info", Kind::Gauge, "Attributes of the observed processes.");
    }
    for ServiceKey(service) in services {
        let mut labels = service_labels(service);
        for (label, text) in [
            ("host_name", host_name),
            ("os_type", "linux"),
            ("source", "ratatosk"),
            ("telemetry_sdk_language", &service.language),
            ("telemetry_sdk_name", "ratatosk"),
            ("telemetry_sdk_version", env!("CARGO_PKG_VERSION")),
        ] {
            append_label(&mut labels, label, text);
        }
        push(out, format_args!("target_info{{{labels}}} 1\n"));
    }
}
