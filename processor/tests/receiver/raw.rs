//! Bytes on a connection, below HTTP.

use super::{Raw, Receiver};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const PREFACE_BYTES: usize = 24;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;

impl Receiver {
    pub(super) async fn raw(self, raw: Raw, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let told = match raw {
            Raw::Nonsense => nonsense(&mut stream).await,
            Raw::Silent => std::future::pending().await,
            Raw::HalfHead => self.half_head(&mut stream).await,
            Raw::GoAway(last) => self.go_away(&mut stream, last).await,
            Raw::Refused => refused(&mut stream).await,
        };
        // A client that goes first is no mistake of ours.
        let _ = told;
        let _ = stream.shutdown().await;
    }

    async fn half_head(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        let body = http1_request(stream).await?;
        self.note_body(body);
        stream.write_all(b"HTTP/1.1 20").await
    }

    async fn go_away(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin), last: u32) -> io::Result<()> {
        stream.write_all(&SETTINGS).await?;
        let body = http2_request(stream).await?;
        if last > 0 {
            self.note_body(body);
        }
        let mut frame = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
        frame.extend(last.to_be_bytes());
        frame.extend([0; 4]);
        stream.write_all(&frame).await
    }
}

async fn nonsense(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let _ = stream.read(&mut buffer).await?;
    stream.write_all(b"220 mail.example ESMTP ready\r\n\r\n").await
}

async fn refused(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(&SETTINGS).await?;
    http2_request(stream).await?;
    // RST_STREAM of stream 1, REFUSED_STREAM.
    stream.write_all(&[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7]).await?;
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}

/// The body of a request with Content-Length.
async fn http1_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

/// The gRPC message of the first stream.
async fn http2_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    stream.read_exact(&mut [0; PREFACE_BYTES]).await?;
    let mut message = Vec::new();
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).await?;
        let [a, b, c, kind, flags, ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        if kind == DATA {
            message.extend(payload);
            if flags & END_STREAM != 0 {
                return Ok(message.split_off(5));
            }
        }
    }
}
