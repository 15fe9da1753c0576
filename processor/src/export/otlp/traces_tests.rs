use super::super::tests::receiver::{Act, Receiver};
use super::super::tests::settings;
use super::super::{Common, Exporter, Otlp};
use super::*;
use crate::config::otlp::Protocol;
use crate::export::samples::server_span;
use std::sync::mpsc as sync_mpsc;
use std::time::Duration;
use tokio::sync::watch;

/// The worker, its queue of `queue_spans`, and the collector that it sends to.
async fn traces(
    acts: impl IntoIterator<Item = Act>,
    queue_spans: usize,
) -> (Otlp, Traces, Receiver, Telemetry) {
    let receiver = Receiver::new(acts);
    let address = receiver.start(true).await;
    let telemetry = Telemetry::new();
    let (stop, stopped) = watch::channel(None);
    let common = Common { machine: Machine::default(), stop: Stop(stopped), telemetry: telemetry.clone() };
    let settings = Settings {
        settings: settings(&format!("http://{address}"), Protocol::Grpc),
        batch_spans: 10,
        queue_spans,
        batch_delay: Duration::from_secs(5),
    };
    let (queue, traces) = common.traces(settings).unwrap();
    let (_, ended) = sync_mpsc::channel();
    let within = Duration::from_secs(10);
    (
        Otlp { queue: Some(queue), stop, ended, within, telemetry: telemetry.clone() },
        traces,
        receiver,
        telemetry,
    )
}

fn value(telemetry: &Telemetry, sample: &str) -> u64 {
    let mut text = String::new();
    telemetry.render(&mut text);
    let line = text.lines().find(|line| line.starts_with(sample));
    line.and_then(|line| line.rsplit(' ').next()).map_or(0, |value| value.parse().unwrap())
}

fn dropped(telemetry: &Telemetry, reason: &str) -> u64 {
    value(telemetry, &format!("ratatosk_spans_dropped_total{{exporter=\"otlp\",reason=\"{reason}\"}}"))
}

fn exported(telemetry: &Telemetry) -> u64 {
    value(telemetry, "ratatosk_spans_exported_total{exporter=\"otlp\"}")
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_leaves_at_once_and_the_rest_after_its_delay() {
    let (mut otlp, traces, receiver, telemetry) = traces([], 100).await;
    let begun = Instant::now();
    tokio::spawn(traces.run());
    otlp.export(&vec![server_span(); 13]);
    let seen = receiver.saw(2).await;
    assert!(seen[0].at - begun < Duration::from_secs(1));
    assert!(seen[1].at - begun >= Duration::from_secs(5));
    while exported(&telemetry) < 13 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_newest_and_every_span_is_counted_once() {
    let acts = [Act::Http(503, None), Act::Close, Act::Partial(4, ""), Act::Http(400, None)];
    let resent = |telemetry: &Telemetry, what: &str, reason: &str| {
        let name = format!("ratatosk_otlp_{what}_resent_total");
        value(telemetry, &format!("{name}{{signal=\"traces\",reason=\"{reason}\"}}"))
    };
    let (mut otlp, traces, receiver, telemetry) = traces(acts, 50).await;
    otlp.export(&vec![server_span(); 60]);
    assert_eq!(dropped(&telemetry, "queue_full"), 10);
    otlp.queue = None;
    traces.run().await;
    // the first batch thrice: unavailable, unconfirmed, 6 of 10 taken; then 10 refused, 30 taken
    assert_eq!(receiver.seen().len(), 7);
    assert_eq!(exported(&telemetry), 36);
    let reasons = ["unconfirmed", "partial_success", "rejected"];
    assert_eq!(reasons.map(|reason| dropped(&telemetry, reason)), [0, 4, 10]);
    for reason in ["unavailable", "unconfirmed"] {
        assert_eq!(resent(&telemetry, "requests", reason), 1);
        assert_eq!(resent(&telemetry, "items", reason), 10);
    }
    let held = value(&telemetry, "ratatosk_spans_held{exporter=\"otlp\"}");
    let produced = value(&telemetry, "ratatosk_spans_produced_total{exporter=\"otlp\"}");
    assert_eq!((held, produced), (0, 60));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_delivered_within_the_time_to_end_is_counted() {
    let (mut otlp, traces, _receiver, telemetry) = traces((0..99).map(|_| Act::Hang), 100).await;
    otlp.export(&vec![server_span(); 25]);
    let begun = Instant::now();
    otlp.queue = None;
    otlp.stop.send(Some(Instant::now() + Duration::from_secs(15))).unwrap();
    traces.run().await;
    assert_eq!(begun.elapsed().as_secs(), 15);
    assert_eq!((dropped(&telemetry, "unconfirmed"), dropped(&telemetry, "shutdown")), (10, 15));
}

#[tokio::test(start_paused = true)]
async fn a_trace_that_is_not_sampled_is_not_sent() {
    let (mut otlp, traces, receiver, telemetry) = traces([], 100).await;
    let mut span = server_span();
    span.trace_flags = 0;
    otlp.export(&[span, server_span()]);
    otlp.queue = None;
    traces.run().await;
    assert_eq!((receiver.seen().len(), exported(&telemetry), dropped(&telemetry, "not_sampled")), (1, 1, 0));
    assert_eq!(value(&telemetry, "ratatosk_spans_produced_total"), 1);
}
