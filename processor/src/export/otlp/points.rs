//! Series as OTLP says them: one resource per service instance, names and attributes by the semantic conventions for HTTP.

use super::resource::{Machine, SCHEMA_URL, number, scope, text};
use crate::config::otlp::Exponential;
use crate::export::series::{
    Attribute, AttributeSet, DURATION_BOUNDS_NS, Exemplar, ExponentialHistogram, Field, Histogram as Buckets,
    Identity, Key, Layout, SIZE_BOUNDS_BYTES, Series, Shown, Table, Tables, real,
};
use crate::model::{Service, UnixNanos};
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

/// What names a series across snapshots: its table, and its place there.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Id {
    Series(usize, Arc<Key>),
    Overflow(usize, Arc<str>),
}

/// A series with the time it covers.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: Id,
    layout: Arc<Layout>,
    pub(super) series: Series,
    pub(super) since: UnixNanos,
}

/// What is common to the points of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<'a> {
    pub(super) now: UnixNanos,
    pub(super) temporality: AggregationTemporality,
    /// Bounds of exponential histograms; `None`: fixed buckets.
    pub(super) exponential: Option<Exponential>,
    pub(super) machine: &'a Machine,
}

/// Everything of a snapshot, each since its first request; services lie together.
pub(super) fn rows(tables: Tables) -> Vec<Row> {
    let tables = tables.requests.into_iter().enumerate();
    let tables = tables.filter(|(_, table)| !table.layout.otlp.is_empty());
    let mut rows: Vec<Row> = tables.flat_map(|(n, table)| of_table(n, table)).collect();
    rows.sort_by(|a, b| a.id.place().cmp(&b.id.place()));
    rows
}

fn of_table(n: usize, Table { layout, requests }: Table) -> Vec<Row> {
    let row = |id, series: Series| Row { since: series.began, id, layout: Arc::clone(&layout), series };
    let series = requests.series.into_iter().map(|(key, series)| row(Id::Series(n, key), series));
    let overflow = requests.overflow.into_iter().map(|(name, series)| row(Id::Overflow(n, name), series));
    series.chain(overflow).collect()
}

/// A request that tells `rows`.
pub(super) fn request(rows: &[Row], common: &Common<'_>) -> ExportMetricsServiceRequest {
    let of_service = |rows: &[Row]| {
        let tables = rows.chunk_by(|a, b| a.id.place() == b.id.place());
        ResourceMetrics {
            resource: rows.first().map(|row| common.machine.resource(&row.resource())),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
                metrics: tables.flat_map(|rows| of_one_table(rows, common)).collect(),
                schema_url: SCHEMA_URL.to_owned(),
            }],
            schema_url: SCHEMA_URL.to_owned(),
        }
    };
    let services = rows.chunk_by(|a, b| a.id.service() == b.id.service());
    ExportMetricsServiceRequest { resource_metrics: services.map(of_service).collect() }
}

fn of_one_table(rows: &[Row], common: &Common<'_>) -> Vec<OtlpMetric> {
    let shown = rows.first().map(|row| row.layout.otlp.as_slice()).unwrap_or_default();
    shown.iter().map(|shown| otlp(*shown, rows, common)).collect()
}

impl Row {
    /// Points that it makes.
    pub(super) fn points(&self) -> u64 {
        u64::try_from(self.layout.otlp.len()).unwrap_or(u64::MAX)
    }

    /// Whoever is folded into an overflow series shares only the name.
    fn resource(&self) -> Arc<Service> {
        match &self.id {
            Id::Series(_, key) => Arc::clone(key.service()),
            Id::Overflow(_, name) => {
                Arc::new(Service { name: name.as_ref().to_owned(), ..Service::default() })
            }
        }
    }
}

impl Id {
    /// An order in which one resource lies together.
    fn service(&self) -> (&str, Option<Identity<'_>>) {
        match self {
            Self::Series(_, key) => (&key.service().name, Some(key.identity())),
            Self::Overflow(_, name) => (name, None),
        }
    }

