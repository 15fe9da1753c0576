//! CPU time of processes and of the machine, in nanoseconds. Under QEMU's `-icount shift=0` one of them is one instruction.

use anyhow::Context;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};
use std::{fs, time::Duration};

/// Ticks of `/proc/stat` per second on every Linux that we know.
const NS_PER_TICK: u64 = 10_000_000;

/// CPU time so far of every thread that `pids` have now. A thread that ended is not seen.
pub fn of_processes(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| of_process(*pid)).sum()
}

fn of_process(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| on_cpu_ns(&fs::read_to_string(task.path().join("schedstat")).ok()?)).sum()
}

/// First word of a `schedstat`: exact, unlike the ticks of `stat` (Documentation/scheduler/sched-stats.rst).
fn on_cpu_ns(schedstat: &str) -> Option<u64> {
    schedstat.split(' ').next()?.parse().ok()
}

/// CPU time so far of children that were waited for.
pub fn of_ended_children() -> anyhow::Result<u64> {
    usage(UsageWho::RUSAGE_CHILDREN)
}

/// CPU time so far of this process.
pub fn of_self() -> anyhow::Result<u64> {
    usage(UsageWho::RUSAGE_SELF)
}

fn usage(who: UsageWho) -> anyhow::Result<u64> {
    let usage = getrusage(who)?;
    let micros =
        |time: TimeVal| u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or_default();
    Ok((micros(usage.user_time()) + micros(usage.system_time())) * 1000)
}

/// Time so far that the CPUs had nothing to do.
pub fn idle_ns() -> anyhow::Result<u64> {
    let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    idle_ticks(&stat).map(|ticks| ticks * NS_PER_TICK).context("/proc/stat has no idle time")
}

/// `cpu user nice system idle iowait ...`
fn idle_ticks(stat: &str) -> Option<u64> {
    let mut words = stat.lines().next()?.split_whitespace().skip(4);
    let idle: u64 = words.next()?.parse().ok()?;
    Some(idle + words.next()?.parse::<u64>().ok()?)
}

/// Whole nanoseconds.
pub fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedstat_begins_with_the_time_on_the_cpu() {
        assert_eq!(on_cpu_ns("123456789 42 7\n"), Some(123_456_789));
        assert_eq!(on_cpu_ns(""), None);
    }

    #[test]
    fn waiting_for_a_disk_is_idle_too() {
        assert_eq!(idle_ticks("cpu  1 2 3 400 50 6 7 8 9 10\ncpu0 1"), Some(450));
        assert_eq!(idle_ticks("cpu 1"), None);
    }

    #[test]
    fn own_cpu_time_grows() {
        let before = of_processes(&[std::process::id()]);
        let mut sum = 0_u64;
        while of_processes(&[std::process::id()]) == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(idle_ns().is_ok());
    }
}
