//! What exporters get.

use super::{Role, Service, Text, UnixNanos};
use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

/// 16 bytes, printed as 32 hex digits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct TraceId(pub [u8; 16]);

/// 8 bytes, printed as 16 hex digits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct SpanId(pub [u8; 8]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// Flag of a sampled trace (W3C Trace Context 3.2.2.5).
pub const SAMPLED: u8 = 1;

/// `SpanKind` of OpenTelemetry.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(missing_docs, reason = "OpenTelemetry's words")]
pub enum SpanKind {
    Server,
    Client,
}

impl From<Role> for SpanKind {
    fn from(role: Role) -> Self {
        match role {
            Role::Server => Self::Server,
            Role::Client => Self::Client,
        }
    }
}

/// One span, whole: exporters need nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Trace.
    pub trace_id: TraceId,
    /// Span.
    pub span_id: SpanId,
    /// Parent, if one was seen.
    pub parent_id: Option<SpanId>,
    /// Trace flags.
    pub trace_flags: u8,
    /// Server or client.
    pub kind: SpanKind,
    /// First byte of the request.
    pub start: UnixNanos,
    /// Last byte of the response.
    pub end: UnixNanos,
    /// Who asked.
    pub peer: SocketAddr,
    /// Who was asked.
    pub host: SocketAddr,
    /// The observed process.
    pub service: Arc<Service>,
    /// What it may be told as.
    pub signals: Signals,
    /// What was asked and answered.
    pub http: Http,
}

/// What a span may be told as: settings can rule out either.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Signals {
    /// A trace. Whether it was sampled is another question: [`Span::is_sampled`].
    pub traces: bool,
    /// An observation of metrics.
    pub metrics: bool,
}

impl Signals {
    /// Everything.
    pub const ALL: Self = Self { traces: true, metrics: true };
    /// Nothing: nobody needs the span.
    pub const NONE: Self = Self { traces: false, metrics: false };
}

impl Span {
    /// `end - start`.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        Duration::from_nanos(self.end.0.saturating_sub(self.start.0))
    }

    /// The sampled flag (W3C Trace Context 3.2.2.5): an exporter of traces sends only these.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.trace_flags & SAMPLED != 0
    }

    /// Name of the span: `{method} {route}`, the method alone if no route is known; `HTTP` stands for an unknown method.
    #[must_use]
    pub fn name(&self) -> String {
        let method = if self.http.method_original.is_some() { "HTTP" } else { self.http.method };
        match &self.http.route {
            Some(route) => format!("{method} {route}"),
            None => method.to_owned(),
        }
    }
}

/// HTTP attributes, by OpenTelemetry semantic conventions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Http {
    /// `http.request.method`: a known method, or `_OTHER`.
    pub method: &'static str,
    /// `http.request.method_original`: the token, if `method` is `_OTHER`.
    pub method_original: Option<Box<str>>,
    /// `url.path`.
    pub path: Text,
    /// `url.query`, redacted; empty if there was none.
    pub query: Box<str>,
    /// `http.route`, if one is known.
    pub route: Option<Arc<str>>,
    /// `server.address`: the request's host, else the IP.
    pub server_address: Text,
    /// `server.port`.
    pub server_port: u16,
    /// `http.response.status_code`, 0: none was seen.
    pub status: u16,
    /// `error.type`: the status as text, or a reason why there was none.
    pub error_type: Option<Box<str>>,
    /// `http.request.body.size`.
    pub request_body_bytes: u64,
    /// `http.response.body.size`.
    pub response_body_bytes: u64,
    /// `network.protocol.version`.
    pub version: &'static str,
}

impl Http {
    /// The token that people know the method by.
    #[must_use]
    pub fn method_token(&self) -> &str {
        self.method_original.as_deref().unwrap_or(self.method)
    }
}
