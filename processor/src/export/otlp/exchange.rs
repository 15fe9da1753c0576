//! One request and its answer on an open connection.

use super::answer::{Answer, of_grpc, of_http};
use super::connect::Connection;
use super::failure::{Failure, Kind, whole};
use crate::config::otlp::Protocol;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Request, Response};

/// A collector answers in a few dozen bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What came of one exchange.
pub(super) enum Exchanged {
    /// The connection can be used again.
    Whole(Answer),
    /// It can not.
    Broken(Answer),
}

/// Sends a request and reads what comes.
pub(super) async fn exchange(
    connection: &mut Connection,
    request: Request<Full<Bytes>>,
    protocol: Protocol,
) -> Exchanged {
    match connection.send(request).await {
        Ok(response) => read(response, protocol).await,
        Err(error) if error.message().is_some() || is_unprocessed(error.error()) => {
            let failure = Failure::new(Kind::Connect, whole(error.error()));
            Exchanged::Broken(Answer::Later { wait: None, failure })
        }
        Err(error) => Exchanged::Broken(broken(connection, error.error())),
    }
}

/// Nobody answered, or not in our language.
fn broken(connection: &Connection, error: &hyper::Error) -> Answer {
    match connection.mismatch() {
        Some(mismatch) => {
            let failure = Failure::new(Kind::Connect, &mismatch).with(mismatch.remedy());
            Answer::Later { wait: None, failure }
        }
        None => Answer::Lost(Failure::new(Kind::Unconfirmed, whole(error))),
    }
}

async fn read(response: Response<Incoming>, protocol: Protocol) -> Exchanged {
    let (head, body) = response.into_parts();
    match (Limited::new(body, MAX_ANSWER_BYTES).collect().await, protocol) {
        (Ok(body), Protocol::Grpc) => {
            let trailers = body.trailers().cloned();
            let trailers = trailers.as_ref().unwrap_or(&head.headers);
            Exchanged::Whole(of_grpc(head.status, Some(trailers), &body.to_bytes()))
        }
        (Ok(body), Protocol::HttpProtobuf) => {
            Exchanged::Whole(of_http(head.status, &head.headers, &body.to_bytes()))
        }
        // The status says it all; a body that is too long or cut adds nothing.
        (Err(_), Protocol::HttpProtobuf) => Exchanged::Broken(of_http(head.status, &head.headers, &[])),
        (Err(error), Protocol::Grpc) => {
            Exchanged::Broken(Answer::Lost(Failure::new(Kind::Unconfirmed, error)))
        }
    }
}

/// HTTP/2 says of a stream that it was not begun: by REFUSED_STREAM, and by a GOAWAY whose last stream is an earlier one
/// (RFC 9113 6.8 and 8.7). Of a GOAWAY h2 tells only those streams, whatever its reason; the others go on, and end
/// with the connection.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let mut causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.find_map(|cause| cause.downcast_ref::<h2::Error>()).is_some_and(|error| {
        let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (is_refused || error.is_go_away())
    })
}
