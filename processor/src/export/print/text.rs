//! One line per span, as Beyla prints it:
//! `2006-01-02 15:04:05.000000 (total[handler]) TYPE status METHOD path(route) [peer as name:port]->[host as name:port]
//! contentLen:NB responseLen:NB svc=[ns/name lang] traceparent=[00-trace-span[parent]-01]`.
//!
//! The time is UTC and that of the request's start. Between accept and handler nothing is seen on the wire, so both
//! durations are the same. Names of hosts are their addresses while nobody resolves them. No response: status 0.

use super::duration::GoDuration;
use super::escape::Plain;
use crate::model::{Service, Span, SpanId, SpanKind, UnixNanos};
use crate::telemetry::exposition::push;
use std::fmt;

pub(super) fn append(out: &mut String, span: &Span, is_coloured: bool) {
    let http = &span.http;
    push(
        out,
        format_args!(
            "{} ({total}[{total}]) {} {} {} {}{} [{}]->[{}] contentLen:{}B responseLen:{}B svc=[{}] traceparent=[{}]\n",
            Time(span.start),
            kind_name(span.kind),
            Status { code: http.status, is_coloured },
            Plain(http.method_token()),
            Plain(&http.path),
            Route(http.route.as_deref()),
            Endpoint(span.peer),
            Endpoint(span.host),
            http.request_body_bytes,
            http.response_body_bytes,
            ServiceName(&span.service),
            TraceParent(span),
            total = GoDuration(span.duration()),
        ),
    );
}

/// Beyla's word for what a span is.
pub(super) const fn kind_name(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Server => "HTTP",
        SpanKind::Client => "HTTPClient",
    }
}

struct Time(UnixNanos);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0.0)) {
            Ok(time) => write!(f, "{}", time.strftime("%Y-%m-%d %H:%M:%S%.6f")),
            // Not reached: u64 nanoseconds end in 2554, jiff in 9999.
            Err(_) => write!(f, "{}", self.0.0),
        }
    }
}

struct Status {
    code: u16,
    is_coloured: bool,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GREEN: u8 = 32;
        const YELLOW: u8 = 33;
        const RED: u8 = 31;
        let colour = match self.code {
            100..=399 => GREEN,
            400..=499 => YELLOW,
            _ => RED,
        };
        if self.is_coloured {
            write!(f, "\u{1b}[{colour}m{}\u{1b}[0m", self.code)
        } else {
            write!(f, "{}", self.code)
        }
    }
}

struct Route<'a>(Option<&'a str>);

impl fmt::Display for Route<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |route| write!(f, "({})", Plain(route)))
    }
}

struct Endpoint(std::net::SocketAddr);

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.0.ip().to_canonical();
        write!(f, "{address} as {address}:{}", self.0.port())
    }
}

struct ServiceName<'a>(&'a Service);

impl fmt::Display for ServiceName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let service = self.0;
        if !service.namespace.is_empty() {
            write!(f, "{}/", Plain(&service.namespace))?;
        }
        write!(f, "{}", Plain(&service.name))?;
        if service.language.is_empty() { Ok(()) } else { write!(f, " {}", Plain(&service.language)) }
    }
}

struct TraceParent<'a>(&'a Span);

impl fmt::Display for TraceParent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.0;
        let parent = span.parent_id.unwrap_or(SpanId([0; 8]));
        write!(f, "00-{}-{}[{parent}]-{:02x}", span.trace_id, span.span_id, span.trace_flags)
    }
}
