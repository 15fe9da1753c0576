//! Servers to be observed, with their own logs as the truth.

use crate::{
    client::Connection,
    span::Row,
    stage::{self, Program},
    wait_until,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of the file behind `/file/`: more than one send, less than a socket buffer.
pub const FILE_BYTES: usize = 70_000;

/// A server process with its log.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, on loopback.
    pub port: u16,
    program: Program,
    directory: TempDir,
    /// Where its executable was made, if it was.
    tools: Option<TempDir>,
}

impl Server {
    /// nginx with two workers: `/r/` 200, `/gone/` 404, `/error/` 503, `/fail/` 500 (which
    /// ends the connection), `/moved/` 301, `/empty/` 204,
    /// `/file/` by sendfile, `/put/` by `WebDAV`.
    #[must_use]
    pub fn nginx() -> Self {
        let (directory, port) = (stage::directory(), stage::free_port());
        let path = directory.path();
        for folder in ["tmp", "root", "root/put"] {
            fs::create_dir(path.join(folder)).expect("folder for nginx");
        }
        fs::write(path.join("root/blob"), "f".repeat(FILE_BYTES)).expect("file for nginx");
        fs::write(path.join("nginx.conf"), nginx_config(path, port)).expect("config for nginx");
        let mut command = Command::new(stage::installed("nginx"));
        command.arg("-p").arg(path).arg("-c").arg(path.join("nginx.conf"));
        command.stderr(Stdio::null());
        Self::started(command, directory, port)
    }

    /// Python's `ThreadingHTTPServer` over HTTP/1.1, which logs what it read and wrote.
    #[must_use]
    pub fn python() -> Self {
        Self::script("python/http_server.py")
    }

    /// A server that reads up to 64 KiB at once and answers every request in it, one write each.
    #[must_use]
    pub fn raw() -> Self {
        Self::script("python/raw_server.py")
    }

    /// A server that listens and then forks three workers, each of which accepts.
    #[must_use]
    pub fn prefork() -> Self {
        Self::script("python/prefork_server.py")
    }

    /// Rows of its log whose path begins with `prefix`, sorted, once there are `count`.
    #[must_use]
    pub fn rows(&self, prefix: &str, count: usize) -> Vec<Row> {
        let mut rows = Vec::new();
        wait_until(&format!("{count} lines of the server's log"), PATIENCE, || {
            rows = self.rows_now(prefix);
            (rows.len() >= count).then_some(())
        });
        rows
    }

    /// Rows of its log as it is.
    #[must_use]
    pub fn rows_now(&self, prefix: &str) -> Vec<Row> {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        // The last line may be half-written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut rows: Vec<Row> = whole.lines().map(row).filter(|row| row.0.starts_with(prefix)).collect();
        rows.sort();
        rows
    }

    /// Path of its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("access.log")
    }

    /// Pid of the process that was started (nginx: its master).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.child.id()
    }

    /// Opens a connection.
    #[must_use]
    pub fn connect(&self) -> Connection {
        Connection::open(self.port).unwrap_or_else(|error| panic!("connect to {}: {error}", self.port))
    }

    /// A Python script of `workloads/` that takes a port and the path of its log.
    #[must_use]
    pub fn script(name: &str) -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(stage::workload(name));
        Self::program(command, &[])
    }

    /// A C program of `workloads/` that takes a port, the path of its log, and `arguments`.
    #[must_use]
    pub fn compiled(name: &str, arguments: &[&str]) -> Self {
        let directory = stage::directory();
        let mut server = Self::program(Command::new(stage::compile(name, directory.path())), arguments);
        server.tools = Some(directory);
        server
    }

    /// Any program that takes a port, the path of its log, and `arguments`.
    #[must_use]
    pub fn program(mut command: Command, arguments: &[&str]) -> Self {
        let (directory, port) = (stage::directory(), stage::free_port());
        command.arg(port.to_string()).arg(directory.path().join("access.log")).args(arguments);
        Self::started(command, directory, port)
    }

    fn started(mut command: Command, directory: TempDir, port: u16) -> Self {
        let program = Program::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
        wait_until("the server to listen", PATIENCE, || Connection::open(port).ok());
        Self { port, program, directory, tools: None }
    }
}

impl Drop for Server {
    /// nginx's workers outlive a killed master, not a terminated one.
    fn drop(&mut self) {
        assert!(self.program.terminate(PATIENCE).is_some(), "the server does not end");
    }
}

fn row(line: &str) -> Row {
    let mut words = line.split(' ');
    let mut next = || words.next().unwrap_or_else(|| panic!("log: {line}"));
    let (path, method) = (next().to_owned(), next().to_owned());
    // nginx writes `-` where there is none.
    let mut number = || next().parse::<u64>().unwrap_or(0);
    let status = u16::try_from(number()).expect("three digits");
    (path, method, status, number(), number())
}

fn nginx_config(path: &Path, port: u16) -> String {
    let path = path.display();
    format!(
        r#"daemon off;
worker_processes 2;
user root;
pid {path}/nginx.pid;
error_log {path}/error.log warn;
events {{ worker_connections 256; }}
http {{
    log_format truth '$request_uri $request_method $status $content_length $body_bytes_sent $request_length';
    access_log {path}/access.log truth;
    client_body_temp_path {path}/tmp/body;
    proxy_temp_path {path}/tmp/proxy;
    fastcgi_temp_path {path}/tmp/fastcgi;
    uwsgi_temp_path {path}/tmp/uwsgi;
    scgi_temp_path {path}/tmp/scgi;
    client_max_body_size 0;
    sendfile on;
    keepalive_requests 1000000;
    keepalive_timeout 300;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        listen [::1]:{port} backlog=1024;
        root {path}/root;
        location /moved/ {{ return 301 /r/moved; }}
        location /fail/ {{ return 500; }}
        location /r/ {{ return 200 "hello $request_uri and some more, to be a little longer\n"; }}
        location /gone/ {{ return 404; }}
        location /error/ {{ return 503; }}
        location /empty/ {{ return 204; }}
        location /file/ {{ try_files /blob =404; }}
        location /put/ {{ dav_methods PUT DELETE; }}
    }}
}}
"#
    )
}
