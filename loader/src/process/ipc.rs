//! What `server` and `attacher` say to each other: one fixed-size message per `SOCK_SEQPACKET` datagram.
//!
//! in   [`Request`], 24 bytes, from `server`; at most [`MAX_IN_FLIGHT`] unanswered
//! out  [`Reply`], one per request and in any order, from `attacher`
//!
//! Both ends parse by copying a fixed struct: a datagram of another size is refused. `attacher` needs nothing but
//! [`serve_one`]; nothing here blocks.

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use std::os::fd::{AsFd, AsRawFd};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Longest string of a process in bytes: what `PATH_MAX` allows, and as much of a command line as selectors look at.
pub const MAX_STRING_BYTES: usize = 4096;

/// Longest environment that is told: three variables, of which resource attributes may be long.
pub const MAX_ENVIRONMENT_BYTES: usize = 2048;

/// Unanswered requests: as many replies fit a socket buffer of the default size, so `attacher` never waits to send.
pub const MAX_IN_FLIGHT: usize = 8;

/// What `server` asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum RequestKind {
    /// Read exe, cmdline and cgroup of `tgid`, if it still started at `start_ns`.
    Describe = 1,
    /// Run the iterators: what exists appears in the control ring, then comes the reply.
    Resnapshot = 2,
    /// `server` serves: connections are accepted from now on.
    Ready = 3,
    /// Look into the binary and the environment of `tgid`, if it still started at `start_ns`.
    Examine = 4,
}

impl RequestKind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            1 => Some(Self::Describe),
            2 => Some(Self::Resnapshot),
            3 => Some(Self::Ready),
            4 => Some(Self::Examine),
            _ => None,
        }
    }
}

/// From `server` to `attacher`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
pub struct Request {
    /// [`RequestKind`].
    pub kind: u32,
    /// Process to describe, else 0.
    pub tgid: u32,
    /// `CLOCK_BOOTTIME` start of that process, else 0.
    pub start_ns: u64,
    /// Comes back in the reply.
    pub token: u64,
}

impl Request {
    /// Asks what can be read about one process.
    #[must_use]
    pub const fn describe(tgid: u32, start_ns: u64, token: u64) -> Self {
        Self { kind: RequestKind::Describe as u32, tgid, start_ns, token }
    }

    /// Asks what the binary and the environment of one process say.
    #[must_use]
    pub const fn examine(tgid: u32, start_ns: u64, token: u64) -> Self {
        Self { kind: RequestKind::Examine as u32, tgid, start_ns, token }
    }

    /// A request that names no process.
    #[must_use]
    pub const fn bare(kind: RequestKind) -> Self {
        Self { kind: kind as u32, tgid: 0, start_ns: 0, token: 0 }
    }
}

/// From `attacher` to `server`: strings are zero-padded to their bound.
#[repr(C)]
#[derive(Clone, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
pub struct Reply {
    /// [`RequestKind`] of the request.
    pub kind: u32,
    /// As in the request.
    pub tgid: u32,
    /// As in the request.
    pub start_ns: u64,
    /// As in the request.
    pub token: u64,
    /// Bytes of `exe` that count.
    pub exe_len: u16,
    /// Bytes of `cmdline` that count.
    pub cmdline_len: u16,
    /// Bytes of `cgroup` that count.
    pub cgroup_len: u16,
    /// [`ratatosk_abi::readable`]: which of these could be read.
    pub readable: u8,
    /// 1 if a resnapshot is whole: every iterator ran to its end, and what they told is in the ring.
    pub is_whole: u8,
    /// Bytes of `environment` that count.
    pub environment_len: u16,
    /// [`ratatosk_abi::Language`] as number.
    pub language: u8,
    /// Zero.
    pub reserved: [u8; 5],
    /// Target of `/proc/<pid>/exe`.
    pub exe: [u8; MAX_STRING_BYTES],
    /// Head of `/proc/<pid>/cmdline`.
    pub cmdline: [u8; MAX_STRING_BYTES],
    /// Head of `/proc/<pid>/cgroup`.
    pub cgroup: [u8; MAX_STRING_BYTES],
    /// Variables that may be told, each with its NUL.
    pub environment: [u8; MAX_ENVIRONMENT_BYTES],
}

/// Which string of a [`Reply`] is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Text {
    /// Target of `/proc/<pid>/exe`.
    Exe,
    /// Head of `/proc/<pid>/cmdline`.
    Cmdline,
    /// Head of `/proc/<pid>/cgroup`.
    Cgroup,
    /// Variables that may be told.
    Environment,
}

impl Reply {
    /// An answer to `request` that could read nothing yet.
    #[must_use]
    pub fn to(request: &Request) -> Box<Self> {
        let mut reply = Self::zeroed();
        reply.kind = request.kind;
        reply.tgid = request.tgid;
        reply.start_ns = request.start_ns;
        reply.token = request.token;
        reply
    }

    fn zeroed() -> Box<Self> {
        Box::new(Self::new_zeroed())
    }

