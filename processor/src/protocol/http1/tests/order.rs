//! Calls out of order, lost, repeated, or not from the beginning.

use super::wire::{GET, GET_OK, POST, POST_OK, SHORT, SHORT_OK, Wire, said, whole};
use crate::model::Incomplete;
use ratatosk_abi::OffsetKind;

#[test]
fn a_head_may_cross_2_to_the_32() {
    let want = whole(GET, GET_OK).http;
    for at in 1..GET.len() {
        let mut wire = Wire::server();
        wire.seq[0] = 0_u32.wrapping_sub(u32::try_from(at).expect("small"));
        wire.seq[1] = u32::MAX - 3;
        let got = wire.ask(&GET[..at / 2]).ask(&GET[at / 2..]).answer(GET_OK).only();
        assert_eq!(got.http, want);
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
fn a_call_that_was_overtaken_gets_its_place() {
    let mut wire = Wire::usual();
    wire.ask("GET /first HTTP/1.1\r\n\r\n").answer(SHORT_OK).told();
    let late_at = wire.skip(0, 20);
    let late = wire.chunk(0, late_at, &SHORT[..20], 20);
    wire.ask(&SHORT[20..]);
    wire.connections.chunk(&late, &mut wire.out);
    assert_eq!(said(&wire.answer(SHORT_OK).only()).1, "/a/b");
}

#[test]
fn a_repetition_changes_nothing() {
    let mut wire = Wire::usual();
    let (first_at, second_at) = (wire.skip(0, 20), wire.skip(0, SHORT.len() - 20));
    let first = wire.chunk(0, first_at, &SHORT[..20], 20);
    let second = wire.chunk(0, second_at, &SHORT[20..], SHORT.len() - 20);
    for chunk in [&first, &second, &first] {
        wire.connections.chunk(chunk, &mut wire.out);
    }
    assert_eq!(said(&wire.answer(SHORT_OK).only()).1, "/a/b");
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
fn a_gap_in_a_body_is_arithmetic() {
    let mut wire = Wire::server();
    wire.ask(GET).answer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    wire.skip(1, 500);
    wire.answer("x".repeat(497)).ask(GET);
    let got = wire.only();
    assert_eq!((got.http.response_body_bytes, got.incomplete), (1_000, None));
}

#[test]
fn a_gap_within_a_body_is_skipped_and_over_a_head_is_counted() {
    let mut wire = Wire::usual();
    wire.ask(SHORT).answer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    wire.skip(1, 900);
    wire.answer([b'x'; 100]).wait(200);
    assert_eq!(said(&wire.only()), ("GET", "/a/b", 200, 0, 1000));
    wire.ask(SHORT).skip(1, 60);
    wire.ask(SHORT).answer(SHORT_OK).wait(200).wait(1_000);
    let told = wire.told();
    assert!(told.len() <= 1, "{told:#?}");
    assert!(wire.counted(Incomplete::Gap) >= 1, "{:?}", wire.counts());
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
    assert_eq!(said(&wire.only()), ("GET", "/hello", 200, 0, 5));
    assert_eq!(wire.counts(), [(Incomplete::NoRequest, 1)]);
    for pieces in [&["body of somebody"][..], &["body of somebody", "more of it"]] {
        let mut wire = Wire::server();
        for piece in pieces {
            wire.answer(piece);
        }
        assert_eq!(said(&wire.ask(GET).answer(GET_OK).only()), ("GET", "/hello", 200, 0, 5));
    }
}
