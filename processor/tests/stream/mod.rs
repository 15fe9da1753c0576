//! Streams as a loader would send them, made by hand; and pipelines whose spans can be looked at.

#![allow(dead_code, reason = "each test binary and the bench use a part of it")]

use ratatosk::{
    config::{PortRange, Selection},
    correlate::IdKey,
    discover::Matcher,
    export::Exporter,
    model::Span,
    pipeline::{Pipeline, StreamError},
    telemetry::Telemetry,
};
use ratatosk_abi::{
    ABI_VERSION, ChunkRecord, ConnRecord, Direction, Language, ProcessInfoRecord, ProcessRecord,
    RecordHeader, RecordKind, SocketId, TargetState, readable,
};
use ratatosk_proto::{
    PROTOCOL_VERSION,
    v1::{Batch, ClockPair, Hello, LoaderMessage, Tick, loader_message::Kind},
};
use std::sync::{Arc, Mutex};
use zerocopy::{Immutable, IntoBytes};

/// Nanoseconds of a millisecond.
pub const MS: u64 = 1_000_000;
/// Start of stream time.
pub const BEGIN: u64 = 1_000_000 * MS;

/// Keeps what it gets.
#[derive(Clone, Debug, Default)]
pub struct Collector(Arc<Mutex<Vec<Span>>>);

impl Exporter for Collector {
    fn name(&self) -> &'static str {
        "collector"
    }

    fn export(&mut self, spans: &[Span]) {
        self.0.lock().expect("not poisoned").extend_from_slice(spans);
    }
}

impl Collector {
    /// What came since this was last asked.
    pub fn take(&self) -> Vec<Span> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }

    /// Paths of what came since this was last asked.
    pub fn paths(&self) -> Vec<String> {
        self.take().into_iter().map(|span| span.http.path.into()).collect()
    }
}

/// Selects who listens on `port`.
pub fn by_port(port: u16) -> Selection {
    Selection { open_ports: vec![PortRange { first: port, last: port }], ..Selection::default() }
}

/// A pipeline, what it told, and its counters.
pub struct Bench {
    pub pipeline: Pipeline,
    pub spans: Collector,
    pub telemetry: Telemetry,
}

impl Bench {
    /// Stages without state.
    pub fn new(selection: Selection) -> Self {
        Self::with_key(selection, [7; 16])
    }

    /// The same, with ids under `key`.
    pub fn with_key(selection: Selection, key: IdKey) -> Self {
        let (spans, telemetry) = (Collector::default(), Telemetry::new());
        let matcher = Matcher::new(selection).expect("patterns are valid");
        let pipeline = Pipeline::new(matcher, key, vec![Box::new(spans.clone())], telemetry.clone());
        Self { pipeline, spans, telemetry }
    }

    /// Connected to epoch 1.
    pub fn connected(selection: Selection) -> Self {
        let mut bench = Self::new(selection);
        bench.pipeline.connected();
        bench.send(hello(1));
        bench
    }

    /// Takes a message that must be of use.
    pub fn send(&mut self, message: LoaderMessage) {
        self.try_send(&message).expect("the stream is of use");
    }

    /// Takes a message.
    pub fn try_send(&mut self, message: &LoaderMessage) -> Result<(), StreamError> {
        self.pipeline.message(message)
    }

    /// Value of the counter that the endpoint shows as `series`, 0 if it is not there.
    pub fn counter(&self, series: &str) -> u64 {
        let mut text = String::new();
        self.telemetry.render(&mut text);
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a number"))
    }
}

/// Hello of `epoch`.
pub fn hello(epoch: u64) -> LoaderMessage {
    let clock = ClockPair { boottime_ns: BEGIN, unix_ns: 1_700_000_000_000_000_000, error_ns: 1 };
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION,
        abi_version: ABI_VERSION,
        boot_id: "boot".into(),
        epoch,
        clock: Some(clock),
        ..Hello::default()
    };
    LoaderMessage { kind: Some(Kind::Hello(hello)) }
}

/// A tick at `ms` of stream time.
pub fn tick(ms: u64, acknowledged_through: u64) -> LoaderMessage {
    let tick = Tick { watermark_ktime_ns: BEGIN + ms * MS, acknowledged_through, clock: None };
    LoaderMessage { kind: Some(Kind::Tick(tick)) }
}

/// Batch `number` with the records of `stream`.
pub fn batch(number: u64, acknowledged_through: u64, stream: &Records) -> LoaderMessage {
    let Records { bytes, count, .. } = stream.clone();
    LoaderMessage {
        kind: Some(Kind::Batch(Batch {
            number,
            records: bytes.into(),
            record_count: count,
            acknowledged_through,
        })),
    }
}

/// A process as records name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Who {
    pub tgid: u32,
    pub start_ns: u64,
}

/// The process `tgid` that was started at `start_ns`.
pub const fn who(tgid: u32, start_ns: u64) -> Who {
    Who { tgid, start_ns }
}

/// One end of a connection: what its records say of it, and where its directions are.
#[derive(Clone, Debug)]
pub struct Wire {
    pub sock: SocketId,
    pub owner: Who,
    pub rx: u32,
    pub tx: u32,
}

impl Wire {
    /// The connection with this cookie, accepted by `owner` on port 8080.
    pub fn new(cookie: u64, owner: Who) -> Self {
        let mut sock =
            SocketId { cookie, netns: 1, family: 2, source: 1, offset_kind: 1, ..SocketId::default() };
        (sock.local_port, sock.remote_port) = (8080, 40_000);
        sock.local_addr[..4].copy_from_slice(&[10, 0, 0, 1]);
        sock.remote_addr[..4].copy_from_slice(&[10, 0, 0, 2]);
        Self { sock, owner, rx: 1_000, tx: u32::MAX - 100 }
    }
}

