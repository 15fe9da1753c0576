//! The connections.

use super::stream::{Placed, Stream};
use crate::{
    model::{Chunk, Close, Direction, Incomplete, KtimeNs, ProcessId},
    protocol::{Output, Segment, Session},
};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ratatosk_abi::OffsetKind;
use std::time::Duration;

/// Connections remembered: 16 Ki x about 1 KiB is what a node's agent may take for it.
const DEFAULT_CONNECTIONS: usize = 16_384;
/// Heads that are not whole, of all connections together: a thousand at their longest. Most heads come in one call.
const DEFAULT_HEAD_BYTES: usize = 16 << 20;
/// A close may overtake the last data by as much as the data ring lags behind.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// Connections looked at when one has to go: the longest idle of these, not of all, so that a flood stays cheap.
const EVICTION_SAMPLE: usize = 16;

/// Bounds of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Connections; beyond, one that was idle for long is forgotten, and counted.
    pub connections: usize,
    /// Bytes kept of heads that are not whole; beyond, one that grows is taken as it is, and counted.
    pub head_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: DEFAULT_CONNECTIONS, head_bytes: DEFAULT_HEAD_BYTES }
    }
}

#[derive(Debug)]
struct Connection {
    /// Who used it last.
    process: ProcessId,
    rx: Stream,
    tx: Stream,
    session: Session,
    closing: Option<Close>,
}

/// Every connection of which bytes were seen.
#[derive(Debug)]
pub struct Connections {
    by_cookie: HashMap<u64, Connection, RandomState>,
    /// Closes that overtook all data of their connection: a short one lives between two drains of the rings.
    closed_early: HashMap<u64, Close, RandomState>,
    /// Of heads that are not whole, as of the last advance, and what changed since.
    head_bytes: usize,
    limits: Limits,
}

impl Connection {
    fn new(chunk: &Chunk<'_>) -> Self {
        Self {
            process: chunk.process,
            rx: Stream::default(),
            tx: Stream::default(),
            session: Session::new(chunk.socket),
            closing: None,
        }
    }

    fn push(&mut self, chunk: &Chunk<'_>, out: &mut Output) -> Placed {
        let (session, direction) = (&mut self.session, chunk.direction);
        let (stream, other, opposite) = match direction {
            Direction::Rx => (&mut self.rx, &mut self.tx, Direction::Tx),
            Direction::Tx => (&mut self.tx, &mut self.rx, Direction::Rx),
        };
        // the direction turned, so what the other one still misses will not come any more
        other.flush(|segment| session.data(opposite, segment, out));
        stream.push(chunk, |segment: &Segment<'_>| session.data(direction, segment, out))
    }

    fn flush(&mut self, out: &mut Output) {
        let session = &mut self.session;
        self.rx.flush(|segment| session.data(Direction::Rx, segment, out));
        self.tx.flush(|segment| session.data(Direction::Tx, segment, out));
    }

    fn advance(&mut self, now: KtimeNs, out: &mut Output) {
        let session = &mut self.session;
        self.rx.expire(now, |segment| session.data(Direction::Rx, segment, out));
        self.tx.expire(now, |segment| session.data(Direction::Tx, segment, out));
        session.silence(now, out);
    }

    /// All bytes up to the final offsets were handed on.
    fn is_drained(&self, close: &Close) -> bool {
        let reached = |stream: &Stream, end: crate::model::Offset| {
            end.kind != OffsetKind::None && stream.is_settled() && stream.has_reached(end.value)
        };
        reached(&self.rx, close.rx_end) && reached(&self.tx, close.tx_end)
    }
}

impl Connections {
    /// An empty table.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let by_cookie = HashMap::with_hasher(RandomState::default());
        let closed_early = HashMap::with_hasher(RandomState::default());
        Self { by_cookie, closed_early, head_bytes: 0, limits }
    }

