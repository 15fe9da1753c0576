//! How an exchange ends where nothing answers, or framing does not say.

use super::wire::{GET, GET_OK, SHORT, SHORT_OK, Wire, said};
use crate::model::{EndedBy, Incomplete};

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
fn no_response_is_told_without_a_status_and_counted() {
    let mut wire = Wire::server();
    let got = wire.ask(GET).close().wait(1_200).only();
    assert_eq!((said(&got), got.incomplete), (("GET", "/hello", 0, 0, 0), Some(Incomplete::NoResponse)));
    assert_eq!(wire.counts(), [(Incomplete::NoResponse, 1)]);
    assert!(wire.connections.is_empty());
}

#[test]
fn a_response_that_breaks_off_has_the_bytes_that_were_seen() {
    let mut wire = Wire::usual();
    let exchange = wire.ask(SHORT).answer(&SHORT_OK[..SHORT_OK.len() - 3]).close().only();
    assert_eq!((said(&exchange), exchange.ended_by), (("GET", "/a/b", 200, 0, 2), EndedBy::Close));
}

#[test]
fn a_slow_server_is_not_ended_by_silence() {
    let mut wire = Wire::usual();
    wire.ask(SHORT).wait(120_000);
    wire.answer(&SHORT_OK[..SHORT_OK.len() - 2]).wait(120_000);
    assert!(wire.told().is_empty());
    let got = wire.answer(&SHORT_OK[SHORT_OK.len() - 2..]).only();
    assert_eq!((got.http.status, got.ended_by), (200, EndedBy::Framing));
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
fn close_may_overtake_an_answer_that_it_ends() {
    let mut wire = Wire::usual();
    wire.ask(SHORT);
    let response = b"HTTP/1.0 200 OK\r\n\r\nuntil the end".as_slice();
    let answer_at = wire.skip(1, response.len());
    let late = wire.chunk(1, answer_at, response, response.len());
    wire.close();
    assert!(wire.told().is_empty());
    wire.connections.chunk(&late, &mut wire.out);
    let got = wire.only();
    assert_eq!((said(&got), got.ended_by), (("GET", "/a/b", 200, 0, 13), EndedBy::Close));
    assert!(wire.connections.is_empty());
}
