//! What the agent tells about itself, from settings to what a collector sees.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod receiver;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, NumberDataPoint, metric::Data};
use opentelemetry_proto::tonic::metrics::v1::{number_data_point, number_data_point::Value::AsInt};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use ratatosk::config::Config;
use ratatosk::telemetry::{
    Telemetry,
    own::{MAX_WAITING, Own},
};
use ratatosk_proto::v1::{Dropped, Produced, Status};
use receiver::{Act, Receiver};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tracing_subscriber::{Registry, layer::SubscriberExt};

const ALL: [(&str, &str); 3] = [
    ("BEYLA_INTERNAL_METRICS_EXPORTER", "otel"),
    ("RATATOSK_INTERNAL_LOGS_EXPORTER", "otel"),
    ("RATATOSK_INTERNAL_TRACES_EXPORTER", "otel"),
];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// An agent that tells `receiver` about itself.
struct Agent {
    own: Own,
    telemetry: Telemetry,
}

impl Agent {
    fn new(set: &[(&str, &str)]) -> Self {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let telemetry = Telemetry::new();
        let own = Own::start(&Config::load(set).unwrap(), &telemetry).unwrap();
        Self { own, telemetry }
    }

    /// Log lines of `work` go where this agent's go.
    fn logging(&self, work: impl FnOnce()) {
        tracing::subscriber::with_default(Registry::default().with(self.own.log_layer()), work);
    }

    fn shut_down(&mut self, within: Duration) {
        self.own.shut_down(Instant::now() + within);
    }

