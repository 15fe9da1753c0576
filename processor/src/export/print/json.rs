//! One JSON array of one object per span, with Beyla's keys in Beyla's order. Every value is a string; times are Unix
//! microseconds.

use super::duration::GoDuration;
use super::escape;
use super::text::kind_name;
use crate::model::{Span, SpanId, SpanKind, UnixNanos};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

pub(super) fn append(out: &mut String, span: &Span, is_indented: bool) {
    let line = [Line::new(span)];
    let json = if is_indented { indented(&line) } else { serde_json::to_string(&line) };
    // Strings into memory: there is nothing to fail.
    escape::append_json(out, &json.unwrap_or_default());
    out.push('\n');
}

/// One blank per level, as Go's `MarshalIndent` was told.
fn indented(line: &[Line<'_>; 1]) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    line.serialize(&mut Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b" ")))?;
    Ok(String::from_utf8(bytes).unwrap_or_default())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    r#type: &'static str,
    peer: String,
    peer_port: String,
    host: String,
    host_port: String,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    #[serde(rename = "parentSpanID")]
    parent_span_id: String,
    trace_flags: String,
    peer_name: &'static str,
    host_name: &'static str,
    kind: &'static str,
    start: String,
    handler_start: String,
    end: String,
    duration: String,
    #[serde(rename = "durationUSec")]
    duration_us: String,
    handler_duration: String,
    #[serde(rename = "handlerDurationUSec")]
    handler_duration_us: String,
    attributes: Attributes<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attributes<'a> {
    method: &'a str,
    status: String,
    url: &'a str,
    content_len: String,
    response_len: String,
    route: &'a str,
    client_addr: String,
    server_addr: &'a str,
    server_port: String,
}

impl<'a> Line<'a> {
    fn new(span: &'a Span) -> Self {
        let (duration, us) =
            (GoDuration(span.duration()).to_string(), span.duration().as_micros().to_string());
        Self {
            r#type: kind_name(span.kind),
            peer: span.peer.ip().to_canonical().to_string(),
            peer_port: span.peer.port().to_string(),
            host: span.host.ip().to_canonical().to_string(),
            host_port: span.host.port().to_string(),
            trace_id: span.trace_id.to_string(),
            span_id: span.span_id.to_string(),
            parent_span_id: span.parent_id.unwrap_or(SpanId([0; 8])).to_string(),
            trace_flags: span.trace_flags.to_string(),
            // Nobody resolves names yet.
            peer_name: "",
            host_name: "",
            kind: span_kind(span.kind),
            start: micros(span.start),
            handler_start: micros(span.start),
            end: micros(span.end),
            handler_duration: duration.clone(),
            handler_duration_us: us.clone(),
            duration,
            duration_us: us,
            attributes: Attributes::new(span),
        }
    }
}

impl<'a> Attributes<'a> {
    fn new(span: &'a Span) -> Self {
        let http = &span.http;
        Self {
            method: http.method_token(),
            status: http.status.to_string(),
            url: &http.path,
            content_len: http.request_body_bytes.to_string(),
            response_len: http.response_body_bytes.to_string(),
            route: http.route.as_deref().unwrap_or_default(),
            client_addr: span.peer.ip().to_canonical().to_string(),
            server_addr: &http.server_address,
            server_port: http.server_port.to_string(),
        }
    }
}

const fn span_kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Server => "SPAN_KIND_SERVER",
        SpanKind::Client => "SPAN_KIND_CLIENT",
    }
}

fn micros(time: UnixNanos) -> String {
    (time.0 / 1_000).to_string()
}
