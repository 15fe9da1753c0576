//! Native histograms as a real Prometheus took them, beside the classic ones that another took from the same agent.

#![allow(clippy::unwrap_used, reason = "a test panics with what it wanted")]

use ratatosk_integration::{
    Agent, Options, agent::TOLD, backend::Prometheus, guard, server::Server, wait_until,
};
use std::time::Duration;

/// Requests before anything is asked.
const COUNT: u32 = 200;
/// Prometheus scrapes each half second; a machine that builds has its pauses.
const PATIENCE: Duration = Duration::from_secs(60);
const DURATION: &str = "http_server_request_duration_seconds";
const SIZE: &str = "http_server_response_body_size_bytes";
/// Our server, not Prometheus' own metrics.
const OURS: &str = "{service_name=\"nginx\"}";
/// Buckets of schema 3 and 2 grow by 1.09 and 1.19.
const GROWTH: f64 = 1.2;

/// The Prometheus, or why the test is skipped.
fn started(test: &str, prometheus: Result<Prometheus, String>) -> Option<Prometheus> {
    prometheus.map_err(|reason| println!("skipped: {test}: {reason}")).ok()
}

fn observe(server: &Server) -> Agent {
    let options =
        Options { settings: Vec::new(), ..Options::none() }.with("OTEL_EBPF_OPEN_PORT", server.port);
    let agent = Agent::start(&options);
    agent.wait_until_observing(|path| {
        server.connect().ask("GET", path, 0).unwrap();
    });
    agent
}

fn drive(server: &Server) {
    let mut connection = server.connect();
    for number in 0..COUNT {
        connection.ask("GET", &format!("/r/native-{number}"), 0).unwrap();
    }
}

fn is_near(said: f64, wanted: f64) -> bool {
    (said - wanted).abs() <= 1e-9 * wanted.abs()
}

/// Waits until a query gives `wanted`.
fn gives(prometheus: &Prometheus, query: &str, wanted: f64) {
    wait_until(&format!("{query} = {wanted}"), PATIENCE, || {
        prometheus.number(query).filter(|said| is_near(*said, wanted))
    });
}

/// The two middle durations that were told, in seconds.
fn medians(agent: &Agent) -> (f64, f64) {
    let mut durations: Vec<u64> =
        agent.spans().iter().filter(|span| span.is_server).map(|span| span.end_us - span.start_us).collect();
    durations.sort_unstable();
    let at = |n: usize| f64::from(u32::try_from(durations[n]).unwrap()) / 1e6;
    (at((durations.len() - 1) / 2), at(durations.len() / 2))
}

#[test]
fn a_prometheus_that_asks_gets_native_histograms_and_another_the_classic_ones() {
    let test = "a_prometheus_that_asks_gets_native_histograms_and_another_the_classic_ones";
    let Some(_machine) = guard(test) else { return };
    let server = Server::nginx();
    let agent = observe(&server);
    let jobs = [("agent", agent.prometheus_port())];
    let Some(native) = started(test, Prometheus::start_with_native_histograms(&jobs)) else { return };
    let Some(classic) = started(test, Prometheus::start(&jobs)) else { return };
    drive(&server);
    wait_until("every request to be told", TOLD, || {
        let told = agent.spans().iter().filter(|span| span.path.contains("/native-")).count();
        (told == usize::try_from(COUNT).unwrap()).then_some(())
    });
    let scrape = agent.scrape();
    for metric in [DURATION, SIZE] {
        let of = |what: &str| scrape.sum(&format!("{metric}_{what}"), &["service_name=\"nginx\""]);
        assert!(of("count") >= f64::from(COUNT));
        gives(&native, &format!("sum(histogram_count({metric}{OURS}))"), of("count"));
        gives(&native, &format!("sum(histogram_sum({metric}{OURS}))"), of("sum"));
        gives(&classic, &format!("sum({metric}_count{OURS})"), of("count"));
        gives(&classic, &format!("sum({metric}_sum{OURS})"), of("sum"));
    }
    assert_eq!(classic.number(&format!("histogram_count({DURATION}{OURS})")), None, "nobody asked for it");
    assert_quantiles(&agent, &native);
    assert_rates(&server, &native, &classic);
    assert_examples(&agent, &native);
    // each process of the server is one
    gives(&native, "min(target_info{telemetry_sdk_name=\"ratatosk\"})", 1.0);
    gives(&native, "ratatosk_build_info", 1.0);
    agent.stop();
}

/// Near the truth by a bucket's width, which no fixed bucket below 5 ms could say.
fn assert_quantiles(agent: &Agent, native: &Prometheus) {
    let (low, high) = medians(agent);
    let query = format!("histogram_quantile(0.5, sum({DURATION}{OURS}))");
    let said = native.number(&query).unwrap();
    assert!(low / GROWTH <= said && said <= high * GROWTH, "{low} {high} and {said}");
    let size = native.number(&format!("histogram_quantile(0.5, sum({SIZE}{OURS}))")).unwrap();
    assert!(size.is_finite() && size >= 0.0, "{size}");
}

/// Rates need requests between two scrapes.
fn assert_rates(server: &Server, native: &Prometheus, classic: &Prometheus) {
    for (prometheus, query) in [
        (native, format!("sum(histogram_count(rate({DURATION}{OURS}[30s])))")),
        (native, format!("histogram_quantile(0.9, sum(rate({DURATION}{OURS}[30s])))")),
        (classic, format!("sum(rate({DURATION}_count{OURS}[30s]))")),
        (classic, format!("histogram_quantile(0.9, sum by (le) (rate({DURATION}_bucket{OURS}[30s])))")),
    ] {
        wait_until(&query, PATIENCE, || {
            server.connect().ask("GET", "/r/rate", 0).unwrap();
            prometheus.number(&query).filter(|said| *said > 0.0)
        });
    }
}

/// An example leads to a span that was told.
fn assert_examples(agent: &Agent, native: &Prometheus) {
    let examples = wait_until("examples", PATIENCE, || {
        Some(native.examples(&format!("{DURATION}{OURS}"))).filter(|examples| !examples.is_empty())
    });
    let told = agent.spans();
    for example in examples {
        let trace = &example["labels"]["trace_id"];
        assert!(told.iter().any(|span| *trace == *span.trace_id), "{example}");
    }
}
