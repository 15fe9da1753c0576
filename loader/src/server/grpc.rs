//! gRPC: the smallest server that carries the one call, with every limit set.

use crate::server::accept::Peer;
use crate::server::request::Event;
use crate::server::session::{OUTBOUND_MESSAGES, Outbound};
use ratatosk_proto::v1::agent_server::{Agent, AgentServer};
use ratatosk_proto::v1::processor_message::Kind;
use ratatosk_proto::v1::{LoaderMessage, ProcessorMessage};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// Largest message of a processor: 256 port ranges need 4 KiB.
pub const MAX_INBOUND_BYTES: usize = 64 * 1024;
/// How long a stream may be silent before its Start.
const START_WITHIN: Duration = Duration::from_secs(5);
/// One stream serves; a few more so that a second processor is told why instead of waiting.
const MAX_STREAMS: u32 = 4;
/// Our one path and metadata need a few hundred bytes.
const MAX_HEADER_BYTES: u32 = 4 * 1024;
/// Inbound flow control: acknowledgements and decisions are small.
const WINDOW_BYTES: u32 = 128 * 1024;
/// A stopped processor is noticed after the sum of both, and its place is free.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(20);
/// Streams reset before they were accepted, before the connection is closed (rapid reset).
const MAX_PENDING_RESETS: usize = 20;

/// Serves connections until `peers` ends.
///
/// # Errors
/// If HTTP/2 can't be served at all; a connection that fails is no error.
pub async fn serve(
    peers: mpsc::Receiver<io::Result<Peer>>,
    events: mpsc::Sender<Event>,
) -> Result<(), tonic::transport::Error> {
    let service = AgentServer::new(Service { events, streams: AtomicU64::new(0) });
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_WITHIN))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .add_service(service.max_decoding_message_size(MAX_INBOUND_BYTES))
        .serve_with_incoming(ReceiverStream::new(peers))
        .await
}

#[derive(Debug)]
struct Service {
    events: mpsc::Sender<Event>,
    streams: AtomicU64,
}

#[tonic::async_trait]
impl Agent for Service {
    type ObserveStream = ReceiverStream<Result<LoaderMessage, Status>>;

    async fn observe(
        &self,
        request: Request<Streaming<ProcessorMessage>>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        let id = self.streams.fetch_add(1, Relaxed);
        let (outbound, messages) = mpsc::channel(OUTBOUND_MESSAGES);
        // Answered before Start came, so that a processor may wait for the answer before it sends.
        tokio::spawn(forward(id, request.into_inner(), outbound, self.events.clone()));
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

/// Passes a processor's messages on until it, or the hub, ends the stream.
async fn forward(
    id: u64,
    mut inbound: Streaming<ProcessorMessage>,
    outbound: Outbound,
    events: mpsc::Sender<Event>,
) {
    let first = tokio::time::timeout(START_WITHIN, inbound.message()).await;
    let Ok(Ok(Some(ProcessorMessage { kind: Some(Kind::Start(start)) }))) = first else {
        let refused = Status::invalid_argument("the first message must be Start, within 5 s");
        drop(outbound.try_send(Err(refused)));
        return;
    };
    let ended = outbound.downgrade();
    if events.send(Event::Start { id, start, outbound }).await.is_err() {
        return;
    }
    // The hub holds the only strong sender: without one it ended the stream.
    while let Ok(Some(message)) = inbound.message().await {
        let was_ended = ended.strong_count() == 0;
        if was_ended || events.send(Event::Message { id, message }).await.is_err() {
            break;
        }
    }
    drop(events.send(Event::Gone { id }).await);
}
