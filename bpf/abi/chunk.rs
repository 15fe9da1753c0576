//! Mirror of `chunk.h`.

use crate::{RecordHeader, SocketId};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `enum direction`, seen from the observed process.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Direction {
    /// Read by the process.
    Rx = 1,
    /// Written by the process.
    Tx = 2,
}

impl Direction {
    /// The direction with this number.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            1 => Some(Self::Rx),
            2 => Some(Self::Tx),
            _ => None,
        }
    }
}

/// `enum missing_reason`: why fewer bytes than the width allows were captured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Missing {
    /// The captured prefix is as long as the width asks for.
    Nothing = 0,
    /// The call was made by io_uring: no buffer in registers.
    IoUring = 1,
    /// The task is not inside a call whose buffer is known.
    NotInCall = 2,
    /// The socket belongs to no file.
    KernelSocket = 3,
    /// `sendmmsg` or `recvmmsg`: which of the messages is not known.
    Sendmmsg = 4,
    /// A 32-bit task: its structures are laid out differently.
    CompatTask = 5,
    /// `sendfile` or `splice`: the bytes never were in user memory.
    Sendfile = 6,
    /// The user page was not present or no longer mapped.
    Unreadable = 7,
    /// `MSG_TRUNC`: the bytes were discarded, not copied.
    Trunc = 8,
    /// kTLS or MPTCP: not read by this family.
    Ulp = 9,
    /// The bytes lie in more segments than are followed, or one could not be read.
    Segments = 10,
}

impl Missing {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 11] = [
        Self::Nothing,
        Self::IoUring,
        Self::NotInCall,
        Self::KernelSocket,
        Self::Sendmmsg,
        Self::CompatTask,
        Self::Sendfile,
        Self::Unreadable,
        Self::Trunc,
        Self::Ulp,
        Self::Segments,
    ];

    /// Value of the label `reason`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::IoUring => "io_uring",
            Self::NotInCall => "not_in_call",
            Self::KernelSocket => "kernel_socket",
            Self::Sendmmsg => "sendmmsg",
            Self::CompatTask => "compat_task",
            Self::Sendfile => "sendfile",
            Self::Unreadable => "unreadable",
            Self::Trunc => "trunc",
            Self::Ulp => "ulp",
            Self::Segments => "segments",
        }
    }
}

/// `enum chunk_flags`.
pub mod chunk_flags {
    /// First call after the direction turned (a hint).
    pub const TURN_START: u16 = 1;
    /// 16 byte trace id and 8 byte span id precede the payload (reserved).
    pub const TRACE_CONTEXT: u16 = 2;
}

/// `struct chunk_record`: bytes of one call in one direction; `captured_len` payload bytes follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
pub struct ChunkRecord {
    /// Header.
    pub hdr: RecordHeader,
    /// The socket.
    pub sock: SocketId,
    /// Of the first byte, see [`SocketId::offset_kind`].
    pub offset: u32,
    /// Bytes that the call moved.
    pub orig_len: u32,
    /// Bytes that follow.
    pub captured_len: u32,
    /// [`Direction`].
    pub direction: u8,
    /// [`Missing`].
    pub missing: u8,
    /// [`chunk_flags`].
    pub flags: u16,
}
