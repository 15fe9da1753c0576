//! Plays requests to two workers through the pipeline, with metrics for Prometheus, to count what one costs.
//!
//! ```text
//! cargo build --release -p ratatosk --example exchange_cost
//! valgrind --tool=callgrind --toggle-collect='*Pipeline*message*' target/release/examples/exchange_cost 100
//! ```
//!
//! The argument is the number of batches. The difference of two runs, by that of their exchanges, is exact.

#![allow(clippy::print_stdout, reason = "it is for people")]

#[path = "../tests/stream/mod.rs"]
mod stream;

use ratatosk::{config::Config, discover::Matcher, pipeline::Pipeline, telemetry::Telemetry};
use ratatosk_abi::{Direction, RecordKind};
use ratatosk_proto::v1::LoaderMessage;
use std::net::TcpListener;
use stream::{Records, Who, Wire, batch, by_port, hello, who};

const WORKERS: [Who; 2] = [who(42, 7), who(43, 8)];
const PATHS: [&str; 4] = ["/r/0123456789", "/index.html", "/api/users/42/orders", "/static/app.js"];
const CONNECTIONS: u64 = 64;
/// As many as one worker takes before the other is heard.
const CONNECTIONS_IN_A_ROW: u64 = 4;
const EXCHANGES_PER_BATCH: usize = 128;
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 08:42:47 GMT\r\n\
Content-Type: text/plain\r\nContent-Length: 61\r\nConnection: keep-alive\r\n\r\n\
0123456789012345678901234567890123456789012345678901234567890";

fn main() {
    let batches = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    let mut pipeline = pipeline();
    for message in messages(batches) {
        pipeline.message(&message).expect("of use");
        while pipeline.next_request().is_some() {}
    }
    pipeline.finish();
    println!("{} exchanges", batches * u64::try_from(EXCHANGES_PER_BATCH).expect("small"));
}

/// Nobody will scrape it: the endpoint takes any port that is free.
fn pipeline() -> Pipeline {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port().to_string();
    drop(listener);
    let settings =
        [("BEYLA_PROMETHEUS_PORT".to_owned(), port), ("BEYLA_OPEN_PORT".to_owned(), "8080".to_owned())];
    let (config, telemetry) = (Config::load(settings.into_iter()).expect("valid"), Telemetry::new());
    let exporters = ratatosk::export::all(&config, &telemetry).expect("a free port");
    let matcher = Matcher::new(by_port(8080)).expect("no pattern");
    let mut pipeline = Pipeline::new(matcher, [7; 16], exporters, telemetry);
    pipeline.connected();
    pipeline
}

/// Two workers are announced, then they serve.
fn messages(batches: u64) -> Vec<LoaderMessage> {
    let announced =
        (1..).zip(WORKERS).fold(Records::at(0).mark(RecordKind::SnapshotBegin), |records, (n, worker)| {
            records.existed(worker).info(worker, n, "/usr/sbin/nginx").listen(worker, 900 + n, 8080)
        });
    let mut messages = vec![hello(1), batch(1, 0, &announced.mark(RecordKind::SnapshotEnd))];
    let owner = |n: u64| if (n / CONNECTIONS_IN_A_ROW).is_multiple_of(2) { WORKERS[0] } else { WORKERS[1] };
    let mut wires: Vec<Wire> = (0..CONNECTIONS).map(|n| Wire::new(1_000 + n, owner(n))).collect();
    let mut turns = (0..wires.len()).cycle().zip(PATHS.iter().cycle());
    for number in 0..batches {
        let turns = turns.by_ref().take(EXCHANGES_PER_BATCH);
        let records = turns.fold(Records::at(number * 10_000), |records, (at, path)| {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: shop:8080\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n");
            let wire = &mut wires[at];
            records.call(wire, Direction::Rx, request.as_bytes()).call(wire, Direction::Tx, RESPONSE)
        });
        messages.push(batch(number + 2, number, &records));
    }
    messages
}
