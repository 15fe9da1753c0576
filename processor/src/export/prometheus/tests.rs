use super::negotiate::Format;
use super::*;
use crate::config::{NativeHistograms, PrometheusConfig};
use crate::export::samples::{client_span, server_span, service};
use crate::export::series::{Keep, MAX_SERIES, Readers, SERVER, Store, TIME_TO_LIVE};
use crate::model::{Span, UnixNanos};
use crate::select::AttributeSelection;
use crate::telemetry::Telemetry;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// One line of the text format: name, labels, value.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Reads the text format as strictly as Prometheus does.
fn parse(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).map(parse_line).collect()
}

fn parse_line(line: &str) -> Sample {
    let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    if let Some(mut inner) = rest.strip_prefix('{') {
        while !inner.starts_with('}') {
            let (label, after) = inner.split_once("=\"").unwrap();
            let (value, after) = parse_quoted(after);
            assert_eq!(labels.insert(label.to_owned(), value), None, "twice {label} in {line}");
            inner = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &inner[1..];
    }
    Sample { name: name.to_owned(), labels, value: rest.trim().parse().unwrap() }
}

fn parse_quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c => c,
            }),
            c => value.push(c),
        }
    }
    panic!("not closed: {text}");
}

fn rendered(store: &Store, now: Instant) -> String {
    let pieces = source(store.clone()).pieces(Format::Text, now);
    String::from_utf8(pieces.flatten().collect()).unwrap()
}

fn source(store: Store) -> Source {
    let selection = AttributeSelection::default();
    Source { store, host_name: "box".to_owned(), selection, native: NativeHistograms::default() }
}

fn samples_of(spans: &[Span]) -> (String, Vec<Sample>) {
    let text = text_of(spans);
    let samples = parse(&text);
    (text, samples)
}

fn named<'a>(samples: &'a [Sample], name: &str) -> Vec<&'a Sample> {
    samples.iter().filter(|sample| sample.name == name).collect()
}

fn with_duration(ns: u64) -> Span {
    let mut span = server_span();
    span.end = UnixNanos(span.start.0 + ns);
    span
}

#[test]
fn a_series_has_the_names_and_labels_that_dashboards_know() {
    let (_, samples) = samples_of(&[server_span(), client_span()]);
    let server = named(&samples, "http_server_request_duration_seconds_count");
    let expected = [
        ("http_request_method", "GET"),
        ("http_response_status_code", "200"),
        ("instance", "host:42"),
        ("job", "nginx"),
        ("server_address", "shop.example"),
        ("server_port", "8080"),
        ("service_name", "nginx"),
        ("url_scheme", "http"),
    ];
    let expected = expected.map(|(label, value)| (label.to_owned(), value.to_owned()));
    assert_eq!(server[0].labels, BTreeMap::from(expected));
    let client = named(&samples, "http_client_response_body_size_bytes_sum");
    let label = |name: &str| client[0].labels.get(name).unwrap().as_str();
    assert_eq!((label("job"), label("service_namespace")), ("shop/worker", "shop"));
    assert_eq!((label("http_request_method"), label("http_response_status_code")), ("_OTHER", "0"));
    assert_eq!(label("http_route"), "/users/{id}");
}

#[test]
fn buckets_are_cumulative_and_sums_are_exact() {
    let spans = [1, 5_000_000, 5_000_001, 9_999_999_999, 20_000_000_000].map(with_duration);
    let (text, samples) = samples_of(&spans);
    let buckets = named(&samples, "http_server_request_duration_seconds_bucket");
    let found: Vec<(&str, f64)> = buckets.iter().map(|b| (b.labels["le"].as_str(), b.value)).collect();
    let bounds = [
        "0", "0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1", "2.5", "5", "7.5",
        "10", "+Inf",
    ];
    let counts = [0., 2., 3., 3., 3., 3., 3., 3., 3., 3., 3., 3., 3., 3., 4., 5.];
    assert_eq!(found, bounds.into_iter().zip(counts).collect::<Vec<_>>());
    assert!(text.contains("} 30.010000001\n"), "{text}");
    assert_eq!(named(&samples, "http_server_request_duration_seconds_count")[0].value, 5.);
    let sizes = named(&samples, "http_server_response_body_size_bytes_bucket");
    let bounds: Vec<&str> = sizes.iter().map(|b| b.labels["le"].as_str()).collect();
    assert_eq!(bounds, ["0", "32", "64", "128", "256", "512", "1024", "2048", "4096", "8192", "+Inf"]);
    assert_eq!(named(&samples, "http_server_response_body_size_bytes_sum")[0].value, 5. * 615.);
}

