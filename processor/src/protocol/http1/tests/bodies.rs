//! Responses without a body, before their request's, and beside it.

use super::wire::{GET, GET_OK, SHORT, SHORT_OK, Wire, said};
use crate::model::{EndedBy, Role};

#[test]
fn responses_without_a_body_have_none() {
    let mut wire = Wire::server();
    for (method, response) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
        ("DELETE", "HTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        let got = wire.ask(format!("{method} /x HTTP/1.1\r\n\r\n")).answer(response).only();
        assert_eq!((got.http.response_body_bytes, got.ended_by), (0, EndedBy::Framing));
    }
    assert_eq!(wire.ask(GET).answer(GET_OK).only().http.response_body_bytes, 5);
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
fn a_refused_expectation_makes_room_for_the_next_request() {
    let expect = b"PUT /big HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n".as_slice();
    let refused = b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n".as_slice();
    let mut wire = Wire::usual();
    wire.ask(expect).answer(refused).ask(SHORT).answer(SHORT_OK);
    let spans = wire.told();
    assert_eq!(
        spans.iter().map(said).collect::<Vec<_>>(),
        [("PUT", "/big", 417, 0, 0), ("GET", "/a/b", 200, 0, 5)]
    );
    let mut wire = Wire::usual();
    wire.ask(expect).answer(b"HTTP/1.1 100 Continue\r\n\r\n").ask([b'x'; 1000]).answer(SHORT_OK);
    assert_eq!(said(&wire.only()), ("PUT", "/big", 200, 1000, 5));
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
fn an_upgrade_ends_the_exchange_and_the_watching() {
    let mut wire = Wire::server();
    wire.ask("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
    wire.answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01\x02");
    assert_eq!(said(&wire.only()), ("GET", "/ws", 101, 0, 0));
    wire.ask(b"\x81\x05hello").ask(GET).answer(GET_OK).finish();
    assert!(wire.told().is_empty());
}

#[test]
fn connect_names_its_host_and_becomes_a_tunnel() {
    let mut wire = Wire::new(Role::Client);
    wire.ask("CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test:5432\r\n\r\n").answer("HTTP/1.1 200 OK\r\n\r\n");
    let got = wire.only();
    assert_eq!((&*got.http.path, &*got.http.host, got.http.status), ("", "db.test:5432", 200));
}
