//! Decode + parse + span of a stream of keep-alive exchanges with bodies of 64 bytes: exchanges per second of one core,
//! and allocations per exchange. `cargo bench -p ratatosk`.

#![allow(unsafe_code, reason = "a global allocator that counts")]
#![allow(missing_docs, reason = "criterion's macros")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ratatosk::{
    config::{PortRange, Selection},
    discover::Matcher,
    export::Exporter,
    model::Span,
    pipeline::Pipeline,
    telemetry::Telemetry,
};
use ratatosk_abi::{
    ChunkRecord, ConnRecord, Direction, ProcessRecord, RecordHeader, RecordKind, SocketId, TargetState,
};
use ratatosk_proto::v1::{Batch, ClockPair, Hello, LoaderMessage, Tick, loader_message::Kind};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
};
use zerocopy::{Immutable, IntoBytes};

const EXCHANGES: u32 = 10_000;
const CONNECTIONS: u32 = 16;
const PORT: u16 = 8080;
const REQUEST: &[u8] =
    b"GET /products/7 HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 08:00:00 GMT\r\n\
Content-Type: text/plain\r\nContent-Length: 64\r\nConnection: keep-alive\r\nETag: \"0123456789\"\r\n\r\n";

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Takes spans and forgets them.
struct Sink;

impl Exporter for Sink {
    fn name(&self) -> &'static str {
        "sink"
    }

    fn export(&mut self, spans: &[Span]) {
        black_box(spans);
    }
}

fn header(kind: RecordKind, fixed: usize, payload: usize, time: u64) -> RecordHeader {
    RecordHeader {
        len: u32::try_from(fixed + payload).expect("small"),
        kind: kind as u16,
        fixed_len: u16::try_from(fixed).expect("small"),
        ktime_ns: time,
        tgid: 42,
        tid: 42,
        task_start_ns: 7,
    }
}

fn socket(connection: u32) -> SocketId {
    SocketId {
        cookie: 1_000 + u64::from(connection),
        netns: 1,
        family: 2,
        local_port: PORT,
        remote_port: 40_000,
        source: 1,
        offset_kind: 1,
        ..SocketId::default()
    }
}

fn put(records: &mut Vec<u8>, fixed: &(impl IntoBytes + Immutable), payload: &[u8]) {
    records.extend_from_slice(fixed.as_bytes());
    records.extend_from_slice(payload);
}

fn snapshot() -> Vec<u8> {
    let mut records = Vec::new();
    put(&mut records, &header(RecordKind::SnapshotBegin, size_of::<RecordHeader>(), 0, 1), b"");
    let hdr = header(RecordKind::Process, size_of::<ProcessRecord>(), 0, 1);
    let target_state = TargetState::Observed as u8;
    put(&mut records, &ProcessRecord { hdr, target_state, ..ProcessRecord::default() }, b"");
    let hdr = header(RecordKind::Listen, size_of::<ConnRecord>(), 0, 1);
    put(
        &mut records,
        &ConnRecord { hdr, sock: socket(CONNECTIONS), target_state, ..ConnRecord::default() },
        b"",
    );
    put(&mut records, &header(RecordKind::SnapshotEnd, size_of::<RecordHeader>(), 0, 1), b"");
    records
}

fn chunk(
    records: &mut Vec<u8>,
    connection: u32,
    direction: Direction,
    offset: u32,
    payload: &[u8],
    time: u64,
) {
    let len = u32::try_from(payload.len()).expect("small");
    let hdr = header(RecordKind::Chunk, size_of::<ChunkRecord>(), payload.len(), time);
    let fixed = ChunkRecord {
        hdr,
        sock: socket(connection),
        offset,
        orig_len: len,
        captured_len: len,
        direction: direction as u8,
        ..ChunkRecord::default()
    };
    put(records, &fixed, payload);
}

fn message(kind: Kind) -> LoaderMessage {
    LoaderMessage { kind: Some(kind) }
}

fn batch(number: u64, records: Vec<u8>) -> LoaderMessage {
    message(Kind::Batch(Batch {
        number,
        records: records.into(),
        record_count: 0,
        acknowledged_through: number - 1,
    }))
}

/// What a loader would send: batches of 500 exchanges, each acknowledged by the next.
fn stream() -> Vec<LoaderMessage> {
    let clock = Some(ClockPair { boottime_ns: 0, unix_ns: 1_700_000_000_000_000_000, error_ns: 0 });
    let hello = Hello {
        protocol_version: 1,
        abi_version: ratatosk_abi::ABI_VERSION,
        epoch: 1,
        clock,
        ..Hello::default()
    };
    let mut messages = vec![message(Kind::Hello(hello)), batch(1, snapshot())];
    let response = [HEAD, &[b'x'; 64]].concat();
    let (request_len, response_len) = (u32::try_from(REQUEST.len()), u32::try_from(response.len()));
    let (request_len, response_len) = (request_len.expect("small"), response_len.expect("small"));
    let mut records = Vec::new();
    let mut number = 1;
    for exchange in 0..EXCHANGES {
        let (connection, turn, time) =
            (exchange % CONNECTIONS, exchange / CONNECTIONS, u64::from(exchange) * 2_000);
        chunk(&mut records, connection, Direction::Rx, turn * request_len, REQUEST, time);
        chunk(&mut records, connection, Direction::Tx, turn * response_len, &response, time + 1_000);
        if exchange % 500 == 499 {
            number += 1;
            messages.push(batch(number, std::mem::take(&mut records)));
        }
    }
    messages.push(message(Kind::Tick(Tick {
        watermark_ktime_ns: 1,
        acknowledged_through: number,
        clock: None,
    })));
    messages
}

fn pipeline() -> Pipeline {
    let open_ports = vec![PortRange { first: PORT, last: PORT }];
    let matcher = Matcher::new(Selection { open_ports, ..Selection::default() }).expect("no pattern");
    Pipeline::new(matcher, [7; 16], vec![Box::new(Sink)], Telemetry::new())
}

fn run(pipeline: &mut Pipeline, stream: &[LoaderMessage]) {
    for message in stream {
        pipeline.message(message).expect("a stream of this version");
        while pipeline.next_request().is_some() {}
    }
}

fn exchanges(criterion: &mut Criterion) {
    let stream = stream();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    run(&mut pipeline(), &stream);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    println!(
        "allocations per exchange: {:.2}",
        f64::from(u32::try_from(allocations).expect("few")) / f64::from(EXCHANGES)
    );
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(EXCHANGES.into()));
    group.bench_function("exchanges", |bencher| {
        bencher.iter_batched_ref(pipeline, |pipeline| run(pipeline, &stream), BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, exchanges);
criterion_main!(benches);
