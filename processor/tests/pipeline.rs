//! The whole pipeline on hand-made streams: what leaves it, when, and about whom.

mod stream;

use ratatosk::{
    discover::sdk::{Exclusion, Tells},
    explain::{Question, Report},
    export::Exporter,
    health::Readiness,
    model::Span,
    pipeline::{MAX_PENDING_SPANS, StreamError},
};
use ratatosk_abi::{Direction, Language, RecordKind, TargetState};
use ratatosk_proto::v1::{self, LoaderMessage, loader_message::Kind, processor_message};
use stream::{Bench, MS, Records, Who, Wire, batch, by_port, hello, tick, who};

const SERVER: Who = who(42, 7);
const NOT_SELECTED: &str = "ratatosk_records_dropped_total{stage=\"discover\",reason=\"not_selected\"}";
const PENDING_FULL: &str = "ratatosk_spans_dropped_total{exporter=\"pending\",reason=\"queue_full\"}";

/// A snapshot in which [`SERVER`] listens on port 8080.
fn snapshot() -> Records {
    Records::at(0)
        .mark(RecordKind::SnapshotBegin)
        .existed(SERVER)
        .info(SERVER, 1, "/usr/sbin/shop")
        .listen(SERVER, 900, 8080)
        .mark(RecordKind::SnapshotEnd)
}

/// A pipeline that observes [`SERVER`], which was looked into; the next batch is 2.
fn observing() -> Bench {
    let mut bench = Bench::connected(by_port(8080));
    let looked = snapshot().examined(SERVER, 1, "/usr/sbin/shop", (Language::Go, ""));
    bench.send(batch(1, 0, &looked));
    bench
}

fn acknowledged(bench: &mut Bench) -> Option<u64> {
    std::iter::from_fn(|| bench.pipeline.next_request())
        .filter_map(|request| match request.kind {
            Some(processor_message::Kind::Acknowledge(acknowledge)) => Some(acknowledge.through),
            _ => None,
        })
        .last()
}

#[test]
fn a_span_leaves_once_the_loader_has_forgotten_its_batch() {
    let (mut bench, mut wire) = (observing(), Wire::new(5, SERVER));
    bench.send(batch(2, 0, &Records::at(10).exchange(&mut wire, "/a")));
    bench.send(batch(3, 1, &Records::at(20).exchange(&mut wire, "/b")));
    assert_eq!(bench.spans.paths(), [""; 0]);
    assert_eq!(acknowledged(&mut bench), Some(3));
    bench.send(tick(30, 2));
    assert_eq!(bench.spans.paths(), ["/a"]);
    bench.send(batch(4, 3, &Records::at(40)));
    assert_eq!(bench.spans.paths(), ["/b"]);
}

#[test]
fn a_batch_that_comes_again_is_acknowledged_again_and_told_once() {
    let (mut bench, mut wire) = (observing(), Wire::new(5, SERVER));
    let second = batch(2, 0, &Records::at(10).exchange(&mut wire, "/a"));
    bench.send(second.clone());
    assert_eq!(acknowledged(&mut bench), Some(2));
    bench.pipeline.disconnected("gone");
    bench.pipeline.connected();
    bench.send(hello(1));
    bench.send(batch(1, 0, &snapshot()));
    bench.send(second);
    assert_eq!(acknowledged(&mut bench), Some(2));
    bench.send(batch(3, 2, &Records::at(20).exchange(&mut wire, "/b")));
    bench.send(tick(30, 3));
    assert_eq!(bench.spans.paths(), ["/a", "/b"]);
}

#[test]
fn a_new_epoch_counts_from_1_and_what_the_old_one_never_echoed_is_dropped() {
    let (mut bench, mut wire) = (observing(), Wire::new(5, SERVER));
    bench.send(batch(2, 0, &Records::at(10).exchange(&mut wire, "/a")));
    bench.pipeline.connected();
    bench.send(hello(2));
    assert!(bench.spans.paths().is_empty(), "the new server booked its records as lost");
    bench.send(batch(1, 0, &snapshot()));
    bench.send(batch(2, 2, &Records::at(20).exchange(&mut wire, "/b")));
    assert_eq!(bench.spans.paths(), ["/b"]);
}

