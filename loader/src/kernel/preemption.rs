//! Whether the running kernel takes the CPU from a task that is inside it.

use std::fs;

/// Says which mode is at work, on kernels that can change it; readable where debugfs is mounted.
const MODE: &str = "/sys/kernel/debug/sched/preempt";

/// Whether a program of ours may be interrupted by another task: then the same program misses calls of that task.
///
/// Where the kernel may be either, and does not tell, the answer is yes.
#[must_use]
pub fn may_preempt() -> bool {
    let version = nix::sys::utsname::uname().map(|name| name.version().to_string_lossy().into_owned());
    judge(&version.unwrap_or_default(), fs::read_to_string(MODE).ok().as_deref())
}

/// `version` is that of uname(2), `mode` a list of modes with the chosen one in parentheses.
fn judge(version: &str, mode: Option<&str>) -> bool {
    match mode {
        Some(mode) if version.contains("PREEMPT_DYNAMIC") => {
            mode.contains("(full)") || mode.contains("(lazy)")
        }
        _ => version.contains("PREEMPT"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_counts_where_the_kernel_can_change_it() {
        let dynamic = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.117-1";
        assert!(!judge(dynamic, Some("none (voluntary) full\n")));
        assert!(judge(dynamic, Some("none voluntary (full)\n")));
        assert!(judge(dynamic, Some("full (lazy)\n")));
        assert!(judge(dynamic, None), "it may");
    }

    #[test]
    fn a_fixed_kernel_says_it_in_its_version() {
        assert!(judge("#1 SMP PREEMPT_RT 6.1.0", None));
        assert!(!judge("#1 SMP 6.1.0", None));
    }
}
