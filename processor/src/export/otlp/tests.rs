//! Attempts against a collector that misbehaves, in virtual time: minutes pass in milliseconds.

use super::answer::Failure;
use super::client::Payload;
use super::delivery::Delivered;
use super::*;
use crate::config::otlp::{Backoff, Headers, Protocol, Tls, endpoint};
use crate::export::samples::server_span;
use receiver::{Act, Receiver};
use std::net::SocketAddr;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

#[path = "../../../tests/receiver/mod.rs"]
mod receiver;

const ACCEPTED: Delivered = Delivered::Accepted { rejected: 0 };
const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

fn settings(url: &str, protocol: Protocol) -> Settings {
    Settings {
        endpoint: endpoint(url).unwrap(),
        protocol,
        headers: Headers::default(),
        timeout: Duration::from_secs(10),
        gzip: false,
        tls: Tls::default(),
        backoff: Backoff::default(),
    }
}

fn delivery_to(address: SocketAddr, protocol: Protocol, telemetry: &Telemetry) -> Delivery {
    let settings = settings(&format!("http://{address}/v1/traces"), protocol);
    let backoff = settings.backoff;
    Delivery::new(Client::new(settings, TRACE_SERVICE).unwrap(), "traces", backoff, telemetry.clone())
}

fn payload(delivery: &Delivery) -> Payload {
    delivery.payload(&spans::request(&[server_span()], &Machine::default()))
}

/// Delivers one request to a collector that acts so.
async fn delivered(protocol: Protocol, acts: impl IntoIterator<Item = Act>) -> (Delivered, Receiver) {
    let receiver = Receiver::new(acts);
    let address = receiver.start(protocol == Protocol::Grpc).await;
    let mut delivery = delivery_to(address, protocol, &Telemetry::new());
    let payload = payload(&delivery);
    (delivery.deliver(&payload).await, receiver)
}

fn gaps(receiver: &Receiver) -> Vec<Duration> {
    receiver.seen().windows(2).map(|pair| pair[1].at - pair[0].at).collect()
}