#[test]
fn a_chunk_of_a_process_that_was_not_selected_is_dropped_and_counted() {
    let (mut bench, mut wire) = (observing(), Wire::new(6, who(43, 7)));
    let stranger = Records::at(10).existed(wire.owner).info(wire.owner, 2, "/usr/bin/other");
    bench.send(batch(2, 2, &stranger.exchange(&mut wire, "/secret")));
    bench.pipeline.finish();
    assert_eq!((bench.spans.paths().len(), bench.counter(NOT_SELECTED)), (0, 2));
}

#[test]
fn who_got_the_pid_of_an_observed_process_is_not_taken_for_it() {
    let (mut bench, mut reused) = (observing(), Wire::new(6, who(SERVER.tgid, SERVER.start_ns + 1)));
    let ended = Records::at(10).process(RecordKind::Exit, SERVER, who(1, 1), TargetState::Observed);
    bench.send(batch(2, 2, &ended.exchange(&mut reused, "/other")));
    bench.pipeline.finish();
    assert_eq!((bench.spans.paths().len(), bench.counter(NOT_SELECTED)), (0, 2));
}

#[test]
fn what_an_ended_process_said_last_is_told_as_long_as_it_may_still_come() {
    let (mut bench, mut wire) = (observing(), Wire::new(5, SERVER));
    let ended = Records::at(10).process(RecordKind::Exit, SERVER, who(1, 1), TargetState::Observed);
    bench.send(batch(2, 2, &ended.exchange(&mut wire, "/last")));
    assert_eq!(bench.spans.paths(), ["/last"]);
    bench.send(tick(60_000, 2));
    bench.send(batch(3, 3, &Records::at(60_001).exchange(&mut wire, "/late")));
    assert_eq!((bench.spans.paths().len(), bench.counter(NOT_SELECTED)), (0, 2));
}

#[test]
fn a_forked_worker_of_a_selected_process_is_selected() {
    let (mut bench, worker) = (observing(), who(50, 90));
    let mut wire = Wire::new(5, worker);
    let forked = Records::at(10).process(RecordKind::Fork, worker, SERVER, TargetState::Observed);
    bench.send(batch(2, 2, &forked.exchange(&mut wire, "/by-worker")));
    let spans = bench.spans.take();
    let [span] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((span.service.name.as_str(), &*span.http.path), ("shop", "/by-worker"));
}

#[test]
fn a_worker_that_was_forked_before_the_snapshot_is_selected() {
    let worker = who(50, 90);
    let records = Records::at(0)
        .mark(RecordKind::SnapshotBegin)
        .process(RecordKind::Process, worker, SERVER, TargetState::Unknown)
        .info(worker, 2, "/usr/sbin/shop")
        .existed(SERVER)
        .info(SERVER, 1, "/usr/sbin/shop")
        .listen(SERVER, 900, 8080)
        .mark(RecordKind::SnapshotEnd);
    let mut bench = Bench::connected(by_port(8080));
    bench.send(batch(1, 0, &records));
    bench.send(batch(2, 2, &Records::at(10).exchange(&mut Wire::new(5, worker), "/w")));
    assert_eq!(bench.spans.paths(), ["/w"]);
}

#[test]
fn a_child_that_executes_something_else_is_judged_anew() {
    let (mut bench, child) = (observing(), who(50, 90));
    let mut wire = Wire::new(5, child);
    let executed = Records::at(10)
        .process(RecordKind::Fork, child, SERVER, TargetState::Observed)
        .process(RecordKind::Exec, child, SERVER, TargetState::Unknown)
        .info(child, 2, "/usr/bin/curl");
    bench.send(batch(2, 2, &executed.exchange(&mut wire, "/curl")));
    bench.pipeline.finish();
    assert_eq!((bench.spans.paths().len(), bench.counter(NOT_SELECTED)), (0, 2));
}

