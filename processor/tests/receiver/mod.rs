//! A collector that does as it is told: takes, refuses, hangs, closes, talks nonsense. HTTP/1.1 and HTTP/2.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part; a test may fail")]

mod raw;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_ENCODING, RETRY_AFTER};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::collections::VecDeque;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::Status;

/// What to do with a request. `Accept` where nothing is said.
#[derive(Clone)]
pub enum Act {
    Accept,
    /// HTTP status, Retry-After.
    Http(u16, Option<String>),
    Grpc(Box<Status>),
    /// Takes all but so many, with a text.
    Partial(i64, &'static str),
    /// Never answers.
    Hang,
    /// Closes instead of answering.
    Close,
    /// Answers with status 200 and half of a body, and closes.
    Half,
    /// What speaks below HTTP. It must be first, or follow an act that ends its connection.
    Raw(Raw),
}

/// What a connection does that no server of HTTP would.
#[derive(Clone, Copy)]
pub enum Raw {
    /// Answers with bytes that are no HTTP, and closes.
    Nonsense,
    /// Takes the connection and is silent, as a process that stands still.
    Silent,
    /// Reads a request, answers with half of a status line, and closes. HTTP/1.1.
    HalfHead,
    /// Reads a request, says that it goes and up to which stream it worked, and closes. HTTP/2.
    GoAway(u32),
    /// Reads a request and says that it did not look at it. HTTP/2.
    Refused,
}

type Body = BoxBody<Bytes, std::io::Error>;

/// A request as it came, its body without frame and compression.
#[derive(Clone)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub at: Instant,
    /// It was not refused: whoever counts copies counts it.
    pub is_taken: bool,
}

impl Seen {
    pub fn decode<M: Message + Default>(&self) -> M {
        M::decode(self.body.as_slice()).unwrap()
    }
}

#[derive(Clone, Default)]
pub struct Receiver {
    seen: Arc<Mutex<Vec<Seen>>>,
    acts: Arc<Mutex<VecDeque<Act>>>,
    came: Arc<Notify>,
    connections: Arc<Mutex<usize>>,
}

impl Receiver {
    pub fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        let receiver = Self::default();
        receiver.acts.lock().unwrap().extend(acts);
        receiver
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Waits for so many requests.
    pub async fn saw(&self, n: usize) -> Vec<Seen> {
        loop {
            let came = self.came.notified();
            if self.seen().len() >= n {
                return self.seen();
            }
            came.await;
        }
    }

    /// Serves on a free port, in a task of this runtime.
    pub async fn start(&self, is_http2: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(self.clone().serve(listener, is_http2));
        address
    }

    /// Connections end with it.
    pub async fn serve(self, listener: TcpListener, is_http2: bool) {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(self.clone().connection(stream, is_http2));
        }
    }

    pub async fn connection(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        is_http2: bool,
    ) {
        *self.connections.lock().unwrap() += 1;
        if let Some(raw) = self.next_raw() {
            return self.raw(raw, stream).await;
        }
        let receiver = self.clone();
        let service = service_fn(move |request| receiver.clone().answer(request, is_http2));
        let stream = TokioIo::new(stream);
        let _ = if is_http2 {
            http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await
        } else {
            http1::Builder::new().serve_connection(stream, service).await
        };
    }

    fn next_raw(&self) -> Option<Raw> {
        let mut acts = self.acts.lock().unwrap();
        let Some(Act::Raw(raw)) = acts.front() else { return None };
        let raw = *raw;
        acts.pop_front();
        Some(raw)
    }

    fn note(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
        self.came.notify_waiters();
    }

    /// A request of which only the body is known.
    fn note_body(&self, body: Vec<u8>) {
        let (path, headers) = (String::new(), HeaderMap::new());
        self.note(Seen { path, headers, body, at: Instant::now(), is_taken: true });
    }

    async fn answer(
        self,
        request: Request<Incoming>,
        is_grpc: bool,
    ) -> Result<Response<Body>, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let body = if is_grpc { body.slice(5..) } else { body };
        let is_gzip = head.headers.get(CONTENT_ENCODING).or(head.headers.get("grpc-encoding")).is_some();
        let mut plain = body.to_vec();
        if is_gzip {
            plain.clear();
            GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
        }
        let path = head.uri.path().to_owned();
        let act = self.acts.lock().unwrap().pop_front().unwrap_or(Act::Accept);
        let is_taken = !matches!(act, Act::Http(400..500 | 503, _) | Act::Grpc(_));
        self.note(Seen { path, headers: head.headers, body: plain, at: Instant::now(), is_taken });
        match act {
            Act::Hang => std::future::pending().await,
            Act::Close | Act::Raw(_) => Err(std::io::Error::other("closed as told")),
            Act::Half => Ok(half()),
            Act::Accept => Ok(success(is_grpc, Vec::new())),
            Act::Partial(rejected, text) => Ok(success(is_grpc, partial(rejected, text))),
            Act::Http(status, retry_after) => {
                let mut response = Response::new(full(Vec::new()));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                if let Some(value) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, value.parse().unwrap());
                }
                Ok(response)
            }
            Act::Grpc(status) => {
                let mut response = Response::new(full(Vec::new()));
                status.add_header(response.headers_mut()).unwrap();
                Ok(response)
            }
        }
    }
}

/// The frame of a gRPC message of 100 bytes, and no more of it.
fn half() -> Response<Body> {
    let begin = Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\x64half")));
    let frames = [begin, Err(std::io::Error::other("closed as told"))];
    // A server sends nothing of an answer whose body fails at once.
    let frames = tokio_stream::StreamExt::then(tokio_stream::iter(frames), async |frame| {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        frame
    });
    Response::new(BodyExt::boxed(http_body_util::StreamBody::new(frames)))
}

fn partial(rejected: i64, text: &str) -> Vec<u8> {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: text.to_owned() };
    ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
}

fn success(is_grpc: bool, message: Vec<u8>) -> Response<Body> {
    if !is_grpc {
        return Response::new(full(message));
    }
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", 0.into());
    let frames = [Ok(Frame::data(Bytes::from(frame))), Ok(Frame::trailers(trailers))];
    Response::new(BodyExt::boxed(http_body_util::StreamBody::new(tokio_stream::iter(frames))))
}

fn full(body: Vec<u8>) -> Body {
    Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed()
}
