//! Where telemetry goes: a real OpenTelemetry Collector, Jaeger and Prometheus, of their own packages.

use crate::{
    client::Connection,
    component, process,
    stage::{self, Program},
    wait_until,
};
use nix::sys::signal::Signal;
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
    was_killed: bool,
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
        let (program, was_killed) = (None, false);
        let mut collector =
            Self { grpc_port, http_port, prometheus_port, binary, directory, program, was_killed };
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

    /// Ends it in the middle of whatever it does. What it confirmed is in the file, and perhaps a part of what it did not.
    pub fn kill(&mut self) {
        self.was_killed = true;
        self.signal(Signal::SIGKILL);
        let Some(mut program) = self.program.take() else { return };
        wait_until("the Collector to end", PATIENCE, || program.child.try_wait().ok().flatten());
    }

    /// Sends it a signal; nobody, if it does not run.
    pub fn signal(&self, signal: Signal) {
        let Some(program) = &self.program else { return };
        process::signal(program.child.id(), signal);
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

    /// Every `resourceLogs` of the file, in order.
    #[must_use]
    pub fn resource_logs(&self) -> Vec<Value> {
        self.of("resourceLogs")
    }

    fn of(&self, signal: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.directory.path().join("out.jsonl")).unwrap_or_default();
        let messages = messages(&text).filter_map(|text| match serde_json::from_str::<Value>(text) {
            Ok(message) => Some(message),
            // The last one may be half-written, and where it was killed any.
            Err(error) if self.was_killed || error.is_eof() => None,
            Err(error) => panic!("not OTLP as JSON: {error}: {text}"),
        });
        messages.flat_map(|message| message[signal].as_array().cloned().unwrap_or_default()).collect()
    }
}

/// Each message of a file, whole or not: one that was cut is followed by the next on the same line.
fn messages(text: &str) -> impl Iterator<Item = &str> {
    const BEGIN: &str = "{\"resource";
    let starts: Vec<usize> = ["Spans\":", "Metrics\":", "Logs\":"]
        .iter()
        .flat_map(|signal| {
            text.match_indices(&format!("{BEGIN}{signal}")).map(|(at, _)| at).collect::<Vec<_>>()
        })
        .collect();
    let mut bounds = starts;
    bounds.sort_unstable();
    let ends = bounds.iter().skip(1).copied().chain([text.len()]).collect::<Vec<_>>();
    bounds.into_iter().zip(ends).map(|(begin, end)| &text[begin..end])
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
        Self::start_with(jobs, "")
    }

    /// Starts one that keeps native histograms and exemplars.
    pub fn start_with_native_histograms(jobs: &[(&str, u16)]) -> Result<Self, String> {
        // since 3.8 the first is a setting of the scrape; Debian's is older
        Self::start_with(jobs, "--enable-feature=native-histograms,exemplar-storage")
    }

    fn start_with(jobs: &[(&str, u16)], flag: &str) -> Result<Self, String> {
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
        command.args(Some(flag).filter(|flag| !flag.is_empty()));
        let program = start(command, &[port], &path.join("stderr.log"));
        Ok(Self { port, _program: program, _directory: directory })
    }

    /// The one number that an instant query gives, if it gives one.
    #[must_use]
    pub fn number(&self, query: &str) -> Option<f64> {
        self.ask("query", query)["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// The examples of a metric.
    #[must_use]
    pub fn examples(&self, query: &str) -> Vec<Value> {
        let answer = self.ask("query_exemplars", query);
        let series = answer["data"].as_array().cloned().unwrap_or_default();
        series.iter().flat_map(|series| series["exemplars"].as_array().cloned().unwrap_or_default()).collect()
    }

    fn ask(&self, what: &str, query: &str) -> Value {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        get(self.port, &format!("/api/v1/{what}?query={escaped}"))
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

/// A file that may be rotated (it never is) is written without a buffer: what the Collector confirmed is in it.
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
         exporters:\n  file: {{path: {output}, rotation: {{max_megabytes: 10000}}}}\n  \
         prometheus: {{endpoint: '127.0.0.1:{prometheus}', resource_to_telemetry_conversion: {{enabled: true}}}}\n{forward}\
         service:\n  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}\n  pipelines:\n    \
         traces: {{receivers: [otlp], exporters: {exporters}}}\n    \
         logs: {{receivers: [otlp], exporters: [file]}}\n    \
         metrics: {{receivers: [otlp], exporters: [file, prometheus]}}\n"
    )
}