#[test]
fn a_port_and_an_executable_must_both_hold() {
    let mut selection = by_port(8080);
    selection.executables = vec!["*/shop".into()];
    let (other, idle) = (who(43, 7), who(44, 7));
    let records = snapshot()
        .existed(other)
        .info(other, 2, "/usr/bin/other")
        .listen(other, 901, 8080)
        .existed(idle)
        .info(idle, 3, "/usr/sbin/shop")
        .listen(idle, 902, 9090);
    let mut bench = Bench::connected(selection);
    bench.send(batch(1, 0, &records));
    let [mut a, mut b, mut c] = [(5, SERVER), (6, other), (7, idle)].map(|(c, who)| Wire::new(c, who));
    let said = Records::at(10).exchange(&mut a, "/both").exchange(&mut b, "/port").exchange(&mut c, "/exe");
    bench.send(batch(2, 2, &said));
    assert_eq!(bench.spans.paths(), ["/both"]);
}

#[test]
fn silence_is_told_by_ticks_alone() {
    let (mut bench, mut wire) = (observing(), Wire::new(5, SERVER));
    // the response's framing lies in bytes that were not captured
    let cut = Records::at(10).request(&mut wire, "/cut").call(
        &mut wire,
        Direction::Tx,
        b"HTTP/1.1 200 OK\r\nServer: x\r\n",
    );
    bench.send(batch(2, 2, &cut));
    let eof = Records::at(20).conn(RecordKind::Close, &wire);
    bench.send(tick(500, 2));
    assert_eq!(bench.spans.paths(), [""; 0]);
    bench.send(batch(3, 3, &eof));
    bench.send(tick(3_000, 3));
    assert_eq!(
        bench.spans.take().first().map(|span| (span.http.status, span.end.0 / MS % 1_000)),
        Some((200, 12))
    );
}

#[test]
fn spans_that_the_loader_never_lets_go_are_bounded_and_counted() {
    let (mut bench, mut wire) = (observing(), Wire::new(5, SERVER));
    let surplus = 10;
    let per_batch = 1_024;
    let batches = MAX_PENDING_SPANS / per_batch;
    for number in 0..batches {
        let said = (0..per_batch).fold(Records::at(10), |said, _| said.exchange(&mut wire, "/a"));
        bench.send(batch(2 + u64::try_from(number).expect("small"), 0, &said));
    }
    let said = (0..surplus).fold(Records::at(10), |said, _| said.exchange(&mut wire, "/a"));
    bench.send(batch(2 + u64::try_from(batches).expect("small"), 0, &said));
    assert_eq!(bench.counter(PENDING_FULL), surplus);
    bench.pipeline.finish();
    assert_eq!(bench.spans.take().len(), MAX_PENDING_SPANS);
}

#[test]
fn a_call_of_no_bytes_at_a_place_that_was_seen_changes_nothing() {
    let (mut bench, mut wire) = (observing(), Wire::new(5, SERVER));
    let mut behind = wire.clone();
    let said = Records::at(10).request(&mut wire, "/a").call(&mut behind, Direction::Rx, b"");
    bench.send(batch(2, 2, &said.response(&mut wire).exchange(&mut wire, "/b")));
    assert_eq!(bench.spans.paths(), ["/a", "/b"]);
}

#[test]
fn at_the_end_only_what_the_loader_has_forgotten_is_told() {
    let (mut bench, mut wire) = (observing(), Wire::new(5, SERVER));
    bench.send(batch(2, 0, &Records::at(10).exchange(&mut wire, "/a")));
    bench.pipeline.shut_down();
    assert_eq!(bench.spans.paths(), [""; 0]);
    assert_eq!(bench.counter("ratatosk_spans_dropped_total{exporter=\"pending\",reason=\"shutdown\"}"), 1);
}

