//! Settings of single entries of `discovery.instrument`, from the file to the spans that leave the pipeline.

mod stream;

use ratatosk::{
    config::Config,
    decorate::Decorator,
    explain::{Question, Report},
    model::{Signals, Span},
};
use ratatosk_abi::{Direction, RecordKind, TargetState};
use std::{fs, path::PathBuf};
use stream::{Bench, Records, Who, Wire, batch, who};

/// Listens on 8080, in a folder that nothing names.
const SHOP: Who = who(42, 7);
/// Listens on 9090.
const TILL: Who = who(43, 7);
/// Listens on 9091.
const MUTE: Who = who(44, 7);

const FILE: &str = r#"
discovery:
  instrument:
    - open_ports: 8000-9999
      namespace: prod
      exports: [traces]
      routes:
        incoming: ["/cart/{id}"]
    - exe_path: "*/till"
      name: register
      exports: [metrics, traces]
      sampler: {name: traceidratio, arg: 0}
      routes:
        incoming: ["/slip/:number"]
        outgoing: ["/*"]
    - exe_path: "*/mute"
      exports: []
      metrics:
        features: [network]
  exclude_instrument:
    - exe_path: "*/never"
routes:
  unmatched: wildcard
  patterns: ["/all/{id}"]
"#;

/// The settings of `text`, as a file of a test called `test`.
fn config(test: &str, text: &str) -> Config {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.yml"));
    fs::write(&path, text).expect("written");
    Config::load_with(Some(&path), std::iter::empty()).unwrap_or_else(|error| panic!("{error}"))
}

/// A pipeline under these settings that knows three servers; the next batch is 2.
fn observing(config: &Config) -> Bench {
    let mut bench = Bench::connected(config.selection.clone());
    bench.pipeline = bench.pipeline.decorated_by(Decorator::new(&config.decorate).expect("valid"));
    let mut known = Records::at(0).mark(RecordKind::SnapshotBegin);
    for (n, (server, exe, port)) in
        [(SHOP, "/srv/shop", 8080), (TILL, "/srv/till", 9090), (MUTE, "/srv/mute", 9091)]
            .into_iter()
            .enumerate()
    {
        let handle = u64::try_from(n).expect("small") + 1;
        known = known.existed(server).info(server, handle, exe).listen(server, 900 + handle, port);
    }
    bench.send(batch(1, 0, &known.mark(RecordKind::SnapshotEnd)));
    bench
}

fn wire(cookie: u64, owner: Who, port: u16) -> Wire {
    let mut wire = Wire::new(cookie, owner);
    wire.sock.local_port = port;
    wire
}

/// What is told of one span by an entry's settings.
fn told(span: &Span) -> (&str, &str, &str, bool, Signals) {
    let service = &span.service;
    let route = span.http.route.as_deref().unwrap_or_default();
    (&service.name, &service.namespace, route, span.is_sampled(), span.signals)
}

const TRACES: Signals = Signals { traces: true, metrics: false };

#[test]
fn each_service_is_told_as_the_entries_that_select_it_say() {
    let mut bench = observing(&config("entries-told", FILE));
    let (mut shop, mut till, mut mute) = (wire(1, SHOP, 8080), wire(2, TILL, 9090), wire(3, MUTE, 9091));
    let said = Records::at(10)
        .exchange(&mut shop, "/cart/7")
        .exchange(&mut shop, "/slip/7")
        .exchange(&mut till, "/cart/7")
        .exchange(&mut till, "/slip/7")
        .exchange(&mut till, "/all/7")
        .exchange(&mut mute, "/cart/7");
    bench.send(batch(2, 2, &said));
    let spans = bench.spans.take();
    assert_eq!(
        spans.iter().map(told).collect::<Vec<_>>(),
        [
            ("shop", "prod", "/cart/{id}", true, TRACES),
            ("shop", "prod", "/**", true, TRACES),
            ("register", "prod", "/**", false, Signals::ALL),
            ("register", "prod", "/slip/:number", false, Signals::ALL),
            ("register", "prod", "/all/{id}", false, Signals::ALL),
        ]
    );
    let left_out = |labels: &str| bench.counter(&format!("ratatosk_spans_left_out_total{{{labels}}}"));
    assert_eq!(left_out("signal=\"traces\",reason=\"exports\""), 1, "of mute");
    assert_eq!(left_out("signal=\"metrics\",reason=\"exports\""), 3, "of shop and of mute");
    assert_eq!(left_out("signal=\"traces\",reason=\"not_sampled\""), 3, "of till");
}

#[test]
fn a_request_that_a_service_sends_has_the_routes_for_what_it_sends() {
    let mut bench = observing(&config("entries-client", FILE));
    let mut client = wire(4, TILL, 40_001);
    (client.sock.remote_port, client.rx, client.tx) = (80, 1, 1);
    let request = b"GET /slip/7 HTTP/1.1\r\nHost: bank\r\n\r\n";
    let said = Records::at(10).call(&mut client, Direction::Tx, request);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    bench.send(batch(2, 2, &said.call(&mut client, Direction::Rx, answer)));
    let spans = bench.spans.take();
    assert_eq!(spans.iter().map(told).collect::<Vec<_>>(), [("register", "prod", "/*", false, Signals::ALL)]);
}

