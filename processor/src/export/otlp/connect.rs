//! A connection to a collector: TCP or a unix socket, TLS or not, HTTP/1.1 or HTTP/2.

use crate::config::otlp::{Endpoint, Protocol, Scheme};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

type Body = Full<Bytes>;

/// Why no connection stands. Nothing of a request was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("cannot connect: {0}")]
    Reach(io::Error),
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("HTTP failed: {0}")]
    Http(hyper::Error),
}

/// An open connection.
pub(super) enum Connection {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Connection {
    /// Opens one.
    pub(super) async fn open(
        endpoint: &Endpoint,
        protocol: Protocol,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self, ConnectError> {
        let stream = TokioIo::new(stream(endpoint, tls).await?);
        match protocol {
            Protocol::HttpProtobuf => {
                let (sender, connection) = http1::handshake(stream).await.map_err(ConnectError::Http)?;
                // Its error is the one that the request ends with.
                drop(tokio::spawn(connection));
                Ok(Self::Http1(sender))
            }
            Protocol::Grpc => {
                let handshake = http2::Builder::new(TokioExecutor::new()).handshake(stream);
                let (sender, connection) = handshake.await.map_err(ConnectError::Http)?;
                drop(tokio::spawn(connection));
                Ok(Self::Http2(sender))
            }
        }
    }

    /// Whether it still stands and takes a request. A connection that the collector closed while nothing was said is
    /// found out here, before a request is lost on it.
    pub(super) async fn is_ready(&mut self) -> bool {
        // Lets the runtime look at the socket, and the connection at what came.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends a request. The error holds the request if nothing of it was sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }
}

async fn stream(
    endpoint: &Endpoint,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Box<dyn Stream>, ConnectError> {
    if endpoint.scheme == Scheme::Unix {
        let stream = UnixStream::connect(&endpoint.address).await.map_err(ConnectError::Reach)?;
        return Ok(Box::new(stream));
    }
    let (host, port) = host_and_port(endpoint);
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(ConnectError::Reach)?;
    // Without it the last segment of a request may wait for an answer.
    stream.set_nodelay(true).map_err(ConnectError::Reach)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host).map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
    let connector = TlsConnector::from(Arc::clone(tls));
    Ok(Box::new(connector.connect(name, stream).await.map_err(ConnectError::Tls)?))
}

/// An IPv6 address loses its brackets.
fn host_and_port(endpoint: &Endpoint) -> (String, u16) {
    let usual = if endpoint.scheme == Scheme::Https { 443 } else { 80 };
    let address: Option<Uri> = endpoint.address.parse().ok();
    let host = address.as_ref().and_then(Uri::host).unwrap_or(&endpoint.address);
    let port = address.as_ref().and_then(Uri::port_u16).unwrap_or(usual);
    (host.trim_start_matches('[').trim_end_matches(']').to_owned(), port)
}
