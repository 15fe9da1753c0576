//! Who holds which power, read from `/proc` while requests flow; and what must never be captured.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{
    Agent, Options, guard,
    server::Server,
    stage::{self, Program},
    wait_until,
};
use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

/// `CAP_DAC_READ_SEARCH` 2 and `CAP_SYS_PTRACE` 19.
const ATTACHER: u64 = (1 << 2) | (1 << 19);
/// Rounds of the `io_uring` workload: each has its chance to complete within a read().
const ROUNDS: usize = 200;
/// What its file is full of.
const MARKER: &str = "FILE-SECRET-MARKER";

/// Effective, permitted, inheritable and ambient sets of every task of a process.
fn powers(pid: u32) -> Vec<(u32, [u64; 4])> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let statuses = tasks.map(|task| fs::read_to_string(task.path().join("status")).unwrap());
    statuses
        .map(|status| (uid(&status), ["CapEff", "CapPrm", "CapInh", "CapAmb"].map(|set| hex(&status, set))))
        .collect()
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap()
}

fn uid(status: &str) -> u32 {
    field(status, "Uid:").parse().unwrap()
}

fn hex(status: &str, set: &str) -> u64 {
    u64::from_str_radix(field(status, set), 16).unwrap()
}

#[test]
fn only_the_attacher_holds_capabilities_and_exactly_two() {
    let Some(_machine) = guard("only_the_attacher_holds_capabilities_and_exactly_two") else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &Options::default());
    let (loaders, processors) = (agent.processes("ratatosk-loader"), agent.processes("ratatosk"));
    assert!(loaders.len() >= 2 && processors.len() == 1, "{loaders:?} {processors:?}");
    let mut with_powers = 0;
    for (uid, sets) in loaders.iter().chain(&processors).flat_map(|&pid| powers(pid)) {
        assert_ne!(uid, 0, "nobody but the launcher is root");
        let [effective, permitted, _, _] = sets;
        assert!(
            effective == permitted && matches!(effective, 0 | ATTACHER),
            "{effective:#x}, permitted {permitted:#x}"
        );
        with_powers += usize::from(effective != 0);
    }
    assert_eq!(with_powers, 1, "one task of the attacher, and nobody else");
    for sets in processors.iter().flat_map(|&pid| powers(pid)) {
        assert_eq!(sets.1, [0; 4]);
    }
    agent.stop();
}

#[test]
fn both_sides_have_users_of_their_own() {
    let Some(_machine) = guard("both_sides_have_users_of_their_own") else { return };
    let agent = Agent::start(&Options::default());
    let uids = |name: &str| -> Vec<u32> {
        agent.processes(name).iter().flat_map(|&pid| powers(pid)).map(|(uid, _)| uid).collect()
    };
    let (loader, processor) = (uids("ratatosk-loader"), uids("ratatosk"));
    assert!(!loader.is_empty() && !processor.is_empty(), "{loader:?} {processor:?}");
    assert!(loader.iter().all(|uid| !processor.contains(uid)), "{loader:?} {processor:?}");
    agent.stop();
}

#[test]
fn an_io_uring_recv_within_a_read_leaks_no_byte_of_the_file() {
    let name = "an_io_uring_recv_within_a_read_leaks_no_byte_of_the_file";
    let Some(_machine) = guard(name) else { return };
    let directory = stage::directory();
    let recording = recordable(&directory);
    let agent = Agent::start(&Options {
        processor_command: Some(format!("record {}", recording.display())),
        ..Options::default()
    });
    let Some(port) = run_io_uring(&directory) else {
        return println!("skipped: {name}: the kernel gives no io_uring");
    };
    // A plain server afterwards shows that the recording does hold payload.
    let server = Server::nginx();
    let holds = |needle: &str| {
        let bytes = fs::read(&recording).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
    };
    wait_until("payload in the recording", Duration::from_secs(15), || {
        server.connect().ask("GET", "/r/after-uring", 0).unwrap();
        holds("/r/after-uring").then_some(())
    });
    assert!(!holds(MARKER) && !holds("SECRET"), "bytes of a file in a record (port {port})");
    agent.stop();
}

/// A file that the processor's user may write.
fn recordable(directory: &tempfile::TempDir) -> std::path::PathBuf {
    let folder = directory.path().join("recording");
    fs::create_dir(&folder).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&folder, mode).unwrap();
    folder.join("stream")
}

/// Compiles the workload and runs it to its end; none if the kernel has no `io_uring` for us.
fn run_io_uring(directory: &tempfile::TempDir) -> Option<u16> {
    let (program, file) = (directory.path().join("io_uring_read"), directory.path().join("secret"));
    let mut gcc = Command::new("gcc");
    gcc.args(["-O1", "-Wall", "-o"]).arg(&program).arg(stage::workload("c/io_uring_read.c"));
    assert!(gcc.status().unwrap().success(), "gcc");
    fs::write(&file, format!("{MARKER}\n").repeat(50_000)).unwrap();
    let port = stage::free_port();
    let mut command = Command::new(program);
    command.arg(port.to_string()).arg(&file).arg(ROUNDS.to_string()).stderr(Stdio::null());
    let mut workload = Program::start(&mut command);
    let status =
        wait_until("the io_uring workload", Duration::from_secs(30), || workload.child.try_wait().unwrap());
    match status.code() {
        Some(0) => Some(port),
        Some(77) => None,
        _ => panic!("the io_uring workload: {status}"),
    }
}
