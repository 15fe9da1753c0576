//! Every query of the dashboards, asked of a real Prometheus that scraped the real agent while it watched the demo.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{
    Agent, Options,
    client::Connection,
    guard,
    stage::{self, Program},
    wait_until,
};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// The demo makes two requests a second and Prometheus scrapes each second; a machine that builds has its pauses.
const PATIENCE: Duration = Duration::from_secs(90);
/// Debian's package.
const PROMETHEUS: &str = "/usr/bin/prometheus";

/// A query of a panel.
#[derive(Debug)]
struct Query {
    panel: String,
    /// As Grafana would ask it.
    expression: String,
    legend: String,
    unit: String,
}

fn dashboard(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn queries(dashboard: &Value) -> Vec<Query> {
    let panels = dashboard["panels"].as_array().unwrap();
    let of_panel = |panel: &Value| {
        let title = text(panel, "/title").to_owned();
        let unit = text(panel, "/fieldConfig/defaults/unit").to_owned();
        let query = |target: &Value| Query {
            panel: title.clone(),
            expression: with_variables(text(target, "/expr")),
            legend: text(target, "/legendFormat").to_owned(),
            unit: unit.clone(),
        };
        panel["targets"].as_array().unwrap().iter().map(query).collect::<Vec<_>>()
    };
    panels.iter().flat_map(of_panel).collect()
}

/// What Grafana puts in: "All" of each variable, and an interval of several scrapes.
fn with_variables(expression: &str) -> String {
    [("$__rate_interval", "1m"), ("$__range", "5m"), ("$service", ".*"), ("$instance", ".*")]
        .iter()
        .fold(expression.to_owned(), |text, (variable, value)| text.replace(variable, value))
}

/// A Prometheus that scrapes one port of this machine each second.
struct Prometheus {
    port: u16,
    _program: Program,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    fn scraping(agent_port: u16) -> Self {
        let (directory, port) = (stage::directory(), stage::free_port());
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n- job_name: ratatosk\n  static_configs:\n  \
             - targets: ['127.0.0.1:{agent_port}']\n"
        );
        fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        let mut command = Command::new(PROMETHEUS);
        command.arg(format!("--config.file={}", directory.path().join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let prometheus = Self { port, _program: Program::start(&mut command), _directory: directory };
        wait_until("Prometheus to be ready", PATIENCE, || {
            (prometheus.get("/-/ready")?.0 == 200).then_some(())
        });
        prometheus
    }

    fn get(&self, path: &str) -> Option<(u16, Vec<u8>)> {
        let response = Connection::open(self.port).ok()?.ask("GET", path, 0).ok()?;
        Some((response.status, response.body))
    }

    /// The samples that answer `expression`; an error is what Prometheus says of a query that does not parse.
    fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let path = format!("/api/v1/query?query={}", percent_encoded(expression));
        let (_, body) = self.get(&path).ok_or("no answer")?;
        let answer: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// Whether there is a sample, and one that is a number.
    fn has_data(&self, query: &Query) -> bool {
        let samples = self.query(&query.expression).unwrap_or_default();
        samples.iter().any(|sample| sample["value"][1].as_str().is_some_and(|number| number != "NaN"))
    }
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(encode).collect()
}

/// Labels that a legend names must be labels of what answers.
fn assert_legend_fits(query: &Query, samples: &[Value]) {
    let names = query.legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    for name in names {
        // an empty label, a route say, is as good as none
        let has_label = samples.iter().any(|sample| sample["metric"].get(name).is_some());
        assert!(has_label, "{}: no sample of {} has the label {name}", query.panel, query.expression);
    }
}

#[test]
fn every_query_of_the_dashboards_parses_and_those_about_requests_have_data() {
    let name = "every_query_of_the_dashboards_parses_and_those_about_requests_have_data";
    let Some(_machine) = guard(name) else { return };
    if !Path::new(PROMETHEUS).exists() {
        println!("skipped: {name}: no {PROMETHEUS}; scripts/setup --test installs it");
        return;
    }
    let agent = Agent::start(&Options::none());
    let prometheus = Prometheus::scraping(agent.prometheus_port());
    for query in queries(&dashboard("red.json")) {
        prometheus.query(&query.expression).unwrap_or_else(|error| panic!("{query:?}: {error}"));
        wait_until(&format!("data for {query:?}"), PATIENCE, || prometheus.has_data(&query).then_some(()));
        assert_legend_fits(&query, &prometheus.query(&query.expression).unwrap());
    }
    for query in queries(&dashboard("health.json")) {
        let samples = prometheus.query(&query.expression);
        let samples = samples.unwrap_or_else(|error| panic!("{query:?}: {error}"));
        if !samples.is_empty() {
            assert_legend_fits(&query, &samples);
        }
    }
    let gap = queries(&dashboard("health.json")).into_iter().find(|query| query.panel == "Accounting gap");
    let gap = prometheus.query(&gap.unwrap().expression).unwrap();
    assert_eq!(gap.len(), 1, "{gap:?}");
    assert_eq!(gap[0]["value"][1], "0", "produced = acknowledged + dropped + held");
    agent.stop();
}

#[test]
fn every_panel_has_a_unit_and_every_query_a_legend_and_the_chosen_data_source() {
    for name in ["red.json", "health.json"] {
        let dashboard = dashboard(name);
        for query in queries(&dashboard) {
            assert!(
                !query.unit.is_empty() && !query.legend.is_empty() || query.panel == "Routes",
                "{query:?}"
            );
            assert!(!query.expression.contains('$'), "a variable that nobody defines: {query:?}");
        }
        let sources = dashboard["panels"].as_array().unwrap().iter().map(|panel| &panel["datasource"]["uid"]);
        assert!(sources.into_iter().all(|uid| uid == "${datasource}"), "{name}");
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        assert_eq!(variables[0]["type"], "datasource", "{name}");
    }
}

#[test]
fn every_own_metric_is_on_the_health_dashboard() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md")).unwrap();
    let names = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let shown = dashboard("health.json").to_string();
    // how many records the probes submitted differs from what was produced only while the ring is not empty
    let left_out = ["ratatosk_records_submitted_total"];
    for name in names.filter(|name| name.starts_with("ratatosk_") && !left_out.contains(name)) {
        assert!(shown.contains(name), "{name} is on no panel");
    }
}
