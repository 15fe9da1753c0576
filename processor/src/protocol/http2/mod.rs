//! HTTP/2 (RFC 9113), only as far as it shows that a client exports OTLP over gRPC. No exchange is made of it.
//!
//! in   [`Watch::data`] by direction, from the first byte of a connection
//! out  [`Output::exports`]: signals whose export was answered with status 200 and `grpc-status` 0
//! keeps two tables of header fields ([`hpack`]) and at most [`MAX_OPEN`] calls, until [`MAX_CALLS`] calls were seen
//!
//! Nothing is guessed. Where bytes were lost that held heads of frames, a client's next call may begin with a frame: what it then
//! says counts only if it names the export in full and is answered on the stream that it names. What the dynamic table holds
//! is not known any more.
//! So of a connection that was opened before it was observed nothing is known, nor of one within TLS. When HTTP/2 becomes a
//! protocol that exchanges are made of, [`crate::discover::sdk::exported`] sees them as it sees those of HTTP/1.

mod fields;
mod frames;
mod hpack;
mod huffman;
#[cfg(test)]
mod tests;

use super::{Output, Segment};
use crate::model::{Direction, OwnSignals, ProcessId};
use frames::{Block, Frames};
use hpack::{Decoder, Field};

/// Exports that wait for their answer on one connection: exporters send one after another.
const MAX_OPEN: usize = 16;
/// Calls of a connection that are looked at: its first one shows an exporter, unless the Collector is away, when each failed
/// one is a call. Most connections of a busy client of something else are left alone after a moment.
const MAX_CALLS: u32 = 64;

/// Looks at one connection.
#[derive(Debug, Default)]
pub enum Watch {
    /// Nothing was seen yet.
    #[default]
    New,
    /// A client's, as far as was seen.
    Client(Box<Client>),
    /// There is nothing more to be known.
    Over,
}

/// A connection that this process opened.
#[derive(Debug)]
pub struct Client {
    sent: Frames,
    received: Frames,
    requests: Decoder,
    responses: Decoder,
    open: Vec<Call>,
    calls: u32,
    told: OwnSignals,
}

/// An export that was not answered yet.
#[derive(Clone, Copy, Debug)]
struct Call {
    stream: u32,
    process: ProcessId,
    signals: OwnSignals,
    has_status_200: bool,
}

impl Watch {
    /// Bytes crossed.
    pub fn data(&mut self, direction: Direction, segment: &Segment<'_>, out: &mut Output) {
        if matches!(self, Self::New) && segment.bytes.len() + usize::from(segment.hole > 0) > 0 {
            let may_be = Frames::may_begin(direction, segment.bytes);
            *self = if may_be { Self::Client(Box::new(Client::new())) } else { Self::Over };
        }
        if let Self::Client(client) = self
            && client.data(direction, segment, out)
        {
            *self = Self::Over;
        }
    }

    /// Bytes that are kept of a header block that is not whole.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        match self {
            Self::Client(client) => client.sent.kept_bytes() + client.received.kept_bytes(),
            Self::New | Self::Over => 0,
        }
    }

    /// There is no room for more of it: this connection is not looked at any more.
    pub fn give_up(&mut self) {
        if self.kept_bytes() > 0 {
            *self = Self::Over;
        }
    }
}

impl Client {
    fn new() -> Self {
        Self {
            sent: Frames::of_client(),
            received: Frames::of_server(),
            requests: Decoder::new(),
            responses: Decoder::new(),
            open: Vec::new(),
            calls: 0,
            told: OwnSignals::default(),
        }
    }

    /// Whether that was enough.
    fn data(&mut self, direction: Direction, segment: &Segment<'_>, out: &mut Output) -> bool {
        let Self { requests, responses, open, calls, told, .. } = self;
        match direction {
            Direction::Tx => self.sent.push(segment, &mut |block| {
                *calls += 1;
                open.extend(call(&block, segment.process, requests).filter(|_| open.len() < MAX_OPEN));
            }),
            Direction::Rx => self.received.push(segment, &mut |block| {
                if let Some(call) = answered(&block, responses, open) {
                    *told = told.and(call.signals);
                    out.exports.push((call.process, call.signals));
                }
            }),
        }
        if self.sent.is_torn() {
            self.requests.lose();
        }
        let is_all_told = self.told == OwnSignals { traces: true, metrics: true };
        let awaits_calls = !self.sent.is_lost() && self.calls < MAX_CALLS;
        is_all_told || self.received.is_lost() || !awaits_calls && self.open.is_empty()
    }
}

/// The export that a request is, if it is one.
fn call(block: &Block<'_>, process: ProcessId, requests: &mut Decoder) -> Option<Call> {
    let mut signals = OwnSignals::default();
    requests.read(block.bytes, block.is_whole, |field| {
        if let Field::Path(exported) = field {
            signals = exported;
        }
    });
    let call = Call { stream: block.stream, process, signals, has_status_200: false };
    Some(call).filter(|call| call.signals != OwnSignals::default())
}

/// The export that these fields of a response, or the ones behind its body, show to be accepted.
fn answered(block: &Block<'_>, responses: &mut Decoder, open: &mut Vec<Call>) -> Option<Call> {
    let at = open.iter().position(|call| call.stream == block.stream);
    let mut call = at.and_then(|at| open.get(at).copied());
    let mut is_accepted = None;
    responses.read(block.bytes, block.is_whole, |field| match (field, &mut call) {
        (Field::Status(is_200), Some(call)) => call.has_status_200 = is_200,
        (Field::GrpcStatus(is_ok), Some(_)) => is_accepted = Some(is_ok),
        _ => {}
    });
    let (at, call) = (at?, call?);
    match is_accepted {
        Some(is_ok) => {
            open.swap_remove(at);
            Some(call).filter(|call| is_ok && call.has_status_200)
        }
        None => {
            open.get_mut(at)?.has_status_200 = call.has_status_200;
            None
        }
    }
}
