//! Connections as the kernel would tell them, and what must and must not be made of them.

use crate::{
    model::{
        Chunk, Close, Direction, EndedBy, Exchange, Incomplete, KtimeNs, Offset, ProcessId, Role, Socket,
    },
    reassemble::{Connections, Limits, Output},
};
use proptest::prelude::*;
use ratatosk_abi::{Missing, OffsetKind};
use std::time::Duration;

const MS: u64 = 1_000_000;
const GET: &[u8] = b"GET /a/b?secret=1 HTTP/1.1\r\nHost: shop:8080\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// One connection, seen from one of its ends, with the probe's capture policy.
struct Wire {
    connections: Connections,
    out: Output,
    now: u64,
    next: [u32; 2],
    turn: Option<Direction>,
    turn_captured: usize,
    turn_bytes: usize,
    call_bytes: usize,
    socket: Socket,
}

impl Wire {
    fn new() -> Self {
        Self::at(1_000, 9_000_000)
    }

    fn at(rx: u32, tx: u32) -> Self {
        let socket = Socket {
            cookie: 7,
            netns: 1,
            local: "10.0.0.1:80".parse().expect("address"),
            remote: "10.0.0.2:5000".parse().expect("address"),
        };
        Self {
            connections: Connections::new(Limits::default()),
            out: Output::default(),
            now: 1_000 * MS,
            next: [rx, tx],
            turn: None,
            turn_captured: 0,
            turn_bytes: 1024,
            call_bytes: 512,
            socket,
        }
    }

    fn widths(mut self, turn_bytes: usize, call_bytes: usize) -> Self {
        (self.turn_bytes, self.call_bytes) = (turn_bytes, call_bytes);
        self
    }

    fn offset(&mut self, direction: Direction) -> &mut u32 {
        &mut self.next[usize::from(direction == Direction::Tx)]
    }

    fn width(&mut self, direction: Direction) -> usize {
        if self.turn != Some(direction) {
            (self.turn, self.turn_captured) = (Some(direction), 0);
            return self.turn_bytes;
        }
        if self.turn_captured < 16_384 { self.call_bytes } else { 64 }
    }

    fn chunk<'a>(&mut self, direction: Direction, len: usize, payload: &'a [u8]) -> Chunk<'a> {
        self.now += MS;
        let value = *self.offset(direction);
        Chunk {
            time: KtimeNs(self.now),
            process: ProcessId { tgid: 42, start_ns: 1 },
            tid: 42,
            socket: self.socket,
            direction,
            offset: Offset { kind: OffsetKind::TcpSeq, value },
            orig_len: u32::try_from(len).expect("small"),
            payload,
            missing: Missing::Nothing,
            turn_start: false,
        }
    }

    fn call(&mut self, direction: Direction, bytes: &[u8]) -> &mut Self {
        let captured = self.width(direction).min(bytes.len());
        self.turn_captured += captured;
        let chunk = self.chunk(direction, bytes.len(), &bytes[..captured]);
        self.connections.chunk(&chunk, &mut self.out);
        self.skip(direction, bytes.len())
    }

    /// Bytes that no record tells of.
    fn skip(&mut self, direction: Direction, len: usize) -> &mut Self {
        let offset = self.offset(direction);
        *offset = offset.wrapping_add(u32::try_from(len).expect("small"));
        self
    }

    fn rx(&mut self, bytes: &[u8]) -> &mut Self {
        self.call(Direction::Rx, bytes)
    }

    fn tx(&mut self, bytes: &[u8]) -> &mut Self {
        self.call(Direction::Tx, bytes)
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        self.now += u64::try_from(time.as_nanos()).expect("short");
        self.connections.advance(KtimeNs(self.now), &mut self.out);
        self
    }

    fn close(&mut self) -> &mut Self {
        let [rx, tx] = self.next.map(|value| Offset { kind: OffsetKind::TcpSeq, value });
        let close = Close { time: KtimeNs(self.now), socket: self.socket, tx_end: tx, rx_end: rx };
        self.connections.close(&close, &mut self.out);
        self
    }

    fn told(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut self.out.exchanges)
    }

    fn one(&mut self) -> Exchange {
        let told = self.told();
        assert_eq!(told.len(), 1, "{told:#?}");
        told.into_iter().next().expect("one")
    }

    fn counts(&self) -> Vec<(Incomplete, u64)> {
        self.out.incomplete.iter().filter(|(_, n)| *n > 0).collect()
    }
}

