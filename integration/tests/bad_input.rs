//! Each one clear line on stderr, the exit code of its kind, and no restart loop.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{Agent, Options, guard, stage};
use std::{
    fs,
    io::Read,
    net::TcpListener,
    os::unix::{fs::MetadataExt, fs::PermissionsExt, fs::symlink, net::UnixListener},
    path::Path,
    process::Command,
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
    let socket = first.socket();
    assert_loader_refused(as_user(uid, POWERS), &first.loader(), &socket, 69, &[&socket.to_string_lossy()]);
    first.stop();
}

/// What the loader needs to load.
const POWERS: &str = "+bpf,+perfmon,+sys_ptrace,+dac_read_search";

fn as_user(uid: u32, powers: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()]);
    command.args([format!("--inh-caps={powers}"), format!("--ambient-caps={powers}")]);
    command
}

/// Starts a loader by itself, and asserts its exit code and that its only line of error names `words`.
fn assert_loader_refused(mut command: Command, loader: &Path, socket: &Path, code: i32, words: &[&str]) {
    command.arg(loader).args(["run", "--processor-uid", "1", "--socket"]).arg(socket);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    let errors: Vec<&str> = text.lines().filter(|line| !line.contains(" INFO ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert!(words.iter().all(|word| errors[0].contains(word)), "{words:?}: {text}");
}

#[test]
fn a_missing_capability_is_named() {
    let Some(_machine) = guard("a_missing_capability_is_named") else { return };
    let agent = Agent::start(&Options::default());
    let (loader, elsewhere) = (agent.loader(), stage::directory());
    let socket = elsewhere.path().join("agent.sock");
    let uid = fs::metadata(agent.socket()).unwrap().uid();
    for (powers, missing) in [
        ("+perfmon,+sys_ptrace,+dac_read_search", "CAP_BPF"),
        ("+bpf,+sys_ptrace,+dac_read_search", "CAP_PERFMON"),
        ("+bpf,+perfmon,+dac_read_search", "CAP_SYS_PTRACE"),
        ("+bpf,+perfmon,+sys_ptrace", "CAP_DAC_READ_SEARCH"),
    ] {
        assert_loader_refused(as_user(uid, powers), &loader, &socket, 77, &[missing, "standalone"]);
    }
    assert_loader_refused(Command::new("env"), &loader, &socket, 77, &["root", "standalone"]);
    agent.stop();
}

#[test]
fn a_kernel_without_btf_is_named() {
    let Some(_machine) = guard("a_kernel_without_btf_is_named") else { return };
    let agent = Agent::start(&Options::default());
    let uid = fs::metadata(agent.socket()).unwrap().uid();
    let elsewhere = stage::directory();
    std::os::unix::fs::chown(elsewhere.path(), Some(uid), None).unwrap();
    // in a mount namespace of its own, the types of the kernel are hidden
    let mut hidden = Command::new("unshare");
    hidden.args(["--mount", "sh", "-c", "mount -t tmpfs none /sys/kernel/btf && exec \"$@\"", "sh"]);
    let user = as_user(uid, POWERS);
    hidden.arg(user.get_program()).args(user.get_args());
    let socket = elsewhere.path().join("agent.sock");
    assert_loader_refused(
        hidden,
        &agent.loader(),
        &socket,
        69,
        &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"],
    );
    agent.stop();
}

#[test]
fn a_peer_with_another_uid_is_closed_before_a_byte_is_read() {
    let Some(_machine) = guard("a_peer_with_another_uid_is_closed_before_a_byte_is_read") else { return };
    let agent = Agent::start(&Options::default());
    let mut stranger = std::os::unix::net::UnixStream::connect(agent.socket()).unwrap();
    let mut answer = Vec::new();
    assert_eq!(
        stranger.read_to_end(&mut answer).unwrap_or(0),
        0,
        "not even the settings of HTTP/2: {answer:?}"
    );
    agent.wait_for_log("refused_peer");
    assert!(agent.log_line("refused_peer").contains("uid=0"));
    agent.stop();
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
