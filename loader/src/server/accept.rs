//! The door: who connects is checked before a byte is read.

use crate::server::request::Event;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::transport::server::Connected;

/// Connections at a time: one serves, the others are a processor that reconnects while its old one dies.
const MAX_CONNECTIONS: usize = 4;
/// After a failed accept, as when no fd is left: trying at once would spin.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A connection whose peer has the processor's uid.
#[derive(Debug)]
pub struct Peer {
    stream: UnixStream,
    _place: OwnedSemaphorePermit,
}

/// Accepts forever; gives only peers of `processor_uid` to `peers`.
pub async fn accept(
    listener: UnixListener,
    processor_uid: u32,
    events: mpsc::Sender<Event>,
    peers: mpsc::Sender<io::Result<Peer>>,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let Some(pid) = admitted(&stream, processor_uid) else { continue };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(target: "audit", event = "refused_peer", reason = "too_many_connections", "Peer refused");
            continue;
        };
        // The pid is 0 if the peer is in another pid namespace.
        let pid = (pid > 0).then_some(pid);
        let told = events.send(Event::Accepted { pid }).await;
        if told.is_err() || peers.send(Ok(Peer { stream, _place: place })).await.is_err() {
            return;
        }
    }
}

/// The pid of a peer with the right uid. Root is as wrong as anybody else.
fn admitted(stream: &UnixStream, processor_uid: u32) -> Option<u32> {
    let peer = stream.peer_cred().ok();
    let uid = peer.as_ref().map(tokio::net::unix::UCred::uid);
    let pid = peer.and_then(|peer| peer.pid()).and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
    if uid == Some(processor_uid) {
        return Some(pid);
    }
    tracing::warn!(target: "audit", event = "refused_peer", reason = "uid", uid, pid, processor_uid, "Peer refused");
    None
}

impl Connected for Peer {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Peer {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
