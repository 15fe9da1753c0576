//! The agent itself, through `ratatosk-loader standalone`, as a user would start it.

use crate::{
    metrics::Metrics,
    process,
    server::Server,
    span::{Row, Span},
    stage, wait_until,
};
use nix::sys::signal::Signal;
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};
use tempfile::TempDir;

/// Time to be ready: 5 s are promised, on a machine that does nothing else.
const READY: Duration = Duration::from_secs(20);
/// Time to end: the launcher's grace and a little.
const END: Duration = Duration::from_secs(12);
/// Time until something that was asked has been told.
pub const TOLD: Duration = Duration::from_secs(15);

/// How to start it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Settings, `NAME` and value.
    pub settings: Vec<(String, String)>,
    /// Command of the processor instead of none, as in `record /tmp/file`.
    pub processor_command: Option<String>,
}

/// A running agent. Dropping it stops it; [`Agent::stop`] also checks that nothing is left.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    directory: TempDir,
    prometheus_port: u16,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    readers: [JoinHandle<()>; 2],
}

impl Default for Options {
    /// Watches every port of the tests.
    fn default() -> Self {
        let ports = format!("{}-{}", stage::ports().start, stage::ports().end - 1);
        Self { settings: vec![("OTEL_EBPF_OPEN_PORT".into(), ports)], processor_command: None }
    }
}

impl Options {
    /// No setting at all: the demo.
    #[must_use]
    pub const fn none() -> Self {
        Self { settings: Vec::new(), processor_command: None }
    }

    /// One more setting; the last one of a name counts.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }
}

impl Agent {
    /// Starts it and waits until it is ready and its endpoint answers.
    #[must_use]
    pub fn start(options: &Options) -> Self {
        let agent = Self::spawn(options);
        agent.wait_for_log("ready:");
        if options.processor_command.is_none() {
            wait_until("the Prometheus endpoint", READY, || agent.metrics());
        }
        agent
    }