fn told(exchange: &Exchange) -> (&str, &str, u16, u64, u64) {
    let http = &exchange.http;
    (http.method.as_str(), &http.path, http.status, http.request_body_bytes, http.response_body_bytes)
}

#[test]
fn a_plain_exchange_says_what_the_wire_said() {
    let mut wire = Wire::new();
    let exchange = wire.rx(GET).tx(OK).one();
    assert_eq!(told(&exchange), ("GET", "/a/b", 200, 0, 5));
    assert_eq!(
        (exchange.role, &*exchange.http.host, exchange.http.version),
        (Role::Server, "shop:8080", (1, 1))
    );
    assert_eq!(
        (exchange.end.since(exchange.start), exchange.ended_by),
        (Duration::from_millis(1), EndedBy::Framing)
    );
    assert_eq!(exchange.http.parent.map(|parent| parent.flags), Some(1));
    assert!(wire.counts().is_empty());
}

#[test]
fn who_writes_the_request_is_the_client() {
    let exchange = Wire::new().tx(GET).rx(OK).one();
    assert_eq!((exchange.role, told(&exchange).2), (Role::Client, 200));
}

#[test]
fn every_split_gives_the_same_exchange() {
    let put = b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc".as_slice();
    let chunked =
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".as_slice();
    for (request, response) in [(GET, OK), (put, chunked)] {
        let whole = Wire::new().rx(request).tx(response).one().http;
        for at in 1..request.len() {
            assert_eq!(
                Wire::new().rx(&request[..at]).rx(&request[at..]).tx(response).one().http,
                whole,
                "{at}"
            );
        }
        for at in 1..response.len() {
            assert_eq!(
                Wire::new().rx(request).tx(&response[..at]).tx(&response[at..]).one().http,
                whole,
                "{at}"
            );
        }
        let mut wire = Wire::new();
        request.iter().for_each(|byte| drop(wire.rx(&[*byte]).told()));
        response.chunks(1).for_each(|byte| _ = wire.tx(byte));
        assert_eq!(wire.one().http, whole);
    }
}

/// Go's server waits for the next request with a read of one byte while the handler still writes.
#[test]
fn a_first_byte_that_is_read_apart_is_of_the_next_request() {
    let head = b"HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n".as_slice();
    let bodiless = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".as_slice();
    for is_early in [false, true] {
        let mut wire = Wire::new();
        wire.rx(GET);
        if is_early { wire.rx(&head[..1]).tx(OK) } else { wire.tx(OK).rx(&head[..1]) }
            .rx(&head[1..])
            .tx(bodiless)
            .rx(GET)
            .tx(OK);
        let told: Vec<_> =
            wire.told().iter().map(|one| (one.http.method.as_str().to_owned(), one.http.status)).collect();
        assert_eq!(told, [("GET".into(), 200), ("HEAD".into(), 200), ("GET".into(), 200)], "{is_early}");
        assert!(wire.counts().is_empty());
    }
}

#[test]
fn every_prefix_tells_nothing_that_is_not_there() {
    for end in 0..GET.len() {
        let mut wire = Wire::new();
        if end > 0 {
            wire.rx(&GET[..end]);
        }
        wire.close().pass(Duration::from_secs(2));
        for exchange in wire.told() {
            assert_eq!(told(&exchange), ("GET", "/a/b", 0, 0, 0), "{end}");
        }
    }
    for end in 1..OK.len() {
        let exchange = Wire::new().rx(GET).tx(&OK[..end]).close().pass(Duration::from_secs(2)).told();
        for exchange in exchange {
            assert!(
                [0, 200].contains(&exchange.http.status) && exchange.http.response_body_bytes <= 5,
                "{end}"
            );
        }
    }
}

#[test]
fn every_capture_width_tells_the_truth_or_nothing() {
    for width in 0..GET.len().max(OK.len()) {
        let mut wire = Wire::new().widths(width, width);
        wire.rx(GET).tx(OK).rx(GET).tx(OK).pass(Duration::from_secs(2)).close().pass(Duration::from_secs(2));
        let spans = wire.told();
        for exchange in &spans {
            let (method, path, status, sent, received) = told(exchange);
            assert_eq!((method, path, sent), ("GET", "/a/b", 0), "{width}");
            assert!([0, 200].contains(&status) && received <= 5, "{width}");
        }
        let counted: u64 = wire.out.incomplete.iter().map(|(_, n)| n).sum();
        assert!(
            spans.len() <= 2 && (width == 0 || spans.len() as u64 + counted >= 2),
            "{width}: {spans:?} {counted}"
        );
    }
}

