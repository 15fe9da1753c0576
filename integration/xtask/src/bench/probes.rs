//! What the kernel counts about BPF programs while it is told to.

use super::figures::per;
use ratatosk_integration::Agent;
use std::{collections::BTreeMap, fs};

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Counting is on while this lives.
#[derive(Debug)]
pub struct Probes(());

impl Probes {
    /// Tells the kernel to count.
    pub fn begin() -> anyhow::Result<Self> {
        fs::write(SWITCH, "1")?;
        Ok(Self(()))
    }

    /// Prints runs and time of every program of the agent, per request.
    pub fn print(&self, agent: &Agent, requests: u64) {
        println!("\n| probe | runs per request | ns per run |\n|---|---|---|");
        for (id, (runs, ns)) in programs(agent).into_iter().filter(|(_, (runs, _))| *runs > requests / 100) {
            println!("| {id} | {:.2} | {:.0} |", per(runs, requests), per(ns, runs));
        }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, "0") {
            eprintln!("bench: {SWITCH} stays on: {error}");
        }
    }
}

/// Runs and nanoseconds by id of the program, from the fds of the attacher.
fn programs(agent: &Agent) -> BTreeMap<u64, (u64, u64)> {
    let of = |pid: u32| fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let infos = agent.processes("ratatosk-loader").into_iter().flat_map(of);
    infos.filter_map(|info| program(&fs::read_to_string(info.path()).ok()?)).collect()
}

fn program(fdinfo: &str) -> Option<(u64, (u64, u64))> {
    let field = |name: &str| fdinfo.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((field("prog_id:")?, (field("run_cnt:")?, field("run_time_ns:")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_has_runs_and_their_time() {
        let info = "prog_id:\t7\nrun_time_ns:\t300\nrun_cnt:\t3\nrecursion_misses:\t0\n";
        assert_eq!(program(info), Some((7, (3, 300))));
        assert_eq!(program("map_id:\t7\n"), None);
    }
}
