//! What settings do to the spans that leave the pipeline: routes, sampling, filters, redaction.

mod stream;

use ratatosk::{
    decorate::{Criterion, DecorateSettings, Decorator, RouteSettings},
    model::{Signals, Span},
    sample::SamplerSettings,
};
use ratatosk_abi::{Direction, RecordKind};
use std::collections::HashSet;
use stream::{Bench, Records, Who, Wire, batch, by_port, who};

const SERVER: Who = who(42, 7);

/// Spans of GET requests for these targets with these header lines, under `settings`.
fn spans_of(settings: &DecorateSettings, requests: &[(&str, &str)]) -> (Bench, Vec<Span>) {
    let mut bench = Bench::connected(by_port(8080));
    bench.pipeline = bench.pipeline.decorated_by(Decorator::new(settings).expect("valid"));
    let snapshot = Records::at(0).mark(RecordKind::SnapshotBegin).existed(SERVER);
    let snapshot = snapshot.info(SERVER, 1, "/usr/sbin/shop").listen(SERVER, 900, 8080);
    bench.send(batch(1, 0, &snapshot.mark(RecordKind::SnapshotEnd)));
    let mut wire = Wire::new(5, SERVER);
    let said = requests.iter().fold(Records::at(10), |said, (target, headers)| {
        let head = format!("GET {target} HTTP/1.1\r\nHost: shop:8080\r\n{headers}\r\n");
        said.call(&mut wire, Direction::Rx, head.as_bytes()).response(&mut wire)
    });
    bench.send(batch(2, 2, &said));
    let spans = bench.spans.take();
    (bench, spans)
}

fn spans(settings: &DecorateSettings, targets: &[&str]) -> (Bench, Vec<Span>) {
    let requests: Vec<_> = targets.iter().map(|target| (*target, "")).collect();
    spans_of(settings, &requests)
}

fn left_out(bench: &Bench, signal: &str, reason: &str) -> u64 {
    bench.counter(&format!("ratatosk_spans_left_out_total{{signal=\"{signal}\",reason=\"{reason}\"}}"))
}

#[test]
fn by_default_a_span_has_a_route_that_names_it_and_no_secrets() {
    let (_, spans) = spans(&DecorateSettings::default(), &["/users/42?page=2&token=hunter2#top", "/proxy"]);
    let [users, proxy] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!(users.http.route.as_deref(), Some("/users/*"));
    assert_eq!(users.name(), "GET /users/*");
    assert_eq!((&*users.http.path, &*users.http.query), ("/users/42", "page=2&token=REDACTED"));
    assert_eq!((proxy.name().as_str(), &*proxy.http.query), ("GET /proxy", ""));
    assert!(users.is_sampled() && users.signals == Signals::ALL);
    assert!(!format!("{spans:?}").contains("hunter2"));
}

#[test]
fn the_query_is_found_in_each_form_of_a_target() {
    for (target, path, query) in [
        ("/a?b", "/a", "b"),
        ("/a?b?c#d?e", "/a", "b?c"),
        ("/a#b?c", "/a", ""),
        ("/a?", "/a", ""),
        ("http://shop/a?pwd=1", "/a", "pwd=REDACTED"),
        ("http://shop?q=1", "/", "q=1"),
    ] {
        let (_, spans) = spans(&DecorateSettings::default(), &[target]);
        let [span] = spans.as_slice() else { panic!("{spans:?}") };
        assert_eq!((&*span.http.path, &*span.http.query), (path, query), "{target}");
    }
}

