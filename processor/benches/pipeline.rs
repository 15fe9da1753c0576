//! What one core does: records through every stage to spans, exporters left out.
//!
//! `cargo bench -p ratatosk --bench pipeline` prints exchanges per second (`elem/s`), and before that how many allocations one
//! exchange costs. An exchange here is a request of 78 bytes and a response with a body of 64, on a connection kept alive.

#![allow(missing_docs, reason = "criterion makes functions without")]

mod allocations;
#[path = "../tests/stream/mod.rs"]
mod stream;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ratatosk::{discover::Matcher, export::Exporter, model::Span, pipeline::Pipeline, telemetry::Telemetry};
use ratatosk_abi::{Direction, RecordKind};
use ratatosk_proto::v1::LoaderMessage;
use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
};
use stream::{Records, Wire, batch, by_port, hello, who};

/// Connections that speak in turns.
const CONNECTIONS: u64 = 64;
/// Exchanges per batch: about 50 KiB of records, as under load.
const PER_BATCH: usize = 128;
/// Batches per run; the first one begins every connection.
const BATCHES: u64 = 64;
const REQUEST: &[u8] =
    b"GET /r/0123456789 HTTP/1.1\r\nHost: shop:8080\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 08:42:47 GMT\r\n\
Content-Type: text/plain\r\nContent-Length: 64\r\nConnection: keep-alive\r\n\r\n\
0123456789012345678901234567890123456789012345678901234567890123";

/// Spans that were told.
static TOLD: AtomicU64 = AtomicU64::new(0);

/// An exporter that costs next to nothing.
struct Sink;

impl Exporter for Sink {
    fn name(&self) -> &'static str {
        "sink"
    }

    fn export(&mut self, spans: &[Span]) {
        let told = u64::try_from(black_box(spans).len()).unwrap_or_default();
        TOLD.fetch_add(told, Ordering::Relaxed);
    }
}

/// A server is announced, then it serves.
fn messages() -> Vec<LoaderMessage> {
    let server = who(42, 7);
    let snapshot = Records::at(0)
        .mark(RecordKind::SnapshotBegin)
        .existed(server)
        .info(server, 1, "/usr/sbin/nginx")
        .listen(server, 900, 8080)
        .mark(RecordKind::SnapshotEnd);
    let mut wires: Vec<Wire> = (0..CONNECTIONS).map(|n| Wire::new(1_000 + n, server)).collect();
    let mut turns = (0..wires.len()).cycle();
    let mut messages = vec![hello(1), batch(1, 0, &snapshot)];
    for number in 0..BATCHES {
        let records = turns.by_ref().take(PER_BATCH).fold(Records::at(number * 10_000), |records, at| {
            let wire = &mut wires[at];
            records.call(wire, Direction::Rx, REQUEST).call(wire, Direction::Tx, RESPONSE)
        });
        messages.push(batch(number + 2, number, &records));
    }
    messages
}

fn pipeline() -> Pipeline {
    let matcher = Matcher::new(by_port(8080)).expect("no pattern");
    let mut pipeline = Pipeline::new(matcher, [7; 16], vec![Box::new(Sink)], Telemetry::new());
    pipeline.connected();
    pipeline
}

fn play(pipeline: &mut Pipeline, messages: &[LoaderMessage]) {
    for message in messages {
        pipeline.message(message).expect("of use");
        while pipeline.next_request().is_some() {}
    }
}

/// Of exchanges on connections that stand.
#[allow(clippy::print_stderr, reason = "a bench tells people")]
fn count_allocations(messages: &[LoaderMessage]) {
    let mut pipeline = pipeline();
    let (begin, rest) = messages.split_at(4);
    play(&mut pipeline, begin);
    let before = allocations::so_far();
    play(&mut pipeline, rest);
    let made = allocations::so_far() - before;
    let exchanges = u64::try_from(rest.len() * PER_BATCH).unwrap_or(u64::MAX);
    let hundredths = made * 100 / exchanges;
    eprintln!("allocations per exchange: {}.{:02}", hundredths / 100, hundredths % 100);
}

/// A bench of exchanges that nobody is told of would be fast.
fn assert_all_are_told(messages: &[LoaderMessage], exchanges: u64) {
    let (before, mut pipeline) = (TOLD.load(Ordering::Relaxed), pipeline());
    play(&mut pipeline, messages);
    pipeline.finish();
    assert_eq!(TOLD.load(Ordering::Relaxed) - before, exchanges);
}

fn keep_alive(criterion: &mut Criterion) {
    let messages = messages();
    count_allocations(&messages);
    let exchanges = BATCHES * u64::try_from(PER_BATCH).unwrap_or_default();
    assert_all_are_told(&messages, exchanges);
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(exchanges));
    group.bench_function("keep_alive_64_byte_body", |bencher| {
        bencher.iter_batched_ref(
            pipeline,
            |pipeline| play(pipeline, black_box(&messages)),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, keep_alive);
criterion_main!(benches);
