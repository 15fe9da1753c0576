//! A connection to a collector: TCP or a unix socket, TLS or not, HTTP/1.1 or HTTP/2.

use super::failure::{ADDRESS, whole};
use super::greeting::{Greeting, Noted, Speaks};
use crate::config::otlp::{Endpoint, Protocol, Scheme};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, InvalidMessage};
use std::sync::Arc;
use std::{fmt, io};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;

type Body = Full<Bytes>;

const FOREIGN_NAME: &str = "the certificate was made for another name: use one of its names in \
                            OTEL_EXPORTER_OTLP_ENDPOINT, or give the collector a certificate for this one";
const STRANGER: &str = "name the PEM file of the authority that signed it: OTEL_EXPORTER_OTLP_CERTIFICATE";
const OUT_OF_DATE: &str = "renew the collector's certificate, or set the clock of this machine right";
const NOT_TLS: &str = "the port speaks no TLS: begin OTEL_EXPORTER_OTLP_ENDPOINT with http://";
const ONLY_TLS: &str = "the port speaks TLS: begin OTEL_EXPORTER_OTLP_ENDPOINT with https://";
const WHO_WE_ARE: &str = "the collector wants a certificate of ours that it trusts: \
                          OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY";
const SPEAKS_GRPC: &str = "the port speaks gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or take the port of HTTP, \
                           usually 4318";
const SPEAKS_HTTP: &str = "the port speaks no gRPC: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or take the \
                           port of gRPC, usually 4317";

/// Why no connection stands. Nothing of a request was looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("cannot find host {host}: {source}")]
    Find { host: String, source: io::Error },
    #[error("cannot connect: {0}")]
    Reach(io::Error),
    #[error("{host} is no name that a certificate could be for: {source}")]
    Name { host: String, source: InvalidDnsNameError },
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("HTTP failed: {}", whole(.0))]
    Http(hyper::Error),
    #[error("the port speaks {found} where {wanted} was expected")]
    Speaks { wanted: Speaks, found: Speaks },
    #[error("closed at once")]
    Closed { wanted: Speaks },
}

impl ConnectError {
    /// What helps against it.
    pub(super) fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Find { .. } | Self::Reach(_) => Some(ADDRESS),
            Self::Tls(error) => against_tls(error),
            Self::Speaks { found: Speaks::Tls, .. } => Some(ONLY_TLS),
            Self::Speaks { found: Speaks::Http2, .. } => Some(SPEAKS_GRPC),
            Self::Speaks { wanted: Speaks::Http2, .. } | Self::Closed { wanted: Speaks::Http2 } => {
                Some(SPEAKS_HTTP)
            }
            _ => None,
        }
    }
}

fn against_tls(error: &io::Error) -> Option<&'static str> {
    use CertificateError as Bad;
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage as Invalid};
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => Some(FOREIGN_NAME),
        InvalidCertificate(Bad::UnknownIssuer) => Some(STRANGER),
        InvalidCertificate(
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. },
        ) => Some(OUT_OF_DATE),
        Invalid(InvalidMessage::InvalidContentType) => Some(NOT_TLS),
        AlertReceived(AlertDescription::CertificateRequired | AlertDescription::UnknownCA) => {
            Some(WHO_WE_ARE)
        }
        AlertReceived(AlertDescription::NoApplicationProtocol) => Some(SPEAKS_HTTP),
        _ => None,
    }
}

/// What is being tried, for people who read that it took too long.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Reuse,
    Find,
    Reach,
    Tls,
    Greet,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reuse => "using the connection again",
            Self::Find => "finding the host",
            Self::Reach => "connecting",
            Self::Tls => "agreeing on TLS",
            Self::Greet => "connected, waiting for a greeting",
        })
    }
}