    /// Metrics as the Prometheus endpoint shows them: name and labels to the number.
    fn shown(&self) -> BTreeMap<String, i64> {
        let mut text = String::new();
        self.telemetry.render(&mut text);
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| {
                let (name, n) = line.rsplit_once(' ').unwrap();
                (name.to_owned(), n.parse().unwrap())
            })
            .collect()
    }

    fn count(&self, sample: &str) -> i64 {
        self.shown().get(sample).copied().unwrap_or_default()
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|known| known.key == key)?.value.clone()?.value?;
    match value {
        Value::StringValue(text) => Some(text),
        Value::IntValue(n) => Some(n.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

/// Requests of one signal, by the end of their path: `/v1/logs` or the service of gRPC.
fn requests<M: Message + Default>(receiver: &Receiver, paths: [&str; 2]) -> Vec<M> {
    let seen = receiver.seen();
    seen.iter().filter(|seen| paths.contains(&seen.path.as_str())).map(|seen| seen.decode()).collect()
}

fn metrics(receiver: &Receiver) -> Vec<ExportMetricsServiceRequest> {
    requests(receiver, ["/v1/metrics", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"])
}

fn logs(receiver: &Receiver) -> Vec<ExportLogsServiceRequest> {
    requests(receiver, ["/v1/logs", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"])
}

fn traces(receiver: &Receiver) -> Vec<ExportTraceServiceRequest> {
    requests(receiver, ["/v1/traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"])
}

fn spans(receiver: &Receiver) -> Vec<Span> {
    let resources = traces(receiver).into_iter().flat_map(|request| request.resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

/// Body and attributes of every log record.
fn records(receiver: &Receiver) -> Vec<(String, Vec<KeyValue>)> {
    let resources = logs(receiver).into_iter().flat_map(|request| request.resource_logs);
    let records = resources.flat_map(|resource| resource.scope_logs).flat_map(|scope| scope.log_records);
    records
        .map(|record| {
            let Some(Value::StringValue(body)) = record.body.unwrap().value else { panic!("no text") };
            (body, record.attributes)
        })
        .collect()
}

/// The last request's points, written as the text format writes samples.
fn told(receiver: &Receiver) -> BTreeMap<String, i64> {
    let last = metrics(receiver).pop().unwrap();
    let mut told = BTreeMap::new();
    for metric in last.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics) {
        let points: &[NumberDataPoint] = match metric.data.as_ref().unwrap() {
            Data::Gauge(gauge) => &gauge.data_points,
            Data::Sum(sum) => {
                assert!(sum.is_monotonic);
                assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
                &sum.data_points
            }
            other => panic!("{other:?}"),
        };
        for point in points {
            told.insert(sample(&metric.name, point), number(point));
        }
    }
    told
}

fn sample(name: &str, point: &NumberDataPoint) -> String {
    // in the order of the text format: the labels of ours that come in twos
    let order =
        ["stage", "state", "exporter", "signal", "kind", "reason", "by", "metric", "version", "result"];
    let labels = order.iter().filter_map(|key| Some((key, text(&point.attributes, key)?)));
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

fn number(point: &NumberDataPoint) -> i64 {
    match point.value {
        Some(AsInt(n)) => n,
        ref other @ (Some(number_data_point::Value::AsDouble(_)) | None) => panic!("{other:?}"),
    }
}

fn status() -> Status {
    Status {
        produced: vec![Produced { kind: 1, records: 90 }],
        acknowledged_records: 83,
        dropped: vec![Dropped { reason: "queue_full".to_owned(), records: 5 }],
        held_records: 2,
        payload_missing: vec![Dropped { reason: "io_uring".to_owned(), records: 7 }],
        ..Status::default()
    }
}

fn is_ours(resource: &Option<Resource>) -> bool {
    let attributes = &resource.as_ref().unwrap().attributes;
    let mut keys = BTreeSet::new();
    assert!(attributes.iter().all(|attribute| keys.insert(&attribute.key)), "{attributes:?}");
    assert_eq!(text(attributes, "service.version").unwrap(), env!("CARGO_PKG_VERSION"));
    assert_eq!(text(attributes, "telemetry.sdk.language").unwrap(), "rust");
    assert_eq!(text(attributes, "team").unwrap(), "blue");
    assert!(text(attributes, "service.instance.id").unwrap().ends_with(&format!(":{}", std::process::id())));
    text(attributes, "service.name").unwrap() == "ratatosk"
}

#[test]
fn metrics_logs_and_spans_about_the_agent_arrive_over_grpc_and_http() {
    let runtime = runtime();
    for (protocol, compression) in [("grpc", "none"), ("grpc", "gzip"), ("http/protobuf", "gzip")] {
        let receiver = Receiver::default();
        let address = runtime.block_on(receiver.start(protocol == "grpc"));
        let url = format!("http://{address}");
        let mut set = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", compression),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=blue,service.name=no"),
        ];
        set.extend(ALL);
        let mut agent = Agent::new(&set);
        agent.telemetry.loader_status(&status());
        agent.telemetry.decode_error("too_short", 3);
        agent.logging(|| tracing::warn!(target: "ratatosk", port = 8080, "Something happened"));
        agent.telemetry.loader_greeted("socket", "9.9.9");
        let shown = agent.shown();
        agent.shut_down(Duration::from_secs(20));

        let told = told(&receiver);
        let is_steady =
            |name: &&String| !name.starts_with("ratatosk_otlp_") && !name.starts_with("ratatosk_internal_");
        for name in shown.keys().filter(is_steady) {
            assert_eq!(told.get(name), shown.get(name), "{name} in {told:?}");
        }
        assert_eq!(told["ratatosk_records_dropped_total{stage=\"server\",reason=\"queue_full\"}"], 5);
        assert!(metrics(&receiver).iter().all(|r| r.resource_metrics.iter().all(|r| is_ours(&r.resource))));

        let records = records(&receiver);
        let [(body, attributes)] = records.as_slice() else { panic!("{records:?}") };
        assert_eq!(body, "Something happened");
        assert_eq!(text(attributes, "port").unwrap(), "8080");
        assert!(logs(&receiver).iter().all(|r| r.resource_logs.iter().all(|r| is_ours(&r.resource))));

        let spans = spans(&receiver);
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["loader connect", "loader stream"]);
        assert_eq!(text(&spans[0].attributes, "tier").unwrap(), "socket");
        assert_eq!(text(&spans[0].attributes, "failed_attempts").unwrap(), "0");
        assert!(traces(&receiver).iter().all(|r| r.resource_spans.iter().all(|r| is_ours(&r.resource))));

        for seen in receiver.seen() {
            assert_eq!(seen.headers["authorization"], "Bearer x", "{}", seen.path);
        }
        assert_eq!(agent.count("ratatosk_internal_exported_total{signal=\"logs\"}"), 1);
        assert_eq!(agent.count("ratatosk_internal_exported_total{signal=\"traces\"}"), 2);
        assert!(agent.shown().keys().all(|name| !name.starts_with("ratatosk_internal_dropped_total")));
    }
}

#[test]
fn nothing_is_sent_that_was_not_asked_for() {
    let runtime = runtime();
    let receiver = Receiver::default();
    let url = format!("http://{}", runtime.block_on(receiver.start(false)));
    let everything = |agent: &mut Agent| {
        agent.logging(|| tracing::warn!(target: "ratatosk", "Something happened"));
        agent.telemetry.loader_greeted("socket", "9.9.9");
        agent.telemetry.loader_lost("gone");
        agent.shut_down(Duration::from_secs(20));
    };
    everything(&mut Agent::new(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]));
    assert_eq!((receiver.seen().len(), receiver.connections()), (0, 0));
    for (n, (asked, path)) in ALL.into_iter().zip(["/v1/metrics", "/v1/logs", "/v1/traces"]).enumerate() {
        everything(&mut Agent::new(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), asked]));
        let paths: Vec<String> = receiver.seen().into_iter().map(|seen| seen.path).collect();
        assert_eq!(paths.len(), n + 1, "{paths:?}");
        assert_eq!(paths[n], path);
    }
}

#[test]
fn log_lines_of_the_libraries_that_carry_them_are_not_told() {
    let runtime = runtime();
    let receiver = Receiver::default();
    let url = format!("http://{}", runtime.block_on(receiver.start(false)));
    let mut agent = Agent::new(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ALL[1]]);
    agent.logging(|| {
        tracing::error!(target: "h2::client", "of another crate");
        tracing::error!(target: "hyper_util::client", "of another crate");
        tracing::error!(target: "tonic", "of another crate");
        tracing::error!(target: "opentelemetry_sdk", "of another crate");
        tracing::info!(target: "ratatosk::ingest", "ours");
    });
    agent.shut_down(Duration::from_secs(20));
    let bodies: Vec<String> = records(&receiver).into_iter().map(|(body, _)| body).collect();
    assert_eq!(bodies, ["ours"]);
}

#[test]
fn each_loss_of_the_line_to_the_loader_is_a_span() {
    let runtime = runtime();
    let receiver = Receiver::default();
    let url = format!("http://{}", runtime.block_on(receiver.start(true)));
    let set =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ALL[2]];
    let mut agent = Agent::new(&set);
    agent.telemetry.loader_lost("no such file");
    agent.telemetry.loader_lost("no such file");
    agent.telemetry.loader_greeted("inet", "1");
    agent.telemetry.loader_lost("the loader ended the stream");
    agent.telemetry.loader_greeted("inet", "1");
    agent.shut_down(Duration::from_secs(20));
    let spans = spans(&receiver);
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["loader connect", "loader stream", "loader connect", "loader stream"]);
    let value = |n: usize, key| text(&spans[n].attributes, key);
    assert_eq!(
        (value(0, "failed_attempts"), value(0, "earlier_streams")),
        (Some("2".into()), Some("0".into()))
    );
    assert_eq!(spans[0].events.len(), 2);
    assert_eq!(value(1, "reason").unwrap(), "the loader ended the stream");
    assert_eq!(value(1, "error.type").unwrap(), "broken");
    assert_eq!(
        (value(2, "failed_attempts"), value(2, "earlier_streams")),
        (Some("0".into()), Some("1".into()))
    );
    assert_eq!(value(3, "error.type"), None);
}