fn failed(reason: &'static str) -> Delivered {
    Delivered::Failed { reason }
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_is_sent_once() {
    for protocol in BOTH {
        let (outcome, receiver) = delivered(protocol, []).await;
        assert_eq!((outcome, receiver.seen().len()), (ACCEPTED, 1), "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partial_success_is_a_success() {
    for protocol in BOTH {
        let (outcome, receiver) = delivered(protocol, [Act::Partial(1, "too old")]).await;
        assert_eq!((outcome, receiver.seen().len()), (Delivered::Accepted { rejected: 1 }, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn unavailable_is_tried_again_after_a_back_off() {
    let acts = [503, 502, 504, 429].map(|status| Act::Http(status, None));
    let (outcome, receiver) = delivered(Protocol::HttpProtobuf, acts).await;
    assert_eq!(outcome, ACCEPTED);
    for (gap, full) in gaps(&receiver).into_iter().zip([500, 1_000, 2_000, 4_000]) {
        let full = Duration::from_millis(full);
        assert!((full / 2..full + Duration::from_millis(5)).contains(&gap), "{gap:?} of {full:?}");
    }
    assert_eq!(receiver.seen().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_in_seconds_and_as_a_date() {
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(100));
    let acts = [Act::Http(429, Some("37".to_owned())), Act::Http(503, Some(date))];
    let (outcome, receiver) = delivered(Protocol::HttpProtobuf, acts).await;
    assert_eq!(outcome, ACCEPTED);
    let gaps = gaps(&receiver);
    assert!(gaps[0] >= Duration::from_secs(37) && gaps[0] < Duration::from_secs(38), "{gaps:?}");
    assert!(gaps[1] >= Duration::from_secs(80) && gaps[1] <= Duration::from_secs(101), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn retry_info_is_waited_for() {
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(Duration::from_secs(41)));
    let busy = Status::with_error_details(Code::ResourceExhausted, "busy", details);
    let (outcome, receiver) = delivered(Protocol::Grpc, [Act::Grpc(Box::new(busy))]).await;
    assert_eq!(outcome, ACCEPTED);
    assert!(gaps(&receiver)[0] >= Duration::from_secs(41));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_not_sent_again() {
    let exhausted = || Act::Grpc(Box::new(Status::new(Code::ResourceExhausted, "message too large")));
    for (protocol, act) in [
        (Protocol::HttpProtobuf, Act::Http(400, None)),
        (Protocol::HttpProtobuf, Act::Http(401, None)),
        (Protocol::HttpProtobuf, Act::Http(500, None)),
        (Protocol::Grpc, Act::Grpc(Box::new(Status::new(Code::InvalidArgument, "no")))),
        (Protocol::Grpc, exhausted()),
        (Protocol::Grpc, Act::Http(404, None)),
    ] {
        let (outcome, receiver) = delivered(protocol, [act]).await;
        assert_eq!((outcome, receiver.seen().len()), (failed("rejected"), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_collector_may_have_taken_is_not_sent_again() {
    for protocol in BOTH {
        for act in [Act::Hang, Act::Close] {
            let (outcome, receiver) = delivered(protocol, [act]).await;
            assert_eq!((outcome, receiver.seen().len()), (Delivered::Unknown, 1), "{protocol:?}");
        }
    }
}

/// HTTP/2 finds out before a request is sent or after; HTTP/1.1 has sent it.
#[tokio::test(start_paused = true)]
async fn something_else_on_the_port_gets_a_request_at_most_once() {
    let (outcome, receiver) = delivered(Protocol::HttpProtobuf, [Act::Nonsense]).await;
    assert_eq!((outcome, receiver.seen().len()), (Delivered::Unknown, 0));
    let (outcome, receiver) = delivered(Protocol::Grpc, [Act::Nonsense]).await;
    let taken = usize::from(outcome == ACCEPTED);
    assert!(
        matches!(outcome, ACCEPTED | Delivered::Unknown) && receiver.seen().len() == taken,
        "{outcome:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hung_is_asked_anew_on_another_connection() {
    for protocol in BOTH {
        let receiver = Receiver::new([Act::Hang]);
        let address = receiver.start(protocol == Protocol::Grpc).await;
        let mut delivery = delivery_to(address, protocol, &Telemetry::new());
        let payload = payload(&delivery);
        assert_eq!(delivery.deliver(&payload).await, Delivered::Unknown);
        assert_eq!(delivery.deliver(&payload).await, ACCEPTED);
        assert_eq!(delivery.deliver(&payload).await, ACCEPTED);
        assert_eq!(receiver.connections(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_is_away_for_half_a_minute_gets_everything_once() {
    for protocol in BOTH {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let receiver = Receiver::default();
        let mut delivery = delivery_to(address, protocol, &Telemetry::new());
        let payload = payload(&delivery);
        let begun = Instant::now();
        let back = receiver.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(30)).await;
            let listener = tokio::net::TcpListener::bind(address).await.unwrap();
            back.serve(listener, protocol == Protocol::Grpc).await;
        });
        assert_eq!(delivery.deliver(&payload).await, ACCEPTED);
        assert!(begun.elapsed() < Duration::from_secs(36), "{:?}", begun.elapsed());
        assert_eq!(receiver.seen().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_stays_away_is_given_up() {
    let telemetry = Telemetry::new();
    let mut delivery = delivery_to("127.0.0.1:1".parse().unwrap(), Protocol::Grpc, &telemetry);
    let payload = payload(&delivery);
    let begun = Instant::now();
    assert_eq!(delivery.deliver(&payload).await, failed("retries_exhausted"));
    assert!((290..=300).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let mut text = String::new();
    telemetry.render(&mut text);
    assert!(text.contains("ratatosk_otlp_requests_total{signal=\"traces\",result=\"connect\"} "), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again_while_it_is_fresh() {
    for protocol in BOTH {
        let receiver = Receiver::default();
        let address = receiver.start(protocol == Protocol::Grpc).await;
        let mut delivery = delivery_to(address, protocol, &Telemetry::new());
        let payload = payload(&delivery);
        for (pause, connections) in [(0, 1), (5, 1), (30, 2)] {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            assert_eq!(delivery.deliver(&payload).await, ACCEPTED);
            assert_eq!(receiver.connections(), connections, "{protocol:?}");
        }
    }
}

#[test]
fn a_cause_is_one_line() {
    assert_eq!(Failure::new("connect", "a\nb").cause, "a b");
}

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
    let settings = TraceSettings {
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
    let (mut otlp, traces, receiver, telemetry) = traces(acts, 50).await;
    otlp.export(&vec![server_span(); 60]);
    assert_eq!(dropped(&telemetry, "queue_full"), 10);
    otlp.queue = None;
    traces.run().await;
    // 10 unconfirmed, 6 of 10 taken, 10 refused, 20 taken
    assert_eq!(receiver.seen().len(), 6);
    assert_eq!(exported(&telemetry), 26);
    let reasons = ["unconfirmed", "partial_success", "rejected"];
    assert_eq!(reasons.map(|reason| dropped(&telemetry, reason)), [10, 4, 10]);
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
    assert_eq!((receiver.seen().len(), exported(&telemetry), dropped(&telemetry, "not_sampled")), (1, 1, 1));
}
