//! What became of one attempt: the one decision that counts items as taken, sends them again, or gives them up.
//!
//! Where a connection breaks, or time passes, after bytes were sent and before an answer came, nobody knows whether the
//! collector has them. Then OTLP prefers twice to never ("Duplicate Data"): [`super::delivery`] sends again where the
//! receiver can tell the second copy from the first.
//!
//! spec <https://opentelemetry.io/docs/specs/otlp/>, failures of OTLP/gRPC and of OTLP/HTTP, duplicate data

use super::failure::{Failure, Kind, against_code, against_status, shown};
use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, StatusCode};
use prost::Message;
use std::time::{Duration, SystemTime};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// What became of an attempt.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// The collector took it, but for so many items.
    Accepted { rejected: u64, message: String },
    /// It surely was not taken; another attempt may succeed, not before the wait that the collector asks for.
    Later { wait: Option<Duration>, failure: Failure },
    /// Whoever answered asks for another attempt, and can't know whether this one was taken: a gateway, or a deadline
    /// that passed behind it.
    Unsure { wait: Option<Duration>, failure: Failure },
    /// No whole answer came: it may have been taken.
    Lost(Failure),
    /// It must not be sent again. Kind unconfirmed: and yet it may have been taken.
    Refused(Failure),
}

/// The answer to OTLP over HTTP.
pub(super) fn of_http(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Answer {
    if status.is_success() {
        return partial_success(body);
    }
    let told = told(body);
    let cause = if told.is_empty() { status.to_string() } else { format!("{status}: {told}") };
    let (wait, failure) = (retry_after(headers), |kind| Failure::new(kind, &cause));
    match status {
        StatusCode::TOO_MANY_REQUESTS => Answer::Later { wait, failure: failure(Kind::Throttled) },
        StatusCode::SERVICE_UNAVAILABLE => Answer::Later { wait, failure: failure(Kind::Unavailable) },
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Answer::Unsure { wait, failure: failure(Kind::Unconfirmed) }
        }
        _ => Answer::Refused(failure(Kind::Rejected).with(against_status(status))),
    }
}

/// Why a collector refuses: a message of its own kind, or the plain text of whatever else answers.
fn told(body: &[u8]) -> String {
    let status = tonic_types::pb::Status::decode(body).map(|status| status.message).unwrap_or_default();
    if !status.is_empty() {
        return status;
    }
    let is_text = |text: &&str| !text.contains(|c: char| c.is_control() && !c.is_whitespace());
    str::from_utf8(body).ok().filter(is_text).map(str::to_owned).unwrap_or_default()
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
    let failure = |kind| Failure::new(kind, &cause);
    match told.code() {
        Code::Ok => partial_success(unframed(body)),
        Code::ResourceExhausted if wait.is_some() => {
            Answer::Later { wait, failure: failure(Kind::Throttled) }
        }
        Code::Aborted | Code::OutOfRange | Code::Unavailable | Code::DataLoss => {
            Answer::Later { wait, failure: failure(Kind::Unavailable) }
        }
        Code::Cancelled | Code::DeadlineExceeded => {
            Answer::Unsure { wait, failure: failure(Kind::Unconfirmed) }
        }
        code => Answer::Refused(failure(Kind::Rejected).with(against_code(code))),
    }
}

/// Something that speaks HTTP/2 but not gRPC: a proxy before the collector, or not a collector at all.
fn without_grpc_status(status: StatusCode) -> Answer {
    match status {
        // gRPC calls that UNKNOWN, which OTLP does not try again.
        StatusCode::OK => Answer::Refused(Failure::new(Kind::Unconfirmed, "an answer without grpc-status")),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Answer::Later { wait: None, failure: Failure::new(Kind::Unavailable, status) }
        }
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Answer::Unsure { wait: None, failure: Failure::new(Kind::Unconfirmed, status) }
        }
        _ => Answer::Refused(Failure::new(Kind::Rejected, status).with(against_status(status))),
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
