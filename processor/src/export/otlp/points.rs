//! Series as OTLP says them: one resource per service instance, names and attributes by the semantic conventions for HTTP.

use super::resource::{Machine, SCHEMA_URL, number, scope, text};
use crate::export::series::{
    CLIENT, DURATION_BOUNDS_NS, Exemplar, ExponentialHistogram, Field, Histogram as Buckets, Key, Metric,
    Requests, SERVER, SIZE_BOUNDS_BYTES, Series, Tables, real,
};
use crate::model::{Service, SpanKind, UnixNanos};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar as OtlpExemplar, ExponentialHistogram as OtlpExponential,
    ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric as OtlpMetric, ResourceMetrics,
    ScopeMetrics, exemplar, exponential_histogram_data_point, metric::Data,
};
use std::sync::Arc;

/// Nanoseconds of a second, as a number to divide by.
const NS_PER_S: f64 = 1e9;

/// What names a series across snapshots.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Id {
    Series(SpanKind, Arc<Key>),
    Overflow(SpanKind, Arc<str>),
}

/// A series with the time it covers.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: Id,
    pub(super) series: Series,
    pub(super) since: UnixNanos,
}

/// Everything of a snapshot, each since its first request; services lie together.
pub(super) fn rows(tables: Tables) -> Vec<Row> {
    let mut rows = of_kind(SpanKind::Server, tables.server);
    rows.extend(of_kind(SpanKind::Client, tables.client));
    rows.sort_by(|a, b| a.id.service().cmp(&b.id.service()));
    rows
}

fn of_kind(kind: SpanKind, requests: Requests) -> Vec<Row> {
    let row = |id, series: Series| Row { since: series.began, id, series };
    let series = requests.series.into_iter().map(|(key, series)| row(Id::Series(kind, key), series));
    let overflow = requests.overflow.into_iter().map(|(name, series)| row(Id::Overflow(kind, name), series));
    series.chain(overflow).collect()
}

/// A request that tells `rows`, up to `now`.
pub(super) fn request(
    rows: &[Row],
    now: UnixNanos,
    temporality: AggregationTemporality,
    machine: &Machine,
) -> ExportMetricsServiceRequest {
    let of_service = |rows: &[Row]| {
        let metrics = [(SpanKind::Server, SERVER), (SpanKind::Client, CLIENT)].into_iter();
        let metrics = metrics.flat_map(|(kind, metrics)| metrics.map(|metric| (kind, metric)));
        let metrics =
            metrics.filter_map(|(kind, metric)| otlp(metric, kind, rows, now, temporality)).collect();
        ResourceMetrics {
            resource: rows.first().map(|row| machine.resource(&row.id.resource())),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
                metrics,
                schema_url: SCHEMA_URL.to_owned(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        }
    };
    let services = rows.chunk_by(|a, b| a.id.service() == b.id.service());
    ExportMetricsServiceRequest { resource_metrics: services.map(of_service).collect() }
}

impl Id {
    fn kind(&self) -> SpanKind {
        match self {
            Self::Series(kind, _) | Self::Overflow(kind, _) => *kind,
        }
    }

    /// An order in which one resource lies together.
    fn service(&self) -> (&str, Option<&crate::export::series::ServiceKey>) {
        match self {
            Self::Series(_, key) => (&key.service.0.name, Some(&key.service)),
            Self::Overflow(_, name) => (name, None),
        }
    }

    /// Whoever is folded into an overflow series shares only the name.
    fn resource(&self) -> Arc<Service> {
        match self {
            Self::Series(_, key) => Arc::clone(&key.service.0),
            Self::Overflow(_, name) => {
                Arc::new(Service { name: name.as_ref().to_owned(), ..Service::default() })
            }
        }
    }

    fn attributes(&self) -> Vec<KeyValue> {
        match self {
            Self::Series(_, key) => attributes(key),
            Self::Overflow(..) => {
                let value = Some(AnyValue { value: Some(any_value::Value::BoolValue(true)) });
                vec![KeyValue { key: "otel.metric.overflow".to_owned(), value, ..KeyValue::default() }]
            }
        }
    }
}

/// As OBI: a status of 0 is a request without response, and `http.route` is there only if one is known.
fn attributes(key: &Key) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("http.request.method", key.method),
        number("http.response.status_code", key.status),
        text("server.address", &key.server_address),
        number("server.port", key.server_port),
        text("url.scheme", "http"),
    ];
    attributes.extend(key.route.as_deref().map(|route| text("http.route", route)));
    attributes
}

