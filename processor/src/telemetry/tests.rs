use super::exposition::{self, Kind, Seconds};
use super::*;
use crate::model::{EndedBy, Incomplete};
use ratatosk_proto::v1;

fn rendered(telemetry: &Telemetry) -> String {
    let mut out = String::new();
    telemetry.render(&mut out);
    out
}

fn dropped(reason: &str, records: u64) -> v1::Dropped {
    v1::Dropped { reason: reason.to_owned(), records }
}

fn status() -> v1::Status {
    v1::Status {
        produced: vec![
            v1::Produced { kind: 1, records: 90 },
            v1::Produced { kind: 7_000, records: 4 },
            v1::Produced { kind: 70_000, records: 6 },
        ],
        acknowledged_records: 93,
        dropped: vec![dropped("queue_full", 5)],
        held_records: 2,
        kernel_dropped: vec![dropped("ring_full", 3)],
        payload_missing: vec![dropped("io_uring", 7)],
        server_restarts: 1,
        ..v1::Status::default()
    }
}

#[test]
fn the_loaders_counters_are_shown_as_they_came() {
    let telemetry = Telemetry::new();
    telemetry.loader_status(&status());
    let text = rendered(&telemetry);
    for line in [
        "ratatosk_records_produced_total{kind=\"chunk\"} 90",
        "ratatosk_records_produced_total{kind=\"unknown\"} 10",
        "ratatosk_records_acknowledged_total 93",
        "ratatosk_records_dropped_total{stage=\"server\",reason=\"queue_full\"} 5",
        "ratatosk_records_dropped_total{stage=\"probe\",reason=\"ring_full\"} 3",
        "ratatosk_records_held 2",
        "ratatosk_payload_missing_total{reason=\"io_uring\"} 7",
        "ratatosk_server_restarts_total 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
    }
}

#[test]
fn losses_of_every_stage_are_one_metric() {
    let telemetry = Telemetry::new();
    telemetry.loader_status(&status());
    telemetry.decode_error("too_short", 2);
    telemetry.decode_error("too_short", 1);
    telemetry.dropped("reassemble", "evicted", 4);
    let text = rendered(&telemetry);
    assert_eq!(text.matches("# TYPE ratatosk_records_dropped_total").count(), 1);
    assert!(
        text.contains("ratatosk_records_dropped_total{stage=\"decode\",reason=\"too_short\"} 3\n"),
        "{text}"
    );
    assert!(
        text.contains("ratatosk_records_dropped_total{stage=\"reassemble\",reason=\"evicted\"} 4\n"),
        "{text}"
    );
}

#[test]
fn every_reason_is_there_from_the_start_and_counts() {
    let telemetry = Telemetry::new();
    telemetry.clone().incomplete(Incomplete::CaptureCut, 3);
    telemetry.ended_by(EndedBy::Silence, 2);
    let text = rendered(&telemetry);
    assert!(text.contains("ratatosk_exchanges_incomplete_total{reason=\"capture_cut\"} 3\n"), "{text}");
    assert!(text.contains("ratatosk_exchanges_incomplete_total{reason=\"gap\"} 0\n"), "{text}");
    assert!(text.contains("ratatosk_exchanges_ended_total{by=\"silence\"} 2\n"), "{text}");
}

#[test]
fn a_status_that_names_too_much_is_cut() {
    let telemetry = Telemetry::new();
    let many = (0..10_000).map(|i| dropped(&format!("{i}{}", "é".repeat(1_000)), 1)).collect();
    telemetry.loader_status(&v1::Status { dropped: many, ..v1::Status::default() });
    assert!(rendered(&telemetry).len() < 20_000);
}

#[test]
fn the_same_reason_twice_makes_one_line() {
    let telemetry = Telemetry::new();
    let twice = vec![dropped("x", 1), dropped("x", 2)];
    telemetry.loader_status(&v1::Status { dropped: twice, ..v1::Status::default() });
    assert!(
        rendered(&telemetry).contains("ratatosk_records_dropped_total{stage=\"server\",reason=\"x\"} 3\n")
    );
}

#[test]
fn label_values_are_escaped_and_empty_ones_left_out() {
    let mut out = String::new();
    exposition::head(&mut out, "m", Kind::Gauge, "Help.");
    exposition::sample(&mut out, "m", [("a", "q\"b\\n\nx"), ("b", "")], 1);
    exposition::sample(&mut out, "m", [("b", "")], 2);
    assert_eq!(out, "# HELP m Help.\n# TYPE m gauge\nm{a=\"q\\\"b\\\\n\\nx\"} 1\nm 2\n");
}

#[test]
fn seconds_keep_every_digit() {
    for (ns, text) in
        [(0, "0"), (1, "0.000000001"), (5_000_000, "0.005"), (1_500_000_000, "1.5"), (60_000_000_000, "60")]
    {
        assert_eq!(Seconds(ns).to_string(), text);
    }
}

#[test]
fn processes_are_counted_by_state_and_reason_and_the_rest_is_zero() {
    use crate::discover::{Miss, Standing};
    let telemetry = Telemetry::new();
    let missed = Standing::NotSelected(Miss::Port);
    telemetry.processes([missed, Standing::Own, missed].into_iter());
    let text = rendered(&telemetry);
    for line in [
        "ratatosk_processes{state=\"not_selected\",reason=\"port\"} 2",
        "ratatosk_processes{state=\"own\",reason=\"agent\"} 1",
        "ratatosk_processes{state=\"observed\",reason=\"selector\"} 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
    }
    telemetry.processes(std::iter::empty());
    assert!(rendered(&telemetry).contains("ratatosk_processes{state=\"own\",reason=\"agent\"} 0\n"));
}
