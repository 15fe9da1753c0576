//! Services that tell their own traces or metrics, by the real SDKs of OpenTelemetry, are not told twice.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{
    Agent, Options,
    agent::TOLD,
    backend::Collector,
    client::Connection,
    component, guard,
    stage::{self, Program},
    wait_until,
};
use serde_json::Value;
use std::{
    process::{Command, Stdio},
    time::Duration,
};

/// A JVM with an agent of its own takes most of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests that are asked once the SDK is known.
const COUNT: usize = 20;
const TRACES: &str = "traces";
const METRICS: &str = "metrics";

struct Service {
    port: u16,
    program: Program,
}

impl Service {
    /// A service on `port` that exports to the Collector by `protocol`.
    fn start(mut command: Command, port: u16, collector: &Collector, protocol: &str, metrics: &str) -> Self {
        let to = if protocol == "grpc" { collector.grpc_port } else { collector.http_port };
        command.arg(port.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
            .env("OTEL_SERVICE_NAME", "own")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{to}"))
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_METRICS_EXPORTER", metrics)
            .env("OTEL_LOGS_EXPORTER", "none")
            .env("OTEL_BSP_SCHEDULE_DELAY", "300")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "500");
        let program = Program::start(&mut command);
        wait_until("the service to listen", PATIENCE, || Connection::open(port).ok());
        Self { port, program }
    }

    fn ask(&self, path: &str) {
        Connection::open(self.port).unwrap().ask("GET", path, 0).unwrap();
    }
}

fn python(test: &str) -> Option<Command> {
    let place = found(test, "sdk-python")?;
    let mut command = Command::new(place.join("bin/python"));
    command.arg(stage::workload("components/sdk-python/service.py"));
    Some(command)
}

fn node(test: &str) -> Option<Command> {
    let mut command = Command::new("node");
    command.arg(found(test, "sdk-node")?.join("service.mjs"));
    Some(command)
}

fn go(test: &str) -> Option<Command> {
    Some(Command::new(found(test, "sdk-go")?.join("service")))
}

fn java(test: &str) -> Option<Command> {
    let place = found(test, "sdk-java")?;
    let mut jars = std::fs::read_dir(place.join("lib")).unwrap().map(|jar| jar.unwrap().path());
    let mut command = Command::new("java");
    command.arg(format!("-javaagent:{}", jars.next().unwrap().display()));
    command.arg("-cp").arg(place.join("classes")).arg("Service");
    Some(command)
}

fn found(test: &str, name: &str) -> Option<std::path::PathBuf> {
    component::find(name).map_err(|reason| println!("skipped: {test}: {reason}")).ok()
}

fn collector(test: &str) -> Option<Collector> {
    Collector::start(None).map_err(|reason| println!("skipped: {test}: {reason}")).ok()
}

/// The agent, started before the service on `port`: it has to see its connections begin.
fn agent(collector: &Collector, port: u16) -> Agent {
    let options = Options { settings: Vec::new(), ..Options::none() }
        .with("OTEL_EBPF_OPEN_PORT", port)
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", collector.grpc_port))
        .with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .with("OTEL_METRIC_EXPORT_INTERVAL", 500);
    Agent::start(&options)
}

/// `ratatosk explain --json PID`.
fn explained(agent: &Agent, pid: u32) -> Option<Value> {
    let mut command = Command::new(stage::binary("ratatosk"));
    command.args(["explain", "--json", &pid.to_string()]).env_clear().env("RATATOSK_SOCKET", agent.socket());
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).ok()?;
    report["processes"].as_array()?.iter().find(|row| row["pid"] == pid).cloned()
}

