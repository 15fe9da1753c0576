//! One connection as the probe would tell it, and what came of it.

use crate::{
    model::{Chunk, Close, Direction, Exchange, Incomplete, KtimeNs, Offset, ProcessId, Role, Socket},
    reassemble::{Connections, Limits, Output},
};
use ratatosk_abi::{Missing, OffsetKind};

pub const GET: &[u8] = include_bytes!("../testdata/get.request");
pub const GET_OK: &[u8] = include_bytes!("../testdata/get.response");
pub const POST: &[u8] = include_bytes!("../testdata/post.request");
pub const POST_OK: &[u8] = include_bytes!("../testdata/post.response");
pub const SHORT: &[u8] = b"GET /a/b?secret=1 HTTP/1.1\r\nHost: shop:8080\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
pub const SHORT_OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
pub const PUT: &[u8] = b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
pub const CHUNKED: &[u8] = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
/// Requests with their responses.
pub const SAMPLES: [(&[u8], &[u8]); 4] = [(GET, GET_OK), (POST, POST_OK), (SHORT, SHORT_OK), (PUT, CHUNKED)];
pub const MS: u64 = 1_000_000;

/// A connection as the probe would tell it.
pub struct Wire {
    pub connections: Connections,
    pub out: Output,
    role: Role,
    pub cookie: u64,
    now: u64,
    /// Next sequence number, by direction: request side, response side.
    pub seq: [u32; 2],
    widths: Option<(usize, usize)>,
    pub turn: Option<(usize, usize)>,
    pub kind: OffsetKind,
}

impl Wire {
    pub fn new(role: Role) -> Self {
        Self {
            connections: Connections::new(Limits::default()),
            out: Output::default(),
            role,
            cookie: 7,
            now: 1_000 * MS,
            seq: [1_000, 5_000],
            widths: None,
            turn: None,
            kind: OffsetKind::TcpSeq,
        }
    }

    pub fn server() -> Self {
        Self::new(Role::Server)
    }

    /// With the widths that the probe has by default.
    pub fn usual() -> Self {
        Self::server().widths(1024, 512)
    }

    /// Captures as the kernel does: `first` bytes of a turn's first call, then `later` until 16 KiB, then 64.
    pub fn widths(mut self, first: usize, later: usize) -> Self {
        self.widths = Some((first, later));
        self
    }

    fn direction(&self, side: usize) -> Direction {
        match (self.role, side) {
            (Role::Server, 0) | (Role::Client, 1) => Direction::Rx,
            _ => Direction::Tx,
        }
    }

    fn socket(&self) -> Socket {
        let local = "10.0.0.1:80".parse().expect("an address");
        let remote = "10.0.0.2:5000".parse().expect("an address");
        Socket { cookie: self.cookie, netns: 1, local, remote }
    }

    fn width(&mut self, side: usize, len: usize) -> usize {
        let Some((first, later)) = self.widths else { return len };
        let (width, captured) = match self.turn {
            Some((of, captured)) if of == side => (if captured < 16_384 { later } else { 64 }, captured),
            _ => (first, 0),
        };
        let width = width.min(len);
        self.turn = Some((side, captured + width));
        width
    }

    pub fn chunk<'a>(&mut self, side: usize, offset: u32, payload: &'a [u8], orig_len: usize) -> Chunk<'a> {
        self.now += MS;
        Chunk {
            time: KtimeNs(self.now),
            process: ProcessId { tgid: 42, start_ns: 1 },
            tid: 42,
            socket: self.socket(),
            direction: self.direction(side),
            offset: Offset { kind: self.kind, value: offset },
            orig_len: u32::try_from(orig_len).expect("small"),
            payload,
            missing: Missing::Nothing,
            turn_start: false,
        }
    }

    pub fn send(&mut self, side: usize, bytes: &[u8]) -> &mut Self {
        let width = self.width(side, bytes.len());
        self.cut(side, bytes, width)
    }

    pub fn cut(&mut self, side: usize, bytes: &[u8], width: usize) -> &mut Self {
        let offset = self.skip(side, bytes.len());
        let chunk = self.chunk(side, offset, &bytes[..width], bytes.len());
        self.connections.chunk(&chunk, &mut self.out);
        self
    }

    /// Bytes that cross unseen; gives the offset of the first.
    pub fn skip(&mut self, side: usize, len: usize) -> u32 {
        let offset = self.seq[side];
        self.seq[side] = offset.wrapping_add(u32::try_from(len).expect("small"));
        offset
    }

    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.send(0, bytes.as_ref())
    }

    pub fn answer(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.send(1, bytes.as_ref())
    }

    pub fn eof(&mut self, side: usize) -> &mut Self {
        let chunk = self.chunk(side, self.seq[side], &[], 0);
        self.connections.eof(&chunk, &mut self.out);
        self
    }

    pub fn close(&mut self) -> &mut Self {
        self.now += MS;
        let end = |side: usize| Offset { kind: self.kind, value: self.seq[side] };
        let (request, response) = (end(0), end(1));
        let (rx_end, tx_end) =
            if self.role == Role::Server { (request, response) } else { (response, request) };
        let close = Close { time: KtimeNs(self.now), socket: self.socket(), tx_end, rx_end };
        self.connections.close(&close, &mut self.out);
        self
    }

    pub fn wait(&mut self, ms: u64) -> &mut Self {
        self.now += ms * MS;
        self.connections.advance(KtimeNs(self.now), &mut self.out);
        self
    }

    pub fn finish(&mut self) -> &mut Self {
        self.connections.finish(&mut self.out);
        self
    }

    pub fn told(&mut self) -> Vec<Exchange> {
        std::mem::take(&mut self.out.exchanges)
    }

    pub fn only(&mut self) -> Exchange {
        let told = self.told();
        assert_eq!(told.len(), 1, "{told:#?} {:?}", self.out.incomplete);
        told.into_iter().next().expect("one")
    }

    /// Exchanges that were not told, or not whole, by reason.
    pub fn counts(&self) -> Vec<(Incomplete, u64)> {
        self.out.incomplete.iter().filter(|(_, count)| *count > 0).collect()
    }

    pub fn counted(&self, reason: Incomplete) -> u64 {
        self.out.incomplete.get(reason)
    }
}

/// An exchange of two calls.
pub fn whole(request: &[u8], response: &[u8]) -> Exchange {
    Wire::server().ask(request).answer(response).only()
}

/// Method, path, status, and bytes of both bodies.
pub fn said(exchange: &Exchange) -> (&str, &str, u16, u64, u64) {
    let http = &exchange.http;
    (http.method.as_str(), &http.path, http.status, http.request_body_bytes, http.response_body_bytes)
}

/// What must not depend on how the bytes were cut into calls.
pub fn facts(exchange: &Exchange) -> impl PartialEq + std::fmt::Debug + use<> {
    (exchange.role, exchange.request_offset, exchange.ended_by, exchange.incomplete, exchange.http.clone())
}