#[test]
fn pipelined_requests_meet_their_responses_in_order() {
    let requests: Vec<u8> = (0..20).flat_map(|i| format!("GET /{i} HTTP/1.1\r\n\r\n").into_bytes()).collect();
    let mut wire = Wire::new();
    wire.rx(&requests);
    for i in 0..20 {
        wire.tx(format!("HTTP/1.1 {} x\r\nContent-Length: 0\r\n\r\n", 200 + i).as_bytes());
    }
    for (i, exchange) in wire.told().iter().enumerate() {
        assert_eq!(
            (&*exchange.http.path, usize::from(exchange.http.status)),
            (format!("/{i}").as_str(), 200 + i)
        );
    }
}

#[test]
fn a_hundred_requests_in_one_read_are_told_or_counted() {
    let requests: Vec<u8> = (0..100)
        .flat_map(|i| format!("GET /{i:03} HTTP/1.1\r\nHost: example\r\n\r\n").into_bytes())
        .collect();
    for (width, all) in [(1024, false), (16_384, true)] {
        let mut wire = Wire::new().widths(width, 512);
        wire.rx(&requests);
        (0..100).for_each(|_| _ = wire.tx(OK));
        let spans = wire.told().len() as u64;
        assert_eq!(spans + wire.out.incomplete.get(Incomplete::CaptureCut), 100);
        assert_eq!(spans == 100, all, "{spans}");
    }
}

#[test]
fn after_a_cut_head_the_next_exchange_is_whole() {
    let long = format!("GET /long HTTP/1.1\r\nCookie: {}\r\n\r\n", "c".repeat(3000));
    let mut wire = Wire::new();
    wire.rx(long.as_bytes()).tx(OK).rx(GET).tx(OK);
    let spans = wire.told();
    assert_eq!(spans.iter().map(|span| &*span.http.path).collect::<Vec<_>>(), ["/long", "/a/b"]);
    assert_eq!(spans[0].incomplete, Some(Incomplete::CaptureCut));
}

#[test]
fn a_short_request_line_beyond_the_width_is_not_told() {
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "p".repeat(3000));
    let mut wire = Wire::new().widths(256, 128);
    wire.rx(long.as_bytes()).tx(OK).rx(GET).tx(OK);
    assert_eq!(&*wire.one().http.path, "/a/b");
    assert_eq!(wire.counts(), [(Incomplete::CaptureCut, 1)]);
}

#[test]
fn a_long_body_is_counted_without_being_captured() {
    let mut wire = Wire::new();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".as_slice();
    let body = vec![b'x'; 50_000];
    let exchange = wire.rx(GET).tx(head).tx(&body).tx(&body).one();
    assert_eq!((exchange.http.response_body_bytes, exchange.ended_by), (100_000, EndedBy::Framing));
}

#[test]
fn a_chunked_body_whose_framing_was_cut_ends_by_turn_silence_or_close() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice();
    let block = [b"2000\r\n".as_slice(), &[b'x'; 0x2000], b"\r\n"].concat().repeat(2);
    let mut wire = Wire::new();
    wire.rx(GET).tx(head).tx(&block).tx(&block).tx(b"0\r\n\r\n").rx(GET);
    let exchange = wire.one();
    let bytes = 2 * block.len() as u64 + 5;
    assert_eq!((exchange.http.response_body_bytes, exchange.ended_by), (bytes, EndedBy::Turn));
    wire.tx(head).tx(&block).tx(&block).pass(Duration::from_millis(500));
    assert!(wire.told().is_empty());
    assert_eq!(wire.pass(Duration::from_millis(600)).one().ended_by, EndedBy::Silence);
    wire.rx(GET).tx(head).tx(&block).tx(&block).close();
    assert_eq!(wire.one().ended_by, EndedBy::Close);
}

#[test]
fn a_slow_server_is_not_ended_by_silence() {
    let mut wire = Wire::new();
    wire.rx(GET).pass(Duration::from_secs(120));
    wire.tx(&OK[..OK.len() - 2]).pass(Duration::from_secs(120));
    assert!(wire.told().is_empty());
    assert_eq!(wire.tx(&OK[OK.len() - 2..]).one().ended_by, EndedBy::Framing);
}

