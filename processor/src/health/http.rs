//! Small answers over HTTP/1, on a TCP or a unix socket, bounded in connections and time.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

/// At a time; others wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 8;
/// A client that has not said what it wants by then is cut, and so is one that does not take its answer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Out of descriptors: wait for some to be closed instead of spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    content_type: &'static str,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) const fn text(status: u16, body: String) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body }
    }

    pub(crate) const fn json(body: String) -> Self {
        Self { status: 200, content_type: "application/json", body }
    }
}

/// From path and query to an answer.
pub type Answering = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// Somewhere connections come from.
pub(crate) trait Accept: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept_next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept_next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept_next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Serves until the runtime ends.
pub(crate) async fn serve(listener: impl Accept, answering: Answering) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // The semaphore is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept_next().await {
            Ok(stream) => drop(tokio::spawn(connection(stream, Arc::clone(&answering), slot))),
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection<S>(stream: S, answering: Answering, _slot: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let answering = Arc::clone(&answering);
        async move { Ok::<_, Infallible>(respond(&request, &answering).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // An idle connection would hold a slot.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that went away is its own affair.
    let _ = timeout(CONNECTION_TIMEOUT, served).await;
}

async fn respond<B>(request: &Request<B>, answering: &Answering) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = response(Answer::text(405, "only GET and HEAD\n".to_owned()));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    response(answering(target.to_owned()).await)
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    response
}
