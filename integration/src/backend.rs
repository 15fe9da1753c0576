//! Where telemetry goes: a real OpenTelemetry Collector, Jaeger and Prometheus, of their own packages.

use crate::{
    client::Connection,
    component,
    stage::{self, Program},
    wait_until,
};
use serde_json::Value;
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// Until a backend listens, or ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Collector that writes what it receives into a file, shows metrics to Prometheus, and hands spans on if it is told to.
#[derive(Debug)]
pub struct Collector {
    /// OTLP over gRPC.
    pub grpc_port: u16,
    /// OTLP over HTTP.
    pub http_port: u16,
    /// Its endpoint for Prometheus.
    pub prometheus_port: u16,
    binary: PathBuf,
    directory: TempDir,
    program: Option<Program>,
}

/// Jaeger all in one.
#[derive(Debug)]
pub struct Jaeger {
    /// OTLP over gRPC.
    pub grpc_port: u16,
    query_port: u16,
    _program: Program,
    _directory: TempDir,
}

/// A Prometheus that scrapes every half second.
#[derive(Debug)]
pub struct Prometheus {
    port: u16,
    _program: Program,
    _directory: TempDir,
}

impl Collector {
    /// Starts it; spans also go to the OTLP endpoint on `traces_to`, if there is one.
    pub fn start(traces_to: Option<u16>) -> Result<Self, String> {
        let binary = component::find("collector")?.join("otelcol");
        let ports = [(); 3].map(|()| stage::free_port());
        let [grpc_port, http_port, prometheus_port] = ports;
        let directory = stage::directory();
        let output = directory.path().join("out.jsonl");
        let config = collector_config(ports, &output.to_string_lossy(), traces_to);
        fs::write(directory.path().join("collector.yaml"), config).expect("configuration of the Collector");
        let mut collector = Self { grpc_port, http_port, prometheus_port, binary, directory, program: None };
        collector.resume();
        Ok(collector)
    }

    /// Starts it again, where it was.
    pub fn resume(&mut self) {
        let directory = self.directory.path();
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(format!("file:{}", directory.join("collector.yaml").display()));
        let ports = [self.grpc_port, self.http_port, self.prometheus_port];
        self.program = Some(start(command, &ports, &directory.join("stderr.log")));
    }

    /// Ends it as its operator would; what it took is in the file then.
    pub fn stop(&mut self) {
        let Some(mut program) = self.program.take() else { return };
        let status = program.terminate(PATIENCE).expect("the Collector ends");
        assert!(status.success(), "the Collector ended with {status}");
    }

    /// Every `resourceSpans` of the file, in order.
    #[must_use]
    pub fn resource_spans(&self) -> Vec<Value> {
        self.of("resourceSpans")
    }

    /// Every `resourceMetrics` of the file, in order.
    #[must_use]
    pub fn resource_metrics(&self) -> Vec<Value> {
        self.of("resourceMetrics")
    }

    fn of(&self, signal: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.directory.path().join("out.jsonl")).unwrap_or_default();
        // The last line may be half-written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("OTLP as JSON"));
        lines.flat_map(|line| line[signal].as_array().cloned().unwrap_or_default()).collect()
    }
}

impl Jaeger {
    /// Starts it.
    pub fn start() -> Result<Self, String> {
        let binary = component::find("jaeger")?.join("jaeger");
        let [grpc_port, query_port] = [(); 2].map(|()| stage::free_port());
        let mut command = Command::new(binary);
        let mut listen = |flag: &str, port: u16| {
            command.arg(format!("--{flag}=127.0.0.1:{port}"));
        };
        listen("collector.otlp.grpc.host-port", grpc_port);
        listen("query.http-server.host-port", query_port);
        for flag in [
            "collector.otlp.http.host-port",
            "query.grpc-server.host-port",
            "admin.http.host-port",
            "collector.grpc-server.host-port",
            "collector.http-server.host-port",
            "http-server.host-port",
            "processor.jaeger-compact.server-host-port",
            "processor.jaeger-binary.server-host-port",
            "processor.zipkin-compact.server-host-port",
        ] {
            listen(flag, stage::free_port());
        }
        let directory = stage::directory();
        let program = start(command, &[grpc_port, query_port], &directory.path().join("stderr.log"));
        Ok(Self { grpc_port, query_port, _program: program, _directory: directory })
    }

    /// Answer of its HTTP interface.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        get(self.query_port, path)
    }
}

impl Prometheus {
    /// Starts it; `jobs`, names and ports on loopback, are scraped.
    pub fn start(jobs: &[(&str, u16)]) -> Result<Self, String> {
        let binary = component::find("prometheus")?;
        let (directory, port) = (stage::directory(), stage::free_port());
        let path = directory.path();
        let job = |(name, port): &(&str, u16)| {
            format!("- {{job_name: {name}, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n")
        };
        let jobs: String = jobs.iter().map(job).collect();
        let config = format!("global: {{scrape_interval: 500ms}}\nscrape_configs:\n{jobs}");
        fs::write(path.join("prometheus.yml"), config).expect("configuration of Prometheus");
        let mut command = Command::new(binary);
        command.arg(format!("--config.file={}", path.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", path.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--log.level=warn");
        let program = start(command, &[port], &path.join("stderr.log"));
        Ok(Self { port, _program: program, _directory: directory })
    }

    /// The one number that an instant query gives, if it gives one.
    #[must_use]
    pub fn number(&self, query: &str) -> Option<f64> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = get(self.port, &format!("/api/v1/query?query={escaped}"));
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

/// Starts it and waits until it listens on all of `ports`.
fn start(mut command: Command, ports: &[u16], log: &Path) -> Program {
    let stderr = fs::File::options().create(true).append(true).open(log).expect("file for stderr");
    let mut program = Program::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr));
    for port in ports {
        wait_until(&format!("somebody to listen on {port}"), PATIENCE, || {
            let ended = program.child.try_wait().expect("state of a child");
            let said = || fs::read_to_string(log).unwrap_or_default();
            assert!(ended.is_none(), "{command:?} ended with {ended:?}: {}", said());
            TcpStream::connect(("127.0.0.1", *port)).ok()
        });
    }
    program
}

fn get(port: u16, path: &str) -> Value {
    let mut connection = Connection::open(port).expect("connection");
    let response = connection.ask("GET", path, 0).expect("response");
    serde_json::from_slice(&response.body).unwrap_or_default()
}

fn collector_config([grpc, http, prometheus]: [u16; 3], output: &str, traces_to: Option<u16>) -> String {
    let (forward, exporters) = match traces_to {
        Some(port) => {
            (format!("  otlp: {{endpoint: '127.0.0.1:{port}', tls: {{insecure: true}}}}\n"), "[file, otlp]")
        }
        None => (String::new(), "[file]"),
    };
    format!(
        "receivers:\n  otlp:\n    protocols:\n      grpc: {{endpoint: '127.0.0.1:{grpc}'}}\n      \
         http: {{endpoint: '127.0.0.1:{http}'}}\n\
         exporters:\n  file: {{path: {output}, append: true, flush_interval: 100ms}}\n  \
         prometheus: {{endpoint: '127.0.0.1:{prometheus}', resource_to_telemetry_conversion: {{enabled: true}}}}\n{forward}\
         service:\n  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}\n  pipelines:\n    \
         traces: {{receivers: [otlp], exporters: {exporters}}}\n    \
         metrics: {{receivers: [otlp], exporters: [file, prometheus]}}\n"
    )
}
