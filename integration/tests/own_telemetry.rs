//! A real Collector hears what the agent tells about itself, and nothing that was not asked for.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{
    Agent, Options, agent::TOLD, backend::Collector, guard, server::Server, wait_until,
};
use serde_json::Value;
use std::collections::BTreeMap;

const ASKED: [&str; 3] = [
    "OTEL_EBPF_INTERNAL_METRICS_EXPORTER",
    "RATATOSK_INTERNAL_LOGS_EXPORTER",
    "RATATOSK_INTERNAL_TRACES_EXPORTER",
];

fn options(server: &Server, protocol: &str, port: u16) -> Options {
    Options::none()
        .with("OTEL_EBPF_OPEN_PORT", server.port)
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"))
        .with("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .with("OTEL_METRIC_EXPORT_INTERVAL", 500)
}

fn attribute(of: &Value, key: &str) -> Option<String> {
    let found = of["attributes"].as_array()?.iter().find(|attribute| attribute["key"] == key)?;
    let value = found["value"].as_object()?.values().next()?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Items of the agent itself below `scopes` and `items` of each resource, in the order of the file.
fn own(resources: Vec<Value>, scopes: &str, items: &str) -> Vec<Value> {
    let is_own = |resource: &Value| {
        attribute(&resource["resource"], "service.name").is_some_and(|name| name == "ratatosk")
    };
    let own = resources.into_iter().filter(is_own);
    let scopes = own.flat_map(|resource| resource[scopes].as_array().cloned().unwrap_or_default());
    scopes.flat_map(|scope| scope[items].as_array().cloned().unwrap_or_default()).collect()
}

fn spans(collector: &Collector) -> Vec<Value> {
    own(collector.resource_spans(), "scopeSpans", "spans")
}

fn logs(collector: &Collector) -> Vec<Value> {
    own(collector.resource_logs(), "scopeLogs", "logRecords")
}

fn metrics(collector: &Collector) -> Vec<Value> {
    own(collector.resource_metrics(), "scopeMetrics", "metrics")
}

/// The last sum of each own counter, over its points.
fn sums(collector: &Collector) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for metric in metrics(collector) {
        let points = ["sum", "gauge"].iter().find_map(|kind| metric[kind]["dataPoints"].as_array());
        let number = |point: &Value| point["asInt"].as_str().unwrap().parse::<u64>().unwrap();
        let sum = points.into_iter().flatten().map(number).sum();
        sums.insert(metric["name"].as_str().unwrap().to_owned(), sum);
    }
    sums
}

fn hears_over(test: &str, protocol: &str, port: impl Fn(&Collector) -> u16) {
    let Some(_machine) = guard(test) else { return };
    let collector = match Collector::start(None) {
        Ok(collector) => collector,
        Err(reason) => return println!("skipped: {test}: {reason}"),
    };
    let server = Server::nginx();
    let options = options(&server, protocol, port(&collector));
    let agent =
        Agent::observing(&server, &ASKED.iter().fold(options, |options, name| options.with(name, "otel")));
    wait_until("own metrics of the loader", TOLD, || {
        sums(&collector).get("ratatosk_records_produced_total").filter(|produced| **produced > 0).copied()
    });
    wait_until("a log line", TOLD, || {
        let bodies = logs(&collector).into_iter().map(|log| log["body"]["stringValue"].clone());
        bodies.into_iter().find(|body| body == "Connected to the loader")
    });
    agent.stop();
    // the end flushes: the stream's span ends with it
    let names = wait_until("spans about itself", TOLD, || {
        let names: Vec<Value> = spans(&collector).into_iter().map(|span| span["name"].clone()).collect();
        names.iter().any(|name| name == "loader stream").then_some(names)
    });
    assert!(names.iter().any(|name| name == "loader connect"), "{names:?}");
    assert!(names.iter().any(|name| name == "otlp export"), "{names:?}");
    let sums = sums(&collector);
    let drops = |stage: &str| -> u64 {
        let last =
            metrics(&collector).into_iter().rfind(|m| m["name"] == "ratatosk_records_dropped_total").unwrap();
        let points = last["sum"]["dataPoints"].as_array().cloned().unwrap_or_default();
        let of_stage = points.iter().filter(|point| attribute(point, "stage").as_deref() == Some(stage));
        of_stage.map(|point| point["asInt"].as_str().unwrap().parse::<u64>().unwrap()).sum()
    };
    let produced = sums["ratatosk_records_produced_total"];
    let known = sums["ratatosk_records_acknowledged_total"] + drops("server") + sums["ratatosk_records_held"];
    assert_eq!(produced, known, "all numbers of one export are of one moment: {sums:?}");
    let others: Vec<Value> = logs(&collector)
        .into_iter()
        .filter(|log| log["body"]["stringValue"] == "OTLP export failed")
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_collector_hears_over_grpc_what_the_agent_tells_about_itself() {
    hears_over("a_collector_hears_over_grpc_what_the_agent_tells_about_itself", "grpc", |collector| {
        collector.grpc_port
    });
}

#[test]
fn a_collector_hears_over_http_what_the_agent_tells_about_itself() {
    hears_over(
        "a_collector_hears_over_http_what_the_agent_tells_about_itself",
        "http/protobuf",
        |collector| collector.http_port,
    );
}

#[test]
fn unasked_the_agent_says_nothing_about_itself() {
    let test = "unasked_the_agent_says_nothing_about_itself";
    let Some(_machine) = guard(test) else { return };
    let collector = match Collector::start(None) {
        Ok(collector) => collector,
        Err(reason) => return println!("skipped: {test}: {reason}"),
    };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &options(&server, "grpc", collector.grpc_port));
    wait_until("spans and metrics of the server", TOLD, || {
        (!collector.resource_spans().is_empty() && !collector.resource_metrics().is_empty()).then_some(())
    });
    agent.stop();
    assert_eq!((spans(&collector).len(), metrics(&collector).len()), (0, 0));
    assert!(collector.resource_logs().is_empty());
}
