//! What the width of the capture cut off.

use super::wire::{GET, GET_OK, SHORT, Wire};
use crate::model::{EndedBy, Incomplete};

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
    let told = wire.told();
    assert_eq!(told.iter().map(|got| &*got.http.path).collect::<Vec<_>>(), ["/hello", "/hello"]);
    assert_eq!(wire.counts(), [(Incomplete::CaptureCut, 1)]);
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
fn a_long_body_is_counted_without_being_captured() {
    let mut wire = Wire::usual();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".as_slice();
    let body = vec![b'x'; 50_000];
    let exchange = wire.ask(SHORT).answer(head).answer(&body).answer(&body).only();
    assert_eq!((exchange.http.response_body_bytes, exchange.ended_by), (100_000, EndedBy::Framing));
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
fn a_chunked_body_whose_framing_was_cut_ends_by_turn_silence_or_close() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice();
    let block = [b"2000\r\n".as_slice(), &[b'x'; 0x2000], b"\r\n"].concat().repeat(2);
    let mut wire = Wire::usual();
    wire.ask(SHORT).answer(head).answer(&block).answer(&block).answer(b"0\r\n\r\n").ask(SHORT);
    let exchange = wire.only();
    let bytes = 2 * block.len() as u64 + 5;
    assert_eq!((exchange.http.response_body_bytes, exchange.ended_by), (bytes, EndedBy::Turn));
    wire.answer(head).answer(&block).answer(&block).wait(500);
    assert!(wire.told().is_empty());
    assert_eq!(wire.wait(600).only().ended_by, EndedBy::Silence);
    wire.ask(SHORT).answer(head).answer(&block).answer(&block).close();
    assert_eq!(wire.only().ended_by, EndedBy::Close);
}