#[test]
fn a_stream_that_can_not_be_understood_is_refused() {
    let changed = |change: fn(&mut v1::Hello)| {
        let mut message = hello(1);
        if let Some(Kind::Hello(hello)) = &mut message.kind {
            change(hello);
        }
        Bench::new(by_port(8080)).try_send(&message)
    };
    assert_eq!(changed(|hello| hello.abi_version += 1), Err(StreamError::Abi { found: 2 }));
    assert_eq!(changed(|hello| hello.protocol_version += 2), Err(StreamError::Protocol { found: 3 }));
    assert_eq!(changed(|hello| hello.protocol_version += 1), Ok(()));
    assert_eq!(Bench::new(by_port(8080)).try_send(&tick(1, 0)), Err(StreamError::NoHello));
}

#[test]
fn what_a_newer_loader_says_is_counted_and_skipped() {
    let (mut bench, mut wire) = (observing(), Wire::new(5, SERVER));
    bench.send(LoaderMessage { kind: None });
    let mut newer = Records::at(10).mark(RecordKind::SnapshotEnd);
    newer.bytes[4] = 200;
    bench.send(batch(2, 2, &newer.exchange(&mut wire, "/a")));
    assert_eq!(bench.spans.paths(), ["/a"]);
    let errors = |reason: &str| {
        bench.counter(&format!("ratatosk_records_dropped_total{{stage=\"decode\",reason=\"{reason}\"}}"))
    };
    assert_eq!((errors("unknown_kind"), errors("unknown_message")), (1, 1));
}

/// Keeps traces only.
struct TracesOnly(stream::Collector);

impl Exporter for TracesOnly {
    fn name(&self) -> &'static str {
        "traces"
    }

    fn tells(&self) -> Tells {
        Tells::Traces
    }

    fn export(&mut self, spans: &[Span]) {
        self.0.export(spans);
    }
}

#[test]
fn a_service_that_exports_traces_itself_is_not_told_twice() {
    let all = ["/a", "/v1/traces", "/b"];
    let off = Exclusion { services: false, ..Exclusion::default() };
    for (exclusion, told) in [(Exclusion::default(), &all[..1]), (off, &all)] {
        let (mut bench, traces) = (observing(), stream::Collector::default());
        bench.pipeline =
            bench.pipeline.excluding(exclusion).with_exporter(Box::new(TracesOnly(traces.clone())));
        let (mut wire, mut otlp) = (Wire::new(5, SERVER), Wire::new(6, SERVER));
        let export = b"POST /v1/traces HTTP/1.1\r\nHost: c\r\nContent-Length: 0\r\n\r\n";
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let records = Records::at(10)
            .exchange(&mut wire, "/a")
            .call(&mut otlp, Direction::Tx, export)
            .call(&mut otlp, Direction::Rx, answer)
            .exchange(&mut wire, "/b");
        bench.send(batch(2, 0, &records));
        bench.send(tick(20, 2));
        assert_eq!(bench.spans.paths(), all, "people who debug see all");
        assert_eq!(traces.paths(), told);
        let excluded = bench.counter("ratatosk_spans_excluded_total{exporter=\"traces\"}");
        assert_eq!(usize::try_from(excluded), Ok(all.len() - told.len()));
    }
}

