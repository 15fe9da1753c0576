//! How the servers of programming languages are started: as their users do.

use super::Place;
use crate::stage;
use std::process::Command;

/// Python's, by its module, from where the applications are.
fn module(place: &Place, module: &str, arguments: &[&str]) -> Vec<Command> {
    let mut command = Command::new(place.component().join("bin/python"));
    command.args(["-m", module]).args(arguments);
    command.current_dir(stage::workload("servers/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    vec![command]
}

/// One that brings its own server.
pub(super) fn python(place: &Place, script: &str) -> Vec<Command> {
    let mut command = Command::new(place.component().join("bin/python"));
    command.arg(stage::workload("servers/python").join(script)).arg(place.port.to_string());
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(&place.directory);
    vec![command]
}

fn uvicorn(place: &Place, application: &str, arguments: &[&str]) -> Vec<Command> {
    let port = place.port.to_string();
    let all = [&[application, "--port", &port, "--no-access-log"], arguments].concat();
    module(place, "uvicorn", &all)
}

fn gunicorn(place: &Place, application: &str, arguments: &[&str]) -> Vec<Command> {
    let bind = format!("127.0.0.1:{}", place.port);
    module(place, "gunicorn", &[&["--bind", &bind, application], arguments].concat())
}

/// uvicorn with uvloop and httptools.
pub(super) fn fastapi(place: &Place) -> Vec<Command> {
    uvicorn(place, "fastapi_app:app", &["--loop", "uvloop", "--http", "httptools"])
}

/// uvicorn with asyncio and h11.
pub(super) fn falcon(place: &Place) -> Vec<Command> {
    uvicorn(place, "falcon_app:app", &["--loop", "asyncio", "--http", "h11"])
}

/// gunicorn with threads, which keeps connections.
pub(super) fn flask(place: &Place) -> Vec<Command> {
    gunicorn(place, "flask_app:app", &["--workers", "2", "--threads", "4", "--keep-alive", "60"])
}

/// gunicorn as it is by default: one request for each connection.
pub(super) fn django(place: &Place) -> Vec<Command> {
    gunicorn(place, "django_app:app", &["--workers", "2"])
}

/// As [`django`].
pub(super) fn hug(place: &Place) -> Vec<Command> {
    gunicorn(place, "hug_app:__hug_wsgi__", &["--workers", "2"])
}

pub(super) fn puma(place: &Place) -> Vec<Command> {
    let mut command = Command::new(place.component());
    command.args([
        "--bind",
        &format!("tcp://127.0.0.1:{}", place.port),
        "--workers",
        "0",
        "--threads",
        "1:4",
    ]);
    command.arg("--quiet").arg(stage::workload("servers/ruby/config.ru")).current_dir(&place.directory);
    vec![command]
}

pub(super) fn node(place: &Place, script: &str) -> Vec<Command> {
    let mut command = Command::new("node");
    command.arg(place.component().join(script)).arg(place.port.to_string());
    vec![command]
}

pub(super) fn deno(place: &Place) -> Vec<Command> {
    let machine = if cfg!(target_arch = "aarch64") { "linux-arm64-glibc" } else { "linux-x64-glibc" };
    let mut command = Command::new(place.component().join(format!("node_modules/@deno/{machine}/deno")));
    command.args(["run", "--quiet", "--no-config", "--allow-all"]).arg(place.component().join("deno.mjs"));
    command.arg(place.port.to_string()).env("DENO_DIR", place.directory.join("deno"));
    command.env("DENO_NO_UPDATE_CHECK", "1");
    vec![command]
}

pub(super) fn bun(place: &Place) -> Vec<Command> {
    let mut command = Command::new(place.component().join("node_modules/bun/bin/bun.exe"));
    command.arg(place.component().join("bun.mjs")).arg(place.port.to_string());
    vec![command]
}

/// `HttpListener`.
pub(super) fn mono(place: &Place) -> Vec<Command> {
    let mut command = Command::new("mono");
    command.arg(place.component().join("server.dll")).arg(place.port.to_string());
    vec![command]
}

/// A program of the component that takes its port.
pub(super) fn binary(place: &Place, name: &str) -> Vec<Command> {
    let mut command = Command::new(place.component().join(name));
    command.arg(place.port.to_string());
    vec![command]
}

pub(super) fn java(place: &Place, class: &str) -> Vec<Command> {
    let mut command = Command::new("java");
    let component = place.component().display();
    command.args([
        "-Xmx128m",
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &format!("{component}/classes:{component}/lib/*"),
    ]);
    command.arg(class).arg(place.port.to_string()).current_dir(&place.directory);
    vec![command]
}
