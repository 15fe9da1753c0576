//! Several requests before their responses.

use super::wire::{GET, GET_OK, SHORT, SHORT_OK, Wire};
use crate::model::{EndedBy, Incomplete};
use proptest::prelude::*;

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut wire = Wire::server();
    let requests: String = (0..100).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    wire.ask(requests);
    for n in 0..100 {
        wire.answer(format!("HTTP/1.1 {} x\r\nContent-Length: {n}\r\n\r\n{}", 400 + n, "x".repeat(n)));
    }
    let told = wire.told();
    assert_eq!(told.len(), 100);
    for (n, got) in told.iter().enumerate() {
        let want = (format!("/{n}"), 400 + n, n as u64);
        let status = usize::from(got.http.status);
        assert_eq!((got.http.path.to_string(), status, got.http.response_body_bytes), want);
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
    assert!(told.len() > 20 && told.len() < 100, "{}", told.len());
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

/// Go's server waits for the next request with a read of one byte while the handler still writes.
#[test]
fn a_first_byte_that_is_read_apart_is_of_the_next_request() {
    let head = b"HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n".as_slice();
    let bodiless = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".as_slice();
    for is_early in [false, true] {
        let mut wire = Wire::usual();
        wire.ask(SHORT);
        if is_early { wire.ask(&head[..1]).answer(SHORT_OK) } else { wire.answer(SHORT_OK).ask(&head[..1]) }
            .ask(&head[1..])
            .answer(bodiless)
            .ask(SHORT)
            .answer(SHORT_OK);
        let told: Vec<_> =
            wire.told().iter().map(|one| (one.http.method.as_str().to_owned(), one.http.status)).collect();
        assert_eq!(told, [("GET".into(), 200), ("HEAD".into(), 200), ("GET".into(), 200)], "{is_early}");
        assert!(wire.counts().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

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
