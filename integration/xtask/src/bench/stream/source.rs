//! What the kernel would put into the rings: a server of 64 connections that answers without end.

use nix::sys::eventfd::{EfdFlags, EventFd};
use ratatosk_abi::{
    ChunkRecord, ConnRecord, Direction, ExeDecision, PortMode, ProcessRecord, RecordHeader, RecordKind,
    SocketId, TargetState, counter,
};
use ratatosk_loader::{kernel::boottime_ns, server::kernel::Kernel};
use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use zerocopy::{FromBytes, IntoBytes};

/// Where the server listens.
pub const PORT: u16 = 8080;
const TGID: u32 = 42;
const CONNECTIONS: u64 = 64;
/// Of every connection, in one drain: 1024 exchanges are what 100 000 per second leave in 10 ms.
const EXCHANGES_PER_DRAIN: u32 = 16;
/// Told later than this many behind: the loader would have to drop.
const MAX_UNTOLD: u64 = 8 * 1024;
const REQUEST: &[u8] =
    b"GET /r/0123456789 HTTP/1.1\r\nHost: shop:8080\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 08:42:47 GMT\r\n\
Content-Type: text/plain\r\nContent-Length: 64\r\nConnection: keep-alive\r\n\r\n\
0123456789012345678901234567890123456789012345678901234567890123";

/// How far both ends are.
#[derive(Debug)]
pub struct Progress {
    made: AtomicU64,
    told: AtomicU64,
    wake: EventFd,
}

impl Progress {
    /// Nothing was made.
    pub fn new() -> nix::Result<Self> {
        let wake = EventFd::from_value_and_flags(1, EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { made: AtomicU64::new(0), told: AtomicU64::new(0), wake })
    }

    /// Exchanges that became spans.
    pub fn told(&self) -> u64 {
        self.told.load(Relaxed)
    }

    /// `spans` more.
    pub fn tell(&self, spans: usize) {
        self.told.fetch_add(u64::try_from(spans).unwrap_or(u64::MAX), Relaxed);
        // as the probes do at their watermark
        let _ = self.wake.write(1);
    }

    /// Waits until so many were told.
    pub fn wait_for(&self, told: u64, patience: Duration) -> Option<()> {
        let deadline = Instant::now() + patience;
        while self.told() < told {
            if Instant::now() > deadline {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
        Some(())
    }

    /// No more are under way than may be.
    pub fn is_whole(&self) -> bool {
        self.made.load(Relaxed) - self.told() <= MAX_UNTOLD + u64::from(EXCHANGES_PER_DRAIN) * CONNECTIONS
    }
}

/// The kernel side of the bench.
#[derive(Debug)]
pub struct Source {
    progress: Arc<Progress>,
    /// One drain; times and offsets are set anew each time.
    data: Vec<Vec<u8>>,
    has_begun: bool,
}

fn header(kind: RecordKind, fixed: usize, payload: usize) -> RecordHeader {
    RecordHeader {
        len: u32::try_from(fixed + payload).unwrap_or(u32::MAX),
        kind: kind as u16,
        fixed_len: u16::try_from(fixed).unwrap_or(u16::MAX),
        ktime_ns: boottime_ns(),
        tgid: TGID,
        tid: TGID,
        task_start_ns: 1,
    }
}

fn socket(cookie: u64) -> SocketId {
    let mut sock = SocketId { cookie, netns: 1, family: 2, source: 1, offset_kind: 1, ..SocketId::default() };
    (sock.local_port, sock.remote_port) = (PORT, 40_000);
    sock
}

fn chunk(cookie: u64, direction: Direction, offset: u32, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let record = ChunkRecord {
        hdr: header(RecordKind::Chunk, size_of::<ChunkRecord>(), bytes.len()),
        sock: socket(cookie),
        offset,
        orig_len: len,
        captured_len: len,
        direction: direction as u8,
        ..ChunkRecord::default()
    };
    [record.as_bytes(), bytes].concat()
}

/// Of request and response, by connection and turn about.
fn one_drain() -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for turn in 0..EXCHANGES_PER_DRAIN {
        for cookie in 0..CONNECTIONS {
            for (direction, bytes) in [(Direction::Rx, REQUEST), (Direction::Tx, RESPONSE)] {
                let offset = turn * u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                records.push(chunk(1000 + cookie, direction, offset, bytes));
            }
        }
    }
    records
}

impl Source {
    /// A server that has answered nothing.
    pub fn new(progress: Arc<Progress>) -> Self {
        Self { progress, data: one_drain(), has_begun: false }
    }

    fn begin(&mut self, control: &mut dyn FnMut(&[u8])) {
        self.has_begun = true;
        let hdr = header(RecordKind::Process, size_of::<ProcessRecord>(), 0);
        control(ProcessRecord { hdr, exe_ino: 1, cgroup_id: 1, ..ProcessRecord::default() }.as_bytes());
        let hdr = header(RecordKind::Listen, size_of::<ConnRecord>(), 0);
        control(ConnRecord { hdr, sock: socket(1), ..ConnRecord::default() }.as_bytes());
    }
}

impl Kernel for Source {
    fn drain(&mut self, control: &mut dyn FnMut(&[u8]), data: &mut dyn FnMut(&[u8])) {
        if !self.has_begun {
            return self.begin(control);
        }
        let made = self.progress.made.load(Relaxed);
        if made - self.progress.told() > MAX_UNTOLD {
            return;
        }
        let now = boottime_ns();
        for bytes in &mut self.data {
            data(bytes);
            if let Ok((record, _)) = ChunkRecord::mut_from_prefix(bytes) {
                record.hdr.ktime_ns = now;
                record.offset = record.offset.wrapping_add(record.orig_len * EXCHANGES_PER_DRAIN);
            }
        }
        self.progress.made.fetch_add(u64::from(EXCHANGES_PER_DRAIN) * CONNECTIONS, Relaxed);
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.progress.wake.as_fd()
    }

    fn counters(&self) -> [u64; counter::SLOTS] {
        [0; counter::SLOTS]
    }

    fn target(&self, _: u32) -> TargetState {
        TargetState::Observed
    }

    fn set_target(&mut self, _: u32, _: TargetState) {}

    fn set_port(&mut self, _: u16, _: PortMode) {}

    fn remember_exe(&mut self, _: ExeDecision) {}

    fn forget_exes(&mut self) {}

    fn beat(&mut self, _: u64) {}

    fn now(&self) -> u64 {
        boottime_ns()
    }
}
