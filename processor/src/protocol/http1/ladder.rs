//! The ladder: whole samples, every prefix, every split, every capture width, noise.

use crate::model::{
    Chunk, Close, Direction, EndedBy, Exchange, Incomplete, KtimeNs, Offset, ProcessId, Role, Socket,
};
use crate::reassemble::{Connections, Limits, Output};
use proptest::prelude::*;
use ratatosk_abi::{Missing, OffsetKind};

const GET: &[u8] = include_bytes!("testdata/get.request");
const GET_OK: &[u8] = include_bytes!("testdata/get.response");
const POST: &[u8] = include_bytes!("testdata/post.request");
const POST_OK: &[u8] = include_bytes!("testdata/post.response");
const SAMPLES: [(&[u8], &[u8]); 2] = [(GET, GET_OK), (POST, POST_OK)];
const MS: u64 = 1_000_000;

/// A connection as the probe would tell it.
struct Wire {
    connections: Connections,
    out: Output,
    role: Role,
    cookie: u64,
    now: u64,
    /// Next sequence number, by direction: request side, response side.
    seq: [u32; 2],
    widths: Option<(usize, usize)>,
    turn: Option<(usize, usize)>,
    kind: OffsetKind,
}

impl Wire {
    fn new(role: Role) -> Self {
        Self {
            connections: Connections::new(Limits::default()),
            out: Output::default(),
            role,
            cookie: 7,
            now: 1_000 * MS,
            seq: [1_000, 5_000],
            widths: None,
            turn: None,
            kind: OffsetKind::TcpSeq,
        }
    }

    fn server() -> Self {
        Self::new(Role::Server)
    }

    /// Captures as the kernel does: `first` bytes of a turn's first call, then `later` until 16 KiB, then 64.
    fn widths(mut self, first: usize, later: usize) -> Self {
        self.widths = Some((first, later));
        self
    }

    fn direction(&self, side: usize) -> Direction {
        match (self.role, side) {
            (Role::Server, 0) | (Role::Client, 1) => Direction::Rx,
            _ => Direction::Tx,
        }
    }

    fn socket(&self) -> Socket {
        let addr = "127.0.0.1:80".parse().expect("an address");
        Socket { cookie: self.cookie, netns: 1, local: addr, remote: addr }
    }

    fn width(&mut self, side: usize, len: usize) -> usize {
        let Some((first, later)) = self.widths else { return len };
        let (width, captured) = match self.turn {
            Some((of, captured)) if of == side => (if captured < 16_384 { later } else { 64 }, captured),
            _ => (first, 0),
        };
        let width = width.min(len);
        self.turn = Some((side, captured + width));
        width
    }

    fn chunk<'a>(&mut self, side: usize, offset: u32, payload: &'a [u8], orig_len: usize) -> Chunk<'a> {
        self.now += MS;
        Chunk {
            time: KtimeNs(self.now),
            process: ProcessId { tgid: 42, start_ns: 1 },
            tid: 42,
            socket: self.socket(),
            direction: self.direction(side),
            offset: Offset { kind: self.kind, value: offset },
            orig_len: u32::try_from(orig_len).expect("small"),
            payload,
            missing: Missing::Nothing,
            turn_start: false,
        }
    }

    fn send(&mut self, side: usize, bytes: &[u8]) -> &mut Self {
        let width = self.width(side, bytes.len());
        self.cut(side, bytes, width)
    }

    fn cut(&mut self, side: usize, bytes: &[u8], width: usize) -> &mut Self {
        let offset = self.skip(side, bytes.len());
        let chunk = self.chunk(side, offset, &bytes[..width], bytes.len());
        self.connections.chunk(&chunk, &mut self.out);
        self
    }

    /// Bytes that cross unseen; gives the offset of the first.
    fn skip(&mut self, side: usize, len: usize) -> u32 {
        let offset = self.seq[side];
        self.seq[side] = offset.wrapping_add(u32::try_from(len).expect("small"));
        offset
    }

    fn ask(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.send(0, bytes.as_ref())
    }

    fn answer(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.send(1, bytes.as_ref())
    }

    fn eof(&mut self, side: usize) -> &mut Self {
        let chunk = self.chunk(side, self.seq[side], &[], 0);
        self.connections.eof(&chunk, &mut self.out);
        self
    }

    fn close(&mut self) -> &mut Self {
        self.now += MS;
        let end = |side: usize| Offset { kind: self.kind, value: self.seq[side] };
        let (request, response) = (end(0), end(1));
        let (rx_end, tx_end) =
            if self.role == Role::Server { (request, response) } else { (response, request) };
        let close = Close { time: KtimeNs(self.now), socket: self.socket(), tx_end, rx_end };
        self.connections.close(&close, &mut self.out);
        self
    }

    fn wait(&mut self, ms: u64) -> &mut Self {
        self.now += ms * MS;
        self.connections.advance(KtimeNs(self.now), &mut self.out);
        self
    }

    fn finish(&mut self) -> &mut Self {
        self.connections.finish(&mut self.out);
        self
    }

    fn told(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut self.out.exchanges)
    }

    fn only(&mut self) -> Exchange {
        let told = self.told();
        assert_eq!(told.len(), 1, "{told:#?} {:?}", self.out.incomplete);
        told.into_iter().next().expect("one")
    }

    fn counted(&self, reason: Incomplete) -> u64 {
        self.out.incomplete.get(reason)
    }
}

