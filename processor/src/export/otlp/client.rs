//! One request to a collector, and what became of it.

use super::answer::{Answer, Failure, of_grpc, of_http};
use super::connect::Connection;
use super::tls::{TlsError, client_config};
use crate::config::otlp::{Protocol, Scheme, Settings};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue, InvalidHeaderName, InvalidHeaderValue, TE,
    USER_AGENT,
};
use hyper::{HeaderMap, Method, Request, Response, Uri};
use rustls::ClientConfig;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A collector answers in a few dozen bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A connection that was silent for longer is not used again: servers close those, and a request that crosses such a
/// close would be lost. Most wait for a minute, few for less than 30 s.
const MAX_IDLE: Duration = Duration::from_secs(20);

/// Why nothing can be sent with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is none.
    #[error("not a URL: {0}")]
    Url(#[from] hyper::http::Error),
    /// A header's name is none.
    #[error("not the name of a header: {0}")]
    HeaderName(#[from] InvalidHeaderName),
    /// A header's value is none; it is not shown.
    #[error("the value of header {name} has characters that no header may have")]
    HeaderValue {
        /// The header.
        name: String,
        /// What is wrong.
        source: InvalidHeaderValue,
    },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Speaks with one collector about one signal, one request at a time.
pub(super) struct Client {
    settings: Settings,
    uri: Uri,
    headers: HeaderMap,
    tls: Option<Arc<ClientConfig>>,
    open: Option<(Connection, Instant)>,
}

/// A request's bytes, made once and sent as often as needed.
#[derive(Clone, Debug)]
pub(super) struct Payload(Bytes);

impl Client {
    /// `service` is the gRPC method of the signal, as in `/package.Service/Method`.
    pub(super) fn new(settings: Settings, service: &str) -> Result<Self, ClientError> {
        let is_tls = settings.endpoint.scheme == Scheme::Https;
        let tls = is_tls.then(|| client_config(&settings.tls, settings.protocol)).transpose()?;
        let uri = uri(&settings, service)?;
        let headers = headers(&settings, &uri)?;
        Ok(Self { settings, uri, headers, tls, open: None })
    }

    /// The collector, for people.
    pub(super) fn place(&self) -> String {
        match self.settings.endpoint.scheme {
            Scheme::Unix => self.settings.endpoint.address.clone(),
            _ => self.uri.to_string(),
        }
    }

    /// A message as a request's bytes.
    pub(super) fn payload(&self, message: &impl prost::Message) -> Payload {
        self.packed(message.encode_to_vec())
    }

    /// An encoded message as a request's bytes.
    pub(super) fn packed(&self, plain: Vec<u8>) -> Payload {
        let bytes = if self.settings.gzip { gzipped(&plain) } else { plain };
        match self.settings.protocol {
            Protocol::HttpProtobuf => Payload(bytes.into()),
            Protocol::Grpc => Payload(framed(&bytes, self.settings.gzip)),
        }
    }

    /// Sends it once.
    pub(super) async fn send(&mut self, payload: &Payload) -> Answer {
        let until = Instant::now() + self.settings.timeout;
        let mut connection = match timeout_at(until, self.connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(failure)) => return Answer::Later { wait: None, failure },
            Err(_) => return Answer::Later { wait: None, failure: Failure::new("connect", "timed out") },
        };
        let request = self.request(payload);
        match timeout_at(until, exchange(&mut connection, request, self.settings.protocol)).await {
            Ok(Exchanged::Whole(answer)) => {
                self.open = Some((connection, Instant::now()));
                answer
            }
            Ok(Exchanged::Broken(answer)) => answer,
            // Whether the collector took it or not: it must not speak on this connection any more.
            Err(_) => Answer::Unknown(Failure::new("unconfirmed", "no answer in time")),
        }
    }

    /// The one that stands, or a new one.
    async fn connection(&mut self) -> Result<Connection, Failure> {
        if let Some((mut open, last)) = self.open.take()
            && last.elapsed() < MAX_IDLE
            && open.is_ready().await
        {
            return Ok(open);
        }
        let Settings { endpoint, protocol, .. } = &self.settings;
        let mut new = Connection::open(endpoint, *protocol, self.tls.as_ref())
            .await
            .map_err(|error| Failure::new("connect", error))?;
        if new.is_ready().await { Ok(new) } else { Err(Failure::new("connect", "closed at once")) }
    }

    fn request(&self, payload: &Payload) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(payload.0.clone()));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers.clone();
        *request.uri_mut() = match self.settings.protocol {
            Protocol::Grpc => self.uri.clone(),
            // HTTP/1.1 names the host in a header.
            Protocol::HttpProtobuf => self.uri.path().parse().unwrap_or_else(|_| self.uri.clone()),
        };
        request
    }
}

