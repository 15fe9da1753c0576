//! What is bounded, at its bound.

use super::wire::{GET, GET_OK, SHORT, SHORT_OK, Wire};
use crate::{
    model::Incomplete,
    reassemble::{Connections, Limits},
};

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
fn the_longest_idle_connections_make_room() {
    for (room, evicted) in [(4, 1), (2, 3)] {
        let mut wire = Wire::server();
        wire.connections = Connections::new(Limits { connections: room, ..Limits::default() });
        for cookie in 0..5 {
            wire.cookie = cookie;
            wire.seq = [1, 1];
            wire.ask(GET);
        }
        assert_eq!(wire.connections.len(), room);
        assert_eq!(wire.counted(Incomplete::Evicted), evicted);
        let told = wire.told();
        assert_eq!(told.len() as u64, evicted);
        assert!(told.iter().all(|got| got.incomplete == Some(Incomplete::Evicted)));
    }
}

#[test]
fn heads_that_are_not_whole_share_a_bound() {
    let mut wire = Wire::usual();
    wire.connections = Connections::new(Limits { head_bytes: 1_000, ..Limits::default() });
    let (first, rest) = SHORT.split_at(SHORT.len() - 4);
    let half = |wire: &mut Wire, cookie| {
        wire.cookie = cookie;
        wire.seq = [1_000, 9_000_000];
        wire.ask(first);
    };
    (1..=20).for_each(|cookie| half(&mut wire, cookie));
    // the last one came too late to be kept: what was captured of it is told with its response
    wire.ask(rest).answer(SHORT_OK);
    let exchange = wire.only();
    assert_eq!((&*exchange.http.path, exchange.incomplete), ("/a/b", Some(Incomplete::Evicted)));
    // once the others ended there is room again
    wire.connections.finish(&mut wire.out);
    assert_eq!(
        wire.out.incomplete.get(Incomplete::Invalid) + wire.out.incomplete.get(Incomplete::Evicted),
        19
    );
    wire.wait(1);
    half(&mut wire, 21);
    wire.ask(rest).answer(SHORT_OK);
    assert_eq!(wire.only().incomplete, None);
}
