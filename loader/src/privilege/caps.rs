//! Capabilities: what each process keeps, and the reading back.

use caps::{CapSet, Capability, CapsHashSet};
use std::{fs, io};

/// What loading and attaching need: programs and maps, tracing, and reading other processes.
pub const TO_LOAD: [Capability; 4] = [
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
];

/// What the attacher keeps: `/proc/<pid>/exe` of other users, and files below directories that are not ours.
pub const OF_ATTACHER: [Capability; 2] = [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];

/// Why a drop can't be relied on.
#[derive(Debug, thiserror::Error)]
pub enum CapsError {
    /// capset(2) or prctl(2) failed.
    #[error("setting the {set:?} capabilities: {source}")]
    Set {
        /// Which set.
        set: CapSet,
        /// What the kernel said.
        source: caps::errors::CapsError,
    },
    /// `/proc/self/task` could not be read.
    #[error("reading capabilities back from /proc/self/task: {0}")]
    ReadBack(io::Error),
    /// A task has other capabilities than it should.
    #[error("task {task} has {field} {found:#x} instead of {wanted:#x}")]
    NotHeld {
        /// Thread id.
        task: String,
        /// Line of `/proc/<pid>/status`.
        field: &'static str,
        /// What it says.
        found: u64,
        /// What it should say.
        wanted: u64,
    },
}

/// Those of `wanted` that this thread doesn't have in effect.
#[must_use]
pub fn missing(wanted: &[Capability]) -> Vec<Capability> {
    let effective = caps::read(None, CapSet::Effective).unwrap_or_default();
    wanted.iter().copied().filter(|cap| !effective.contains(cap)).collect()
}

/// Keeps `kept` and nothing else, in this thread, for good; then reads it back in every task of the process.
///
/// # Errors
/// [`CapsError`]: the caller must end.
pub fn keep_only(kept: &[Capability]) -> Result<(), CapsError> {
    let set: CapsHashSet = kept.iter().copied().collect();
    // ambient and inheritable first: they would come back at an exec
    for (which, value) in [
        (CapSet::Ambient, &CapsHashSet::new()),
        (CapSet::Inheritable, &CapsHashSet::new()),
        (CapSet::Effective, &set),
        (CapSet::Permitted, &set),
    ] {
        caps::set(None, which, value).map_err(|source| CapsError::Set { set: which, source })?;
    }
    verify(kept)
}

/// Every task of this process has exactly `kept` permitted and effective, and nothing to inherit.
///
/// # Errors
/// [`CapsError`].
pub fn verify(kept: &[Capability]) -> Result<(), CapsError> {
    let mask = kept.iter().fold(0, |mask, cap| mask | cap.bitmask());
    for entry in fs::read_dir("/proc/self/task").map_err(CapsError::ReadBack)? {
        let entry = entry.map_err(CapsError::ReadBack)?;
        let status = fs::read_to_string(entry.path().join("status")).map_err(CapsError::ReadBack)?;
        let task = entry.file_name().to_string_lossy().into_owned();
        for (field, wanted) in [("CapPrm", mask), ("CapEff", mask), ("CapInh", 0), ("CapAmb", 0)] {
            let found = field_of(&status, field).unwrap_or(u64::MAX);
            if found != wanted {
                return Err(CapsError::NotHeld { task, field, found, wanted });
            }
        }
    }
    Ok(())
}

fn field_of(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let status = "CapInhX:\t01\nCapPrm:\t0000000000080004\nCapEff:\t0\n";
        assert_eq!(field_of(status, "CapPrm"), Some(0x8_0004));
        assert_eq!(field_of(status, "CapInh"), None);
    }

    #[test]
    fn the_attachers_two_have_the_documented_mask() {
        assert_eq!(OF_ATTACHER.iter().fold(0, |mask, cap| mask | cap.bitmask()), 0x8_0004);
    }
}
