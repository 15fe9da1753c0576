//! A real Collector, Jaeger and Prometheus: what they have equals what the test did.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use nix::sys::signal::Signal;
use ratatosk_integration::{
    Agent, Options,
    agent::TOLD,
    backend::{Collector, Jaeger, Prometheus},
    client, guard,
    server::Server,
    span::Row,
    wait_until,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashSet},
    thread,
    time::{Duration, Instant},
};

/// Requests of a comparison field by field.
const COUNT: usize = 300;
/// Spans that wait for the Collector, at most: the exporter's default.
const QUEUE_SPANS: usize = 16_384;
/// Time of one request where the Collector has a hard time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// The Collector, or why the test is skipped.
fn collector(test: &str, traces_to: Option<u16>) -> Option<Collector> {
    Collector::start(traces_to).map_err(|reason| println!("skipped: {test}: {reason}")).ok()
}

/// Only the server: the Collector speaks HTTP too.
fn options(server: &Server, protocol: &str, port: u16) -> Options {
    let options = Options { settings: Vec::new(), ..Options::none() };
    options
        .with("OTEL_EBPF_OPEN_PORT", server.port)
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{port}"))
        .with("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .with("OTEL_METRIC_EXPORT_INTERVAL", 500)
        .with("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
}

/// Mixed requests, every seventh with a parent.
fn drive(server: &Server) {
    let kinds = [
        ("GET", "r", 0),
        ("POST", "r", 3000),
        ("GET", "gone", 0),
        ("GET", "error", 0),
        ("HEAD", "file", 0),
        ("GET", "file", 0),
    ];
    let mut connection = server.connect();
    for number in 0..COUNT {
        let (method, folder, body) = kinds[number % kinds.len()];
        let mut request = client::request(method, &format!("/{folder}/otlp-{number}"), body);
        if has_parent(number) {
            request = request.replacen("\r\n", &format!("\r\ntraceparent: 00-{TRACE}-{PARENT}-01\r\n"), 1);
        }
        connection.send(request.as_bytes()).unwrap();
        connection.response(method).unwrap();
    }
}

fn has_parent(number: usize) -> bool {
    number.is_multiple_of(7)
}

/// An attribute's value as text.
fn attribute(of: &Value, key: &str) -> Option<String> {
    let found = of["attributes"].as_array()?.iter().find(|attribute| attribute["key"] == key)?;
    let value = found["value"].as_object()?.values().next()?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Spans of the file with their resource, of paths that contain `part`.
fn spans(collector: &Collector, part: &str) -> Vec<(Value, Value)> {
    let mut found = Vec::new();
    for resource in collector.resource_spans() {
        for span in resource["scopeSpans"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|scope| scope["spans"].as_array().unwrap())
        {
            if attribute(span, "url.path").is_some_and(|path| path.contains(part)) {
                found.push((resource["resource"].clone(), span.clone()));
            }
        }
    }
    found
}

fn row(span: &Value) -> Row {
    let text = |key: &str| attribute(span, key).unwrap_or_default();
    let number = |key: &str| text(key).parse().unwrap_or_else(|_| panic!("{key}: {span}"));
    let status = text("http.response.status_code").parse().unwrap();
    (
        text("url.path"),
        text("http.request.method"),
        status,
        number("http.request.body.size"),
        number("http.response.body.size"),
    )
}

/// One Collector's file against the server's log and against what the agent printed, field by field.
fn receives_over(test: &str, protocol: &str, port: impl Fn(&Collector) -> u16) {
    let Some(_machine) = guard(test) else { return };
    let Some(collector) = collector(test, None) else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &options(&server, protocol, port(&collector)));
    drive(&server);
    let log: Vec<_> = server.rows("/", COUNT).into_iter().filter(|row| row.0.contains("/otlp-")).collect();
    wait_until("every span in the file", TOLD, || (spans(&collector, "/otlp-").len() >= COUNT).then_some(()));
    let told = spans(&collector, "/otlp-");
    let mut rows: Vec<_> = told.iter().map(|(_, span)| row(span)).collect();
    rows.sort();
    assert_eq!(rows, log, "the file and the server's log");
    assert_fields(&agent, &server, &told);
    assert_metrics(&collector, &server);
    agent.assert_no_drops();
    agent.stop();
}

fn assert_fields(agent: &Agent, server: &Server, told: &[(Value, Value)]) {
    let printed: BTreeMap<_, _> = agent.spans().into_iter().map(|span| (span.path.clone(), span)).collect();
    for (resource, span) in told {
        let path = attribute(span, "url.path").unwrap();
        let printed = &printed[&path];
        let text = |key: &str| span[key].as_str().unwrap_or_default();
        let micros = |key: &str| text(key).parse::<u64>().unwrap() / 1000;
        assert_eq!((text("traceId"), text("spanId")), (&*printed.trace_id, &*printed.span_id), "{path}");
        assert_eq!(
            (micros("startTimeUnixNano"), micros("endTimeUnixNano")),
            (printed.start_us, printed.end_us),
            "{path}"
        );
        assert_eq!(span["kind"], 2, "a server span");
        let number: usize = path.rsplit('-').next().unwrap().parse().unwrap();
        if has_parent(number) {
            assert_eq!((text("traceId"), text("parentSpanId")), (TRACE, PARENT), "{path}");
        } else {
            assert_eq!(text("parentSpanId"), "", "{path}");
        }
        let status: u16 = attribute(span, "http.response.status_code").unwrap().parse().unwrap();
        let is_error = status >= 500;
        assert_eq!(span["status"]["code"] == 2, is_error, "{path}: {span}");
        assert_eq!(attribute(span, "error.type"), is_error.then(|| status.to_string()), "{path}");
        let expected = [
            ("url.scheme", "http".to_owned()),
            ("server.address", "localhost".to_owned()),
            ("server.port", server.port.to_string()),
            ("client.address", "127.0.0.1".to_owned()),
            ("network.peer.address", "127.0.0.1".to_owned()),
            ("network.protocol.version", "1.1".to_owned()),
        ];
        for (key, value) in expected {
            assert_eq!(attribute(span, key).as_deref(), Some(&*value), "{path}: {key}");
        }
        assert_resource(resource);
    }
}

fn assert_resource(resource: &Value) {
    let executable = attribute(resource, "process.executable.path").unwrap();
    let expected = [
        ("service.name", "nginx"),
        ("process.executable.name", "nginx"),
        ("telemetry.distro.name", "ratatosk"),
        ("os.type", "linux"),
        ("deployment.environment.name", "test"),
        ("process.executable.path", &executable),
    ];
    for (key, value) in expected {
        assert_eq!(attribute(resource, key).as_deref(), Some(value), "{key}: {resource}");
    }
    let pid: u32 = attribute(resource, "process.pid").unwrap().parse().unwrap();
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/exe")).unwrap().to_string_lossy(), executable);
}

/// Count and sum over all series of the last export of `name`.
fn last_points(collector: &Collector, name: &str) -> (u64, f64) {
    let mut last: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    for resource in collector.resource_metrics() {
        for scope in resource["scopeMetrics"].as_array().unwrap() {
            for metric in scope["metrics"].as_array().unwrap().iter().filter(|metric| metric["name"] == name)
            {
                for point in metric["histogram"]["dataPoints"].as_array().unwrap() {
                    let count = point["count"].as_str().unwrap().parse().unwrap();
                    let series = format!("{} {}", resource["resource"], point["attributes"]);
                    last.insert(series, (count, point["sum"].as_f64().unwrap()));
                }
            }
        }
    }
    last.values().fold((0, 0.0), |(count, sum), one| (count + one.0, sum + one.1))
}

/// Counts and sums of all that the server answered, what came before the comparison too.
fn assert_metrics(collector: &Collector, server: &Server) {
    let all = spans(collector, "/");
    let rows: Vec<_> = all.iter().map(|(_, span)| row(span)).collect();
    assert!(rows.len() <= server.rows_now("/").len());
    let sum = |size: fn(&Row) -> u64| rows.iter().map(size).sum::<u64>();
    let expected = (u64::try_from(rows.len()).unwrap(), sum(|row| row.3), sum(|row| row.4));
    let seconds: f64 = all.iter().map(|(_, span)| nanos(span)).sum::<f64>() / 1e9;
    let what = "count, request bytes, response bytes";
    let said = wait_until(what, TOLD, || {
        let duration = last_points(collector, "http.server.request.duration");
        (duration.0 >= expected.0).then_some(duration)
    });
    assert_eq!(said.0, expected.0, "requests");
    assert!((said.1 - seconds).abs() < 1e-6 * seconds.max(1.0), "seconds: {} and {seconds}", said.1);
    for (name, bytes) in
        [("http.server.request.body.size", expected.1), ("http.server.response.body.size", expected.2)]
    {
        let (count, sum) = wait_until(name, TOLD, || {
            Some(last_points(collector, name)).filter(|points| points.0 >= expected.0)
        });
        assert_eq!(count, expected.0, "{name}");
        let bytes = f64::from(u32::try_from(bytes).unwrap());
        assert!((sum - bytes).abs() < 0.5, "{name}: {sum} and {bytes}");
    }
}

fn nanos(span: &Value) -> f64 {
    let time = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
    f64::from(u32::try_from(time("endTimeUnixNano") - time("startTimeUnixNano")).unwrap())
}

#[test]
fn a_collector_receives_over_grpc_what_the_test_did() {
    receives_over("a_collector_receives_over_grpc_what_the_test_did", "grpc", |collector| {
        collector.grpc_port
    });
}

#[test]
fn a_collector_receives_over_http_what_the_test_did() {
    receives_over("a_collector_receives_over_http_what_the_test_did", "http/protobuf", |collector| {
        collector.http_port
    });
}

#[test]
fn jaeger_and_prometheus_answer_queries_about_the_run() {
    let test = "jaeger_and_prometheus_answer_queries_about_the_run";
    let Some(_machine) = guard(test) else { return };
    let jaeger = match Jaeger::start() {
        Ok(jaeger) => jaeger,
        Err(reason) => return println!("skipped: {test}: {reason}"),
    };
    let Some(collector) = collector(test, Some(jaeger.grpc_port)) else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &options(&server, "grpc", collector.grpc_port));
    let prometheus = match Prometheus::start(&[
        ("collector", collector.prometheus_port),
        ("agent", agent.prometheus_port()),
    ]) {
        Ok(prometheus) => prometheus,
        Err(reason) => return println!("skipped: {test}: {reason}"),
    };
    drive(&server);
    assert_jaeger(&jaeger);
    let errors = f64::from(u32::try_from((0..COUNT).filter(|number| number % 6 == 3).count()).unwrap());
    for job in ["collector", "agent"] {
        let labels = format!("job=\"{job}\",service_name=\"nginx\",http_response_status_code=\"503\"");
        let query = format!("sum(http_server_request_duration_seconds_count{{{labels}}})");
        wait_until(&format!("Prometheus to count the errors from the {job}"), TOLD * 2, || {
            prometheus.number(&query).filter(|said| (said - errors).abs() < 0.5)
        });
    }
    let up = wait_until("both targets", TOLD, || prometheus.number("sum(up)").filter(|up| *up > 1.5));
    assert!((up - 2.0).abs() < 0.1);
    agent.stop();
}

fn assert_jaeger(jaeger: &Jaeger) {
    wait_until("Jaeger to know the service", TOLD, || {
        jaeger.get("/api/services")["data"].as_array()?.iter().any(|name| name == "nginx").then_some(())
    });
    let with_parent = (0..COUNT).filter(|number| has_parent(*number)).count();
    let trace = wait_until("Jaeger to have the trace", TOLD, || {
        let trace = jaeger.get(&format!("/api/traces/{TRACE}"))["data"][0].clone();
        (trace["spans"].as_array()?.len() >= with_parent).then_some(trace)
    });
    let spans = trace["spans"].as_array().unwrap();
    assert_eq!(spans.len(), with_parent);
    let tag = |span: &Value, key: &str| {
        span["tags"].as_array().unwrap().iter().find(|tag| tag["key"] == key).cloned()
    };
    assert!(spans.iter().all(|span| tag(span, "span.kind").is_some_and(|tag| tag["value"] == "server")));
    let paths: HashSet<_> =
        spans.iter().filter_map(|span| Some(tag(span, "url.path")?["value"].to_string())).collect();
    assert_eq!(paths.len(), with_parent, "each request once");
}

/// Asks at `per_second` over four connections while `until` does its work, then gives how many were asked.
fn at_rate(server: &Server, per_second: u32, prefix: &str, until: impl FnOnce()) -> usize {
    const CONNECTIONS: u32 = 4;
    let done = std::sync::atomic::AtomicBool::new(false);
    let pause = Duration::from_secs(1) * CONNECTIONS / per_second;
    thread::scope(|scope| {
        let done = &done;
        let line = |connection: u32| {
            let mut line = server.connect();
            let (mut number, mut next) = (0, Instant::now());
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                line.ask("GET", &format!("/r/{prefix}-{connection}-{number}"), 0).unwrap();
                number += 1;
                next += pause;
                thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            number
        };
        let lines: Vec<_> =
            (0..CONNECTIONS).map(|connection| scope.spawn(move || line(connection))).collect();
        until();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        lines.into_iter().map(|line| line.join().unwrap()).sum()
    })
}

#[test]
fn a_collector_that_was_away_for_30_s_has_each_span_once() {
    let test = "a_collector_that_was_away_for_30_s_has_each_span_once";
    let Some(_machine) = guard(test) else { return };
    let Some(mut collector) = collector(test, None) else { return };
    let server = Server::nginx();
    let agent = Agent::observing(&server, &options(&server, "grpc", collector.grpc_port));
    let asked = at_rate(&server, 400, "away", || {
        thread::sleep(Duration::from_secs(2));
        collector.stop();
        thread::sleep(Duration::from_secs(30));
        collector.resume();
        thread::sleep(Duration::from_secs(2));
    });
    println!("asked {asked} requests in 34 s");
    wait_until("every span in the file", TOLD * 2, || {
        (paths(&collector, "/away-").len() >= asked).then_some(())
    });
    // one that comes twice comes soon after
    thread::sleep(Duration::from_secs(2));
    let paths = paths(&collector, "/away-");
    let once: HashSet<_> = paths.iter().collect();
    assert_eq!((paths.len(), once.len()), (asked, asked), "each span exactly once");
    agent.assert_no_drops();
    assert_eq!(agent.scrape().non_zero("ratatosk_spans_dropped_total"), Vec::<String>::new());
    assert_accounts(&agent);
    agent.stop();
}

/// The path of every span of the file that contains `part`, copies too.
fn paths(collector: &Collector, part: &str) -> Vec<String> {
    spans(collector, part).iter().map(|(_, span)| attribute(span, "url.path").unwrap()).collect()
}

/// What holds at every scrape: produced = exported + dropped + held.
fn assert_accounts(agent: &Agent) {
    let scrape = agent.scrape();
    let of = |name: &str| scrape.sum(&format!("ratatosk_spans_{name}"), &["exporter=\"otlp\""]);
    let accounted = of("exported_total") + of("dropped_total") + of("held");
    assert_eq!(of("produced_total"), accounted, "produced = exported + dropped + held");
}

/// A Collector goes through an ordeal under load: no span is lost, and it has no more copies than the agent counts.
fn survives(test: &str, over: &str, port: fn(&Collector) -> u16, ordeal: fn(&mut Collector, &Agent)) {
    let Some(_machine) = guard(test) else { return };
    let Some(mut collector) = collector(test, None) else { return };
    let server = Server::nginx();
    let options = options(&server, over, port(&collector))
        .with("OTEL_EXPORTER_OTLP_TIMEOUT", REQUEST_TIMEOUT.as_millis())
        // A request is under way at almost every moment.
        .with("OTEL_BSP_SCHEDULE_DELAY", 20);
    let agent = Agent::observing(&server, &options);
    let asked = at_rate(&server, 400, "ordeal", || {
        thread::sleep(Duration::from_secs(1));
        ordeal(&mut collector, &agent);
        thread::sleep(Duration::from_secs(1));
    });
    let once = |paths: &[String]| paths.iter().collect::<HashSet<_>>().len();
    wait_until("every span in the file", TOLD * 4, || {
        (once(&paths(&collector, "/ordeal-")) >= asked).then_some(())
    });
    wait_until("nothing to be under way", TOLD, || {
        (agent.scrape().sum("ratatosk_spans_held", &[]) < 0.5).then_some(())
    });
    assert_accounts(&agent);
    agent.assert_no_drops();
    assert_eq!(agent.scrape().non_zero("ratatosk_spans_dropped_total"), Vec::<String>::new());
    let resent = resent(&agent);
    let paths = paths(&collector, "/");
    let copies = f64::from(u32::try_from(paths.len() - once(&paths)).unwrap());
    println!("{asked} requests, {copies} copies, {resent} spans sent again in doubt");
    assert!(copies <= resent, "{copies} copies, {resent} counted");
    agent.stop();
}

/// Killed again and again, and started again each time: at whatever it does, and with a request before it that it did not
/// read yet, until one surely was under way.
fn killed(collector: &mut Collector, agent: &Agent) {
    for round in 0..20 {
        if round % 2 == 1 {
            collector.signal(Signal::SIGSTOP);
            thread::sleep(REQUEST_TIMEOUT / 4);
        }
        collector.kill();
        thread::sleep(Duration::from_millis(300));
        assert_accounts(agent);
        collector.resume();
        thread::sleep(Duration::from_millis(300));
        if round >= 5 && resent(agent) > 0.0 {
            return;
        }
    }
    panic!("20 deaths, and no request was under way");
}

/// Spans that were sent again though the Collector may have had them.
fn resent(agent: &Agent) -> f64 {
    let labels = ["signal=\"traces\"", "reason=\"unconfirmed\""];
    agent.scrape().sum("ratatosk_otlp_items_resent_total", &labels).abs()
}

/// Stands still for longer than a request waits, three times over.
fn stopped(collector: &mut Collector, agent: &Agent) {
    collector.signal(Signal::SIGSTOP);
    thread::sleep(REQUEST_TIMEOUT * 3 + REQUEST_TIMEOUT / 2);
    assert_accounts(agent);
    collector.signal(Signal::SIGCONT);
}

#[test]
fn a_collector_that_is_killed_under_load_loses_no_span_over_grpc() {
    let test = "a_collector_that_is_killed_under_load_loses_no_span_over_grpc";
    survives(test, "grpc", |collector| collector.grpc_port, killed);
}

#[test]
fn a_collector_that_is_killed_under_load_loses_no_span_over_http() {
    let test = "a_collector_that_is_killed_under_load_loses_no_span_over_http";
    survives(test, "http/protobuf", |collector| collector.http_port, killed);
}

#[test]
fn a_collector_that_stands_still_loses_no_span_over_grpc() {
    let test = "a_collector_that_stands_still_loses_no_span_over_grpc";
    survives(test, "grpc", |collector| collector.grpc_port, stopped);
}

#[test]
fn a_collector_that_stands_still_loses_no_span_over_http() {
    let test = "a_collector_that_stands_still_loses_no_span_over_http";
    survives(test, "http/protobuf", |collector| collector.http_port, stopped);
}

#[test]
fn what_the_queue_does_not_hold_is_counted() {
    let test = "what_the_queue_does_not_hold_is_counted";
    let Some(_machine) = guard(test) else { return };
    let Some(mut collector) = collector(test, None) else { return };
    let server = Server::nginx();
    let quiet = options(&server, "grpc", collector.grpc_port).with("OTEL_EBPF_TRACE_PRINTER", "counter");
    let agent = Agent::start(&quiet);
    wait_until("the server to be observed", TOLD, || {
        agent.metrics().filter(|metrics| metrics.sum("ratatosk_processes_observed", &[]) >= 1.0)
    });
    collector.stop();
    let since = Instant::now();
    let asked = at_rate(&server, 4000, "flood", || thread::sleep(Duration::from_secs(10)));
    println!("asked {asked} requests in {:?}", since.elapsed());
    collector.resume();
    let number = |name: &str, label: &str| agent.scrape().sum(name, &["exporter=\"otlp\"", label]);
    let (sent, dropped) = wait_until("sent + dropped = produced", TOLD * 2, || {
        let sent = number("ratatosk_spans_exported_total", "");
        let dropped = number("ratatosk_spans_dropped_total", "reason=\"queue_full\"");
        assert_accounts(&agent);
        (sent + dropped >= f64::from(u32::try_from(asked).unwrap())).then_some((sent, dropped))
    });
    println!("sent {sent}, dropped {dropped}");
    let filed = wait_until("what was sent in the file", TOLD, || {
        let filed = spans(&collector, "/").len();
        (f64::from(u32::try_from(filed).unwrap()) >= sent).then_some(filed)
    });
    assert!(
        (f64::from(u32::try_from(filed).unwrap()) - sent).abs() < 0.5,
        "{filed} spans in the file, {sent} sent"
    );
    let produced = server.rows_now("/").len();
    assert_eq!(f64::from(u32::try_from(produced).unwrap()), sent + dropped, "produced = sent + dropped");
    if asked > QUEUE_SPANS + 1000 {
        assert!(dropped > 0.0, "{asked} do not fit into a queue of {QUEUE_SPANS}");
    }
    agent.stop();
}