#[test]
fn an_ignored_path_is_left_out_as_the_mode_says_and_counted() {
    let ignoring = |mode: &str| {
        let json = format!(r#"{{"ignored_patterns": ["/health"], "ignore_mode": "{mode}"}}"#);
        let routes: RouteSettings = serde_json::from_str(&json).expect("valid");
        let (bench, spans) =
            spans(&DecorateSettings { routes, ..DecorateSettings::default() }, &["/health", "/a"]);
        let told: Vec<_> = spans.iter().map(|span| (span.signals.traces, span.signals.metrics)).collect();
        (told, left_out(&bench, "traces", "ignored"), left_out(&bench, "metrics", "ignored"))
    };
    assert_eq!(ignoring("all"), (vec![(true, true)], 1, 1));
    assert_eq!(ignoring("traces"), (vec![(false, true), (true, true)], 1, 0));
    assert_eq!(ignoring("metrics"), (vec![(true, false), (true, true)], 0, 1));
}

#[test]
fn the_sampled_flag_is_what_the_sampler_decided_and_metrics_count_all() {
    const SAMPLED: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    const DROPPED: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n";
    for (name, arg, expected, not_sampled) in [
        ("", "", [1, 1, 0], 1),
        ("always_on", "", [1, 1, 1], 0),
        ("always_off", "", [0, 0, 0], 3),
        ("parentbased_always_off", "", [0, 1, 0], 2),
        ("parentbased_traceidratio", "0", [0, 1, 0], 2),
        ("traceidratio", "1", [1, 1, 1], 0),
        // the id's lower half, 8448eb211c80319c, is 0.516 of all
        ("traceidratio", "0.5", [2, 0, 0], 0),
    ] {
        let sampler = SamplerSettings { name: name.to_owned(), arg: arg.to_owned() };
        let settings = DecorateSettings { sampler, ..DecorateSettings::default() };
        let (bench, spans) = spans_of(&settings, &[("/a", ""), ("/b", SAMPLED), ("/c", DROPPED)]);
        let flags: Vec<_> = spans.iter().map(|span| span.trace_flags).collect();
        let known: Vec<_> = flags.iter().zip(expected).filter(|(_, expected)| *expected < 2).collect();
        assert!(known.iter().all(|(flags, expected)| **flags == *expected), "{name} {arg}: {flags:?}");
        assert!(spans.iter().all(|span| span.signals == Signals::ALL));
        if !expected.contains(&2) {
            assert_eq!(left_out(&bench, "traces", "not_sampled"), not_sampled, "{name} {arg}");
        }
    }
}

#[test]
fn a_filter_sees_the_route_and_what_it_drops_is_counted() {
    let mut settings = DecorateSettings::default();
    let users = Criterion { r#match: Some("/users/*".to_owned()), ..Criterion::default() };
    settings.filter.insert("http_route".to_owned(), users);
    let (bench, spans) = spans(&settings, &["/users/42", "/orders/7", "/users/me"]);
    assert_eq!(spans.iter().map(|span| &*span.http.path).collect::<Vec<_>>(), ["/users/42", "/users/me"]);
    assert_eq!((left_out(&bench, "traces", "filtered"), left_out(&bench, "metrics", "filtered")), (1, 1));
}

/// One of 1 296 different paths of words.
fn path_of_words(n: usize) -> String {
    let syllable = |at| ["na", "to", "ri", "le", "se", "mo"][n / 6_usize.pow(at) % 6];
    format!("/{}{}/{}{}", syllable(0), syllable(1), syllable(2), syllable(3))
}

#[test]
fn a_service_has_a_thousand_guessed_routes_and_the_rest_is_folded_and_counted() {
    let words: Vec<String> = (0..1_296).map(path_of_words).collect();
    let mut settings = DecorateSettings::default();
    settings.routes.patterns = vec!["/known/:id".to_owned()];
    let targets: Vec<&str> = words.iter().map(String::as_str).chain(["/known/x"]).collect();
    let (bench, spans) = spans(&settings, &targets);
    let routes: HashSet<_> = spans.iter().filter_map(|span| span.http.route.clone()).collect();
    assert_eq!((spans.len(), routes.len()), (1_297, 1_002), "1000, /** and the pattern");
    assert_eq!(bench.counter("ratatosk_routes_folded_total"), 296);
}