#[test]
fn each_metric_is_opened_once_before_its_series() {
    let (text, _) = samples_of(&[server_span(), client_span()]);
    let mut open = std::collections::BTreeSet::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ") {
            current = name.split(' ').next().unwrap().to_owned();
            assert!(open.insert(current.clone()), "{current} is opened twice");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&current), "{line} stands under {current}");
        }
    }
    assert!(open.contains("target_info") && open.contains("ratatosk_build_info"));
}

#[test]
fn two_targets_never_mix() {
    let mut other = server_span();
    other.service = service("nginx", "host:43");
    let (_, samples) = samples_of(&[server_span(), other.clone(), other]);
    let counts: Vec<(&str, f64)> = named(&samples, "http_server_request_duration_seconds_count")
        .iter()
        .map(|s| (s.labels["instance"].as_str(), s.value))
        .collect();
    assert_eq!(counts, [("host:42", 1.), ("host:43", 2.)]);
    let info = named(&samples, "target_info");
    assert_eq!(
        info.iter().map(|s| s.labels["instance"].as_str()).collect::<Vec<_>>(),
        ["host:42", "host:43"]
    );
    assert_eq!(info[0].labels["host_name"], "box");
}

#[test]
fn the_same_service_from_another_place_in_memory_is_the_same_series() {
    let mut again = server_span();
    again.service = service("nginx", "host:42");
    let (_, samples) = samples_of(&[server_span(), again]);
    assert_eq!(named(&samples, "http_server_request_duration_seconds_count")[0].value, 2.);
    assert_eq!(named(&samples, "target_info").len(), 1);
}

#[test]
fn a_hostile_host_header_stays_one_label() {
    let mut span = server_span();
    span.http.server_address = "a\"} 1\nfake{x=\"\\".into();
    let (_, samples) = samples_of(&[span]);
    let count = named(&samples, "http_server_request_duration_seconds_count");
    assert_eq!(count[0].labels["server_address"], "a\"} 1\nfake{x=\"\\");
    assert!(named(&samples, "fake").is_empty());
}

/// Only the counts of requests: reading all of a full table takes seconds.
fn request_counts(text: &str) -> Vec<Sample> {
    text.lines()
        .filter(|line| line.starts_with("http_server_request_duration_seconds_count"))
        .map(parse_line)
        .collect()
}

fn text_of(spans: &[Span]) -> String {
    let store = Store::of_defaults(Telemetry::new(), Keep::default());
    let now = Instant::now();
    store.record(spans, now);
    rendered(&store, now)
}

fn flood(n: usize) -> Vec<Span> {
    let with_host = |i| {
        let mut span = server_span();
        span.http.server_address = format!("h{i}").into();
        span
    };
    (0..n).map(with_host).collect()
}

#[test]
fn series_beyond_the_bound_are_folded_and_counted() {
    let text = text_of(&flood(MAX_SERIES + 7));
    let counts = request_counts(&text);
    assert_eq!(counts.len(), MAX_SERIES + 1);
    let folded: Vec<_> = counts.iter().filter(|s| s.labels.contains_key("otel_metric_overflow")).collect();
    let expected = [("otel_metric_overflow", "true"), ("service_name", "nginx")];
    let expected = expected.map(|(label, value)| (label.to_owned(), value.to_owned()));
    assert_eq!((&folded[0].labels, folded[0].value), (&BTreeMap::from(expected), 7.));
    assert_eq!(counts.iter().map(|s| s.value).sum::<f64>(), 10_007.);
    for metric in SERVER {
        assert!(
            text.contains(&format!("ratatosk_series_overflow_total{{metric=\"{}\"}} 7\n", metric.prometheus))
        );
    }
}

#[test]
fn a_service_that_floods_leaves_others_their_overflow() {
    let mut spans = flood(MAX_SERIES);
    for i in 0..1_100 {
        let mut span = server_span();
        span.service = service(&format!("s{i}"), "");
        spans.push(span);
    }
    let counts = request_counts(&text_of(&spans));
    let folded: Vec<_> = counts.iter().filter(|s| s.labels.contains_key("otel_metric_overflow")).collect();
    assert_eq!(folded.len(), 1_001);
    assert_eq!(folded[0].labels.get("service_name"), None);
    assert_eq!(folded[0].value, 100.);
}

