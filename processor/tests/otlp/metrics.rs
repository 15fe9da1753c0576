//! Points of metrics, cumulative and delta.

use super::{Agent, Collector, durations, runtime, span, spans, wait_until};
use crate::receiver::{Act, Receiver};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use tokio::runtime::Runtime;

#[test]
fn cumulative_points_count_from_the_first_request() {
    let (collector, mut agent, _runtime) = metrics_agent("cumulative");
    for round in 1..=3 {
        let before = collector.durations().len();
        agent.export(&spans(2));
        wait_until(|| collector.durations().len() > before + 1);
        let (temporality, point) = collector.durations().pop().unwrap();
        assert_eq!(temporality, i32::from(AggregationTemporality::Cumulative));
        assert_eq!((point.count, point.start_time_unix_nano), (round * 2, span(0).start.0));
    }
    agent.shut_down();
}

#[test]
fn delta_points_cover_time_without_gaps_and_add_up() {
    let (collector, mut agent, _runtime) = metrics_agent("delta");
    for round in 1..=3 {
        agent.export(&spans(2));
        wait_until(|| collector.durations().iter().map(|(_, point)| point.count).sum::<u64>() == round * 2);
    }
    agent.shut_down();
    let points = collector.durations();
    assert!(points.iter().all(|(temporality, _)| *temporality == i32::from(AggregationTemporality::Delta)));
    assert_eq!(points.iter().map(|(_, point)| point.count).sum::<u64>(), 6);
    assert_eq!(points[0].1.start_time_unix_nano, span(0).start.0);
    for pair in points.windows(2) {
        assert_eq!(pair[1].1.start_time_unix_nano, pair[0].1.time_unix_nano);
    }
}

fn metrics_agent(temporality: &str) -> (Collector, Agent, Runtime) {
    let runtime = runtime();
    let (collector, url) = Collector::start(&runtime);
    let agent = Agent::new(&[
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &url),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality),
        ("OTEL_METRIC_EXPORT_INTERVAL", "20"),
    ]);
    (collector, agent, runtime)
}

/// Two requests told to a collector that reads the first and closes, two more to one that answers: what it saw.
fn after_a_break(temporality: &str, is_http2: bool) -> (Vec<ExportMetricsServiceRequest>, Agent) {
    let runtime = runtime();
    let receiver = Receiver::new([Act::Close]);
    let address = runtime.block_on(receiver.start(is_http2));
    let mut agent = Agent::new(&[
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &format!("http://{address}")),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", if is_http2 { "grpc" } else { "http/protobuf" }),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality),
        ("OTEL_METRIC_EXPORT_INTERVAL", "2000"),
        ("BEYLA_BACKOFF_INITIAL_INTERVAL", "20ms"),
    ]);
    agent.export(&spans(2));
    let answered =
        || agent.sum("ratatosk_points_exported_total") + agent.sum("ratatosk_points_dropped_total");
    wait_until(|| answered() >= 3);
    agent.export(&spans(2));
    agent.shut_down();
    let seen = receiver.seen().iter().map(|request| request.decode()).collect();
    (seen, agent)
}

#[test]
fn cumulative_points_are_sent_again_after_a_broken_connection() {
    for is_http2 in [true, false] {
        let (seen, agent) = after_a_break("cumulative", is_http2);
        assert_eq!(seen[0], seen[1], "the same points, the same time: a receiver knows the copy");
        assert_eq!(durations(&seen).last().unwrap().1.count, 4);
        assert_eq!(agent.sum("ratatosk_points_dropped_total"), 0);
        let resent = |what: &str| {
            agent.sum(&format!(
                "ratatosk_otlp_{what}_resent_total{{signal=\"metrics\",reason=\"unconfirmed\"}}"
            ))
        };
        assert_eq!((resent("requests"), resent("items")), (1, 3));
    }
}

#[test]
fn delta_points_that_may_have_been_taken_are_not_sent_again() {
    for is_http2 in [true, false] {
        let (seen, agent) = after_a_break("delta", is_http2);
        let points = durations(&seen);
        assert_eq!(points.iter().map(|(_, point)| point.count).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(points[1].1.start_time_unix_nano, points[0].1.time_unix_nano);
        let unconfirmed =
            agent.sum("ratatosk_points_dropped_total{exporter=\"otlp\",reason=\"unconfirmed\"}");
        assert_eq!((unconfirmed, agent.sum("ratatosk_points_exported_total")), (3, 3));
        assert_eq!(agent.sum("ratatosk_otlp_requests_resent_total"), 0);
    }
}