/// What must not depend on how the bytes were cut into calls.
fn facts(exchange: &Exchange) -> impl PartialEq + std::fmt::Debug + use<> {
    (exchange.role, exchange.request_offset, exchange.ended_by, exchange.incomplete, exchange.http.clone())
}

fn whole(request: &[u8], response: &[u8]) -> Exchange {
    Wire::server().ask(request).answer(response).only()
}

#[test]
fn a_plain_exchange_is_told_whole() {
    let got = whole(GET, GET_OK);
    assert_eq!(
        (got.http.method.as_str(), &*got.http.path, &*got.http.host),
        ("GET", "/hello", "example.test")
    );
    assert_eq!((got.http.status, got.http.version, got.role), (200, (1, 1), Role::Server));
    assert_eq!((got.http.request_body_bytes, got.http.response_body_bytes), (0, 5));
    assert_eq!((got.ended_by, got.incomplete), (EndedBy::Framing, None));
    assert_eq!(got.request_offset, (1 << 32) + 1_000);
    assert_eq!((got.start, got.end), (KtimeNs(1_001 * MS), KtimeNs(1_002 * MS)));
    let parent = got.http.parent.expect("a parent");
    assert_eq!(parent.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
}

#[test]
fn chunked_bodies_count_their_framing() {
    let got = whole(POST, POST_OK);
    assert_eq!((got.http.request_body_bytes, got.http.response_body_bytes), (14, 35));
}

#[test]
fn who_writes_the_request_is_the_client() {
    let got = Wire::new(Role::Client).ask(GET).answer(GET_OK).only();
    assert_eq!(got.role, Role::Client);
}

#[test]
fn every_split_gives_the_same_exchange() {
    for (request, response) in SAMPLES {
        let want = facts(&whole(request, response));
        for at in 1..request.len() {
            let (first, second) = request.split_at(at);
            let got = Wire::server().ask(first).ask(second).answer(response).only();
            assert_eq!(facts(&got), want, "request split at {at}");
        }
        for at in 1..response.len() {
            let (first, second) = response.split_at(at);
            let got = Wire::server().ask(request).answer(first).answer(second).only();
            assert_eq!(facts(&got), want, "response split at {at}");
        }
        let mut wire = Wire::server();
        for byte in request {
            wire.ask([*byte]);
        }
        for byte in response {
            wire.answer([*byte]);
        }
        assert_eq!(facts(&wire.only()), want, "one byte at a time");
    }
}

#[test]
fn every_prefix_of_an_answer_tells_nothing_that_was_not_said() {
    for (request, response) in SAMPLES {
        let want = whole(request, response);
        for at in 0..response.len() {
            let mut wire = Wire::server();
            wire.ask(request);
            if at > 0 {
                wire.answer(&response[..at]);
            }
            assert!(wire.told().is_empty(), "at {at}");
            let got = wire.finish().only();
            assert_eq!(got.http.path, want.http.path);
            assert!(got.http.status == 0 || got.http.status == want.http.status);
            assert!(got.http.response_body_bytes <= want.http.response_body_bytes);
        }
    }
}

#[test]
fn every_prefix_of_a_question_tells_the_true_path_or_nothing() {
    for (request, response) in SAMPLES {
        let want = whole(request, response);
        for at in 1..request.len() {
            let mut wire = Wire::server();
            wire.ask(&request[..at]).close().wait(1_500);
            for got in wire.told() {
                assert_eq!((&got.http.path, got.http.status), (&want.http.path, 0));
                assert_eq!(got.incomplete, Some(Incomplete::NoResponse));
            }
        }
    }
}

#[test]
fn every_capture_width_tells_the_truth_or_nothing() {
    for (request, response) in SAMPLES {
        let want = whole(request, response);
        for (rx, tx) in (0..=request.len()).flat_map(|rx| (0..=response.len()).map(move |tx| (rx, tx))) {
            let mut wire = Wire::server();
            wire.cut(0, request, rx).cut(1, response, tx).wait(1_500).finish();
            let told = wire.told();
            assert!(told.len() <= 1, "{rx} {tx}");
            for got in told {
                assert_eq!((&got.http.path, &got.http.method), (&want.http.path, &want.http.method), "{rx}");
                assert!(got.http.status == 0 || got.http.status == want.http.status, "{tx}");
                assert!(got.http.host.is_empty() || got.http.host == want.http.host, "{rx}");
                assert!(got.http.parent.is_none() || got.http.parent == want.http.parent, "{rx}");
                assert!(got.http.request_body_bytes <= want.http.request_body_bytes, "{rx}");
                assert!(got.http.response_body_bytes <= want.http.response_body_bytes, "{tx}");
            }
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut wire = Wire::server();
    let requests: String = (0..100).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    wire.ask(requests);
    for n in 0..100 {
        wire.answer(format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n{}", "x".repeat(n)));
    }
    let told = wire.told();
    assert_eq!(told.len(), 100);
    for (n, got) in told.iter().enumerate() {
        assert_eq!((got.http.path.to_string(), got.http.response_body_bytes), (format!("/{n}"), n as u64));
    }
}

fn hundred(wire: &mut Wire) {
    let requests: String = (0..100).map(|n| format!("GET /{n:04} HTTP/1.1\r\nHost: abc\r\n\r\n")).collect();
    wire.ask(&requests[..3_400.min(requests.len())]);
    if requests.len() > 3_400 {
        wire.ask(&requests[3_400..]);
    }
    for n in 0..100 {
        wire.answer(format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{n:04}"));
    }
}

#[test]
fn a_hundred_requests_in_one_cut_read_are_told_or_counted() {
    let mut wire = Wire::server().widths(1024, 512);
    hundred(&mut wire);
    let told = wire.told();
    assert!(told.len() > 20, "{}", told.len());
    for (n, got) in told.iter().enumerate() {
        assert_eq!(&*got.http.path, format!("/{n:04}"));
    }
    let spans = told.len() as u64;
    assert_eq!(spans + wire.counted(Incomplete::CaptureCut), 100);
    // A second round right behind it is ambiguous too; after a silence all is well again.
    hundred(&mut wire);
    let spans = spans + wire.told().len() as u64;
    assert_eq!(spans + wire.counted(Incomplete::CaptureCut), 200);
    wire.wait(1_100).ask(GET).answer(GET_OK);
    assert_eq!(&*wire.only().http.path, "/hello");
    wire.finish();
    assert_eq!(spans + wire.counted(Incomplete::CaptureCut), 200);
}

#[test]
fn a_hundred_requests_in_one_wide_read_are_all_told() {
    let mut wire = Wire::server().widths(16_384, 512);
    hundred(&mut wire);
    assert_eq!(wire.told().len(), 100);
}

#[test]
fn a_long_head_that_is_cut_costs_no_later_exchange() {
    let long = format!("GET /long HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", "c".repeat(2_000));
    let mut wire = Wire::server().widths(1024, 512);
    for _ in 0..3 {
        wire.ask(&long).answer(GET_OK).ask(GET).answer(GET_OK);
    }
    let told = wire.told();
    assert_eq!(told.len(), 6);
    assert_eq!(told[0].incomplete, Some(Incomplete::CaptureCut));
    assert_eq!((&*told[0].http.path, &*told[0].http.host, told[0].http.status), ("/long", "a", 200));
    assert_eq!(&*told[1].http.path, "/hello");
    wire.finish();
    assert!(wire.out.incomplete.iter().all(|(_, count)| count == 0));
}

#[test]
fn a_short_path_that_is_cut_is_counted_and_never_told() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "p".repeat(2_000));
    let mut wire = Wire::server().widths(256, 128);
    wire.ask(GET).answer(GET_OK).ask(&long).answer(GET_OK).ask(GET).answer(GET_OK).finish();
    assert_eq!(wire.told().len(), 2);
    assert_eq!(wire.counted(Incomplete::CaptureCut), 1);
}

#[test]
fn a_line_that_is_cut_is_told_with_its_response_only() {
    for (target, path) in [
        (format!("/search?q={}", "q".repeat(8_000)), "/search".to_owned()),
        (format!("/{}", "p".repeat(8_000)), format!("/{}", "p".repeat(1_019))),
    ] {
        let long = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut wire = Wire::server().widths(1024, 512);
        wire.ask(&long).answer(GET_OK).ask(GET).answer(GET_OK);
        let told = wire.told();
        assert_eq!(told.len(), 2);
        assert_eq!((&*told[0].http.path, told[0].http.status), (path.as_str(), 200));
        assert_eq!((told[0].http.version, told[0].incomplete), ((1, 1), Some(Incomplete::CaptureCut)));
        wire.ask(&long).close();
        assert!(wire.told().is_empty(), "nobody said that it is HTTP");
        assert_eq!(wire.counted(Incomplete::CaptureCut), 1);
    }
}

#[test]
fn a_head_that_never_ends_is_counted_and_never_told() {
    for width in [1024, 65_536] {
        let mut wire = Wire::server().widths(width, 512);
        wire.ask("GET /endless HTTP/1.1\r\nX: ");
        for _ in 0..10 {
            wire.ask("x".repeat(65_536));
        }
        wire.finish();
        assert!(wire.told().is_empty(), "{width}");
        let counted: u64 = wire.out.incomplete.iter().map(|(_, n)| n).sum();
        assert_eq!(counted, 1, "{width}");
    }
}

#[test]
fn a_head_split_between_pipelined_responses_is_whole() {
    let second = GET.split_at(GET.len() / 2);
    for cut in [false, true] {
        let mut wire = Wire::server();
        wire.ask([GET, second.0].concat());
        if cut {
            // the first response in two calls
            wire.answer(&GET_OK[..10]).answer(&GET_OK[10..]);
        } else {
            wire.answer(GET_OK);
        }
        wire.ask(second.1).answer(GET_OK);
        assert_eq!(wire.told().len(), 2, "{cut}");
        wire.finish();
        assert!(wire.out.incomplete.iter().all(|(_, n)| n == 0), "{cut}");
    }
}

#[test]
fn a_response_to_half_a_head_in_one_call_with_the_one_before_costs_no_later_exchange() {
    let mut wire = Wire::server();
    wire.ask([GET, b"GET /half HTTP/1.1\r\n"].concat());
    wire.answer([GET_OK, b"HTTP/1.1 408 x\r\nContent-Length: 0\r\n\r\n"].concat());
    assert_eq!(&*wire.only().http.path, "/hello");
    wire.wait(1_100).ask(GET).answer(GET_OK);
    assert_eq!((&*wire.only().http.path, wire.counted(Incomplete::NoRequest)), ("/hello", 1));
}

#[test]
fn a_response_whose_head_is_cut_ends_by_turn_silence_or_close() {
    let long =
        format!("HTTP/1.1 404 Not Found\r\nX: {}\r\nContent-Length: 5\r\n\r\nhello", "c".repeat(2_000));
    let mut wire = Wire::server().widths(1024, 512);
    wire.ask(GET).answer(&long);
    assert!(wire.told().is_empty());
    wire.ask(GET);
    let got = wire.only();
    assert_eq!((got.http.status, got.ended_by), (404, EndedBy::Turn));
    wire.answer(&long).wait(1_100);
    assert_eq!(wire.only().ended_by, EndedBy::Silence);
    wire.ask(GET).answer(&long).close();
    assert_eq!(wire.only().ended_by, EndedBy::Close);
}

#[test]
fn a_body_beyond_the_capture_width_is_counted_by_arithmetic() {
    let big = format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
    let mut wire = Wire::server().widths(1024, 512);
    wire.ask(GET).answer(&big).ask(GET).answer(GET_OK);
    let told = wire.told();
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].http.response_body_bytes, told[0].ended_by), (100_000, EndedBy::Framing));
}

