//! Mirror of `header.h`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `enum record_kind`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
pub enum RecordKind {
    /// Bytes crossed a socket ([`crate::ChunkRecord`]).
    Chunk = 1,
    /// The peer ended its direction ([`crate::ChunkRecord`] without bytes).
    Eof = 2,
    /// Existed when the probes were attached ([`crate::ProcessRecord`]).
    Process = 16,
    /// A process was forked ([`crate::ProcessRecord`]).
    Fork = 17,
    /// A process runs another executable ([`crate::ProcessRecord`]).
    Exec = 18,
    /// The last thread ended ([`crate::ProcessRecord`]).
    Exit = 19,
    /// A task listens ([`crate::ConnRecord`]).
    Listen = 20,
    /// An outgoing connection is established ([`crate::ConnRecord`]).
    Connect = 21,
    /// A connection ended, with its final offsets ([`crate::ConnRecord`]).
    Close = 22,
    /// What the loader read about a process ([`crate::ProcessInfoRecord`]).
    ProcessInfo = 32,
    /// What follows replaces all that was known.
    SnapshotBegin = 33,
    /// The snapshot is whole.
    SnapshotEnd = 34,
}

impl RecordKind {
    /// Every kind, for telemetry.
    pub const ALL: [Self; 12] = [
        Self::Chunk,
        Self::Eof,
        Self::Process,
        Self::Fork,
        Self::Exec,
        Self::Exit,
        Self::Listen,
        Self::Connect,
        Self::Close,
        Self::ProcessInfo,
        Self::SnapshotBegin,
        Self::SnapshotEnd,
    ];

    /// The kind with this number, `None` for one that a newer side made.
    #[must_use]
    pub fn from_raw(raw: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u16 == raw)
    }

    /// Value of the label `kind`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chunk => "chunk",
            Self::Eof => "eof",
            Self::Process => "process",
            Self::Fork => "fork",
            Self::Exec => "exec",
            Self::Exit => "exit",
            Self::Listen => "listen",
            Self::Connect => "connect",
            Self::Close => "close",
            Self::ProcessInfo => "process_info",
            Self::SnapshotBegin => "snapshot_begin",
            Self::SnapshotEnd => "snapshot_end",
        }
    }
}

/// `struct record_header`: what every record begins with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
pub struct RecordHeader {
    /// Whole record in bytes, this header included.
    pub len: u32,
    /// [`RecordKind`], or a newer one.
    pub kind: u16,
    /// Bytes before the payload.
    pub fixed_len: u16,
    /// `CLOCK_BOOTTIME` at the hook.
    pub ktime_ns: u64,
    /// Process, in the initial pid namespace.
    pub tgid: u32,
    /// Thread, 0 where it means nothing.
    pub tid: u32,
    /// `CLOCK_BOOTTIME` start of the process.
    pub task_start_ns: u64,
}