#[test]
fn a_series_without_news_ends_and_makes_room() {
    let store = Store::of_defaults(Telemetry::new(), Keep::default());
    let start = Instant::now();
    store.record(&flood(MAX_SERIES), start);
    let later = start + TIME_TO_LIVE;
    store.record(&[server_span()], later);
    let samples = parse(&rendered(&store, later));
    let counts = named(&samples, "http_server_request_duration_seconds_count");
    assert_eq!(counts.len(), 1);
    assert_eq!(counts[0].labels["server_address"], "shop.example");
}

/// A port that was free a moment ago, and an endpoint on it.
fn started() -> (u16, Store) {
    loop {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let store = Store::of_defaults(Telemetry::new(), Keep::default());
        if server::start(&config(port), source(store.clone())).is_ok() {
            return (port, store);
        }
    }
}

fn config(port: u16) -> PrometheusConfig {
    PrometheusConfig {
        port,
        path: "/metrics".to_owned(),
        port_variable: "BEYLA_PROMETHEUS_PORT".to_owned(),
        native: NativeHistograms::default(),
    }
}

fn asked(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_endpoint_serves_text_at_its_path_only() {
    let (port, store) = started();
    store.record(&[server_span()], Instant::now());
    let metrics = asked(port, "GET /metrics?x=1 HTTP/1.0\r\n\r\n");
    assert!(metrics.starts_with("HTTP/1.0 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{metrics}");
    let body = metrics.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(named(&parse(body), "http_server_request_duration_seconds_count")[0].value, 1.);
    assert!(asked(port, "GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 404 "));
    assert!(asked(port, "POST /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 405 "));
}

#[test]
fn more_scrapers_than_slots_all_get_an_answer() {
    let (port, _store) = started();
    let scrape = move || asked(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let scrapers: Vec<_> = (0..20).map(|_| std::thread::spawn(scrape)).collect();
    for scraper in scrapers {
        assert!(scraper.join().unwrap().contains("ratatosk_build_info"));
    }
}

#[test]
fn a_port_in_use_is_an_error_that_names_port_and_variable() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = server::start(&config(port), source(Store::of_defaults(Telemetry::new(), Keep::default())))
        .unwrap_err();
    assert_eq!(error.exit(), crate::exit::Exit::Unavailable);
    assert_eq!(
        error.to_string(),
        format!(
            "port {port} for Prometheus is in use by another program: free it, \
             or set BEYLA_PROMETHEUS_PORT to another port"
        )
    );
}

#[test]
fn open_metrics_has_examples_and_an_end_for_whoever_asks() {
    let (port, store) = started();
    store.record(&[server_span()], Instant::now());
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let answer = asked(port, &format!("GET /metrics HTTP/1.0\r\n{accept}\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("\n# EOF\n"), "{body}");
    let (trace, span) = ("01".repeat(16), "02".repeat(8));
    let example =
        format!(" # {{trace_id=\"{trace}\",span_id=\"{span}\"}} 0.001234567 1700000000.124691356\n");
    assert_eq!(body.matches(&example).count(), 1, "{body}");
    for line in body.lines().filter(|line| line.starts_with("# TYPE ")) {
        assert!(!line.contains("_total"), "{line}");
    }
    assert!(body.contains("ratatosk_spans_exported_total{"), "{body}");
}

#[test]
fn a_span_that_is_left_out_of_metrics_makes_no_series() {
    let mut ignored = server_span();
    ignored.signals.metrics = false;
    let (text, _) = samples_of(&[ignored.clone()]);
    assert!(!text.contains("http_server_request_duration_seconds_count"), "{text}");
    ignored.signals.metrics = true;
    ignored.trace_flags = 0;
    let (text, _) = samples_of(&[ignored]);
    assert!(text.contains("http_server_request_duration_seconds_count"), "not sampled, but counted: {text}");
}

/// Label names of the first series of a metric, told to Prometheus alone.
fn labels_of(json: &str, name: &str) -> Vec<String> {
    let selection = AttributeSelection::new(&serde_json::from_str(json).unwrap()).unwrap();
    let readers = Readers { prometheus: true, otlp: false };
    let store = Store::new(Telemetry::new(), Keep::default(), &selection, readers);
    let now = Instant::now();
    store.record(&[server_span(), client_span()], now);
    let pieces = Source { selection, ..source(store) }.pieces(Format::Text, now);
    let samples = parse(&String::from_utf8(pieces.flatten().collect()).unwrap());
    named(&samples, name)[0].labels.keys().cloned().collect()
}

#[test]
fn a_metric_has_the_labels_that_are_selected_for_it() {
    let (duration, size) =
        ("http_server_request_duration_seconds_count", "http_server_request_body_size_bytes_sum");
    let add = r#"{"http_server_request_duration_seconds": {"include": ["*"], "exclude": ["s*"]}}"#;
    let added = [
        "client_address",
        "http_request_method",
        "http_response_status_code",
        "instance",
        "job",
        "url_path",
        "url_scheme",
    ];
    assert_eq!(labels_of(add, duration), added);
    assert_eq!(labels_of(add, size), labels_of("{}", size));
    assert_eq!(labels_of(r#"{"http.*": {"exclude": ["*"]}}"#, duration), [""; 0]);
    assert_eq!(
        labels_of(r#"{"http.client.*": {"include": ["http.route"]}}"#, duration),
        labels_of("{}", duration)
    );
    let info = ["instance", "job", "os_type", "service_name", "source"];
    assert_eq!(labels_of(r#"{"resource": {"include": ["os.*"]}}"#, "target_info"), info);
}

#[test]
fn a_service_that_is_described_anew_is_one_target() {
    let mut later = server_span();
    let described = crate::model::Service { language: "c".to_owned(), ..(*later.service).clone() };
    later.service = described.into();
    let (_, samples) = samples_of(&[server_span(), later]);
    assert_eq!(named(&samples, "http_server_request_duration_seconds_count").len(), 1);
    let info = named(&samples, "target_info");
    assert_eq!((info.len(), info[0].labels["telemetry_sdk_language"].as_str()), (1, "c"));
}

/// A port that was free a moment ago, and the exporters of a whole configuration on it.
fn started_with(settings: &str) -> (u16, Vec<BoxedExporter>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), settings).unwrap();
    loop {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let env = [("BEYLA_PROMETHEUS_PORT".to_owned(), port.to_string())];
        let config = crate::config::Config::load_with(Some(file.path()), env.into_iter()).unwrap();
        if let Ok(exporters) = crate::export::all(&config, &Telemetry::new()) {
            return (port, exporters);
        }
    }
}

#[test]
fn what_a_file_selects_reaches_the_endpoint() {
    let select = "attributes:\n  select:\n    http_server_*:\n      include: [url.path, service_name]\n";
    let (port, mut exporters) = started_with(select);
    let mut other = server_span();
    other.http.path = "/b".into();
    other.http.status = 500;
    let mut again = other.clone();
    again.http.status = 503;
    exporters.iter_mut().for_each(|exporter| exporter.export(&[server_span(), other.clone(), again.clone()]));
    let answer = asked(port, "GET /metrics HTTP/1.0\r\n\r\n");
    let counts: Vec<&str> = answer.lines().filter(|line| line.contains("duration_seconds_count")).collect();
    let line = |path, n| {
        format!(
            "http_server_request_duration_seconds_count{{service_name=\"nginx\",url_path=\"{path}\"}} {n}"
        )
    };
    assert_eq!(counts, [line("/b", 2), line("/users/7", 1)]);
}

#[test]
fn whoever_asks_for_protobuf_gets_it() {
    let (port, mut exporters) = started_with("{}");
    exporters.iter_mut().for_each(|exporter| exporter.export(&[server_span()]));
    let accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET /metrics HTTP/1.0\r\nAccept: {accept},text/plain;q=0.5\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap() + 4;
    let (head, mut body) = answer.split_at(end);
    let head = String::from_utf8_lossy(head);
    assert!(head.contains("io.prometheus.client.MetricFamily; encoding=delimited\r\n"), "{head}");
    let mut native = 0;
    while !body.is_empty() {
        let family: messages::MetricFamily = prost::Message::decode_length_delimited(&mut body).unwrap();
        let histograms = family.metric.iter().filter_map(|metric| metric.histogram.as_ref());
        native += histograms.filter(|histogram| histogram.schema == Some(3)).count();
    }
    assert_eq!(native, 3, "duration and two sizes");
}
