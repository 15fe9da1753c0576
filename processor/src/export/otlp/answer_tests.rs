use super::*;
use hyper::header::HeaderValue;
use tonic_types::ErrorDetails;

fn http(status: u16, retry_after: Option<&str>) -> Answer {
    let mut headers = HeaderMap::new();
    if let Some(value) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
    }
    of_http(StatusCode::from_u16(status).unwrap(), &headers, &[])
}

fn grpc(status: &Status) -> Answer {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).unwrap();
    of_grpc(StatusCode::OK, Some(&trailers), &[])
}

fn wait(answer: &Answer) -> Option<Duration> {
    match answer {
        Answer::Later { wait, .. } => *wait,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_these_http_statuses_are_tried_again() {
    for status in 300..600 {
        let is_later = matches!(http(status, None), Answer::Later { .. });
        assert_eq!(is_later, [429, 502, 503, 504].contains(&status), "{status}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    assert_eq!(wait(&http(429, Some("7"))), Some(Duration::from_secs(7)));
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(30));
    let waits = wait(&http(503, Some(&date))).unwrap();
    assert!((Duration::from_secs(20)..=Duration::from_secs(30)).contains(&waits), "{waits:?}");
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    assert_eq!(wait(&http(503, Some(past))), Some(Duration::ZERO));
    assert_eq!(wait(&http(503, Some("soon"))), None);
}

#[test]
fn only_these_grpc_codes_are_tried_again() {
    use Code::{Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, Unavailable};
    for code in (1..17).map(Code::from_i32) {
        let is_later = matches!(grpc(&Status::new(code, "x")), Answer::Later { .. });
        let expected = [Cancelled, DeadlineExceeded, Aborted, OutOfRange, Unavailable, DataLoss];
        assert_eq!(is_later, expected.contains(&code), "{code:?}");
    }
}

#[test]
fn retry_info_says_when_and_makes_exhausted_resources_a_matter_of_time() {
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(Duration::from_millis(1_500)));
    for code in [Code::Unavailable, Code::ResourceExhausted] {
        let status = Status::with_error_details(code, "later", details.clone());
        assert_eq!(wait(&grpc(&status)), Some(Duration::from_millis(1_500)), "{code:?}");
    }
}

#[test]
fn a_partial_success_is_counted_and_a_foreign_body_is_ignored() {
    let partial = PartialSuccess { rejected: 3, error_message: "too\nold".to_owned() };
    let body = ExportResponse { partial_success: Some(partial) }.encode_to_vec();
    let accepted = |rejected, message: &str| Answer::Accepted { rejected, message: message.to_owned() };
    assert_eq!(of_http(StatusCode::OK, &HeaderMap::new(), &body), accepted(3, "too old"));
    assert_eq!(of_http(StatusCode::ACCEPTED, &HeaderMap::new(), b"{}"), accepted(0, ""));
    assert_eq!(of_http(StatusCode::OK, &HeaderMap::new(), b"\xff\xff\xff"), accepted(0, ""));
}

#[test]
fn an_answer_without_grpc_status_is_no_confirmation() {
    assert!(matches!(of_grpc(StatusCode::OK, None, &[]), Answer::Unknown(_)));
    assert!(matches!(of_grpc(StatusCode::NOT_FOUND, None, &[]), Answer::Refused(_)));
    assert!(matches!(of_grpc(StatusCode::SERVICE_UNAVAILABLE, None, &[]), Answer::Later { .. }));
}

#[test]
fn what_a_collector_says_stays_one_short_line() {
    let status = tonic_types::pb::Status { message: "a\r\nb\u{1b}".repeat(999), ..Default::default() };
    let Answer::Refused(failure) =
        of_http(StatusCode::BAD_REQUEST, &HeaderMap::new(), &status.encode_to_vec())
    else {
        panic!()
    };
    assert!(failure.cause.starts_with("400 Bad Request: a  b"), "{}", failure.cause);
    assert!(failure.cause.chars().count() <= MAX_TEXT && !failure.cause.contains(char::is_control));
}
