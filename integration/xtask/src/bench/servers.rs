//! Servers under load, with what they need in memory: a guest reads its root over virtiofs, which would be measured too.

use anyhow::{Context, bail, ensure};
use ratatosk_integration::stage::{self, Program};
use std::{
    fs,
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A start in an emulated machine that counts instructions is slow.
const STARTED_WITHIN: Duration = Duration::from_secs(60);
/// For its own end, before it is killed.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

/// A kind of server, each with one process that works, keep-alive and a body of 64 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Kind {
    /// nginx with one worker, from its configuration alone
    Nginx,
    /// Python's asyncio, without a framework
    Python,
    /// Go's `net/http`, static
    Go,
    /// Node's `http`
    Node,
}

impl Kind {
    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Python => "Python asyncio",
            Self::Go => "Go net/http",
            Self::Node => "Node http",
        }
    }

    /// Seconds of load until it is as fast as it gets, with a pause after each: Node needs both, and without pauses was a
    /// fifth slower after 20 s of load.
    pub const fn warm_up(self) -> &'static [u64] {
        if matches!(self, Self::Node) { &[6, 3, 3, 3] } else { &[1] }
    }

    /// Builds what must be built, on this machine and not in a guest.
    pub fn prepare(self) -> anyhow::Result<()> {
        if self != Self::Go {
            return Ok(());
        }
        let mut build = Command::new("go");
        build.args(["build", "-trimpath", "-ldflags=-s -w", "-o"]).arg(go_server()?).arg(".");
        build.current_dir(stage::workload("bench/go")).env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod");
        let status = build.status().context("starting go: scripts/setup --test installs it")?;
        ensure!(status.success(), "{build:?} ended with {status}");
        Ok(())
    }

    fn command(self, folder: &Path, port: u16) -> anyhow::Result<Command> {
        let mut command = match self {
            Self::Nginx => {
                fs::write(folder.join("nginx.conf"), nginx_config(folder, port))?;
                let mut command = Command::new(stage::installed("nginx"));
                command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
                return Ok(command);
            }
            Self::Python => interpreted("python3", "bench/server.py"),
            Self::Node => interpreted("node", "bench/server.js"),
            Self::Go => Command::new(in_memory(folder, &go_server()?)?),
        };
        command.arg(port.to_string());
        Ok(command)
    }
}

fn interpreted(interpreter: &str, script: &str) -> Command {
    let mut command = Command::new(stage::installed(interpreter));
    command.arg(stage::workload(script));
    command
}

/// Beside cargo's output.
fn go_server() -> anyhow::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    fs::create_dir_all(&folder)?;
    Ok(folder.join("go-server"))
}

/// A copy of `file` in `folder`.
pub fn in_memory(folder: &Path, file: &Path) -> anyhow::Result<PathBuf> {
    let copy = folder.join(file.file_name().context("a file has a name")?);
    fs::copy(file, &copy).with_context(|| format!("copying {}", file.display()))?;
    Ok(copy)
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, on loopback.
    pub port: u16,
    program: Program,
}

impl Server {
    /// Starts it, its files in `folder`.
    pub fn start(kind: Kind, folder: &Path) -> anyhow::Result<Self> {
        let port = stage::free_port();
        let mut command = kind.command(folder, port)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let server = Self { port, program: Program::start(&mut command) };
        let deadline = Instant::now() + STARTED_WITHIN;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                bail!("{command:?} does not listen on {port}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Its processes: itself and its children.
    pub fn pids(&self) -> Vec<u32> {
        let own = self.program.child.id();
        let list = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        std::iter::once(own).chain(list.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }
}

impl Drop for Server {
    /// nginx's workers outlive a killed master, not a terminated one.
    fn drop(&mut self) {
        let _ = self.program.terminate(ENDED_WITHIN);
    }
}

fn nginx_config(folder: &Path, port: u16) -> String {
    let (folder, body) = (folder.display(), "x".repeat(64));
    format!(
        "daemon off;
worker_processes 1;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 100000000;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{ return 200 '{body}'; }}
    }}
}}
"
    )
}
