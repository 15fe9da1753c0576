//! The endpoint: a thread of its own with hyper on it, bounded in connections and time.

use super::NAME;
use super::negotiate::Format;
use super::render::Source;
use crate::config::PrometheusConfig;
use crate::export::ExportError;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Scrapes at a time. Others wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 8;

/// A client that has not said what it wants by then is cut.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A scrape that takes longer is cut: Prometheus itself gives up after 10 s by default.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Out of descriptors: wait for some to be closed instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Listens on the port, which fails here and now if it is in use, and serves until the process ends.
pub(super) fn start(config: &PrometheusConfig, source: Source) -> Result<(), ExportError> {
    let listener = listen(config)?;
    let endpoint = Arc::new(Endpoint { path: config.path.clone(), source });
    let thread = |source| ExportError::Thread { exporter: NAME, source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread)?;
    let serve = move || runtime.block_on(serve(listener, endpoint));
    std::thread::Builder::new().name(NAME.to_owned()).spawn(serve).map_err(thread)?;
    Ok(())
}

fn listen(config: &PrometheusConfig) -> Result<TcpListener, ExportError> {
    let (port, variable) = (config.port, config.port_variable.clone());
    let bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
    bound.and_then(|listener| listener.set_nonblocking(true).map(|()| listener)).map_err(
        |source| match source.kind() {
            io::ErrorKind::AddrInUse => ExportError::PortInUse { port, variable },
            _ => ExportError::Listen { port, variable, source },
        },
    )
}

async fn serve(listener: TcpListener, endpoint: Arc<Endpoint>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "Prometheus endpoint ended"),
    };
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, Arc::clone(&endpoint), slot))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, endpoint: Arc<Endpoint>, _slot: OwnedSemaphorePermit) {
    let service = service_fn(move |request| {
        let response = endpoint.answer(&request);
        async { Ok::<_, Infallible>(response) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // An idle connection would hold a slot.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A scraper that went away is its own affair.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, served).await;
}

struct Endpoint {
    path: String,
    source: Source,
}

impl Endpoint {
    fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        if request.uri().path() != self.path {
            return plain(StatusCode::NOT_FOUND, format!("metrics are at {}\n", self.path));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        let format = Format::accepted(accept.unwrap_or_default());
        let mut response = Response::new(self.metrics(format));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        response
    }

    fn metrics(&self, format: Format) -> Body {
        let frames = self.source.pieces(format, Instant::now()).map(|piece| Ok(Frame::data(piece)));
        StreamBody::new(tokio_stream::iter(frames)).boxed_unsync()
    }
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    response
}
