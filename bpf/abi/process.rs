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
    pub const ENVIRONMENT: u8 = 8;
    pub const BINARY: u8 = 16;
}

/// `enum process_language`: what a process is written in, by facts.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Language {
    /// Nobody looked, or nothing could be read.
    #[default]
    Unknown = 0,
    /// Looked at, and none of the others.
    Generic = 1,
    Go = 2,
    Java = 3,
    Dotnet = 4,
    Python = 5,
    Ruby = 6,
    Nodejs = 7,
    Deno = 8,
    Bun = 9,
    Php = 10,
    Erlang = 11,
    Rust = 12,
    Cpp = 13,
    Swift = 14,
}

impl Language {
    /// Every language, in the order of the numbers.
    pub const ALL: [Self; 15] = [
        Self::Unknown,
        Self::Generic,
        Self::Go,
        Self::Java,
        Self::Dotnet,
        Self::Python,
        Self::Ruby,
        Self::Nodejs,
        Self::Deno,
        Self::Bun,
        Self::Php,
        Self::Erlang,
        Self::Rust,
        Self::Cpp,
        Self::Swift,
    ];

    /// The language with this number; one that a newer side knows is [`Self::Generic`].
    #[must_use]
    pub fn from_raw(raw: u8) -> Self {
        Self::ALL.get(usize::from(raw)).copied().unwrap_or(Self::Generic)
    }

    /// Value of `telemetry.sdk.language`, the word that OBI's users select by; empty while nobody looked.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "",
            Self::Generic => "generic",
            Self::Go => "go",
            Self::Java => "java",
            Self::Dotnet => "dotnet",
            Self::Python => "python",
            Self::Ruby => "ruby",
            Self::Nodejs => "nodejs",
            Self::Deno => "deno",
            Self::Bun => "bun",
            Self::Php => "php",
            Self::Erlang => "erlang",
            Self::Rust => "rust",
            Self::Cpp => "cpp",
            Self::Swift => "swift",
        }
    }

    /// Nothing that a runtime may load later would say otherwise.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Unknown | Self::Generic | Self::Cpp)
    }
}

/// `struct process_info_record`: what the loader read about a process. Bytes of exe, cmdline, cgroup and environment
/// follow.
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
    /// [`readable`]: which of these could be read.
    pub readable: u8,
    /// Bytes of the three variables that are told, at most 2048.
    pub environment_len: u16,
    /// [`Language`].
    pub language: u8,
    /// Zero.
    pub reserved: u8,
    /// NUL-terminated.
    pub comm: [u8; 16],
}
