//! The ladder: whole samples, every prefix, every split, every capture width, noise.

use super::wire::{GET, GET_OK, MS, POST, POST_OK, SAMPLES, SHORT, SHORT_OK, Wire, facts, said, whole};
use crate::model::{EndedBy, Incomplete, KtimeNs, Role};
use std::time::Duration;

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
fn a_plain_exchange_says_what_the_wire_said() {
    let mut wire = Wire::usual();
    let exchange = wire.ask(SHORT).answer(SHORT_OK).only();
    assert_eq!(said(&exchange), ("GET", "/a/b", 200, 0, 5));
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
            for is_closed in [false, true] {
                let mut wire = Wire::server();
                wire.ask(request);
                if at > 0 {
                    wire.answer(&response[..at]);
                }
                assert!(wire.told().is_empty(), "at {at}");
                let end = if is_closed { wire.close().wait(2_000) } else { wire.finish() };
                let got = end.only();
                assert_eq!(got.http.path, want.http.path);
                assert!(got.http.status == 0 || got.http.status == want.http.status);
                assert!(got.http.response_body_bytes <= want.http.response_body_bytes);
            }
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
                assert_eq!((&got.http.method, &got.http.path), (&want.http.method, &want.http.path));
                assert_eq!((got.http.status, got.http.response_body_bytes), (0, 0));
                assert!(got.http.request_body_bytes <= want.http.request_body_bytes);
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
fn two_exchanges_under_every_width_are_told_or_counted() {
    for width in 0..SHORT.len().max(SHORT_OK.len()) {
        let mut wire = Wire::usual().widths(width, width);
        wire.ask(SHORT).answer(SHORT_OK).ask(SHORT).answer(SHORT_OK).wait(2_000).close().wait(2_000);
        let spans = wire.told();
        for exchange in &spans {
            let (method, path, status, sent, received) = said(exchange);
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
