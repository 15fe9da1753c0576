//! What is known of one connection.

use super::{Output, Segment, http1, http2};
use crate::model::{Direction, Incomplete, KtimeNs, Socket};

/// One connection: its exchanges are HTTP/1's. Beside, its first bytes may show an exporter that speaks HTTP/2.
#[derive(Debug)]
pub struct Session {
    http1: http1::Session,
    http2: http2::Watch,
}

impl Session {
    /// A connection of which nothing was seen yet.
    #[must_use]
    pub const fn new(socket: Socket) -> Self {
        Self { http1: http1::Session::new(socket), http2: http2::Watch::New }
    }

    /// When bytes last came.
    #[must_use]
    pub const fn last(&self) -> KtimeNs {
        self.http1.last()
    }

    /// Bytes that are kept of heads that are not whole.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.http1.kept_bytes() + self.http2.kept_bytes()
    }

    /// There is no room for heads that are not whole: they are taken as they are.
    pub fn give_up_heads(&mut self, out: &mut Output) {
        self.http1.give_up_heads(out);
        self.http2.give_up();
    }

    /// Bytes crossed.
    pub fn data(&mut self, direction: Direction, segment: &Segment<'_>, out: &mut Output) {
        self.http1.data(direction, segment, out);
        self.http2.data(direction, segment, out);
    }

    /// Nothing follows in this direction.
    pub fn eof(&mut self, direction: Direction, out: &mut Output) {
        self.http1.eof(direction, out);
    }

    /// Stream time went on.
    pub fn silence(&mut self, now: KtimeNs, out: &mut Output) {
        self.http1.silence(now, out);
    }

    /// The connection ended; `reason` is for requests that were not answered.
    pub fn close(&mut self, reason: Incomplete, out: &mut Output) {
        self.http1.close(reason, out);
    }
}
