//! What a collector says first: whether anybody is there, and what language the port speaks.
//!
//! A server of HTTP/2 greets with SETTINGS before anything else (RFC 9113 3.4). To wait for that costs one turn per
//! connection, and then no request is lost on a port that speaks something else, or on a collector that stands still:
//! the kernel takes connections for a stopped process, the greeting does not come.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// Header of a frame of HTTP/2, by which a greeting is known.
const FRAME_HEADER_BYTES: usize = 9;

/// Type of the frame that greets.
const SETTINGS: u8 = 4;

/// Content types of TLS records: alert, handshake.
const TLS_RECORDS: [u8; 2] = [0x15, 0x16];

/// What a port speaks, by its first bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Speaks {
    /// Too little was heard.
    Nothing,
    Http1,
    Http2,
    Tls,
    Other,
}

impl fmt::Display for Speaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Tls => "TLS",
            Self::Other => "neither HTTP nor TLS",
        })
    }
}

impl Speaks {
    fn of(bytes: &[u8]) -> Self {
        const HTTP1: &[u8] = b"HTTP/1.";
        match *bytes {
            [_, _, _, SETTINGS, _, 0 | 0x80, 0, 0, 0, ..] => Self::Http2,
            [first, 3, ..] if TLS_RECORDS.contains(&first) => Self::Tls,
            _ if bytes.starts_with(HTTP1) => Self::Http1,
            _ if bytes.len() < FRAME_HEADER_BYTES => Self::Nothing,
            _ => Self::Other,
        }
    }
}

/// A stream whose first bytes are noted while they are read.
pub(super) struct Noted<S> {
    stream: S,
    first: watch::Sender<Vec<u8>>,
}

/// The first bytes, as far as they came.
#[derive(Debug)]
pub(super) struct Greeting(watch::Receiver<Vec<u8>>);

impl<S> Noted<S> {
    pub(super) fn new(stream: S) -> (Self, Greeting) {
        let (first, greeting) = watch::channel(Vec::new());
        (Self { stream, first }, Greeting(greeting))
    }

    fn note(&self, bytes: &[u8]) {
        let missing = FRAME_HEADER_BYTES.saturating_sub(self.first.borrow().len());
        if missing > 0 && !bytes.is_empty() {
            self.first.send_modify(|first| first.extend(bytes.iter().take(missing)));
        }
    }
}

impl Greeting {
    pub(super) fn speaks(&self) -> Speaks {
        Speaks::of(&self.0.borrow())
    }

    /// Waits for enough of it; less, if the connection ends before.
    pub(super) async fn heard(&mut self) -> Speaks {
        // An error is the end of the connection.
        let _ = self.0.wait_for(|first| Speaks::of(first) != Speaks::Nothing).await;
        self.speaks()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Noted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.note(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Noted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_known_by_its_first_bytes() {
        for (bytes, speaks) in [
            (&b"\0\0\x12\x04\0\0\0\0\0"[..], Speaks::Http2),
            (b"HTTP/1.1 400 Bad Request", Speaks::Http1),
            (b"\x15\x03\x01\0\x02\x02\x46", Speaks::Tls),
            (b"220 mail.example ESMTP", Speaks::Other),
            (b"\0\0\x12\x07\0\0\0\0\0", Speaks::Other),
            (b"\0\0\x12", Speaks::Nothing),
            (b"", Speaks::Nothing),
        ] {
            assert_eq!(Speaks::of(bytes), speaks, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_greeting_in_pieces_is_heard_whole_and_no_more_than_it() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut there, here) = tokio::io::duplex(64);
        let (mut noted, mut greeting) = Noted::new(here);
        let mut buffer = [0; 64];
        for piece in [&b"\0\0\0\x04"[..], b"\0\0\0\0\0", b"more of it"] {
            assert_eq!(greeting.speaks() == Speaks::Http2, piece == b"more of it");
            there.write_all(piece).await.unwrap();
            assert!(noted.read(&mut buffer).await.unwrap() > 0);
        }
        assert_eq!((greeting.heard().await, greeting.0.borrow().len()), (Speaks::Http2, 9));
    }

    #[tokio::test]
    async fn a_connection_that_ends_without_a_word_is_noticed() {
        let (noted, mut greeting) = Noted::new(tokio::io::empty());
        drop(noted);
        assert_eq!(greeting.heard().await, Speaks::Nothing);
    }
}