/// An open connection.
pub(super) struct Connection {
    sender: Sender,
    greeting: Greeting,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connection {
    /// Opens one that takes a request; `step` says how far it came.
    pub(super) async fn open(
        endpoint: &Endpoint,
        protocol: Protocol,
        tls: Option<&Arc<ClientConfig>>,
        step: &mut Step,
    ) -> Result<Self, ConnectError> {
        let (stream, greeting) = Noted::new(stream(endpoint, tls, step).await?);
        *step = Step::Greet;
        let mut new = match protocol {
            Protocol::HttpProtobuf => Self::http1(stream, greeting).await?,
            Protocol::Grpc => Self::http2(stream, greeting).await?,
        };
        if new.is_ready().await { Ok(new) } else { Err(new.closed()) }
    }

    async fn http1(stream: Noted<Box<dyn Stream>>, greeting: Greeting) -> Result<Self, ConnectError> {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(ConnectError::Http)?;
        // Its error is the one that the request ends with.
        drop(tokio::spawn(connection));
        Ok(Self { sender: Sender::Http1(sender), greeting })
    }

    async fn http2(stream: Noted<Box<dyn Stream>>, mut greeting: Greeting) -> Result<Self, ConnectError> {
        let handshake = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(ConnectError::Http)?;
        drop(tokio::spawn(connection));
        let wanted = Speaks::Http2;
        match greeting.heard().await {
            Speaks::Http2 => Ok(Self { sender: Sender::Http2(sender), greeting }),
            Speaks::Nothing => Err(ConnectError::Closed { wanted }),
            found => Err(ConnectError::Speaks { wanted, found }),
        }
    }

    /// Whether it still stands and takes a request. A connection that the collector closed while nothing was said is
    /// found out here, before a request is lost on it.
    pub(super) async fn is_ready(&mut self) -> bool {
        // Lets the runtime look at the socket, and the connection at what came.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        match &mut self.sender {
            Sender::Http1(sender) => sender.ready().await.is_ok(),
            Sender::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends a request. The error holds the request if nothing of it was sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        match &mut self.sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        }
    }

    /// The other side speaks a language in which no request of ours makes sense.
    pub(super) fn mismatch(&self) -> Option<ConnectError> {
        match (&self.sender, self.greeting.speaks()) {
            (Sender::Http1(_), found @ (Speaks::Http2 | Speaks::Tls)) => {
                Some(ConnectError::Speaks { wanted: Speaks::Http1, found })
            }
            _ => None,
        }
    }

    fn closed(&self) -> ConnectError {
        let wanted = match self.sender {
            Sender::Http1(_) => Speaks::Http1,
            Sender::Http2(_) => Speaks::Http2,
        };
        self.mismatch().unwrap_or(ConnectError::Closed { wanted })
    }
}

async fn stream(
    endpoint: &Endpoint,
    tls: Option<&Arc<ClientConfig>>,
    step: &mut Step,
) -> Result<Box<dyn Stream>, ConnectError> {
    if endpoint.scheme == Scheme::Unix {
        *step = Step::Reach;
        let stream = UnixStream::connect(&endpoint.address).await.map_err(ConnectError::Reach)?;
        return Ok(Box::new(stream));
    }
    let (host, port) = host_and_port(endpoint);
    let stream = tcp(&host, port, step).await?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    *step = Step::Tls;
    let name = ServerName::try_from(host.clone()).map_err(|source| ConnectError::Name { host, source })?;
    let connector = TlsConnector::from(Arc::clone(tls));
    Ok(Box::new(connector.connect(name, stream).await.map_err(ConnectError::Tls)?))
}

async fn tcp(host: &str, port: u16, step: &mut Step) -> Result<TcpStream, ConnectError> {
    *step = Step::Find;
    let find = |source| ConnectError::Find { host: host.to_owned(), source };
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(find)?.collect();
    *step = Step::Reach;
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(ConnectError::Reach)?;
    // Without it the last segment of a request may wait for an answer.
    stream.set_nodelay(true).map_err(ConnectError::Reach)?;
    Ok(stream)
}

/// An IPv6 address loses its brackets.
fn host_and_port(endpoint: &Endpoint) -> (String, u16) {
    let usual = if endpoint.scheme == Scheme::Https { 443 } else { 80 };
    let address: Option<Uri> = endpoint.address.parse().ok();
    let host = address.as_ref().and_then(Uri::host).unwrap_or(&endpoint.address);
    let port = address.as_ref().and_then(Uri::port_u16).unwrap_or(usual);
    (host.trim_start_matches('[').trim_end_matches(']').to_owned(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_tls_names_its_remedy() {
        use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage as Invalid};
        for (error, remedy) in [
            (InvalidCertificate(CertificateError::NotValidForName), Some(FOREIGN_NAME)),
            (InvalidCertificate(CertificateError::UnknownIssuer), Some(STRANGER)),
            (InvalidCertificate(CertificateError::Expired), Some(OUT_OF_DATE)),
            (Invalid(InvalidMessage::InvalidContentType), Some(NOT_TLS)),
            (AlertReceived(AlertDescription::CertificateRequired), Some(WHO_WE_ARE)),
            (AlertReceived(AlertDescription::NoApplicationProtocol), Some(SPEAKS_HTTP)),
            (rustls::Error::DecryptError, None),
        ] {
            assert_eq!(ConnectError::Tls(io::Error::other(error)).remedy(), remedy);
        }
    }
}