/// What came of one exchange.
enum Exchanged {
    /// The connection can be used again.
    Whole(Answer),
    /// It can not.
    Broken(Answer),
}

async fn exchange(
    connection: &mut Connection,
    request: Request<Full<Bytes>>,
    protocol: Protocol,
) -> Exchanged {
    let response = match connection.send(request).await {
        Ok(response) => response,
        Err(error) if error.message().is_some() || is_unprocessed(error.error()) => {
            let failure = Failure::new("connect", whole(error.error()));
            return Exchanged::Broken(Answer::Later { wait: None, failure });
        }
        Err(error) => return Exchanged::Broken(lost(error.error())),
    };
    read(response, protocol).await
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
            Exchanged::Broken(Answer::Unknown(Failure::new("unconfirmed", error)))
        }
    }
}

fn lost(error: &hyper::Error) -> Answer {
    Answer::Unknown(Failure::new("unconfirmed", whole(error)))
}

/// An error with its causes: hyper's own text says only where.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// HTTP/2 says of a stream that it was not begun: by REFUSED_STREAM, and by a GOAWAY without error whose last stream is an
/// earlier one (RFC 9113 8.7).
fn is_unprocessed(error: &hyper::Error) -> bool {
    let mut causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.find_map(|cause| cause.downcast_ref::<h2::Error>()).is_some_and(|error| {
        let reason = error.reason();
        reason == Some(h2::Reason::REFUSED_STREAM)
            || (error.is_go_away() && error.is_remote() && reason == Some(h2::Reason::NO_ERROR))
    })
}

fn uri(settings: &Settings, service: &str) -> Result<Uri, hyper::http::Error> {
    let (scheme, authority) = match settings.endpoint.scheme {
        Scheme::Http => ("http", settings.endpoint.address.as_str()),
        Scheme::Https => ("https", settings.endpoint.address.as_str()),
        Scheme::Unix => ("http", "localhost"),
    };
    let path = match settings.protocol {
        Protocol::Grpc => service,
        Protocol::HttpProtobuf if settings.endpoint.path.is_empty() => "/",
        Protocol::HttpProtobuf => &settings.endpoint.path,
    };
    Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build()
}

fn headers(settings: &Settings, uri: &Uri) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    let agent = concat!("Ratatosk/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    for (name, value) in &settings.headers.0 {
        let source = |source| ClientError::HeaderValue { name: name.clone(), source };
        let mut value = HeaderValue::from_str(value).map_err(source)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes())?, value);
    }
    match settings.protocol {
        Protocol::Grpc => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(TE, HeaderValue::from_static("trailers"));
            if settings.gzip {
                headers.insert(HeaderName::from_static("grpc-encoding"), HeaderValue::from_static("gzip"));
            }
        }
        Protocol::HttpProtobuf => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            let host = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
            let source = |source| ClientError::HeaderValue { name: HOST.to_string(), source };
            headers.insert(HOST, HeaderValue::from_str(host).map_err(source)?);
            if settings.gzip {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
        }
    }
    Ok(headers)
}

/// The fastest level: spans repeat themselves so much that the best one saves little more, at four times the cost.
fn gzipped(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    written.expect("memory takes what it is given")
}

/// A gRPC message: one byte, compressed or not, and four of length before it.
fn framed(message: &[u8], is_compressed: bool) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(u8::from(is_compressed));
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}
