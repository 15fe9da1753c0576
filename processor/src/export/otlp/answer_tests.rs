use super::super::failure::MAX_TEXT;
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
        Answer::Later { wait, .. } | Answer::Unsure { wait, .. } => *wait,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_these_http_statuses_are_tried_again() {
    for status in 300..600 {
        let answer = http(status, None);
        assert_eq!(matches!(answer, Answer::Later { .. }), [429, 503].contains(&status), "{status}");
        assert_eq!(matches!(answer, Answer::Unsure { .. }), [502, 504].contains(&status), "{status}");
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
        let answer = grpc(&Status::new(code, "x"));
        let later = [Aborted, OutOfRange, Unavailable, DataLoss].contains(&code);
        assert_eq!(matches!(answer, Answer::Later { .. }), later, "{code:?}");
        let unsure = [Cancelled, DeadlineExceeded].contains(&code);
        assert_eq!(matches!(answer, Answer::Unsure { .. }), unsure, "{code:?}");
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
    let kind = |status| match of_grpc(status, None, &[]) {
        Answer::Refused(failure) => failure.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(StatusCode::OK), Kind::Unconfirmed);
    assert_eq!(kind(StatusCode::NOT_FOUND), Kind::Rejected);
    assert!(matches!(of_grpc(StatusCode::SERVICE_UNAVAILABLE, None, &[]), Answer::Later { .. }));
    assert!(matches!(of_grpc(StatusCode::GATEWAY_TIMEOUT, None, &[]), Answer::Unsure { .. }));
}

#[test]
fn a_refusal_says_what_it_was_told_and_what_helps() {
    let refused = |status: u16, body: &[u8]| match of_http(
        StatusCode::from_u16(status).unwrap(),
        &HeaderMap::new(),
        body,
    ) {
        Answer::Refused(failure) => failure,
        other => panic!("{other:?}"),
    };
    let plain = refused(400, b"Client sent an HTTP request to an HTTPS server.\n");
    assert_eq!(plain.cause, "400 Bad Request: Client sent an HTTP request to an HTTPS server.");
    assert_eq!(refused(400, b"\x00\x01\xff").cause, "400 Bad Request");
    for (status, word) in [(401, "HEADERS"), (404, "path"), (413, "BATCH_SIZE"), (307, "redirects")] {
        assert!(refused(status, b"").remedy.is_some_and(|remedy| remedy.contains(word)), "{status}");
    }
    let Answer::Refused(unknown) = grpc(&Status::new(Code::Unimplemented, "unknown service")) else {
        panic!()
    };
    assert!(unknown.remedy.is_some_and(|remedy| remedy.contains("4317")), "{unknown:?}");
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
