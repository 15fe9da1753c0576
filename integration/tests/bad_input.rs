//! Each one clear line on stderr, the exit code of its kind, and no restart loop.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{Agent, Options, guard, stage};
use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::MetadataExt, fs::PermissionsExt, fs::symlink, net::UnixListener},
    path::Path,
};

/// Starts it, and asserts its exit code and that one line of stderr names all of `words`.
fn assert_refused(options: &Options, code: i32, words: &[&str]) {
    let mut agent = Agent::spawn(options);
    assert_eq!(agent.exit_code(), Some(code), "{}", agent.stderr().join("\n"));
    let stderr = agent.stderr();
    // what it set out to do is logged too, and is no error
    let names_all = |line: &String| !line.contains(" INFO ") && words.iter().all(|word| line.contains(word));
    assert_eq!(stderr.iter().filter(|line| names_all(line)).count(), 1, "{words:?}:\n{}", stderr.join("\n"));
    assert!(!stderr.iter().any(|line| line.contains("starts again")), "restarted:\n{}", stderr.join("\n"));
}

#[test]
fn a_second_agent_ends_with_69() {
    let Some(_machine) = guard("a_second_agent_ends_with_69") else { return };
    let first = Agent::start(&Options::default());
    let socket = first.socket();
    let socket = socket.to_string_lossy();
    assert_refused(&Options::default().with("RATATOSK_SOCKET", &socket), 69, &[&socket]);
    first.stop();
}

#[test]
fn a_second_loader_ends_with_69() {
    let Some(_machine) = guard("a_second_loader_ends_with_69") else { return };
    let first = Agent::start(&Options::default());
    let uid = fs::metadata(first.socket()).unwrap().uid();
    let powers = "+bpf,+perfmon,+sys_ptrace,+dac_read_search";
    let mut second = std::process::Command::new("setpriv");
    second.args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()]);
    second.args([format!("--inh-caps={powers}"), format!("--ambient-caps={powers}")]);
    second.arg(first.loader()).args(["run", "--processor-uid", "1", "--socket"]).arg(first.socket());
    let output = second.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{text}");
    assert!(text.contains(&*first.socket().to_string_lossy()), "{text}");
    first.stop();
}

#[test]
fn a_wrong_value_names_its_variable() {
    let Some(_machine) = guard("a_wrong_value_names_its_variable") else { return };
    for (variable, value) in [
        ("OTEL_EBPF_OPEN_PORT", "http"),
        ("OTEL_EBPF_OPEN_PORT", "99999"),
        ("OTEL_EBPF_TRACE_PRINTER", "xml"),
        ("BEYLA_LOG_LEVEL", "loud"),
        ("BEYLA_TARGET_PID", "-3"),
    ] {
        assert_refused(&Options::default().with(variable, value), 64, &[variable, value]);
    }
}

#[test]
fn a_port_in_use_is_named() {
    let Some(_machine) = guard("a_port_in_use_is_named") else { return };
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert_refused(
        &Options::default().with("OTEL_EBPF_PROMETHEUS_PORT", &port),
        69,
        &["PROMETHEUS_PORT", &port],
    );
}

/// A directory as the launcher makes it, with what `fill` puts at the socket's path.
fn assert_socket_refused(code: i32, fill: impl Fn(&Path)) {
    // The launcher makes the directory its own when it is empty; so let it, then fill.
    let directory = stage::directory();
    let room = directory.path().join("run");
    fs::create_dir(&room).unwrap();
    let (loader, processor) = (user("ratatosk-loader"), user("ratatosk"));
    nix::unistd::chown(&room, Some(loader.uid), Some(processor.gid)).unwrap();
    fs::set_permissions(&room, fs::Permissions::from_mode(0o750)).unwrap();
    let socket = room.join("agent.sock");
    fill(&socket);
    let path = socket.to_string_lossy().into_owned();
    assert_refused(&Options::default().with("RATATOSK_SOCKET", &path), code, &[&path, "another socket path"]);
    assert!(fs::symlink_metadata(&socket).is_ok(), "what is not ours stays");
}

fn user(name: &str) -> nix::unistd::User {
    nix::unistd::User::from_name(name).unwrap().expect("made by an earlier start")
}

#[test]
fn a_socket_path_that_is_something_else_is_refused_and_stays() {
    let Some(_machine) = guard("a_socket_path_that_is_something_else_is_refused_and_stays") else { return };
    // Makes the users.
    Agent::start(&Options::default()).stop();
    assert_socket_refused(69, |path| fs::create_dir(path).unwrap());
    assert_socket_refused(69, |path| fs::write(path, "a file").unwrap());
    assert_socket_refused(69, |path| symlink("/nowhere", path).unwrap());
    // Of root: somebody else's. The listener is closed at once, its file stays.
    assert_socket_refused(77, |path| drop(UnixListener::bind(path).unwrap()));
}