fn otlp(
    metric: Metric,
    kind: SpanKind,
    rows: &[Row],
    now: UnixNanos,
    temporality: AggregationTemporality,
) -> Option<OtlpMetric> {
    let mut rows = rows.iter().filter(|row| row.id.kind() == kind).peekable();
    let is_exponential = rows.peek()?.series.exponential.is_some();
    let aggregation_temporality = temporality.into();
    let data = if is_exponential {
        let data_points = rows.filter_map(|row| exponential(row, metric.field, now)).collect();
        Data::ExponentialHistogram(OtlpExponential { data_points, aggregation_temporality })
    } else {
        let data_points = rows.map(|row| explicit(row, metric.field, now)).collect();
        Data::Histogram(Histogram { data_points, aggregation_temporality })
    };
    Some(OtlpMetric {
        name: metric.name.to_owned(),
        description: metric.help.to_owned(),
        unit: metric.field.unit().to_owned(),
        data: Some(data),
        ..OtlpMetric::default()
    })
}

fn explicit(row: &Row, field: Field, now: UnixNanos) -> HistogramDataPoint {
    let series = &row.series;
    let (sum, bucket_counts, explicit_bounds) = match field {
        Field::Duration => buckets(&series.duration_ns, &DURATION_BOUNDS_NS, NS_PER_S),
        Field::RequestBytes => buckets(&series.request_bytes, &SIZE_BOUNDS_BYTES, 1.),
        Field::ResponseBytes => buckets(&series.response_bytes, &SIZE_BOUNDS_BYTES, 1.),
    };
    HistogramDataPoint {
        attributes: row.id.attributes(),
        start_time_unix_nano: row.since.0,
        time_unix_nano: now.0,
        count: series.count(),
        sum: Some(sum),
        bucket_counts,
        explicit_bounds,
        exemplars: exemplars(row, field),
        ..HistogramDataPoint::default()
    }
}

fn buckets<const N: usize>(
    histogram: &Buckets<N>,
    bounds: &[u64; N],
    per_unit: f64,
) -> (f64, Vec<u64>, Vec<f64>) {
    let counts = histogram.buckets.iter().chain([&histogram.above]).copied().collect();
    (real(histogram.sum) / per_unit, counts, bounds.iter().map(|bound| real(*bound) / per_unit).collect())
}

fn exponential(row: &Row, field: Field, now: UnixNanos) -> Option<ExponentialHistogramDataPoint> {
    let series = &row.series;
    let exponentials = series.exponential.as_ref()?;
    let (histogram, sum): (&ExponentialHistogram, f64) = match field {
        Field::Duration => (&exponentials.duration_s, real(series.duration_ns.sum) / NS_PER_S),
        Field::RequestBytes => (&exponentials.request_bytes, real(series.request_bytes.sum)),
        Field::ResponseBytes => (&exponentials.response_bytes, real(series.response_bytes.sum)),
    };
    let positive = exponential_histogram_data_point::Buckets {
        offset: histogram.offset,
        bucket_counts: histogram.buckets.iter().copied().collect(),
    };
    Some(ExponentialHistogramDataPoint {
        attributes: row.id.attributes(),
        start_time_unix_nano: row.since.0,
        time_unix_nano: now.0,
        count: series.count(),
        sum: Some(sum),
        scale: histogram.scale,
        zero_count: histogram.zero,
        positive: Some(positive),
        exemplars: exemplars(row, field),
        ..ExponentialHistogramDataPoint::default()
    })
}

/// Those of requests that ended within the time that the point is about.
fn exemplars(row: &Row, field: Field) -> Vec<OtlpExemplar> {
    if !matches!(field, Field::Duration) {
        return Vec::new();
    }
    row.series.exemplars.iter().filter(|exemplar| exemplar.time >= row.since).map(example).collect()
}

fn example(exemplar: &Exemplar) -> OtlpExemplar {
    OtlpExemplar {
        time_unix_nano: exemplar.time.0,
        span_id: exemplar.span_id.0.to_vec(),
        trace_id: exemplar.trace_id.0.to_vec(),
        value: Some(exemplar::Value::AsDouble(real(exemplar.duration_ns) / NS_PER_S)),
        ..OtlpExemplar::default()
    }
}

#[cfg(test)]
#[path = "points_tests.rs"]
mod tests;