    /// An order in which, within it, one table lies together.
    fn place(&self) -> ((&str, Option<Identity<'_>>), usize) {
        let (Self::Series(table, _) | Self::Overflow(table, _)) = self;
        (self.service(), *table)
    }

    fn attributes(&self, told: AttributeSet) -> Vec<KeyValue> {
        match self {
            Self::Series(_, key) => attributes(key, told),
            Self::Overflow(..) => {
                let value = Some(AnyValue { value: Some(any_value::Value::BoolValue(true)) });
                vec![KeyValue { key: "otel.metric.overflow".to_owned(), value, ..KeyValue::default() }]
            }
        }
    }
}

/// As OBI: a status of 0 is a request without response, and `http.route` is there only if one is known.
fn attributes(key: &Key, told: AttributeSet) -> Vec<KeyValue> {
    let mut attributes = Vec::new();
    let mut push = |attribute: Attribute, value: Option<KeyValue>| {
        attributes.extend(value.filter(|_| told.has(attribute)));
    };
    let client = key.client.map(|address| text("client.address", &address.to_string()));
    push(Attribute::ClientAddress, client);
    push(Attribute::Method, Some(text("http.request.method", key.method)));
    push(Attribute::Status, Some(number("http.response.status_code", key.status)));
    push(Attribute::ServerAddress, Some(text("server.address", &key.server_address)));
    push(Attribute::ServerPort, Some(number("server.port", key.server_port)));
    push(Attribute::Path, Some(text("url.path", &key.path)));
    push(Attribute::Scheme, Some(text("url.scheme", "http")));
    push(Attribute::Route, key.route.as_deref().map(|route| text("http.route", route)));
    attributes
}

fn otlp(shown: Shown, rows: &[Row], common: &Common<'_>) -> OtlpMetric {
    let metric = shown.metric;
    let aggregation_temporality = common.temporality.into();
    let data = if let Some(bounds) = common.exponential {
        let point = |row| exponential(row, shown, bounds, common.now);
        let data_points = rows.iter().filter_map(point).collect();
        Data::ExponentialHistogram(OtlpExponential { data_points, aggregation_temporality })
    } else {
        let data_points = rows.iter().map(|row| explicit(row, shown, common.now)).collect();
        Data::Histogram(Histogram { data_points, aggregation_temporality })
    };
    OtlpMetric {
        name: metric.name.to_owned(),
        description: metric.help.to_owned(),
        unit: metric.field.unit().to_owned(),
        data: Some(data),
        ..OtlpMetric::default()
    }
}

fn explicit(row: &Row, shown: Shown, now: UnixNanos) -> HistogramDataPoint {
    let (series, field) = (&row.series, shown.metric.field);
    let (sum, bucket_counts, explicit_bounds) = match field {
        Field::Duration => buckets(&series.duration_ns, &DURATION_BOUNDS_NS, NS_PER_S),
        Field::RequestBytes => buckets(&series.request_bytes, &SIZE_BOUNDS_BYTES, 1.),
        Field::ResponseBytes => buckets(&series.response_bytes, &SIZE_BOUNDS_BYTES, 1.),
    };
    HistogramDataPoint {
        attributes: row.id.attributes(shown.attributes),
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

fn exponential(
    row: &Row,
    shown: Shown,
    bounds: Exponential,
    now: UnixNanos,
) -> Option<ExponentialHistogramDataPoint> {
    let (series, field) = (&row.series, shown.metric.field);
    let exponentials = series.exponential.as_ref()?;
    let (histogram, sum): (&ExponentialHistogram, f64) = match field {
        Field::Duration => (&exponentials.duration_s, real(series.duration_ns.sum) / NS_PER_S),
        Field::RequestBytes => (&exponentials.request_bytes, real(series.request_bytes.sum)),
        Field::ResponseBytes => (&exponentials.response_bytes, real(series.response_bytes.sum)),
    };
    let histogram = histogram.within(bounds);
    let positive = exponential_histogram_data_point::Buckets {
        offset: histogram.offset,
        bucket_counts: histogram.buckets.iter().copied().collect(),
    };
    Some(ExponentialHistogramDataPoint {
        attributes: row.id.attributes(shown.attributes),
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
