use super::*;
use crate::export::samples::{client_span, server_span, service};

const PROMETHEUS: Readers = Readers { prometheus: true, otlp: false };

fn store(json: &str, readers: Readers) -> Store {
    let selection = AttributeSelection::new(&serde_json::from_str(json).unwrap()).unwrap();
    Store::new(Telemetry::new(), Keep::default(), &selection, readers)
}

/// Series of each table, and the requests in them.
fn sizes(store: &Store) -> Vec<(usize, u64)> {
    let tables = store.snapshot(Instant::now()).requests;
    let size =
        |table: Table| (table.requests.series.len(), table.requests.series.values().map(Series::count).sum());
    tables.into_iter().map(size).collect()
}

fn with_path(path: &str) -> Span {
    let mut span = server_span();
    span.http.path = path.into();
    span
}

#[test]
fn only_what_is_told_tells_series_apart() {
    let spans: Vec<Span> = (0..100).map(|n| with_path(&format!("/users/{n}"))).collect();
    for (json, series) in [
        ("{}", 1),
        (r#"{"http.server.*": {"include": ["url.path"]}}"#, 100),
        (r#"{"*": {"exclude": ["*"]}}"#, 1),
    ] {
        let store = store(json, PROMETHEUS);
        store.record(&spans, Instant::now());
        assert_eq!(sizes(&store)[0], (series, 100), "{json}");
    }
}

#[test]
fn requests_of_a_status_that_is_not_told_are_counted_together() {
    let store = store(r#"{"*": {"exclude": ["http.response.*", "server.*"]}}"#, PROMETHEUS);
    let mut failed = server_span();
    failed.http.status = 500;
    failed.http.server_port = 1;
    failed.http.server_address = "other".into();
    store.record(&[server_span(), failed], Instant::now());
    assert_eq!(sizes(&store), [(1, 2), (0, 0)]);
    let table = &store.snapshot(Instant::now()).requests[0];
    let key = table.requests.series.keys().next().unwrap();
    assert_eq!((key.status, key.server_port, &*key.server_address), (0, 0, ""));
}

#[test]
fn a_process_without_instance_is_one_with_its_like_for_prometheus_and_itself_by_otlp() {
    let store =
        store(r#"{"http.server.*": {"exclude": ["instance"]}}"#, Readers { prometheus: true, otlp: true });
    let mut other = server_span();
    other.service = service("nginx", "host:43");
    store.record(&[server_span(), other, client_span()], Instant::now());
    assert_eq!(sizes(&store), [(1, 2), (2, 2), (1, 1), (1, 1)]);
}

#[test]
fn a_process_that_is_described_anew_is_the_same_target_and_another_resource() {
    let store = store("{}", Readers { prometheus: true, otlp: true });
    let mut later = server_span();
    later.service = Arc::new(Service { language: "c".to_owned(), ..(*later.service).clone() });
    let mut same = later.clone();
    same.service = Arc::new((*later.service).clone());
    store.record(&[server_span(), later, same], Instant::now());
    assert_eq!(sizes(&store), [(1, 3), (2, 3), (0, 0), (0, 0)]);
    let tables = store.snapshot(Instant::now());
    let languages = |service: &Service| service.language.clone();
    assert_eq!(tables.targets.services().into_iter().map(languages).collect::<Vec<_>>(), ["c"]);
    let resources = tables.requests[1].requests.series.keys().map(|key| key.service().language.clone());
    let mut resources: Vec<String> = resources.collect();
    resources.sort_unstable();
    assert_eq!(resources, ["", "c"]);
}

#[test]
fn an_attribute_that_anybody_writes_fills_its_own_metric_and_no_other() {
    let store = store(r#"{"http.server.request.duration": {"include": ["url.path"]}}"#, PROMETHEUS);
    let spans: Vec<Span> = (0..MAX_SERIES + 5).map(|n| with_path(&n.to_string())).collect();
    store.record(&spans, Instant::now());
    let requests = u64::try_from(MAX_SERIES + 5).unwrap();
    assert_eq!(sizes(&store), [(MAX_SERIES, requests - 5), (1, requests), (0, 0)]);
    let mut text = String::new();
    store.telemetry.render(&mut text);
    let overflow: Vec<&str> =
        text.lines().filter(|line| line.starts_with("ratatosk_series_overflow_total")).collect();
    let expected = "ratatosk_series_overflow_total{metric=\"http_server_request_duration_seconds\"} 5";
    assert_eq!(overflow, [expected]);
    // nobody told whose they are
    let table = &store.snapshot(Instant::now()).requests[0];
    assert_eq!(table.requests.overflow.keys().map(|name| &**name).collect::<Vec<_>>(), [""]);
}
