//! Mirror of `process.h`.

use crate::RecordHeader;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct process_record`: process, fork, exec, exit.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
pub struct ProcessRecord {
    /// Header; `tgid` and `task_start_ns` name the child in a fork.
    pub hdr: RecordHeader,
    /// Of the default hierarchy, 0 if none.
    pub cgroup_id: u64,
    /// Inode of the executable, 0 if none.
    pub exe_ino: u64,
    /// Start of the parent.
    pub parent_start_ns: u64,
    /// Kernel-internal `dev_t` of that inode's file system.
    pub exe_dev: u32,
    /// Effective, in the initial user namespace.
    pub uid: u32,
    /// The parent.
    pub parent_tgid: u32,
    /// [`crate::TargetState`] after this event.
    pub target_state: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// NUL-terminated.
    pub comm: [u8; 16],
}

/// `enum process_readable`: which strings could be read.
#[allow(missing_docs, reason = "the names are the files")]
pub mod readable {
    pub const EXE: u8 = 1;
    pub const CMDLINE: u8 = 2;
    pub const CGROUP: u8 = 4;
}

/// `struct process_info_record`: what the loader read about a process. Exe, cmdline and cgroup bytes follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
pub struct ProcessInfoRecord {
    /// Header.
    pub hdr: RecordHeader,
    /// Opaque name of this process towards the loader, never reused in an epoch.
    pub handle: u64,
    /// As [`ProcessRecord::cgroup_id`].
    pub cgroup_id: u64,
    /// As [`ProcessRecord::exe_ino`].
    pub exe_ino: u64,
    /// As [`ProcessRecord::exe_dev`].
    pub exe_dev: u32,
    /// Effective.
    pub uid: u32,
    /// The parent.
    pub parent_tgid: u32,
    /// Bytes of the executable's path.
    pub exe_len: u16,
    /// Bytes of the command line, NUL-separated, at most 4096.
    pub cmdline_len: u16,
    /// Bytes of `/proc/<pid>/cgroup`, at most 4096.
    pub cgroup_len: u16,
    /// [`crate::TargetState`] when this was written.
    pub target_state: u8,
    /// [`readable`]: which of the three could be read.
    pub readable: u8,
    /// Zero.
    pub reserved: u32,
    /// NUL-terminated.
    pub comm: [u8; 16],
}
