//! Processes, by `/proc`: those of the agent, their signals and their memory.

use crate::{Agent, wait_until};
use nix::{sys::signal::Signal, unistd::Pid};
use std::{fs, path::PathBuf, time::Duration};

/// A reader has a second, and what looks into a binary has two.
const READERS_END: Duration = Duration::from_secs(10);

impl Agent {
    /// Pids of the launcher's descendants: loader, its children, processor, demo.
    #[must_use]
    pub fn descendants(&self) -> Vec<u32> {
        let mut found = vec![self.pid()];
        let mut next = 0;
        while let Some(&pid) = found.get(next) {
            found.extend(children(pid));
            next += 1;
        }
        found.split_off(1)
    }

    /// Descendants whose executable's name is `name`.
    #[must_use]
    pub fn processes(&self, name: &str) -> Vec<u32> {
        let runs = |pid: &u32| {
            let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            exe.file_name().is_some_and(|file| file.to_string_lossy() == name)
        };
        self.descendants().into_iter().filter(runs).collect()
    }

    /// The loader's main process: the child of the launcher, not one of its forks. None while it is away.
    #[must_use]
    pub fn attacher(&self) -> Vec<u32> {
        self.loaders_under(&[self.pid()])
    }

    /// The attacher's child that holds the socket, once it is alone: readers live for milliseconds.
    #[must_use]
    pub fn serving(&self) -> u32 {
        let parents = self.attacher();
        wait_until("the attacher to have one child", READERS_END, || {
            let children = self.loaders_under(&parents);
            (children.len() == 1).then(|| only(&children))
        })
    }

    fn loaders_under(&self, parents: &[u32]) -> Vec<u32> {
        let is_child = |pid: &u32| parents.contains(&parent(*pid));
        self.processes("ratatosk-loader").into_iter().filter(is_child).collect()
    }

    /// The loader's executable, where its user can run it.
    #[must_use]
    pub fn loader(&self) -> PathBuf {
        let loaders = self.processes("ratatosk-loader");
        let pid = loaders.into_iter().find(|pid| *pid != self.pid()).expect("a loader runs");
        fs::read_link(format!("/proc/{pid}/exe")).expect("its executable")
    }
}

/// The one process that was expected.
#[must_use]
pub fn only(pids: &[u32]) -> u32 {
    let [pid] = pids else { panic!("one process expected: {pids:?}") };
    *pid
}

/// Sends `signal` to a process that is there.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).expect("a pid fits into i32");
    nix::sys::signal::kill(Pid::from_raw(pid), signal)
        .unwrap_or_else(|error| panic!("{signal} to {pid}: {error}"));
}

/// Resident memory that no file backs, in bytes; none once the process is gone.
#[must_use]
pub fn anonymous_bytes(pid: u32) -> Option<u64> {
    let kib: u64 = status(pid, "RssAnon:")?.parse().ok()?;
    Some(kib * 1024)
}

/// 0 once the process is gone.
fn parent(pid: u32) -> u32 {
    status(pid, "PPid:").and_then(|pid| pid.parse().ok()).unwrap_or_default()
}

/// First word of a line of `/proc/<pid>/status`.
fn status(pid: u32, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_whitespace().next().map(str::to_owned)
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}