#[test]
fn spans_of_a_process_wait_for_what_the_loader_finds_in_it() {
    let (mut bench, mut wire) = (Bench::new(by_port(8080)), Wire::new(5, SERVER));
    let mut greeting = hello(1);
    if let Some(Kind::Hello(hello)) = &mut greeting.kind {
        hello.examines = true;
    }
    bench.pipeline.connected();
    bench.send(greeting);
    bench.send(batch(1, 0, &snapshot()));
    let asked = std::iter::from_fn(|| bench.pipeline.next_request());
    let examined = asked.filter(|request| matches!(request.kind, Some(processor_message::Kind::Examine(_))));
    assert_eq!(examined.count(), 1);
    bench.send(batch(2, 0, &Records::at(10).exchange(&mut wire, "/a")));
    bench.send(tick(20, 2));
    assert_eq!(bench.spans.paths(), [""; 0], "its name is not known yet");
    let found = (Language::Python, "OTEL_SERVICE_NAME=till\0OTEL_SERVICE_NAMESPACE=eu\0");
    let records = Records::at(30).examined(SERVER, 1, "/usr/sbin/shop", found).exchange(&mut wire, "/b");
    bench.send(batch(3, 2, &records));
    bench.send(tick(40, 3));
    let spans = bench.spans.take();
    assert_eq!(spans.iter().map(|span| &*span.http.path).collect::<Vec<_>>(), ["/a", "/b"]);
    for span in &spans {
        let service = &span.service;
        assert_eq!((&*service.namespace, &*service.name, &*service.language), ("eu", "till", "python"));
    }
}

#[test]
fn a_denial_is_counted_and_the_stream_goes_on() {
    let mut bench = observing();
    let denied = v1::Denied { handle: 1, reason: "executable".into(), ..v1::Denied::default() };
    bench.send(LoaderMessage { kind: Some(Kind::Denied(denied)) });
    let denied = vec![v1::Dropped { reason: "executable".into(), records: 1 }];
    bench.send(LoaderMessage { kind: Some(Kind::Status(v1::Status { denied, ..v1::Status::default() })) });
    assert_eq!(bench.counter("ratatosk_policy_denied_total{reason=\"executable\"}"), 1);
    assert_eq!(bench.counter("ratatosk_processes{state=\"denied\",reason=\"policy\"}"), 1);
}

fn explained(bench: &Bench) -> Report {
    let (question, mut answer) = Question::new(None, 0, 10);
    bench.pipeline.answer(question);
    answer.try_recv().expect("answered at once")
}

#[test]
fn what_was_told_and_left_out_of_a_process_is_explained() {
    let (mut bench, mut whole, mut broken) = (observing(), Wire::new(5, SERVER), Wire::new(6, SERVER));
    let silent = explained(&bench).processes.remove(0);
    assert_eq!((silent.state.as_str(), silent.calls), ("no_traffic", 0));
    bench.send(batch(2, 0, &Records::at(10).exchange(&mut whole, "/a").exchange(&mut whole, "/b")));
    // the request began before us, and the connection of another one ends without a response
    let mut cut = Wire::new(7, SERVER);
    let broken = Records::at(20).response(&mut broken).request(&mut cut, "/c").conn(RecordKind::Close, &cut);
    bench.send(batch(3, 0, &broken));
    bench.send(tick(5_000, 3));
    let report = explained(&bench);
    let process = &report.processes[0];
    assert_eq!((process.state.as_str(), process.detail.as_str()), ("observed", "BEYLA_OPEN_PORT=8080"));
    assert_eq!((process.calls, process.exchanges), (6, 3));
    let left_out: Vec<_> = process.left_out.iter().map(|(reason, n)| (reason.as_str(), *n)).collect();
    assert_eq!(left_out, [("no_request", 1), ("no_response", 1)]);
}

#[test]
fn it_is_ready_when_a_loader_with_a_tier_has_announced_everybody() {
    let mut bench = Bench::connected(by_port(8080));
    assert_eq!(bench.pipeline.health().readiness(), Readiness::NoTier);
    let LoaderMessage { kind: Some(Kind::Hello(hello)) } = hello(2) else { unreachable!("it is a hello") };
    let hello = Kind::Hello(v1::Hello { tier: "inet".into(), ..hello });
    bench.send(LoaderMessage { kind: Some(hello) });
    assert_eq!(bench.pipeline.health().readiness(), Readiness::NoSnapshot);
    bench.send(batch(1, 0, &snapshot()));
    assert_eq!(bench.pipeline.health().readiness(), Readiness::Ready { tier: "inet".into() });
    bench.pipeline.disconnected("killed");
    assert!(!bench.pipeline.health().readiness().is_ready());
}
