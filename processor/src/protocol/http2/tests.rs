//! Connections of real exporters, cut and holed everywhere; hostile ones.
//!
//! `testdata/` holds what four SDKs exchanged with a Collector, a call on a socket each line. Bodies are zeros of their length.

use super::*;
use crate::{
    model::{Incomplete, KtimeNs, Socket},
    protocol::Session,
};
use proptest::prelude::*;

const CLIENT: ProcessId = ProcessId { tgid: 7, start_ns: 1 };
const NONE: OwnSignals = OwnSignals { traces: false, metrics: false };
const TRACES: OwnSignals = OwnSignals { traces: true, metrics: false };
const BOTH: OwnSignals = OwnSignals { traces: true, metrics: true };
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TRACES_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// Bytes that are captured of a call that begins a turn, and of a later one.
const TURN_BYTES: usize = 1024;
const CALL_BYTES: usize = 512;

#[derive(Clone, Debug)]
struct Call {
    direction: Direction,
    bytes: Vec<u8>,
    hole: u64,
}

fn tx(parts: &[&[u8]]) -> Call {
    Call { direction: Direction::Tx, bytes: parts.concat(), hole: 0 }
}

fn rx(parts: &[&[u8]]) -> Call {
    Call { direction: Direction::Rx, bytes: parts.concat(), hole: 0 }
}

fn recorded() -> [(&'static str, OwnSignals, Vec<Call>); 4] {
    [
        ("python", BOTH, include_str!("testdata/python.txt")),
        ("go", TRACES, include_str!("testdata/go.txt")),
        ("node", TRACES, include_str!("testdata/node.txt")),
        ("java", TRACES, include_str!("testdata/java.txt")),
    ]
    .map(|(name, signals, text)| (name, signals, text.lines().map(line).collect()))
}

fn line(line: &str) -> Call {
    let (direction, hex) = line.split_once(' ').expect("direction and bytes");
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
    let direction = if direction == "tx" { Direction::Tx } else { Direction::Rx };
    Call { direction, bytes: bytes.collect(), hole: 0 }
}

fn segment(call: &Call, offset: u64) -> Segment<'_> {
    Segment {
        time: KtimeNs(1),
        process: CLIENT,
        offset,
        bytes: &call.bytes,
        hole: call.hole,
        hole_reason: Incomplete::CaptureCut,
    }
}

/// Where each call begins in its direction.
fn offsets(calls: &[Call]) -> Vec<u64> {
    let mut next = [1_000_u64, 5_000];
    let begin = |call: &Call| {
        let next = &mut next[usize::from(call.direction == Direction::Tx)];
        let begin = *next;
        *next += u64::try_from(call.bytes.len()).expect("a length") + call.hole;
        begin
    };
    calls.iter().map(begin).collect()
}

/// What these calls show, and the connection behind them.
fn watch(calls: &[Call]) -> (OwnSignals, Watch) {
    let (mut watch, mut out) = (Watch::default(), Output::default());
    for (call, offset) in calls.iter().zip(offsets(calls)) {
        watch.data(call.direction, &segment(call, offset), &mut out);
    }
    assert!(out.exports.iter().all(|(process, signals)| *process == CLIENT && *signals != NONE));
    (out.exports.iter().fold(NONE, |all, (_, signals)| all.and(*signals)), watch)
}

fn shown(calls: &[Call]) -> OwnSignals {
    watch(calls).0
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    [vec![0x10], text(name), text(value)].concat()
}

fn settings() -> Vec<u8> {
    frame(4, 0, 0, &[])
}

/// Preface and a request for `path` on `stream`.
fn request(stream: u32, path: &str) -> Call {
    tx(&[&frame(1, 4, stream, &literal(":path", path)), &frame(0, 1, stream, &[0; 5])])
}

/// A whole call with this answer.
fn exchange(path: &str, status: &str, grpc_status: &str) -> Vec<Call> {
    let (head, end) = (literal(":status", status), literal("grpc-status", grpc_status));
    vec![
        tx(&[PREFACE, &settings()]),
        rx(&[&settings()]),
        request(1, path),
        rx(&[&frame(1, 4, 1, &head), &frame(0, 0, 1, &[0; 7]), &frame(1, 5, 1, &end)]),
    ]
}

#[test]
fn every_sdk_shows_what_it_exports() {
    for (name, signals, calls) in recorded() {
        assert_eq!(shown(&calls), signals, "{name}");
    }
}

#[test]
fn the_default_width_of_capture_is_enough() {
    for (name, signals, mut calls) in recorded() {
        let mut last = None;
        for call in &mut calls {
            let has_turned = last.replace(call.direction) != Some(call.direction);
            let width = if has_turned { TURN_BYTES } else { CALL_BYTES };
            call.hole = u64::try_from(call.bytes.len().saturating_sub(width)).expect("a length");
            call.bytes.truncate(width);
        }
        assert_eq!(shown(&calls), signals, "{name}");
    }
}

