//! One run of wrk against a server.

use super::servers;
use anyhow::{Context, ensure};
use ratatosk_integration::stage;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

/// Programs and files of all rounds, in memory.
#[derive(Debug)]
pub struct Stage {
    folder: TempDir,
    wrk: PathBuf,
    script: PathBuf,
}

impl Stage {
    /// Copies what the load needs.
    pub fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("ratatosk-bench-").tempdir_in("/dev/shm")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let wrk = servers::in_memory(folder.path(), &stage::installed("wrk"))?;
        let script = servers::in_memory(folder.path(), &stage::workload("bench/report.lua"))?;
        Ok(Self { folder, wrk, script })
    }

    /// Where files of servers go.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// One run of wrk.
    pub fn load(&self, port: u16, connections: u32, time: Duration) -> anyhow::Result<Load> {
        Load::run(&self.wrk, &self.script, port, connections, time)
    }
}

/// Requests on connections that are kept alive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Load {
    /// Answered.
    pub requests: u64,
    /// Not answered, or not with 200.
    pub failed: u64,
    /// How long it took.
    pub duration_us: u64,
    /// Latencies.
    pub p50_us: u64,
    /// Latencies.
    pub p99_us: u64,
    /// Latencies.
    pub p999_us: u64,
}

impl Load {
    /// Asks `http://127.0.0.1:port/r/bench` as fast as it is answered, over `connections`, from one thread.
    fn run(wrk: &Path, script: &Path, port: u16, connections: u32, time: Duration) -> anyhow::Result<Self> {
        let mut command = Command::new(wrk);
        command.args([
            "-t",
            "1",
            "-c",
            &connections.to_string(),
            "-d",
            &format!("{}s", time.as_secs().max(1)),
        ]);
        command.arg("-s").arg(script).arg(format!("http://127.0.0.1:{port}/r/bench"));
        let output = command.output().with_context(|| format!("starting {command:?}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let load = text.lines().find_map(Self::parse);
        let load = load.with_context(|| {
            format!("wrk told no figures: {text}{}", String::from_utf8_lossy(&output.stderr))
        })?;
        ensure!(load.failed == 0, "{} of {} requests failed", load.failed, load.requests);
        Ok(load)
    }

    /// The line of `report.lua`.
    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.strip_prefix("bench ")?.split(' ').map(|word| word.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        Some(Self {
            requests: next()?,
            failed: next()?,
            duration_us: next()?,
            p50_us: next()?,
            p99_us: next()?,
            p999_us: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_script_is_read() {
        let load = Load::parse("bench 1000 0 2000000 90 400 900").expect("a line");
        assert_eq!((load.requests, load.duration_us, load.p999_us), (1000, 2_000_000, 900));
        assert_eq!(Load::parse("Running 1s test"), None);
        assert_eq!(Load::parse("bench 1000 x"), None);
    }
}
