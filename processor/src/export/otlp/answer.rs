//! What became of a request: the one decision that counts spans as sent, keeps them for later, or gives them up.
//!
//! Every span reaches a collector at most once. So a request is sent again only if it surely was not taken: nothing of
//! it was sent, or the collector said so. Where a connection breaks, or time passes, after bytes were sent and before an
//! answer came, nobody knows; then the spans are given up and counted as `unconfirmed`.
//!
//! spec <https://opentelemetry.io/docs/specs/otlp/>, failures of OTLP/gRPC and of OTLP/HTTP

use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, StatusCode};
use prost::Message;
use std::time::{Duration, SystemTime};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Characters of a collector's text that are logged.
const MAX_TEXT: usize = 300;

/// What became of a request.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// The collector took it, but for so many items.
    Accepted { rejected: u64, message: String },
    /// It surely was not taken; another attempt may succeed, not before the wait that the collector asks for.
    Later { wait: Option<Duration>, failure: Failure },
    /// It was refused, and would be again.
    Refused(Failure),
    /// Nobody knows.
    Unknown(Failure),
}

/// A kind to be counted and a cause to be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Failure {
    pub(super) kind: &'static str,
    pub(super) cause: String,
}

impl Failure {
    pub(super) fn new(kind: &'static str, cause: impl std::fmt::Display) -> Self {
        Self { kind, cause: shown(&cause.to_string()) }
    }
}

/// One line, not too long: a collector's text is not ours.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
}

/// The answer to OTLP over HTTP.
pub(super) fn of_http(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Answer {
    if status.is_success() {
        return partial_success(body);
    }
    let told = tonic_types::pb::Status::decode(body).map(|status| status.message).unwrap_or_default();
    let cause = if told.is_empty() { status.to_string() } else { format!("{status}: {told}") };
    match status {
        StatusCode::TOO_MANY_REQUESTS => {
            Answer::Later { wait: retry_after(headers), failure: Failure::new("throttled", cause) }
        }
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Answer::Later { wait: retry_after(headers), failure: Failure::new("unavailable", cause) }
        }
        _ => Answer::Refused(Failure::new("rejected", cause)),
    }
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The answer to OTLP over gRPC. `trailers` are the headers where there is no body.
pub(super) fn of_grpc(status: StatusCode, trailers: Option<&HeaderMap>, body: &[u8]) -> Answer {
    let Some(told) = trailers.and_then(Status::from_header_map) else {
        return without_grpc_status(status);
    };
    let cause = format!("{:?}: {}", told.code(), told.message());
    let wait = told.get_details_retry_info().and_then(|info| info.retry_delay);
    match told.code() {
        Code::Ok => partial_success(unframed(body)),
        Code::ResourceExhausted if wait.is_some() => {
            Answer::Later { wait, failure: Failure::new("throttled", cause) }
        }
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Answer::Later { wait, failure: Failure::new("unavailable", cause) },
        _ => Answer::Refused(Failure::new("rejected", cause)),
    }
}

/// Something that speaks HTTP/2 but not gRPC: a proxy before the collector, or not a collector at all.
fn without_grpc_status(status: StatusCode) -> Answer {
    match status {
        StatusCode::OK => Answer::Unknown(Failure::new("unconfirmed", "an answer without grpc-status")),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            Answer::Later { wait: None, failure: Failure::new("unavailable", status) }
        }
        _ => Answer::Refused(Failure::new("rejected", status)),
    }
}

/// The message without the five bytes before it.
fn unframed(body: &[u8]) -> &[u8] {
    body.get(5..).unwrap_or_default()
}

/// Both signals' partial success has the same fields: the rejected number, then a text.
#[derive(prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

#[derive(prost::Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// A body that is none of ours (JSON, text) adds nothing to the status: the request was taken.
fn partial_success(body: &[u8]) -> Answer {
    let partial = ExportResponse::decode(body).ok().and_then(|response| response.partial_success);
    let partial = partial.unwrap_or_default();
    Answer::Accepted {
        rejected: u64::try_from(partial.rejected).unwrap_or_default(),
        message: shown(&partial.error_message),
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