    /// Starts it without waiting.
    #[must_use]
    pub fn spawn(options: &Options) -> Self {
        let (directory, prometheus_port) = (stage::directory(), free_own_port());
        let mut command = command(options, directory.path(), prometheus_port);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, out_reader) = collect(child.stdout.take());
        let (stderr, err_reader) = collect(child.stderr.take());
        let readers = [out_reader, err_reader];
        Self { child, directory, prometheus_port, stdout, stderr, readers }
    }

    /// Starts it and asks `server` until it is observed.
    #[must_use]
    pub fn observing(server: &Server, options: &Options) -> Self {
        let agent = Self::start(options);
        agent.wait_until_observed(server);
        agent
    }

    /// Asks `server` until the first answer was told.
    pub fn wait_until_observed(&self, server: &Server) {
        self.wait_until_observing(|path| {
            server.connect().ask("GET", path, 0).expect("an answer of the server");
        });
    }

    /// Asks again and again until the first answer was told, so that what follows is told from its first byte.
    pub fn wait_until_observing(&self, mut ask: impl FnMut(&str)) {
        let mut number = 0;
        wait_until("the first span", READY, || {
            number += 1;
            ask(&format!("/r/warm-{number}"));
            thread::sleep(Duration::from_millis(100));
            self.spans().iter().any(|span| span.path.starts_with("/r/warm-")).then_some(())
        });
    }

    /// Every span so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.stdout().iter().flat_map(|line| Span::parse_line(line)).collect()
    }

    /// Server spans whose path begins with `prefix`, as sorted rows, once there are `count` (or time is up: then what there is).
    #[must_use]
    pub fn server_rows(&self, prefix: &str, count: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        let deadline = std::time::Instant::now() + TOLD;
        while rows.len() < count && std::time::Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
            let spans = self.spans();
            let fits = |span: &&Span| span.is_server && span.path.starts_with(prefix);
            rows = spans.iter().filter(fits).map(Span::row).collect();
        }
        rows.sort();
        rows
    }

    /// Exchanges that were not told, or told without a response, by `reason`, so far.
    #[must_use]
    pub fn incomplete(&self, reason: &str) -> f64 {
        let label = format!("reason=\"{reason}\"");
        self.scrape().sum("ratatosk_exchanges_incomplete_total", &[&label])
    }

    /// Lines of stdout.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lines of stderr.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line of stderr that contains `text`.
    #[must_use]
    #[allow(clippy::double_must_use, reason = "the line is wanted by some")]
    pub fn log_line(&self, text: &str) -> String {
        let found = || self.stderr().into_iter().find(|line| line.contains(text));
        let deadline = std::time::Instant::now() + READY;
        loop {
            if let Some(line) = found() {
                return line;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "no {text:?} on stderr:\n{}",
                self.stderr().join("\n")
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The family that carries payload.
    #[must_use]
    pub fn tier(&self) -> String {
        let line = self.log_line("ready: tier=");
        line.split_whitespace().find_map(|word| word.strip_prefix("tier=")).unwrap_or_default().to_owned()
    }

    /// Waits for a line of stderr that contains `text`.
    pub fn wait_for_log(&self, text: &str) {
        let _ = self.log_line(text);
    }

    /// A scrape, none while the endpoint is away.
    #[must_use]
    pub fn metrics(&self) -> Option<Metrics> {
        Metrics::scrape(self.prometheus_port)
    }

    /// A scrape.
    #[must_use]
    pub fn scrape(&self) -> Metrics {
        wait_until("a scrape", READY, || self.metrics())
    }

    /// Asserts that no record was lost anywhere, with the reasons if one was. Calls of processes that nobody had decided
    /// about yet are no records: the test's own client makes some while the agent starts.
    pub fn assert_no_drops(&self) {
        let mut lost = self.scrape().non_zero("ratatosk_records_dropped_total");
        // and an event that family `process` missed, where the kernel preempts, is no record of bytes
        let is_record =
            |line: &String| !line.contains("\"undecided\"") && !line.contains("\"control_reentrancy\"");
        lost.retain(is_record);
        assert!(lost.is_empty(), "lost records: {lost:?}");
    }

    /// Port of the Prometheus endpoint.
    #[must_use]
    pub const fn prometheus_port(&self) -> u16 {
        self.prometheus_port
    }

    /// The socket between both sides.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(self.directory.path())
    }

    /// Pid of the launcher.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the launcher.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Waits for its end, and until all that it said is read, and gives its exit code.
    #[must_use]
    pub fn exit_code(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let status = wait_until("the agent to end", END, || child.try_wait().ok().flatten());
        let is_read = || self.readers.iter().all(JoinHandle::is_finished).then_some(());
        wait_until("the end of its output: a process of it still holds it", END, is_read);
        status.code()
    }

    /// Ctrl-C, and nothing may be left: no process, no socket.
    pub fn stop(mut self) {
        let descendants = self.descendants();
        self.signal(Signal::SIGINT);
        let code = self.exit_code();
        assert_eq!(code, Some(0), "exit code after Ctrl-C:\n{}", self.stderr().join("\n"));
        let left: Vec<_> =
            descendants.into_iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect();
        assert!(left.is_empty(), "processes are left: {left:?}");
        for name in ["run", "run-processor"] {
            assert!(!self.directory.path().join(name).exists(), "the directory {name} of a socket is left");
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_some() {
            return;
        }
        if thread::panicking() {
            eprintln!("stderr of the agent:\n{}", self.stderr().join("\n"));
        }
        self.signal(Signal::SIGTERM);
        let child = &mut self.child;
        wait_until("the agent to end", END, || child.try_wait().ok().flatten());
    }
}

fn command(options: &Options, directory: &Path, prometheus_port: u16) -> Command {
    let mut command = Command::new(stage::binary("ratatosk-loader"));
    command.arg("standalone");
    if let Some(arguments) = &options.processor_command {
        let processor = directory.join("ratatosk");
        fs::copy(stage::binary("ratatosk"), &processor).expect("copy of the processor");
        let body = format!("exec {} {arguments}", processor.display());
        command.arg("--processor").arg(stage::script(directory.join("processor"), &body));
    }
    // Settings of whoever runs the tests must not reach the agent.
    let is_setting =
        |name: &str| ["BEYLA_", "OTEL_", "RATATOSK_"].iter().any(|prefix| name.starts_with(prefix));
    let own = |name: &str| is_setting(name) && name != "RATATOSK_TIER"; // a whole run may force a tier
    for (name, _) in std::env::vars().filter(|(name, _)| own(name)) {
        command.env_remove(name);
    }
    command.env("RATATOSK_SOCKET", socket(directory));
    command.env("OTEL_EBPF_TRACE_PRINTER", "json");
    command.env("OTEL_EBPF_PROMETHEUS_PORT", prometheus_port.to_string());
    command.envs(options.settings.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("run/agent.sock")
}

/// Outside the ports that are watched.
fn free_own_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Lines as they come, and the thread that reads them.
type Collected = (Arc<Mutex<Vec<String>>>, JoinHandle<()>);

fn collect(stream: Option<impl Read + Send + 'static>) -> Collected {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let stream = BufReader::new(stream.expect("piped"));
    let reader = thread::spawn(move || {
        for line in stream.lines().map_while(Result::ok) {
            sink.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    (lines, reader)
}