#[test]
fn a_collector_that_hangs_costs_a_bounded_queue_and_the_time_to_end() {
    let runtime = runtime();
    let receiver = Receiver::new(vec![Act::Hang; 8]);
    let url = format!("http://{}", runtime.block_on(receiver.start(false)));
    let mut set = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str())];
    set.extend(ALL);
    let mut agent = Agent::new(&set);
    let lines = 4 * MAX_WAITING;
    let begun = Instant::now();
    agent.logging(|| (0..lines).for_each(|n| tracing::info!(target: "ratatosk", n, "One of too many")));
    assert!(begun.elapsed() < Duration::from_secs(8), "whoever logs must not wait for the collector");
    let full = agent.count("ratatosk_internal_dropped_total{signal=\"logs\",reason=\"queue_full\"}");
    assert!(full > 0);
    let begun = Instant::now();
    agent.shut_down(Duration::from_secs(1));
    // the SDK gives its metrics five seconds, whatever it is told
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    let lost: i64 = agent
        .shown()
        .iter()
        .filter(|(name, _)| name.starts_with("ratatosk_internal_dropped_total{signal=\"logs\""))
        .map(|(_, n)| n)
        .sum();
    assert_eq!(lost, i64::try_from(lines).unwrap(), "{:?}", agent.shown());
}

#[test]
fn what_a_collector_refuses_is_counted_by_its_reason() {
    let runtime = runtime();
    let receiver = Receiver::new([Act::Http(400, None)]);
    let url = format!("http://{}", runtime.block_on(receiver.start(false)));
    let mut agent = Agent::new(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), ALL[1]]);
    agent.logging(|| tracing::info!(target: "ratatosk", "refused"));
    agent.shut_down(Duration::from_secs(20));
    assert_eq!(agent.count("ratatosk_internal_dropped_total{signal=\"logs\",reason=\"rejected\"}"), 1);
    assert_eq!(agent.count("ratatosk_otlp_requests_total{signal=\"internal_logs\",result=\"rejected\"}"), 1);
    assert_eq!(receiver.seen().len(), 1);
}