#[test]
fn a_worker_is_told_as_its_parent_is_also_if_it_meets_fewer_entries_itself() {
    let mut bench = observing(&config("entries-worker", FILE));
    let (of_shop, of_till) = (who(50, 90), who(51, 90));
    let forked = Records::at(10)
        .process(RecordKind::Fork, of_shop, SHOP, TargetState::Observed)
        .process(RecordKind::Fork, of_till, TILL, TargetState::Observed)
        .info(of_till, 8, "/srv/till")
        .exchange(&mut wire(5, of_shop, 8080), "/cart/7")
        .exchange(&mut wire(6, of_till, 9090), "/slip/7");
    bench.send(batch(2, 2, &forked));
    let spans = bench.spans.take();
    assert_eq!(
        spans.iter().map(told).collect::<Vec<_>>(),
        [
            ("shop", "prod", "/cart/{id}", true, TRACES),
            ("register", "prod", "/slip/:number", false, Signals::ALL),
        ]
    );
}

#[test]
fn a_worker_that_was_there_before_is_told_as_its_parent_is_even_if_it_is_looked_at_again() {
    let (config, worker) = (config("entries-before", FILE), who(50, 90));
    let mut bench = observing(&config);
    let known = Records::at(5)
        .mark(RecordKind::SnapshotBegin)
        .process(RecordKind::Process, worker, SHOP, TargetState::Unknown)
        .info(worker, 7, "/srv/shop")
        .existed(SHOP)
        .info(SHOP, 1, "/srv/shop")
        .listen(SHOP, 901, 8080)
        .mark(RecordKind::SnapshotEnd)
        .info(worker, 7, "/srv/shop");
    bench.send(batch(2, 2, &known));
    bench.send(batch(3, 3, &Records::at(30).exchange(&mut wire(5, worker, 8080), "/cart/7")));
    let spans = bench.spans.take();
    assert_eq!(spans.iter().map(told).collect::<Vec<_>>(), [("shop", "prod", "/cart/{id}", true, TRACES)]);
}

#[test]
fn a_port_that_opens_later_brings_the_settings_of_its_entry() {
    let text = "discovery:\n  instrument:\n    - exe_path: \"*/late\"\n    - open_ports: 7070\n      exports: [traces]\n";
    let mut bench = observing(&config("entries-late", text));
    let late = who(60, 90);
    let mut connection = wire(6, late, 7070);
    let started = Records::at(10).existed(late).info(late, 9, "/srv/late");
    bench.send(batch(2, 2, &started.exchange(&mut connection, "/a")));
    let listening = Records::at(20).listen(late, 960, 7070);
    bench.send(batch(3, 3, &listening.exchange(&mut connection, "/b")));
    let signals: Vec<Signals> = bench.spans.take().iter().map(|span| span.signals).collect();
    assert_eq!(signals, [Signals::ALL, TRACES]);
}

#[test]
fn features_of_an_entry_count_over_those_of_all() {
    for (global, entry, has_metrics) in [
        ("[application]", "", true),
        ("[network]", "", false),
        ("[network]", "      metrics: {features: [application, network]}\n", true),
        ("['*']", "      metrics: {features: [application_span]}\n", false),
    ] {
        let text = format!(
            "metrics:\n  features: {global}\ndiscovery:\n  instrument:\n    - open_ports: 8080\n{entry}"
        );
        let mut bench = observing(&config("entries-features", &text));
        bench.send(batch(2, 2, &Records::at(10).exchange(&mut wire(1, SHOP, 8080), "/a")));
        let signals: Vec<Signals> = bench.spans.take().iter().map(|span| span.signals).collect();
        assert_eq!(signals, [Signals { traces: true, metrics: has_metrics }], "{text}");
        let counted = "ratatosk_spans_left_out_total{signal=\"metrics\",reason=\"features\"}";
        assert_eq!(bench.counter(counted), u64::from(!has_metrics), "{text}");
    }
}

fn explained(bench: &Bench, who: Who) -> Report {
    let (question, mut answer) = Question::new(Some(who.tgid), 0, 1);
    bench.pipeline.answer(question);
    answer.try_recv().expect("answered")
}

#[test]
fn explain_names_the_entry_with_its_line() {
    let config = config("entries-explain", FILE);
    let mut bench = observing(&config);
    let never = who(70, 90);
    let known = Records::at(10).existed(never).info(never, 9, "/srv/never").listen(never, 970, 8081);
    bench.send(batch(2, 2, &known));
    let detail = |who| {
        let detail = explained(&bench, who).processes.remove(0).detail;
        detail.replace(env!("CARGO_TARGET_TMPDIR"), "DIR")
    };
    assert_eq!(detail(SHOP), "entry 1 of discovery.instrument (DIR/entries-explain.yml:4)");
    assert_eq!(detail(TILL), "entry 2 of discovery.instrument (DIR/entries-explain.yml:9), named register");
    assert_eq!(
        detail(never),
        "entry 1 of discovery.exclude_instrument (DIR/entries-explain.yml:21) excludes it"
    );
    let selectors: Vec<String> = explained(&bench, SHOP).selectors.iter().map(ToString::to_string).collect();
    assert_eq!(selectors.len(), 3, "{selectors:?}");
    assert!(selectors[1].contains("entry 2 of discovery.instrument"), "{selectors:?}");
}

#[test]
fn explain_names_a_key_of_the_file_that_selects_like_a_variable() {
    let config = config("entries-top", "open_port: 8080\nexecutable_path: \"(shop|other)$\"\n");
    let bench = observing(&config);
    let detail =
        explained(&bench, SHOP).processes.remove(0).detail.replace(env!("CARGO_TARGET_TMPDIR"), "DIR");
    assert_eq!(detail, "open_port (DIR/entries-top.yml:1) and executable_path (DIR/entries-top.yml:2)");
}
