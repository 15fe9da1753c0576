//! HTTP servers of every language, unmodified, each with its own log.

mod commands;
mod web;

use crate::{
    client::Connection,
    component,
    mixed::{self, Seen},
    span::Row,
    stage::{self, Program},
    wait_until,
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::{Pid, getpgid},
};
use serde_json::Value;
use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A Java server on a busy machine takes most of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Until what was answered is in a server's own log.
const LOGGED: Duration = Duration::from_secs(10);

/// One server that we know how to start.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name in ids, in messages and in docs/languages.md.
    pub name: &'static str,
    /// `telemetry.sdk.language` of its processes.
    pub language: &'static str,
    /// Component that it needs, and a second one.
    components: [&'static str; 2],
    /// Takes a request whose body comes in chunks.
    takes_chunks: bool,
    commands: fn(&Place) -> Vec<Command>,
}

/// Where a server is started.
struct Place {
    /// Its components.
    components: [PathBuf; 2],
    directory: PathBuf,
    port: u16,
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    /// What it is.
    pub kind: Kind,
    /// Where it listens, on loopback.
    pub port: u16,
    programs: Vec<Program>,
    directory: TempDir,
}

const fn kind(
    name: &'static str,
    (language, component): (&'static str, &'static str),
    commands: fn(&Place) -> Vec<Command>,
) -> Kind {
    Kind { name, language, components: [component, component], takes_chunks: true, commands }
}

/// What is written in C is no language of OpenTelemetry's.
const fn with_php(name: &'static str, language: &'static str, commands: fn(&Place) -> Vec<Command>) -> Kind {
    Kind { name, language, components: [name, "php"], takes_chunks: true, commands }
}

/// Web servers in front of PHP-FPM, Ruby, and what runs on Mono.
pub const WEB: [Kind; 5] = [
    with_php("nginx", "generic", web::nginx),
    with_php("apache", "generic", web::apache),
    with_php("caddy", "go", web::caddy),
    kind("puma", ("ruby", "puma"), commands::puma),
    kind("mono", ("dotnet", "dotnet"), commands::mono),
];

const VENV: (&str, &str) = ("python", "python");
/// Ten frameworks of Python, each under a server that its users run.
pub const PYTHON: [Kind; 10] = [
    kind("fastapi", VENV, commands::fastapi),
    kind("flask", VENV, commands::flask),
    kind("django", VENV, commands::django),
    // wsgiref hands a chunked body on unread
    Kind { takes_chunks: false, ..kind("bottle", VENV, |place| commands::python(place, "bottle_app.py")) },
    kind("tornado", VENV, |place| commands::python(place, "tornado_app.py")),
    kind("pyramid", VENV, |place| commands::python(place, "pyramid_app.py")),
    kind("sanic", VENV, |place| commands::python(place, "sanic_app.py")),
    kind("falcon", VENV, commands::falcon),
    kind("cherrypy", VENV, |place| commands::python(place, "cherrypy_app.py")),
    kind("hug", ("python", "hug"), commands::hug),
];

/// JavaScript.
pub const JAVASCRIPT: [Kind; 4] = [
    kind("node", ("nodejs", "node"), |place| commands::node(place, "http.mjs")),
    kind("express", ("nodejs", "node"), |place| commands::node(place, "express.mjs")),
    kind("deno", ("deno", "node"), commands::deno),
    kind("bun", ("bun", "node"), commands::bun),
];

/// Compiled languages.
pub const COMPILED: [Kind; 6] = [
    kind("go", ("go", "go"), |place| commands::binary(place, "server")),
    kind("hyper", ("rust", "rust"), |place| commands::binary(place, "hyper-server")),
    kind("actix", ("rust", "rust"), |place| commands::binary(place, "actix-server")),
    kind("java", ("java", "java"), |place| commands::java(place, "truth.JdkServer")),
    kind("spring", ("java", "java"), |place| commands::java(place, "truth.SpringServer")),
    kind("netty", ("java", "java"), |place| commands::java(place, "truth.NettyServer")),
];