    /// Connections at hand.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_cookie.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_cookie.is_empty()
    }

    /// Bytes crossed.
    pub fn chunk(&mut self, chunk: &Chunk<'_>, out: &mut Output) {
        let spare = self.limits.head_bytes.saturating_sub(self.head_bytes);
        let connection = self.connection(chunk, out);
        connection.process = chunk.process;
        let before = connection.session.kept_bytes();
        let placed = out.on_behalf_of(chunk.process, |out| {
            let placed = connection.push(chunk, out);
            if connection.session.kept_bytes() > before + spare {
                connection.session.give_up_heads(out);
            }
            placed
        });
        let (after, is_closing) = (connection.session.kept_bytes(), connection.closing.is_some());
        self.head_bytes = (self.head_bytes + after).saturating_sub(before);
        out.resyncs += u64::from(placed == Placed::Resync);
        if is_closing {
            self.end_if_drained(chunk.socket.cookie, out);
        }
    }

    /// A direction ended: nothing follows `chunk.offset`.
    pub fn eof(&mut self, chunk: &Chunk<'_>, out: &mut Output) {
        if let Some(connection) = self.by_cookie.get_mut(&chunk.socket.cookie) {
            out.on_behalf_of(connection.process, |out| {
                connection.flush(out);
                connection.session.eof(chunk.direction, out);
            });
        }
    }

    /// A connection ended. Its last bytes may still be on their way.
    pub fn close(&mut self, close: &Close, out: &mut Output) {
        if let Some(connection) = self.by_cookie.get_mut(&close.socket.cookie) {
            connection.closing = Some(*close);
            self.end_if_drained(close.socket.cookie, out);
        } else if close.tx_end.kind != OffsetKind::None && self.closed_early.len() < self.limits.connections {
            // beyond that many, such a connection is ended by being idle, as one whose close was lost
            self.closed_early.insert(close.socket.cookie, *close);
        }
    }

    /// Stream time went on to `now`.
    pub fn advance(&mut self, now: KtimeNs, out: &mut Output) {
        self.closed_early.retain(|_, close| now.since(close.time) < CLOSE_WAIT);
        let mut head_bytes = 0;
        self.by_cookie.retain(|_, connection| {
            out.on_behalf_of(connection.process, |out| connection.advance(now, out));
            let is_over = connection.closing.is_some_and(|close| now.since(close.time) >= CLOSE_WAIT);
            if is_over {
                end(connection, Incomplete::NoResponse, out);
            }
            head_bytes += connection.session.kept_bytes();
            !is_over
        });
        self.head_bytes = head_bytes;
    }

    /// The stream is over: everything that is left is told or counted.
    pub fn finish(&mut self, out: &mut Output) {
        for (_, mut connection) in self.by_cookie.drain() {
            end(&mut connection, Incomplete::NoResponse, out);
        }
    }

    fn connection(&mut self, chunk: &Chunk<'_>, out: &mut Output) -> &mut Connection {
        let cookie = chunk.socket.cookie;
        if self.by_cookie.len() >= self.limits.connections && !self.by_cookie.contains_key(&cookie) {
            self.evict(out);
        }
        let closed_early = &mut self.closed_early;
        self.by_cookie.entry(cookie).or_insert_with(|| {
            let closing = closed_early.remove(&cookie);
            Connection { closing, ..Connection::new(chunk) }
        })
    }

    fn evict(&mut self, out: &mut Output) {
        let sample = self.by_cookie.iter().take(EVICTION_SAMPLE);
        let idle = sample.min_by_key(|(_, connection)| connection.session.last()).map(|(cookie, _)| *cookie);
        if let Some(mut connection) = idle.and_then(|cookie| self.by_cookie.remove(&cookie)) {
            end(&mut connection, Incomplete::Evicted, out);
            out.on_behalf_of(connection.process, |out| out.incomplete.add(Incomplete::Evicted, 1));
        }
    }

    fn end_if_drained(&mut self, cookie: u64, out: &mut Output) {
        let Some(connection) = self.by_cookie.get(&cookie) else { return };
        if connection.closing.is_some_and(|close| connection.is_drained(&close))
            && let Some(mut connection) = self.by_cookie.remove(&cookie)
        {
            end(&mut connection, Incomplete::NoResponse, out);
        }
    }
}

fn end(connection: &mut Connection, reason: Incomplete, out: &mut Output) {
    out.on_behalf_of(connection.process, |out| {
        connection.flush(out);
        connection.session.close(reason, out);
    });
}