#[test]
fn a_chunk_size_in_a_hole_ends_the_framing_but_not_the_exchange() {
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n{}\r\n0\r\n\r\n",
        "x".repeat(2_000)
    );
    let mut wire = Wire::server().widths(1024, 512);
    let got = wire.ask(GET).answer(&chunked).ask(GET).only();
    assert_eq!((got.http.response_body_bytes, got.ended_by), (2_012, EndedBy::Turn));
}

#[test]
fn interim_responses_are_skipped() {
    let mut wire = Wire::server();
    wire.ask("PUT /u HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    wire.answer("HTTP/1.1 100 Continue\r\n\r\n").ask("data").answer("HTTP/1.1 204 No Content\r\n\r\n");
    let got = wire.only();
    assert_eq!((got.http.status, got.http.request_body_bytes, got.http.response_body_bytes), (204, 4, 0));
}

#[test]
fn a_refused_expectation_may_be_followed_by_another_request() {
    let mut wire = Wire::server();
    wire.ask("PUT /u HTTP/1.1\r\nContent-Length: 400\r\nExpect: 100-continue\r\n\r\n");
    wire.answer("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n").ask(GET).answer(GET_OK);
    let told = wire.told();
    assert_eq!(told.iter().map(|got| got.http.status).collect::<Vec<_>>(), [417, 200]);
}

#[test]
fn an_early_answer_is_told_when_the_request_completes() {
    let mut wire = Wire::server();
    wire.ask("PUT /u HTTP/1.1\r\nContent-Length: 4\r\n\r\nda")
        .answer("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
    assert!(wire.told().is_empty());
    let got = wire.ask("ta").only();
    assert_eq!((got.http.status, got.http.request_body_bytes), (413, 4));
}

#[test]
fn head_304_and_204_have_no_body() {
    let mut wire = Wire::server();
    wire.ask("HEAD /h HTTP/1.1\r\n\r\n").answer("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
    wire.ask(GET).answer("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n");
    wire.ask(GET).answer(GET_OK);
    let bodies: Vec<_> = wire.told().iter().map(|got| got.http.response_body_bytes).collect();
    assert_eq!(bodies, [0, 0, 5]);
}

#[test]
fn an_upgrade_ends_the_exchange_and_the_watching() {
    let mut wire = Wire::server();
    wire.ask("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
    wire.answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02");
    assert_eq!(wire.only().http.status, 101);
    wire.ask(GET).answer(GET_OK).finish();
    assert!(wire.told().is_empty());
}

#[test]
fn connect_names_its_host_and_becomes_a_tunnel() {
    let mut wire = Wire::new(Role::Client);
    wire.ask("CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\n\r\n").answer("HTTP/1.1 200 OK\r\n\r\n");
    let got = wire.only();
    assert_eq!((&*got.http.path, &*got.http.host, got.http.status), ("", "db.test:5432", 200));
}

#[test]
fn an_answer_until_close_ends_with_the_connection() {
    let mut wire = Wire::server();
    wire.ask("GET / HTTP/1.0\r\n\r\n").answer("HTTP/1.0 200 OK\r\n\r\nabc").answer("def").wait(5_000);
    assert!(wire.told().is_empty());
    let got = wire.close().only();
    assert_eq!((got.http.response_body_bytes, got.ended_by, got.http.version), (6, EndedBy::Close, (1, 0)));
    assert!(wire.connections.is_empty());
}

#[test]
fn half_close_of_the_asking_side_does_not_end_the_answer() {
    let mut wire = Wire::server();
    wire.ask(GET).eof(0).answer(GET_OK);
    assert_eq!(wire.only().http.status, 200);
}

#[test]
fn a_slow_server_is_waited_for() {
    let mut wire = Wire::server();
    wire.ask(GET).wait(120_000).answer(GET_OK);
    let got = wire.only();
    assert_eq!((got.http.status, got.ended_by), (200, EndedBy::Framing));
}

#[test]
fn no_response_is_told_without_a_status_and_counted() {
    let mut wire = Wire::server();
    let got = wire.ask(GET).close().wait(1_200).only();
    assert_eq!((got.http.status, got.incomplete), (0, Some(Incomplete::NoResponse)));
    assert_eq!(wire.counted(Incomplete::NoResponse), 1);
    assert!(wire.connections.is_empty());
}

#[test]
fn close_may_overtake_the_last_data() {
    let mut wire = Wire::server();
    wire.ask(GET);
    let answer_at = wire.skip(1, GET_OK.len());
    wire.close();
    let late = wire.chunk(1, answer_at, GET_OK, GET_OK.len());
    wire.connections.chunk(&late, &mut wire.out);
    assert_eq!(wire.only().http.status, 200);
    assert!(wire.connections.is_empty());
}

#[test]
fn close_may_overtake_all_data() {
    let mut wire = Wire::server();
    let (ask_at, answer_at) = (wire.skip(0, GET.len()), wire.skip(1, GET_OK.len()));
    wire.close();
    let ask = wire.chunk(0, ask_at, GET, GET.len());
    wire.connections.chunk(&ask, &mut wire.out);
    let answer = wire.chunk(1, answer_at, GET_OK, GET_OK.len());
    wire.connections.chunk(&answer, &mut wire.out);
    assert_eq!(wire.only().http.status, 200);
    assert!(wire.connections.is_empty());
}

#[test]
fn a_head_may_cross_2_to_the_32() {
    let want = facts(&whole(GET, GET_OK).http.clone().into_exchange());
    for at in 1..GET.len() {
        let mut wire = Wire::server();
        wire.seq[0] = 0_u32.wrapping_sub(u32::try_from(at).expect("small"));
        let got = wire.ask(&GET[..at / 2]).ask(&GET[at / 2..]).answer(GET_OK).only();
        assert_eq!(facts(&got.http.into_exchange()), want);
    }
}

impl crate::model::HttpExchange {
    /// An exchange of which only this matters.
    fn into_exchange(self) -> Exchange {
        Exchange { http: self, ..whole(GET, GET_OK) }
    }
}

#[test]
fn calls_out_of_order_are_put_in_order() {
    let mut wire = Wire::server();
    wire.ask(&POST[..10]);
    let (second, third) = (wire.skip(0, 30), wire.skip(0, POST.len() - 40));
    let late = wire.chunk(0, third, &POST[40..], POST.len() - 40);
    wire.connections.chunk(&late, &mut wire.out);
    let early = wire.chunk(0, second, &POST[10..40], 30);
    wire.connections.chunk(&early, &mut wire.out);
    // And once more: what was seen already is trimmed.
    wire.connections.chunk(&early, &mut wire.out);
    assert_eq!(wire.answer(POST_OK).only().http.request_body_bytes, 14);
}

#[test]
fn a_gap_in_a_body_is_arithmetic() {
    let mut wire = Wire::server();
    wire.ask(GET).answer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    wire.skip(1, 500);
    wire.answer("x".repeat(497)).ask(GET);
    let got = wire.only();
    assert_eq!((got.http.response_body_bytes, got.incomplete), (1_000, None));
}

#[test]
fn a_lost_request_is_counted_and_the_next_one_is_right() {
    let mut wire = Wire::server();
    wire.ask(GET).answer(GET_OK);
    wire.skip(0, POST.len());
    wire.answer(POST_OK).ask(GET).answer(GET_OK).ask(GET).answer(GET_OK);
    let told = wire.told();
    assert!(told.iter().all(|got| &*got.http.path == "/hello" && got.http.response_body_bytes == 5));
    // the request right after the gap is left out too: what the gap hides might have been answered in its place
    assert_eq!(told.len(), 2);
    assert_eq!((wire.counted(Incomplete::NoRequest), wire.counted(Incomplete::Gap)), (1, 1));
}

#[test]
fn a_lost_response_never_shifts_the_pairs() {
    let mut wire = Wire::server();
    wire.ask(GET).answer(GET_OK).ask(POST);
    wire.skip(1, POST_OK.len());
    for _ in 0..3 {
        wire.ask(GET).answer(GET_OK);
    }
    wire.finish();
    let told = wire.told();
    assert!(told.iter().all(|got| &*got.http.path == "/hello" && got.http.response_body_bytes == 5));
    assert_eq!(told.len() as u64 + wire.counted(Incomplete::Gap), 5);
}

#[test]
fn a_connection_joined_late_counts_what_it_did_not_see() {
    let mut wire = Wire::server();
    wire.answer(GET_OK).ask(GET).answer(GET_OK);
    assert_eq!(wire.only().http.status, 200);
    assert_eq!(wire.counted(Incomplete::NoRequest), 1);
    let mut wire = Wire::server();
    wire.answer("body of somebody").answer("more of it").ask(GET).answer(GET_OK);
    assert_eq!(wire.only().http.status, 200);
}

#[test]
fn what_is_not_http_is_left_alone_and_counts_nothing() {
    for noise in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"*1\r\n$4\r\nPING\r\n",
        b"SSH-2.0-x y\r\n",
        b"get foo\r\n",
    ] {
        let mut wire = Wire::server();
        for _ in 0..20 {
            wire.ask(noise).answer(noise);
        }
        wire.wait(2_000).close().finish();
        assert!(wire.told().is_empty());
        assert!(
            wire.out.incomplete.iter().all(|(_, count)| count == 0),
            "{noise:?} {:?}",
            wire.out.incomplete
        );
    }
}

#[test]
fn a_connection_given_up_is_looked_at_again_after_a_minute() {
    let mut wire = Wire::server();
    for _ in 0..20 {
        wire.ask(b"\x00noise").answer(b"\x00noise");
    }
    wire.ask(GET).answer(GET_OK);
    assert!(wire.told().is_empty());
    wire.wait(61_000).ask(GET).answer(GET_OK);
    assert_eq!(wire.only().http.status, 200);
}

#[test]
fn unusual_but_tolerated_heads_are_read() {
    let mut wire = Wire::server();
    wire.ask("\r\nBREW /pot?x#y HTTP/1.1\nHost: a\nX: 1\n 2\n\n")
        .answer("HTTP/1.1 418\nContent-Length: 0\n\n");
    let got = wire.only();
    assert_eq!((got.http.method.as_str(), &*got.http.path, got.http.status), ("BREW", "/pot", 418));
    let many: String = (0..200).map(|n| format!("X-{n}: {n}\r\n")).collect();
    wire.ask(format!("GET http://u:p@h.test:81/p?q HTTP/1.1\r\n{many}Host: other\r\n\r\n")).answer(GET_OK);
    let got = wire.only();
    assert_eq!((&*got.http.path, &*got.http.host), ("/p", "h.test:81"));
}

#[test]
fn a_doubled_or_malformed_traceparent_is_none() {
    let good = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let with = |headers: &str| {
        let request = format!("GET / HTTP/1.1\r\n{headers}\r\n");
        Wire::server().ask(request).answer(GET_OK).only().http.parent
    };
    assert!(with(good).is_some());
    assert!(with(&good.repeat(2)).is_none());
    for (from, to) in [("00-", "ff-"), ("0af", "0AF"), ("-01", "-0"), ("-01", "-01-x"), ("00-0af", "00 0af")]
    {
        assert!(with(&good.replace(from, to)).is_none(), "{from} {to}");
    }
    assert!(with(&good.replace("00-", "01-").replace("-01\r", "-01-x\r")).is_some());
    assert!(with(&good.replace("b7ad6b7169203331", "0000000000000000")).is_none());
}

#[test]
fn pipelining_beyond_its_bound_is_counted() {
    let mut wire = Wire::server();
    for _ in 0..1_100 {
        wire.ask("GET / HTTP/1.1\r\n\r\n");
    }
    for _ in 0..1_100 {
        wire.answer(GET_OK);
    }
    wire.finish();
    assert_eq!(wire.told().len(), 1_024);
    assert_eq!(wire.counted(Incomplete::Evicted), 76);
}

#[test]
fn the_longest_idle_connection_makes_room() {
    let mut wire = Wire::server();
    wire.connections = Connections::new(Limits { connections: 4, ..Limits::default() });
    for cookie in 0..5 {
        wire.cookie = cookie;
        wire.seq = [1, 1];
        wire.ask(GET);
    }
    assert_eq!(wire.connections.len(), 4);
    assert_eq!(wire.counted(Incomplete::Evicted), 1);
    assert_eq!(wire.only().incomplete, Some(Incomplete::Evicted));
}

#[test]
fn a_jump_of_half_the_sequence_space_is_a_resync() {
    let mut wire = Wire::server();
    wire.ask(GET).answer(GET_OK);
    wire.seq[0] = wire.seq[0].wrapping_add(1 << 31);
    wire.ask(GET).answer(GET_OK);
    assert_eq!(wire.out.resyncs, 1);
    assert_eq!(wire.told().len(), 2);
}

#[test]
fn without_offsets_the_order_of_arrival_counts() {
    let mut wire = Wire::server();
    wire.kind = OffsetKind::None;
    wire.ask(&GET[..9]).ask(&GET[9..]).answer(GET_OK);
    assert_eq!(wire.only().http.status, 200);
}

#[test]
fn a_head_longer_than_its_bound_is_cut_there() {
    let mut wire = Wire::server();
    let long = format!("GET /big HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: yyyyyyyyyyyy\r\n".repeat(2_000));
    for call in long.as_bytes().chunks(1_000) {
        wire.ask(call);
    }
    wire.answer(GET_OK);
    let got = wire.only();
    assert_eq!((&*got.http.path, got.incomplete), ("/big", Some(Incomplete::Evicted)));
}

fn arbitrary_calls() -> impl Strategy<Value = Vec<(bool, usize, usize, Vec<u8>)>> {
    let piece = prop_oneof![
        Just(GET.to_vec()),
        Just(GET_OK.to_vec()),
        Just(POST.to_vec()),
        Just(POST_OK.to_vec()),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec((any::<bool>(), 0_usize..300, 0_usize..60, piece), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_in_any_order_never_panic(calls in arbitrary_calls(), flips in proptest::collection::vec(any::<u16>(), 0..4)) {
        let mut wire = Wire::server();
        for (at, (side, width, gap, mut bytes)) in calls.into_iter().enumerate() {
            if let Some(flip) = flips.get(at) && !bytes.is_empty() {
                let place = usize::from(*flip) % bytes.len();
                bytes[place] ^= 1 << (flip % 8);
            }
            let side = usize::from(side);
            if gap > 50 {
                wire.skip(side, gap);
            }
            let width = width.min(bytes.len());
            wire.cut(side, &bytes, width);
            if gap == 7 {
                wire.wait(2_000);
            }
        }
        wire.close().wait(2_000).finish();
        prop_assert!(wire.connections.is_empty());
    }

    #[test]
    fn responses_between_any_splits_of_pipelined_requests_find_them(
        count in 1_usize..12, steps in proptest::collection::vec(1_usize..90, 1..12),
        lag in 0_usize..3, split in 1_usize..38,
    ) {
        let request = |n: usize| format!("POST /{n} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{}", n % 5, "b".repeat(n % 5));
        let all: String = (0..count).map(request).collect();
        let ends: Vec<usize> = (1..=count).map(|n| (0..n).map(|n| request(n).len()).sum()).collect();
        let mut wire = Wire::server();
        let (mut read, mut answered) = (0, 0);
        for step in steps.iter().cycle() {
            let end = (read + step).min(all.len());
            wire.ask(&all[read..end]);
            read = end;
            let whole = ends.iter().filter(|end| **end <= read).count();
            // a server answers what it has read, at once or a little later
            let due = if read == all.len() { count } else { whole.saturating_sub(lag) };
            for n in answered..due {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n{}", "x".repeat(n));
                wire.answer(&answer[..split]).answer(&answer[split..]);
            }
            answered = due.max(answered);
            if read == all.len() {
                break;
            }
        }
        let told = wire.told();
        prop_assert_eq!(told.len(), count);
        for (n, got) in told.iter().enumerate() {
            let path = format!("/{n}");
            prop_assert_eq!(&*got.http.path, path.as_str());
            let sizes = (got.http.request_body_bytes, got.http.response_body_bytes);
            prop_assert_eq!(sizes, (n as u64 % 5, n as u64));
        }
        wire.finish();
        prop_assert!(wire.out.incomplete.iter().all(|(_, n)| n == 0));
    }

    #[test]
    fn pipelines_under_any_widths_are_never_mispaired(
        rounds in proptest::collection::vec(1_usize..12, 1..6),
        first in 0_usize..400, later in 0_usize..200, step in 20_usize..400,
        cuts in proptest::collection::vec(0_usize..160, 12),
    ) {
        let mut wire = Wire::server().widths(first, later);
        let mut total = 0;
        for round in rounds {
            let requests: String = (total..total + round).map(|n| format!("POST /{n} HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")).collect();
            for call in requests.as_bytes().chunks(step) {
                wire.ask(call);
            }
            for n in total..total + round {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n{}", "x".repeat(n));
                let width = (cuts[n % cuts.len()]).min(answer.len());
                wire.turn = None;
                wire.cut(1, answer.as_bytes(), width);
            }
            total += round;
        }
        wire.finish();
        let mut told = 0;
        for got in wire.told() {
            let n: u64 = got.http.path[1..].parse().expect("a number: the path is told whole or not at all");
            prop_assert!(n < total as u64);
            prop_assert!(got.http.status == 0 || got.http.status == 200);
            prop_assert!(got.http.response_body_bytes <= n, "{n}: {got:?}");
            if got.ended_by == EndedBy::Framing {
                prop_assert_eq!(got.http.response_body_bytes, n);
            }
            prop_assert!(got.http.request_body_bytes <= 3);
            told += 1;
        }
        prop_assert!(told <= total);
    }
}
