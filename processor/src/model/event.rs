//! What `decode` makes of a record.

use super::{KtimeNs, ProcessId};
pub use ratatosk_abi::Direction;
use ratatosk_abi::{Language, Missing, OffsetKind, SocketId, TargetState};
use std::net::{IpAddr, SocketAddr};

/// One record, checked. Borrows the batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// Bytes crossed a socket.
    Chunk(Chunk<'a>),
    /// The peer ended its direction: nothing follows `chunk.offset`.
    Eof(Chunk<'a>),
    /// Something happened to a process.
    Process(ProcessEvent),
    /// A task listens on the local address.
    Listen(Socket, ProcessId),
    /// An outgoing connection is established.
    Connect(Socket, ProcessId),
    /// A connection ended.
    Close(Close),
    /// What the loader could read about a process.
    Info(ProcessInfo<'a>),
    /// What follows replaces all that was known.
    SnapshotBegin,
    /// The snapshot is whole.
    SnapshotEnd,
}

/// Which socket.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Socket {
    /// Unique per boot.
    pub cookie: u64,
    /// Network namespace.
    pub netns: u32,
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
}

impl Socket {
    /// The socket that a record names; an unknown family is read as IPv6.
    #[must_use]
    pub fn from_abi(sock: &SocketId) -> Self {
        const AF_INET: u16 = 2;
        let ip = |addr: [u8; 16]| match (sock.family, addr) {
            (AF_INET, [a, b, c, d, ..]) => IpAddr::from([a, b, c, d]),
            _ => IpAddr::from(addr),
        };
        Self {
            cookie: sock.cookie,
            netns: sock.netns,
            local: SocketAddr::new(ip(sock.local_addr), sock.local_port),
            remote: SocketAddr::new(ip(sock.remote_addr), sock.remote_port),
        }
    }
}

/// Place of a byte in its direction's stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Offset {
    /// What it counts.
    pub kind: OffsetKind,
    /// Wraps at 2^32.
    pub value: u32,
}

/// Bytes of one call in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chunk<'a> {
    /// When the call ended.
    pub time: KtimeNs,
    /// Who made it.
    pub process: ProcessId,
    /// Which thread.
    pub tid: u32,
    /// On which socket.
    pub socket: Socket,
    /// Seen from the process.
    pub direction: Direction,
    /// Of the first byte.
    pub offset: Offset,
    /// Bytes that the call moved.
    pub orig_len: u32,
    /// The captured prefix, at most `orig_len` bytes.
    pub payload: &'a [u8],
    /// Why it is shorter than the width.
    pub missing: Missing,
    /// A hint of the probe: the direction just turned.
    pub turn_start: bool,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Close {
    /// When.
    pub time: KtimeNs,
    /// Which one.
    pub socket: Socket,
    /// Offset after the last byte sent, FIN not counted; `kind` `None`: not known.
    pub tx_end: Offset,
    /// Offset after the last byte received, FIN not counted.
    pub rx_end: Offset,
}

/// What happened to a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProcessChange {
    /// It existed when the probes were attached.
    Existed,
    /// It was forked.
    Forked,
    /// It runs another executable now.
    Executed,
    /// It ended.
    Exited,
}

/// A process came, changed or went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProcessEvent {
    /// When.
    pub time: KtimeNs,
    /// Who.
    pub process: ProcessId,
    /// Its parent.
    pub parent: ProcessId,
    /// What.
    pub change: ProcessChange,
    /// What the probe does with it now.
    pub state: TargetState,
    /// Short name, NUL-terminated.
    pub comm: [u8; 16],
}

/// What the loader could read about a process. Bytes of another process: nothing about them is to be trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProcessInfo<'a> {
    /// Who.
    pub process: ProcessId,
    /// Its parent's tgid.
    pub parent_tgid: u32,
    /// Its name towards the loader.
    pub handle: u64,
    /// Path of the executable, if readable.
    pub exe: Option<&'a [u8]>,
    /// Arguments separated by NUL, if readable.
    pub cmdline: Option<&'a [u8]>,
    /// Content of `/proc/<pid>/cgroup`, if readable.
    pub cgroup: Option<&'a [u8]>,
    /// What it is written in, if somebody looked.
    pub language: Option<Language>,
    /// `NAME=value`, each with its NUL, of three variables, if somebody looked.
    pub environment: Option<&'a [u8]>,
    /// Short name.
    pub comm: [u8; 16],
    /// What the probe did with it when this was written.
    pub state: TargetState,
}