    /// Stores what was read, cut to its bound, and marks it readable.
    pub fn store(&mut self, text: Text, bytes: &[u8]) {
        use ratatosk_abi::readable;
        let (target, len, bit): (&mut [u8], _, _) = match text {
            Text::Exe => (&mut self.exe, &mut self.exe_len, readable::EXE),
            Text::Cmdline => (&mut self.cmdline, &mut self.cmdline_len, readable::CMDLINE),
            Text::Cgroup => (&mut self.cgroup, &mut self.cgroup_len, readable::CGROUP),
            Text::Environment => (&mut self.environment, &mut self.environment_len, readable::ENVIRONMENT),
        };
        let kept = bytes.len().min(target.len());
        for (to, from) in target.iter_mut().zip(bytes) {
            *to = *from;
        }
        *len = u16::try_from(kept).unwrap_or(u16::MAX);
        self.readable |= bit;
    }

    /// The bytes of one string, empty if it could not be read.
    #[must_use]
    pub fn text(&self, text: Text) -> &[u8] {
        let (bytes, len): (&[u8], _) = match text {
            Text::Exe => (&self.exe, self.exe_len),
            Text::Cmdline => (&self.cmdline, self.cmdline_len),
            Text::Cgroup => (&self.cgroup, self.cgroup_len),
            Text::Environment => (&self.environment, self.environment_len),
        };
        bytes.get(..usize::from(len)).unwrap_or(bytes)
    }
}

/// Why a message did not cross.
#[derive(Debug, thiserror::Error)]
pub enum IpcError {
    /// The other process ended.
    #[error("the other end is gone")]
    Gone,
    /// A datagram that is no message.
    #[error("a message of {found_bytes} bytes, expected {expected_bytes}")]
    Size {
        /// As received.
        found_bytes: usize,
        /// Of the struct.
        expected_bytes: usize,
    },
    /// A request that nobody makes.
    #[error("a request of kind {0}")]
    Kind(u32),
    /// The socket failed.
    #[error("socket: {0}")]
    Socket(Errno),
}

/// Sends `request`; `false` if the buffer is full.
///
/// # Errors
/// [`IpcError`] if the other end is gone or the socket failed.
pub fn send_request(fd: impl AsFd, request: &Request) -> Result<bool, IpcError> {
    send_bytes(fd, request.as_bytes())
}

/// Sends `reply`; `false` if the buffer is full, which a `server` that keeps to [`MAX_IN_FLIGHT`] never causes.
///
/// # Errors
/// [`IpcError`] if the other end is gone or the socket failed.
pub fn send_reply(fd: impl AsFd, reply: &Reply) -> Result<bool, IpcError> {
    send_bytes(fd, reply.as_bytes())
}

/// The next request, `None` if none is waiting.
///
/// # Errors
/// [`IpcError`] if the other end is gone, sent nonsense, or the socket failed.
pub fn receive_request(fd: impl AsFd) -> Result<Option<Request>, IpcError> {
    let mut request = Request::new_zeroed();
    Ok(receive_bytes(fd, request.as_mut_bytes())?.then_some(request))
}

/// The next reply, `None` if none is waiting.
///
/// # Errors
/// [`IpcError`] if the other end is gone, sent nonsense, or the socket failed.
pub fn receive_reply(fd: impl AsFd) -> Result<Option<Box<Reply>>, IpcError> {
    let mut reply = Reply::zeroed();
    Ok(receive_bytes(fd, reply.as_mut_bytes())?.then_some(reply))
}

/// Takes one request, has it answered, sends the reply; `Ready` has none. Gives the kind, `None` if none was waiting.
///
/// # Errors
/// [`IpcError`] if the other end is gone or sent nonsense, or if it asked more than [`MAX_IN_FLIGHT`] allows: then it is
/// not our `server` that runs there.
pub fn serve_one(
    fd: impl AsFd,
    answer: impl FnOnce(RequestKind, &mut Reply),
) -> Result<Option<RequestKind>, IpcError> {
    let Some(request) = receive_request(&fd)? else { return Ok(None) };
    let kind = RequestKind::from_raw(request.kind).ok_or(IpcError::Kind(request.kind))?;
    let mut reply = Reply::to(&request);
    answer(kind, &mut reply);
    if kind != RequestKind::Ready && !send_reply(fd, &reply)? {
        return Err(IpcError::Socket(Errno::EAGAIN));
    }
    Ok(Some(kind))
}

fn send_bytes(fd: impl AsFd, bytes: &[u8]) -> Result<bool, IpcError> {
    match send(fd.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR) => Ok(false),
        Err(Errno::EPIPE | Errno::ECONNRESET) => Err(IpcError::Gone),
        Err(error) => Err(IpcError::Socket(error)),
    }
}

fn receive_bytes(fd: impl AsFd, bytes: &mut [u8]) -> Result<bool, IpcError> {
    let expected_bytes = bytes.len();
    // MSG_TRUNC: a datagram that is too long gives its real length instead of looking whole.
    match recv(fd.as_fd().as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC) {
        Ok(0) | Err(Errno::ECONNRESET) => Err(IpcError::Gone),
        Ok(found_bytes) if found_bytes == expected_bytes => Ok(true),
        Ok(found_bytes) => Err(IpcError::Size { found_bytes, expected_bytes }),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
        Err(error) => Err(IpcError::Socket(error)),
    }
}

#[cfg(test)]
#[path = "ipc_tests.rs"]
mod tests;
