//! A request with its response, as the wire told it.

use super::{KtimeNs, ProcessId, Socket, SpanId, Text, TraceId};
use std::fmt;

/// Which end of the connection was observed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// The observed process read the request.
    Server,
    /// The observed process wrote the request.
    Client,
}

/// What told where the response ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndedBy {
    /// Its own framing, seen whole.
    Framing,
    /// The next request began: the framing was cut.
    Turn,
    /// The connection ended.
    Close,
    /// Nothing came for [`crate::protocol::SILENCE`]: the framing was cut.
    Silence,
}

impl EndedBy {
    /// Every way, in the order of declaration.
    pub const ALL: [Self; 4] = [Self::Framing, Self::Turn, Self::Close, Self::Silence];

    /// Value of the label `by`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Framing => "framing",
            Self::Turn => "turn",
            Self::Close => "close",
            Self::Silence => "silence",
        }
    }
}

/// Why an exchange became no span, or less of one. Value of the label `reason`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Incomplete {
    /// Its head lies in bytes that were not captured.
    CaptureCut,
    /// Bytes between are missing: a record was lost, or bytes crossed unseen.
    Gap,
    /// A response whose request was not seen (it began before us).
    NoRequest,
    /// The connection ended, or its state was evicted, before a response was seen.
    NoResponse,
    /// The bytes are not what they were taken for.
    Invalid,
    /// A bound was reached: pipelining depth, head size, connections.
    Evicted,
}

impl Incomplete {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::CaptureCut, Self::Gap, Self::NoRequest, Self::NoResponse, Self::Invalid, Self::Evicted];

    /// Value of the label `reason`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CaptureCut => "capture_cut",
            Self::Gap => "gap",
            Self::NoRequest => "no_request",
            Self::NoResponse => "no_response",
            Self::Invalid => "invalid",
            Self::Evicted => "evicted",
        }
    }
}

/// `traceparent` of a request (W3C Trace Context), valid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TraceParent {
    /// Not zero.
    pub trace_id: TraceId,
    /// Not zero.
    pub span_id: SpanId,
    /// Trace flags.
    pub flags: u8,
}

/// A request with its response.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Who.
    pub process: ProcessId,
    /// Which socket.
    pub socket: Socket,
    /// Which end.
    pub role: Role,
    /// Unwrapped offset of the request's first byte in its direction: names the exchange within the connection.
    pub request_offset: u64,
    /// First byte of the request read (server) or written (client).
    pub start: KtimeNs,
    /// Last byte of the response written (server) or read (client); of the last byte seen if there was no response.
    pub end: KtimeNs,
    /// How the end is known.
    pub ended_by: EndedBy,
    /// Something is missing from what the span would say (it still is told).
    pub incomplete: Option<Incomplete>,
    /// What was asked and answered.
    pub http: HttpExchange,
}

/// A method token: those of RFC 9110, 5789 and the QUERY draft without an allocation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Method {
    /// One that semantic conventions know.
    Known(&'static str),
    /// Any other token.
    Other(Box<str>),
}

impl Method {
    const KNOWN: [&'static str; 10] =
        ["GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "QUERY"];

    /// The method called `token`.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self::known(token.as_bytes()).unwrap_or_else(|| Self::Other(token.into()))
    }

    /// The method called `token`, if semantic conventions know it.
    #[must_use]
    pub fn known(token: &[u8]) -> Option<Self> {
        Self::KNOWN.into_iter().find(|known| known.as_bytes() == token).map(Self::Known)
    }

    /// The token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(token) => token,
            Self::Other(token) => token,
        }
    }
}

impl Default for Method {
    fn default() -> Self {
        Self::Known("GET")
    }
}

/// A query string as the wire carried it, without `?`; empty if there was none.
///
/// It may hold passwords, so it can't be printed: only [`crate::decorate::Redaction`] opens it.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct RawQuery(Text);

impl RawQuery {
    /// Keeps `query` closed.
    #[must_use]
    pub const fn new(query: Text) -> Self {
        Self(query)
    }

    /// What it says: for the redaction alone.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RawQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawQuery({} bytes)", self.0.len())
    }
}

/// HTTP/1.x. Strings are cut at their bounds and valid UTF-8 (others are replaced).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpExchange {
    /// The method token.
    pub method: Method,
    /// Request target without scheme, authority, query and fragment.
    pub path: Text,
    /// Query of the request target.
    pub query: RawQuery,
    /// `host` or `host:port` of the request, empty if none was seen.
    pub host: Text,
    /// `(major, minor)`.
    pub version: (u8, u8),
    /// Status code, 0: no response was seen.
    pub status: u16,
    /// Bytes on the wire after the request head.
    pub request_body_bytes: u64,
    /// Bytes on the wire after the response head.
    pub response_body_bytes: u64,
    /// The caller's context.
    pub parent: Option<TraceParent>,
}