impl Kind {
    /// Starts it and waits until it listens, or says why it can't be had.
    pub fn start(self) -> Result<Running, String> {
        let [first, second] = self.components.map(component::find);
        let (directory, port) = (stage::directory(), stage::free_port());
        let place = Place { components: [first?, second?], directory: directory.path().to_owned(), port };
        let programs = (self.commands)(&place).into_iter().map(|command| start(command, &place)).collect();
        wait_until(&format!("{} to listen", self.name), PATIENCE, || Connection::open(port).ok());
        Ok(Running { kind: self, port, programs, directory })
    }
}

/// In a process group of its own, so that workers end with it.
fn start(mut command: Command, place: &Place) -> Program {
    let errors = fs::File::options().create(true).append(true).open(place.directory.join("stderr.log"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors.expect("file for stderr"));
    // Some keep files of their own at home.
    command.env("TRUTH_LOG", place.log()).env("HOME", &place.directory).process_group(0);
    Program::start(&mut command)
}

impl Place {
    fn log(&self) -> PathBuf {
        self.directory.join("access.log")
    }

    fn component(&self) -> &Path {
        &self.components[0]
    }
}

impl Running {
    /// Drives it by the fixed workload.
    #[must_use]
    pub fn drive(&self) -> Vec<Seen> {
        mixed::drive(self.kind.name, self.port, self.kind.takes_chunks)
    }

    /// Whether this process is one of its own: all are of the group of the one that was started.
    #[must_use]
    pub fn owns(&self, pid: u32) -> bool {
        let group = i32::try_from(pid).ok().and_then(|pid| getpgid(Some(Pid::from_raw(pid))).ok());
        let is_of = |program: &Program| i32::try_from(program.child.id()).ok().map(Pid::from_raw) == group;
        group.is_some() && self.programs.iter().any(is_of)
    }

    /// One request.
    pub fn ask(&self, path: &str) {
        let mut connection = Connection::open(self.port).expect("connection");
        connection.ask("GET", path, 0).unwrap_or_else(|error| panic!("{}: {path}: {error}", self.kind.name));
    }

    /// Rows of its own log with its name in the id, sorted, once there are `count` (or time is up: then what there is).
    #[must_use]
    pub fn rows(&self, count: usize) -> Vec<Row> {
        let deadline = Instant::now() + LOGGED;
        loop {
            let rows = self.rows_now();
            if rows.len() >= count || Instant::now() > deadline {
                return rows;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn rows_now(&self) -> Vec<Row> {
        let text = fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default();
        // The last line may be half-written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let own = format!("/{}-", self.kind.name);
        let mut rows: Vec<Row> = whole.lines().filter_map(row).filter(|row| row.0.contains(&own)).collect();
        rows.sort();
        rows
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let group = Pid::from_raw(i32::try_from(program.child.id()).expect("a pid fits into i32"));
            // Workers that outlive their parent by a moment are of the group too.
            let _ = killpg(group, Signal::SIGTERM);
            let _ = killpg(group, Signal::SIGKILL);
        }
        if thread::panicking() {
            let said = fs::read_to_string(self.directory.path().join("stderr.log")).unwrap_or_default();
            let tail: Vec<_> = said.lines().rev().take(5).collect();
            eprintln!("{} said at last: {tail:?}", self.kind.name);
        }
    }
}

/// `path method status request response`, or a line of Caddy.
fn row(line: &str) -> Option<Row> {
    if line.starts_with('{') {
        return caddy_row(&serde_json::from_str(line).ok()?);
    }
    let words: Vec<_> = line.split(' ').collect();
    let [path, method, status, request, response] = words.as_slice() else { return None };
    // `-` where there is none
    let number = |text: &str| text.parse().unwrap_or(0);
    Some(((*path).to_owned(), (*method).to_owned(), status.parse().ok()?, number(request), number(response)))
}

fn caddy_row(line: &Value) -> Option<Row> {
    let text = |name: &str| line["request"][name].as_str().map(str::to_owned);
    let number = |name: &str| line[name].as_u64();
    let status = u16::try_from(number("status")?).ok()?;
    Some((text("uri")?, text("method")?, status, number("bytes_read")?, number("size")?))
}