#[test]
fn bytes_one_by_one_show_the_same() {
    for (name, signals, calls) in recorded() {
        let single = |call: &Call| {
            call.bytes.iter().map(|byte| Call { bytes: vec![*byte], ..call.clone() }).collect::<Vec<_>>()
        };
        assert_eq!(shown(&calls.iter().flat_map(single).collect::<Vec<_>>()), signals, "{name}");
    }
}

#[test]
fn a_prefix_never_shows_more() {
    for (name, signals, calls) in recorded() {
        let mut before = NONE;
        for count in 0..calls.len() {
            let seen = shown(&calls[..count]);
            assert_eq!(seen.and(before), seen, "{name}: nothing is taken back");
            before = seen;
        }
        assert_eq!(before.and(signals), signals, "{name}");
    }
}

#[test]
fn a_hole_anywhere_shows_the_same_or_nothing() {
    for (name, signals, calls) in recorded() {
        for (nth, call) in calls.iter().enumerate() {
            for cut in (0..call.bytes.len()).step_by(7) {
                let mut calls = calls.clone();
                calls[nth].hole = u64::try_from(call.bytes.len() - cut).expect("a length");
                calls[nth].bytes.truncate(cut);
                assert_eq!(shown(&calls).and(signals), signals, "{name}: call {nth} at {cut}");
            }
        }
    }
}

#[test]
fn behind_a_hole_the_next_call_counts_if_it_names_the_export_in_full() {
    let mut calls = exchange("/shop.Cart/Add", "200", "0");
    calls[2].hole = 20;
    let answer = [literal(":status", "200"), literal("grpc-status", "0")].concat();
    let answer = rx(&[&frame(1, 5, 3, &answer)]);
    let named = [&calls[..], &[request(3, TRACES_PATH), answer.clone()]].concat();
    assert_eq!(shown(&named), TRACES);
    let indexed = [&calls[..], &[tx(&[&frame(1, 5, 3, &[0xbe])]), answer.clone()]].concat();
    assert_eq!(shown(&indexed), NONE);
    // in the middle of a body
    let within = tx(&[b"body", &frame(1, 4, 3, &literal(":path", TRACES_PATH))]);
    assert_eq!(shown(&[&calls[..], &[within, answer]].concat()), NONE);
}

#[test]
fn lost_bytes_of_answers_end_it() {
    let mut calls = exchange(TRACES_PATH, "200", "0");
    calls[1].hole = 20;
    let (signals, watch) = watch(&calls);
    assert_eq!(signals, NONE);
    assert!(matches!(watch, Watch::Over));
}

#[test]
fn a_stream_that_begins_anew_elsewhere_ends_it() {
    let calls = exchange(TRACES_PATH, "200", "0");
    let (mut watch, mut out) = (Watch::default(), Output::default());
    for (nth, (call, offset)) in calls.iter().zip(offsets(&calls)).enumerate() {
        let jump = if nth == 3 { 1 << 31 } else { 0 };
        watch.data(call.direction, &segment(call, offset + jump), &mut out);
    }
    assert!(out.exports.is_empty() && matches!(watch, Watch::Over));
}

#[test]
fn only_what_was_accepted_counts() {
    for (path, status, grpc_status, signals) in [
        (TRACES_PATH, "200", "0", TRACES),
        (TRACES_PATH, "200", "12", NONE),
        (TRACES_PATH, "200", "14", NONE),
        (TRACES_PATH, "503", "0", NONE),
        ("/opentelemetry.proto.collector.logs.v1.LogsService/Export", "200", "0", NONE),
        ("/shop.Cart/Add", "200", "0", NONE),
        ("/v1/traces", "200", "0", NONE),
    ] {
        assert_eq!(shown(&exchange(path, status, grpc_status)), signals, "{path} {status} {grpc_status}");
    }
    let mut unanswered = exchange(TRACES_PATH, "200", "0");
    unanswered.pop();
    assert_eq!(shown(&unanswered), NONE);
}

#[test]
fn an_answer_without_body_counts_by_its_status() {
    for (grpc_status, signals) in [("0", TRACES), ("12", NONE)] {
        let mut calls = exchange(TRACES_PATH, "200", "0");
        let block = [literal(":status", "200"), literal("grpc-status", grpc_status)].concat();
        calls[3] = rx(&[&frame(1, 5, 1, &block)]);
        assert_eq!(shown(&calls), signals, "{grpc_status}");
    }
}