/// Records back to back, and the stream time that goes on with each.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pub bytes: Vec<u8>,
    pub count: u32,
    ms: u64,
}

impl Records {
    /// None, at `ms` of stream time.
    pub fn at(ms: u64) -> Self {
        Self { ms, ..Self::default() }
    }

    fn header(&mut self, kind: RecordKind, fixed: usize, payload: usize, owner: Who) -> RecordHeader {
        self.ms += 1;
        self.count += 1;
        RecordHeader {
            len: u32::try_from(fixed + payload).expect("small"),
            kind: kind as u16,
            fixed_len: u16::try_from(fixed).expect("small"),
            ktime_ns: BEGIN + self.ms * MS,
            tgid: owner.tgid,
            tid: owner.tgid,
            task_start_ns: owner.start_ns,
        }
    }

    fn push<T: IntoBytes + Immutable>(mut self, fixed: &T, payload: &[u8]) -> Self {
        self.bytes.extend_from_slice(fixed.as_bytes());
        self.bytes.extend_from_slice(payload);
        self
    }

    /// Something happened to `who`, a child of `parent`.
    pub fn process(mut self, kind: RecordKind, who: Who, parent: Who, state: TargetState) -> Self {
        let record = ProcessRecord {
            hdr: self.header(kind, size_of::<ProcessRecord>(), 0, who),
            parent_tgid: parent.tgid,
            parent_start_ns: parent.start_ns,
            target_state: state as u8,
            ..ProcessRecord::default()
        };
        self.push(&record, &[])
    }

    /// `who` existed before.
    pub fn existed(self, who: Who) -> Self {
        self.process(RecordKind::Process, who, Who { tgid: 1, start_ns: 1 }, TargetState::Unknown)
    }

    /// The loader read about `who`.
    pub fn info(mut self, who: Who, handle: u64, exe: &str) -> Self {
        let record = ProcessInfoRecord {
            hdr: self.header(RecordKind::ProcessInfo, size_of::<ProcessInfoRecord>(), exe.len(), who),
            handle,
            exe_len: u16::try_from(exe.len()).expect("short"),
            readable: readable::EXE,
            parent_tgid: 1,
            ..ProcessInfoRecord::default()
        };
        self.push(&record, exe.as_bytes())
    }

    /// The loader looked into `who`.
    pub fn examined(mut self, who: Who, handle: u64, exe: &str, found: (Language, &str)) -> Self {
        let (language, environment) = found;
        let payload = [exe, environment].concat();
        let record = ProcessInfoRecord {
            hdr: self.header(RecordKind::ProcessInfo, size_of::<ProcessInfoRecord>(), payload.len(), who),
            handle,
            exe_len: u16::try_from(exe.len()).expect("short"),
            environment_len: u16::try_from(environment.len()).expect("short"),
            language: language as u8,
            readable: readable::EXE | readable::BINARY | readable::ENVIRONMENT,
            parent_tgid: 1,
            ..ProcessInfoRecord::default()
        };
        self.push(&record, payload.as_bytes())
    }

    /// Something happened to a connection; its offsets are those that `wire` has reached.
    pub fn conn(mut self, kind: RecordKind, wire: &Wire) -> Self {
        let hdr = self.header(kind, size_of::<ConnRecord>(), 0, wire.owner);
        let (tx_offset, rx_offset) = (wire.tx, wire.rx);
        self.push(&ConnRecord { hdr, sock: wire.sock, tx_offset, rx_offset, ..ConnRecord::default() }, &[])
    }

    /// `who` listens on `port`.
    pub fn listen(self, who: Who, cookie: u64, port: u16) -> Self {
        let mut wire = Wire::new(cookie, who);
        wire.sock.local_port = port;
        self.conn(RecordKind::Listen, &wire)
    }

    /// A snapshot begins or ends.
    pub fn mark(mut self, kind: RecordKind) -> Self {
        let header = self.header(kind, size_of::<RecordHeader>(), 0, who(0, 0));
        self.push(&header, &[])
    }

    /// One call moved `bytes`.
    pub fn call(mut self, wire: &mut Wire, direction: Direction, bytes: &[u8]) -> Self {
        let len = u32::try_from(bytes.len()).expect("small");
        let next = if direction == Direction::Rx { &mut wire.rx } else { &mut wire.tx };
        let offset = std::mem::replace(next, next.wrapping_add(len));
        let record = ChunkRecord {
            hdr: self.header(RecordKind::Chunk, size_of::<ChunkRecord>(), bytes.len(), wire.owner),
            sock: wire.sock,
            offset,
            orig_len: len,
            captured_len: len,
            direction: direction as u8,
            ..ChunkRecord::default()
        };
        self.push(&record, bytes)
    }

    /// A request for `path` and its response of 5 bytes.
    pub fn exchange(self, wire: &mut Wire, path: &str) -> Self {
        self.request(wire, path).response(wire)
    }

    /// A request for `path`.
    pub fn request(self, wire: &mut Wire, path: &str) -> Self {
        let head = format!("GET {path} HTTP/1.1\r\nHost: shop:8080\r\n\r\n");
        self.call(wire, Direction::Rx, head.as_bytes())
    }

    /// A response of 5 bytes.
    pub fn response(self, wire: &mut Wire) -> Self {
        self.call(wire, Direction::Tx, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    }
}
