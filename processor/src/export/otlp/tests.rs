//! Attempts against a collector that misbehaves, in virtual time: minutes pass in milliseconds.

use super::answer::Answer;
use super::delivery::Delivered;
use super::failure::{Failure, Kind};
use super::request::Payload;
use super::retry::MAX_LOST;
use super::*;
use crate::config::otlp::{Backoff, Headers, Protocol, Tls, endpoint};
use crate::export::samples::server_span;
use receiver::{Act, Raw, Receiver};
use std::net::SocketAddr;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

#[path = "../../../tests/receiver/mod.rs"]
pub(super) mod receiver;

const ACCEPTED: Delivered = Delivered::Accepted { rejected: 0 };
const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

pub(super) fn settings(url: &str, protocol: Protocol) -> Settings {
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
    let common = Common {
        machine: Machine::default(),
        stop: Stop(watch::channel(None).1),
        telemetry: telemetry.clone(),
    };
    common.delivery("traces", TRACE_SERVICE, settings, InDoubt::SendAgain).unwrap()
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
    (delivery.deliver(&payload, 1).await, receiver)
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
async fn what_a_collector_may_have_taken_is_sent_again() {
    for protocol in BOTH {
        for act in [Act::Hang, Act::Close, Act::Http(502, None), Act::Http(504, None)] {
            let (outcome, receiver) = delivered(protocol, [act]).await;
            assert_eq!((outcome, receiver.seen().len()), (ACCEPTED, 2), "{protocol:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fells_every_collector_is_given_up() {
    let most = usize::try_from(MAX_LOST).unwrap();
    for protocol in BOTH {
        let (outcome, receiver) = delivered(protocol, vec![Act::Close; 100]).await;
        assert_eq!((outcome, receiver.seen().len()), (Delivered::Unknown, most), "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn something_else_on_the_port_is_left_for_the_collector_that_comes_back() {
    for protocol in BOTH {
        let (outcome, receiver) = delivered(protocol, [Act::Raw(Raw::Nonsense)]).await;
        assert_eq!((outcome, receiver.seen().len()), (ACCEPTED, 1), "{protocol:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hung_is_asked_anew_on_another_connection() {
    for protocol in BOTH {
        let receiver = Receiver::new([Act::Hang]);
        let address = receiver.start(protocol == Protocol::Grpc).await;
        let mut delivery = delivery_to(address, protocol, &Telemetry::new());
        let payload = payload(&delivery);
        for _ in 0..3 {
            assert_eq!(delivery.deliver(&payload, 1).await, ACCEPTED);
        }
        assert_eq!((receiver.connections(), receiver.seen().len()), (2, 4));
    }
}

/// What the first attempt ends with at a server of the other language.
async fn first_failure(asked: Protocol, spoken: Protocol) -> Failure {
    let address = Receiver::default().start(spoken == Protocol::Grpc).await;
    failure_at(address, asked).await
}

async fn failure_at(address: SocketAddr, protocol: Protocol) -> Failure {
    let mut delivery = delivery_to(address, protocol, &Telemetry::new());
    let payload = payload(&delivery);
    let mut stop = delivery.stop.clone();
    match delivery.client.send(&payload, &mut stop).await {
        Answer::Later { failure, .. } => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_speaks_another_protocol_is_told_with_its_remedy() {
    let http = first_failure(Protocol::Grpc, Protocol::HttpProtobuf).await;
    assert!(http.remedy.is_some_and(|remedy| remedy.contains("=http/protobuf")), "{http:?}");
    let grpc = first_failure(Protocol::HttpProtobuf, Protocol::Grpc).await;
    assert_eq!(grpc.cause, "the port speaks HTTP/2 where HTTP/1.1 was expected");
    assert!(grpc.remedy.is_some_and(|remedy| remedy.contains("=grpc")), "{grpc:?}");
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_is_not_there_or_silent_is_told_with_its_step_and_remedy() {
    let absent = failure_at("127.0.0.1:1".parse().unwrap(), Protocol::Grpc).await;
    assert_eq!(absent.cause, "cannot connect: Connection refused (os error 111)");
    let receiver = Receiver::new([Act::Raw(Raw::Silent)]);
    let silent = failure_at(receiver.start(true).await, Protocol::Grpc).await;
    assert_eq!(silent.cause, "connected, waiting for a greeting: no answer in time");
    for failure in [absent, silent] {
        assert_eq!(failure.kind, Kind::Connect);
        assert!(failure.remedy.is_some_and(|remedy| remedy.contains("OTEL_EXPORTER_OTLP_ENDPOINT")));
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
        assert_eq!(delivery.deliver(&payload, 1).await, ACCEPTED);
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
    assert_eq!(delivery.deliver(&payload, 1).await, failed("retries_exhausted"));
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
            assert_eq!(delivery.deliver(&payload, 1).await, ACCEPTED);
            assert_eq!(receiver.connections(), connections, "{protocol:?}");
        }
    }
}

#[test]
fn a_cause_is_one_line() {
    assert_eq!(Failure::new(Kind::Connect, "a\nb").cause, "a b");
}