#[test]
fn padding_priority_and_continuation_are_taken_off() {
    let block = literal(":path", TRACES_PATH);
    let (first, rest) = block.split_at(10);
    let begun = [&[3][..], &[0, 0, 0, 0, 16], first, &[0; 3]].concat();
    let mut calls = exchange(TRACES_PATH, "200", "0");
    calls[2] = tx(&[&frame(1, 0x28, 1, &begun), &frame(9, 4, 1, rest)]);
    assert_eq!(shown(&calls), TRACES);
    // a frame of another stream must not come between
    calls[2] = tx(&[&frame(1, 0x28, 1, &begun), &frame(9, 4, 3, rest)]);
    assert_eq!(shown(&calls), NONE);
    // padding longer than the frame
    calls[2] = tx(&[&frame(1, 0x0c, 1, &[&[255][..], &block].concat())]);
    assert_eq!(shown(&calls), NONE);
}

#[test]
fn a_refused_exporter_is_noticed_when_it_is_accepted() {
    let mut calls = exchange(TRACES_PATH, "200", "14");
    let again = exchange(TRACES_PATH, "200", "0");
    calls.push(request(3, TRACES_PATH));
    let answer = [literal(":status", "200"), literal("grpc-status", "0")].concat();
    calls.push(rx(&[&frame(1, 5, 3, &answer)]));
    assert_eq!(shown(&calls), TRACES);
    assert_eq!(shown(&again), TRACES);
}

#[test]
fn the_server_and_every_other_protocol_are_left_alone_at_once() {
    let swapped = |calls: Vec<Call>| {
        let swap = |call: Call| match call.direction {
            Direction::Tx => rx(&[&call.bytes]),
            Direction::Rx => tx(&[&call.bytes]),
        };
        calls.into_iter().map(swap).collect::<Vec<_>>()
    };
    let mid_stream = exchange(TRACES_PATH, "200", "0").split_off(2);
    for calls in [
        swapped(exchange(TRACES_PATH, "200", "0")),
        vec![tx(&[b"GET / HTTP/1.1\r\n\r\n"])],
        vec![rx(&[b"GET / HTTP/1.1\r\n\r\n"])],
        vec![rx(&[b"SSH-2.0-x\r\n"])],
        mid_stream,
    ] {
        let (signals, watch) = watch(&calls);
        assert_eq!(signals, NONE);
        assert!(matches!(watch, Watch::Over), "{calls:?}");
    }
}

#[test]
fn a_connection_is_looked_at_for_so_many_calls() {
    let mut calls = exchange("/shop.Cart/Add", "200", "0");
    for nth in 1..MAX_CALLS {
        assert!(matches!(watch(&calls).1, Watch::Client(_)), "{nth}");
        calls.push(request(1 + 2 * nth, "/shop.Cart/Add"));
    }
    assert!(matches!(watch(&calls).1, Watch::Over));
}

#[test]
fn open_calls_and_kept_bytes_are_bounded() {
    let mut calls = vec![tx(&[PREFACE, &settings()]), rx(&[&settings()])];
    calls.extend((0..40).map(|nth| request(1 + 2 * nth, TRACES_PATH)));
    calls.push(tx(&[&[0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 99]]));
    calls.extend((0..100).map(|_| tx(&[&[0x10; 1000]])));
    let (_, watch) = watch(&calls);
    assert!(watch.kept_bytes() > 0 && watch.kept_bytes() <= 16 * 1024, "{}", watch.kept_bytes());
    let Watch::Client(client) = watch else { panic!("it is still looked at") };
    assert_eq!(client.open.len(), MAX_OPEN);
}

#[test]
fn it_is_still_counted_as_a_protocol_that_is_not_known() {
    let any = "127.0.0.1:1".parse().expect("an address");
    let mut session = Session::new(Socket { cookie: 1, netns: 1, local: any, remote: any });
    let mut out = Output::default();
    let calls = exchange(TRACES_PATH, "200", "0");
    for (call, offset) in calls.iter().zip(offsets(&calls)) {
        session.data(call.direction, &segment(call, offset), &mut out);
    }
    session.close(Incomplete::NoResponse, &mut out);
    assert_eq!((out.unrecognized, out.exchanges.len(), out.exports), (1, 0, vec![(CLIENT, TRACES)]));
}

proptest! {
    #[test]
    fn a_byte_that_flips_never_panics(sdk in 0..4_usize, nth in 0..14_usize, at in any::<prop::sample::Index>(), to: u8) {
        let (_, _, mut calls) = recorded()[sdk].clone();
        let at = at.index(calls[nth].bytes.len());
        calls[nth].bytes[at] = to;
        shown(&calls);
    }

    #[test]
    fn hostile_frames_never_panic(parts in prop::collection::vec((any::<bool>(), 0..10_u8, any::<u8>(), 0..4_u32, prop::collection::vec(any::<u8>(), 0..60), 0..30_u64), 0..30)) {
        let mut calls = vec![tx(&[PREFACE, &settings()]), rx(&[&settings()])];
        for (is_tx, kind, flags, stream, payload, hole) in parts {
            let direction = if is_tx { Direction::Tx } else { Direction::Rx };
            calls.push(Call { direction, bytes: frame(kind, flags, stream, &payload), hole: hole.saturating_sub(20) });
        }
        shown(&calls);
    }
}
