//! hyper 1 with tokio. hyper-server PORT

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{Request, Response, body::Frame, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use ratatosk_test_servers::Answer;
use std::convert::Infallible;

async fn every(request: Request<Incoming>) -> hyper::Result<Response<BoxBody<Bytes, Infallible>>> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes().len();
    let answer = Answer::new(head.method.as_str(), head.uri.path(), bytes);
    let body = if answer.is_streamed {
        let frames = answer.parts.into_iter().map(|part| Ok(Frame::data(part)));
        BodyExt::boxed(StreamBody::new(stream::iter(frames)))
    } else {
        Full::new(answer.parts.concat().into()).boxed()
    };
    Ok(Response::builder().status(answer.status).body(body).expect("a response"))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("PORT");
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("listen");
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(every)));
    }
}
