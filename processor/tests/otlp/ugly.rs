//! Collectors that die, stand still and talk half: nothing is lost, and there are no more copies than are counted.

use super::{Agent, ids, runtime, span, wait_until};
use crate::receiver::{Act, Raw, Receiver};
use std::collections::HashSet;
use tokio::runtime::Runtime;

const BOTH: [bool; 2] = [true, false];

/// An agent whose requests wait `timeout_ms` for an answer.
fn agent(runtime: &Runtime, receiver: &Receiver, is_http2: bool, timeout_ms: &str) -> Agent {
    let address = runtime.block_on(receiver.start(is_http2));
    Agent::new(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}")),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", if is_http2 { "grpc" } else { "http/protobuf" }),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", timeout_ms),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "20"),
        ("BEYLA_BACKOFF_INITIAL_INTERVAL", "20ms"),
        ("BEYLA_BACKOFF_MAX_INTERVAL", "100ms"),
        ("BEYLA_SHUTDOWN_TIMEOUT", "30s"),
    ])
}

fn resent(agent: &Agent, what: &str, reason: &str) -> u64 {
    agent.sum(&format!("ratatosk_otlp_{what}_resent_total{{signal=\"traces\",reason=\"{reason}\"}}"))
}

/// Tells `spans` spans to a collector that acts so; all arrive, and copies are counted. How many requests it saw, and
/// how many were sent again in doubt.
fn told(is_http2: bool, acts: &[Act], spans: u64, timeout_ms: &str) -> (usize, u64) {
    let runtime = runtime();
    let receiver = Receiver::new(acts.iter().cloned());
    let mut agent = agent(&runtime, &receiver, is_http2, timeout_ms);
    for n in 0..spans {
        agent.export(&[span(n)]);
        agent.assert_accounts();
    }
    wait_until(|| {
        agent.assert_accounts();
        agent.exported() == spans
    });
    agent.shut_down();
    agent.assert_accounts();
    assert_eq!((agent.exported(), agent.dropped(), agent.sum("ratatosk_spans_held")), (spans, 0, 0));
    let ids = ids(&receiver);
    let once: HashSet<_> = ids.iter().collect();
    assert_eq!(once.len() as u64, spans, "no span is lost");
    let copies = (ids.len() - once.len()) as u64;
    assert!(copies <= resent(&agent, "items", "unconfirmed"), "{copies} copies:\n{}", agent.scrape());
    (receiver.seen().len(), resent(&agent, "requests", "unconfirmed"))
}

#[test]
fn a_collector_that_reads_and_closes_gets_the_request_again() {
    for is_http2 in BOTH {
        assert_eq!(told(is_http2, &[Act::Close], 1, "30000"), (2, 1), "HTTP/2: {is_http2}");
    }
}

#[test]
fn a_collector_that_answers_half_a_head_gets_the_request_again() {
    assert_eq!(told(false, &[Act::Raw(Raw::HalfHead)], 1, "30000"), (2, 1));
}

#[test]
fn half_an_answer_says_over_http_that_it_was_taken_and_over_grpc_nothing() {
    assert_eq!(told(false, &[Act::Half], 1, "30000"), (1, 0));
    assert_eq!(told(true, &[Act::Half], 1, "30000"), (2, 1));
}

#[test]
fn a_collector_that_hangs_gets_the_request_again() {
    for is_http2 in BOTH {
        let (seen, resent) = told(is_http2, &[Act::Hang], 1, "1000");
        assert!(seen >= 2 && resent >= 1, "HTTP/2: {is_http2}");
    }
}

#[test]
fn what_surely_was_not_looked_at_is_not_in_doubt() {
    for raw in [Raw::GoAway(0), Raw::Refused, Raw::Nonsense] {
        assert_eq!(told(true, &[Act::Raw(raw)], 1, "30000"), (1, 0));
    }
}

/// A graceful end names the highest stream there is; what happens to ours after that, nobody knows.
#[test]
fn a_collector_that_goes_away_without_answering_what_it_took_gets_the_request_again() {
    for last in [1, i32::MAX.unsigned_abs()] {
        assert_eq!(told(true, &[Act::Raw(Raw::GoAway(last))], 1, "30000"), (2, 1));
    }
}

#[test]
fn over_grpc_no_request_is_sent_to_a_collector_that_stands_still() {
    let (seen, resent) = told(true, &[Act::Raw(Raw::Silent), Act::Raw(Raw::Silent)], 1, "3000");
    assert_eq!((seen, resent), (1, 0));
}

#[test]
fn through_every_kind_of_death_each_span_arrives_and_copies_are_counted() {
    let deaths = |is_http2| {
        let own: &[Act] = if is_http2 {
            &[Act::Raw(Raw::GoAway(0)), Act::Raw(Raw::GoAway(1)), Act::Raw(Raw::Refused)]
        } else {
            &[Act::Raw(Raw::HalfHead)]
        };
        let both = [
            Act::Close,
            Act::Raw(Raw::Nonsense),
            Act::Http(503, None),
            Act::Half,
            Act::Accept,
            Act::Http(502, None),
        ];
        let round: Vec<Act> = own.iter().chain(&both).cloned().collect();
        (0..4).flat_map(move |_| round.clone()).collect::<Vec<_>>()
    };
    for is_http2 in BOTH {
        let (seen, _) = told(is_http2, &deaths(is_http2), 500, "30000");
        assert!(seen > 25, "{seen}");
    }
}

#[test]
fn at_the_end_what_is_under_way_is_in_doubt_and_the_rest_surely_lost() {
    let runtime = runtime();
    for is_http2 in BOTH {
        let receiver = Receiver::new((0..100).map(|_| Act::Hang));
        let address = runtime.block_on(receiver.start(is_http2));
        let mut agent = Agent::new(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", if is_http2 { "grpc" } else { "http/protobuf" }),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "20"),
            ("BEYLA_SHUTDOWN_TIMEOUT", "300ms"),
        ]);
        agent.export(&(0..100).map(span).collect::<Vec<_>>());
        wait_until(|| !receiver.seen().is_empty());
        agent.shut_down();
        agent.assert_accounts();
        let dropped = |reason: &str| {
            agent.sum(&format!("ratatosk_spans_dropped_total{{exporter=\"otlp\",reason=\"{reason}\"}}"))
        };
        assert_eq!((dropped("unconfirmed"), dropped("shutdown"), agent.dropped()), (20, 80, 100));
    }
}