/// The sentences for people.
fn sentences(agent: &Agent, pid: u32) -> String {
    let mut command = Command::new(stage::binary("ratatosk"));
    command.args(["explain", &pid.to_string()]).env_clear().env("RATATOSK_SOCKET", agent.socket());
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

/// Asks until the SDK's export was noticed.
fn wait_until_noticed(agent: &Agent, service: &Service, signals: &[&str]) {
    let mut number = 0;
    wait_until("the export to be noticed", PATIENCE, || {
        number += 1;
        service.ask(&format!("/before/{number}"));
        std::thread::sleep(Duration::from_millis(100));
        let row = explained(agent, service.program.child.id())?;
        (words(&row["exports"]) == signals).then_some(())
    });
}

/// Spans with `part` in their name or path, of the SDK (named "own ...") and of the agent.
fn told(collector: &Collector, part: &str) -> (usize, usize) {
    let resources = collector.resource_spans();
    let scopes = resources.iter().flat_map(|resource| {
        let is_agent = resource["resource"].to_string().contains("\"ratatosk\"");
        resource["scopeSpans"].as_array().unwrap().iter().map(move |scope| (is_agent, scope))
    });
    let spans = scopes.flat_map(|(is_agent, scope)| {
        scope["spans"].as_array().unwrap().iter().map(move |span| (is_agent, span.to_string()))
    });
    let fitting: Vec<bool> =
        spans.filter(|(_, text)| text.contains(part)).map(|(is_agent, _)| is_agent).collect();
    let agents = fitting.iter().filter(|is_agent| **is_agent).count();
    (fitting.len() - agents, agents)
}

/// Requests of the service that the agent's metric counts.
fn counted(agent: &Agent) -> f64 {
    agent.scrape().sum("http_server_request_duration_seconds_count", &["service_name=\"own\""])
}

/// Of a service that exports `signals`, only the others are told, and `explain` says so.
fn is_not_told_twice(test: &str, protocol: &str, signals: &[&str], command: fn(&str) -> Option<Command>) {
    let Some(_machine) = guard(test) else { return };
    let (Some(collector), Some(command)) = (collector(test), command(test)) else { return };
    let port = stage::free_port();
    let agent = agent(&collector, port);
    let metrics = if signals.contains(&METRICS) { "otlp" } else { "none" };
    let service = Service::start(command, port, &collector, protocol, metrics);
    wait_until_noticed(&agent, &service, signals);
    let before = counted(&agent);
    for number in 0..COUNT {
        service.ask(&format!("/after/{number}"));
    }
    wait_until("the SDK's own spans", PATIENCE, || (told(&collector, "/after/").0 >= COUNT).then_some(()));
    assert_told(&agent, &collector, signals, before);
    let said = sentences(&agent, service.program.child.id());
    assert!(said.contains(&format!("its {} are not told again", signals.join(" and "))), "{said}");
    agent.stop();
}

fn assert_told(agent: &Agent, collector: &Collector, signals: &[&str], before: f64) {
    // printed to people who debug, whatever it exports
    let rows = agent.server_rows("/after/", COUNT);
    assert_eq!(rows.len(), COUNT, "the trace printer");
    if signals.contains(&METRICS) {
        assert!((counted(agent) - before).abs() < 0.5, "metrics of a service that exports them");
    } else {
        let count = f64::from(u32::try_from(COUNT).unwrap());
        wait_until("metrics that nobody else tells", TOLD, || {
            (counted(agent) >= before + count).then_some(())
        });
    }
    wait_until("the spans to be excluded", TOLD, || {
        let sum = agent.scrape().sum("ratatosk_spans_excluded_total", &["exporter=\"otlp\""]);
        (sum >= f64::from(u32::try_from(COUNT).unwrap())).then_some(())
    });
    assert_eq!(told(collector, "/after/").1, 0, "spans of the agent");
}

#[test]
fn pythons_sdk_over_grpc_is_noticed() {
    is_not_told_twice("pythons_sdk_over_grpc_is_noticed", "grpc", &[TRACES], python);
}

#[test]
fn metrics_over_grpc_are_noticed_beside_traces() {
    is_not_told_twice("metrics_over_grpc_are_noticed_beside_traces", "grpc", &[TRACES, METRICS], python);
}

#[test]
fn pythons_sdk_over_http_is_noticed() {
    is_not_told_twice("pythons_sdk_over_http_is_noticed", "http/protobuf", &[TRACES], python);
}

#[test]
fn nodes_sdk_over_grpc_is_noticed() {
    is_not_told_twice("nodes_sdk_over_grpc_is_noticed", "grpc", &[TRACES], node);
}

#[test]
fn gos_sdk_over_grpc_is_noticed() {
    is_not_told_twice("gos_sdk_over_grpc_is_noticed", "grpc", &[TRACES], go);
}

#[test]
fn javas_agent_over_grpc_is_noticed() {
    is_not_told_twice("javas_agent_over_grpc_is_noticed", "grpc", &[TRACES], java);
}
