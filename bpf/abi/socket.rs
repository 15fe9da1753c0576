//! Mirror of `socket.h`.

use crate::RecordHeader;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `enum record_source`: where the bytes were seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the protocols")]
pub enum Source {
    Tcp = 1,
    Mptcp = 2,
    Ktls = 3,
    Tls = 4,
    Udp = 5,
    Unix = 6,
}

/// `enum offset_kind`: what an offset counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum OffsetKind {
    /// No order is known.
    None = 0,
    /// TCP sequence number of the first byte, wraps at 2^32.
    TcpSeq = 1,
    /// Bytes since the probe first saw this direction, wraps at 2^32.
    Counter = 2,
}

/// `struct socket_id`: which socket a record speaks of.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, FromBytes, Hash, Immutable, IntoBytes, KnownLayout, PartialEq)]
pub struct SocketId {
    /// Unique per boot.
    pub cookie: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// `AF_INET` (2) or `AF_INET6` (10).
    pub family: u16,
    /// Host byte order.
    pub local_port: u16,
    /// Host byte order.
    pub remote_port: u16,
    /// [`Source`].
    pub source: u8,
    /// [`OffsetKind`].
    pub offset_kind: u8,
    /// Zero.
    pub reserved: u32,
    /// Network byte order; IPv4 in the first 4 bytes.
    pub local_addr: [u8; 16],
    /// As `local_addr`.
    pub remote_addr: [u8; 16],
}

/// `struct conn_record`: listen, connect, close.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
pub struct ConnRecord {
    /// Header.
    pub hdr: RecordHeader,
    /// The socket.
    pub sock: SocketId,
    /// Close: offset after the last byte sent, our FIN not counted; connect: the first.
    pub tx_offset: u32,
    /// Close: offset after the last byte received, the peer's FIN not counted; connect: the first.
    pub rx_offset: u32,
    /// [`crate::TargetState`] of the task after this event.
    pub target_state: u8,
    /// Zero.
    pub reserved: [u8; 7],
}