#[test]
fn responses_without_a_body_have_none() {
    for (method, response) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
        ("DELETE", "HTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        let request = format!("{method} /x HTTP/1.1\r\n\r\n");
        let exchange = Wire::new().rx(request.as_bytes()).tx(response.as_bytes()).one();
        assert_eq!((exchange.http.response_body_bytes, exchange.ended_by), (0, EndedBy::Framing));
    }
}

#[test]
fn a_refused_expectation_makes_room_for_the_next_request() {
    let expect = b"PUT /big HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n".as_slice();
    let refused = b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n".as_slice();
    let mut wire = Wire::new();
    wire.rx(expect).tx(refused).rx(GET).tx(OK);
    let spans = wire.told();
    assert_eq!(
        spans.iter().map(told).collect::<Vec<_>>(),
        [("PUT", "/big", 417, 0, 0), ("GET", "/a/b", 200, 0, 5)]
    );
    let mut wire = Wire::new();
    wire.rx(expect).tx(b"HTTP/1.1 100 Continue\r\n\r\n").rx(&[b'x'; 1000]).tx(OK);
    assert_eq!(told(&wire.one()), ("PUT", "/big", 200, 1000, 5));
}

#[test]
fn an_upgrade_ends_with_its_head() {
    let mut wire = Wire::new();
    wire.rx(GET)
        .tx(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
        .rx(b"\x81\x05hello")
        .rx(GET)
        .tx(OK);
    assert_eq!(told(&wire.one()), ("GET", "/a/b", 101, 0, 0));
}

#[test]
fn offsets_wrap_within_a_head_and_chunks_find_their_order() {
    let mut wire = Wire::at(u32::MAX - 10, u32::MAX - 3);
    assert_eq!(told(&wire.rx(&GET[..20]).rx(&GET[20..]).tx(OK).one()), ("GET", "/a/b", 200, 0, 5));
    let mut wire = Wire::new();
    let first = wire.chunk(Direction::Rx, 20, &GET[..20]);
    wire.skip(Direction::Rx, 20);
    let second = wire.chunk(Direction::Rx, GET.len() - 20, &GET[20..]);
    wire.skip(Direction::Rx, GET.len() - 20);
    wire.connections.chunk(&first, &mut wire.out);
    wire.connections.chunk(&second, &mut wire.out);
    wire.connections.chunk(&first, &mut wire.out);
    assert_eq!(told(&wire.tx(OK).one()).1, "/a/b", "a repetition changes nothing");
}

#[test]
fn chunks_that_overtake_are_put_in_order() {
    let mut wire = Wire::new();
    wire.rx(b"GET /first HTTP/1.1\r\n\r\n").tx(OK).told();
    let late = wire.chunk(Direction::Rx, 20, &GET[..20]);
    wire.skip(Direction::Rx, 20);
    wire.rx(&GET[20..]);
    wire.connections.chunk(&late, &mut wire.out);
    assert_eq!(told(&wire.tx(OK).one()).1, "/a/b");
}

#[test]
fn a_gap_within_a_body_is_skipped_and_over_a_head_is_counted() {
    let mut wire = Wire::new();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".as_slice();
    wire.rx(GET).tx(head).skip(Direction::Tx, 900).tx(&[b'x'; 100]).pass(Duration::from_millis(200));
    assert_eq!(told(&wire.one()), ("GET", "/a/b", 200, 0, 1000));
    wire.rx(GET)
        .skip(Direction::Tx, 60)
        .rx(GET)
        .tx(OK)
        .pass(Duration::from_millis(200))
        .pass(Duration::from_secs(1));
    let spans = wire.told();
    assert!(spans.len() <= 1, "{spans:#?}");
    assert!(wire.out.incomplete.get(Incomplete::Gap) >= 1, "{:?}", wire.counts());
}

#[test]
fn a_connection_that_was_open_before_is_told_from_its_next_request() {
    let mut wire = Wire::new();
    wire.tx(b"the rest of a body").rx(GET).tx(OK);
    assert_eq!(told(&wire.one()), ("GET", "/a/b", 200, 0, 5));
    let mut wire = Wire::new();
    wire.tx(OK).rx(GET).tx(OK);
    assert_eq!(told(&wire.one()), ("GET", "/a/b", 200, 0, 5));
    assert_eq!(wire.counts(), [(Incomplete::NoRequest, 1)]);
}

#[test]
fn a_close_may_overtake_the_last_bytes() {
    let mut wire = Wire::new();
    wire.rx(GET);
    let response = b"HTTP/1.0 200 OK\r\n\r\nuntil the end".as_slice();
    let chunk = wire.chunk(Direction::Tx, response.len(), response);
    wire.skip(Direction::Tx, response.len()).close();
    assert!(wire.told().is_empty());
    wire.connections.chunk(&chunk, &mut wire.out);
    let exchange = wire.one();
    assert_eq!((told(&exchange), exchange.ended_by), (("GET", "/a/b", 200, 0, 13), EndedBy::Close));
    assert!(wire.connections.is_empty());
}

#[test]
fn no_response_is_told_without_a_status() {
    let mut wire = Wire::new();
    let exchange = wire.rx(GET).close().pass(Duration::from_secs(2)).one();
    assert_eq!(
        (told(&exchange), exchange.incomplete),
        (("GET", "/a/b", 0, 0, 0), Some(Incomplete::NoResponse))
    );
    assert_eq!(wire.counts(), [(Incomplete::NoResponse, 1)]);
}

#[test]
fn a_response_that_breaks_off_has_the_bytes_that_were_seen() {
    let mut wire = Wire::new();
    let exchange = wire.rx(GET).tx(&OK[..OK.len() - 3]).close().one();
    assert_eq!((told(&exchange), exchange.ended_by), (("GET", "/a/b", 200, 0, 2), EndedBy::Close));
}

#[test]
fn other_protocols_give_nothing() {
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01".as_slice(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\0\0\0\x10noise",
    ] {
        let mut wire = Wire::new();
        for _ in 0..20 {
            wire.rx(bytes).tx(bytes);
        }
        assert!(wire.close().told().is_empty());
    }
}

