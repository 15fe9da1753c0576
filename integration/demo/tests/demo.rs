//! The front end brings the others along and takes them with it.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(8);

fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("waited too long for {what}");
}

/// Names and pids of the children of `pid`.
fn children(pid: u32) -> Vec<(String, String)> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let name =
        |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    let mut found: Vec<_> = list.split_whitespace().map(|pid| (name(pid), pid.to_owned())).collect();
    found.sort();
    found
}

#[test]
fn a_killed_front_end_leaves_nothing_behind() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo-frontend"));
    let mut frontend = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let others = wait_until("the other two", || {
        let found = children(frontend.id());
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        (names == ["demo-backend", "demo-visitor"]).then_some(found)
    });
    frontend.kill().unwrap();
    frontend.wait().unwrap();
    let is_alive = |pid: &str| Path::new("/proc").join(pid).exists();
    wait_until("their end", || (!others.iter().any(|(_, pid)| is_alive(pid))).then_some(()));
}