#[test]
fn a_full_table_forgets_the_idle_and_counts_it() {
    let mut wire = Wire::new();
    wire.connections = Connections::new(Limits { connections: 2, ..Limits::default() });
    for cookie in 0..5 {
        wire.socket.cookie = cookie;
        wire.rx(GET);
    }
    assert_eq!(wire.connections.len(), 2);
    assert_eq!(wire.out.incomplete.get(Incomplete::Evicted), 3);
}

#[test]
fn heads_that_are_not_whole_share_a_bound() {
    let mut wire = Wire::new();
    wire.connections = Connections::new(Limits { head_bytes: 1_000, ..Limits::default() });
    let (first, rest) = GET.split_at(GET.len() - 4);
    let half = |wire: &mut Wire, cookie| {
        wire.socket.cookie = cookie;
        wire.next = [1_000, 9_000_000];
        wire.rx(first);
    };
    (1..=20).for_each(|cookie| half(&mut wire, cookie));
    // the last one came too late to be kept: what was captured of it is told with its response
    wire.rx(rest).tx(OK);
    let exchange = wire.one();
    assert_eq!((&*exchange.http.path, exchange.incomplete), ("/a/b", Some(Incomplete::Evicted)));
    // once the others ended there is room again
    wire.connections.finish(&mut wire.out);
    assert_eq!(
        wire.out.incomplete.get(Incomplete::Invalid) + wire.out.incomplete.get(Incomplete::Evicted),
        19
    );
    wire.pass(Duration::from_millis(1));
    half(&mut wire, 21);
    wire.rx(rest).tx(OK);
    assert_eq!(wire.one().incomplete, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(calls in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..200)), 0..30)) {
        let mut wire = Wire::new().widths(100, 50);
        for (is_rx, bytes) in calls {
            let direction = if is_rx { Direction::Rx } else { Direction::Tx };
            wire.call(direction, &bytes);
        }
        wire.pass(Duration::from_secs(2)).close();
    }

    #[test]
    fn flipped_bytes_never_invent_a_longer_body(at in 0..OK.len(), bit in 0..8_u32, split in 1..OK.len()) {
        let mut response = OK.to_vec();
        response[at] ^= 1 << bit;
        let mut wire = Wire::new();
        wire.rx(GET).tx(&response[..split]).tx(&response[split..]).close();
        for exchange in wire.told() {
            prop_assert!(exchange.http.response_body_bytes <= OK.len() as u64);
        }
    }
}
