//! Spans as OTLP says them: one resource per service instance, attributes by the semantic conventions for HTTP (1.44).

use super::resource::{Machine, SCHEMA_URL, number, scope, text};
use crate::model::{Http, Service, Span, SpanKind};
use crate::select::{AttributeSelection, TRACES};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span as OtlpSpan, SpanFlags, Status, span, status::StatusCode,
};

/// The method of a request that semantic conventions do not know, in a span's name.
const OTHER_METHOD: &str = "HTTP";

/// A request that tells `batch`.
pub(super) fn request(batch: &[Span], machine: &Machine) -> ExportTraceServiceRequest {
    let mut places: HashMap<&Service, usize, RandomState> = HashMap::default();
    let mut resource_spans: Vec<ResourceSpans> = Vec::new();
    for span in batch {
        let place = *places.entry(&*span.service).or_insert_with(|| {
            resource_spans.push(of_service(&span.service, machine));
            resource_spans.len() - 1
        });
        let scope = resource_spans.get_mut(place).and_then(|resource| resource.scope_spans.first_mut());
        scope.expect("made above").spans.push(otlp(span, &machine.selection));
    }
    ExportTraceServiceRequest { resource_spans }
}

fn of_service(service: &Service, machine: &Machine) -> ResourceSpans {
    let schema_url = SCHEMA_URL.to_owned();
    let spans = ScopeSpans { scope: Some(scope()), spans: Vec::new(), schema_url: schema_url.clone() };
    ResourceSpans { resource: Some(machine.resource(service)), scope_spans: vec![spans], schema_url }
}

fn otlp(span: &Span, selection: &AttributeSelection) -> OtlpSpan {
    OtlpSpan {
        trace_id: span.trace_id.0.to_vec(),
        span_id: span.span_id.0.to_vec(),
        parent_span_id: span.parent_id.map(|id| id.0.to_vec()).unwrap_or_default(),
        flags: flags(span),
        name: name(&span.http),
        kind: kind(span.kind).into(),
        start_time_unix_nano: span.start.0,
        end_time_unix_nano: span.end.0,
        attributes: attributes(span, selection),
        status: Some(status(&span.http)),
        ..OtlpSpan::default()
    }
}

/// A parent was named by the request, so it is another process's.
fn flags(span: &Span) -> u32 {
    let bit = |flag: SpanFlags| u32::try_from(i32::from(flag)).unwrap_or_default();
    let remote = if span.parent_id.is_some() { bit(SpanFlags::ContextIsRemoteMask) } else { 0 };
    u32::from(span.trace_flags) | bit(SpanFlags::ContextHasIsRemoteMask) | remote
}

/// `GET /users/{id}`, or `GET`: a path would be a name per user.
fn name(http: &Http) -> String {
    let method = if http.method_original.is_some() { OTHER_METHOD } else { http.method };
    match &http.route {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    }
}

const fn kind(kind: SpanKind) -> span::SpanKind {
    match kind {
        SpanKind::Server => span::SpanKind::Server,
        SpanKind::Client => span::SpanKind::Client,
    }
}

/// What is an error differs by side, and was decided where `error.type` was set.
fn status(http: &Http) -> Status {
    let code = if http.error_type.is_some() { StatusCode::Error } else { StatusCode::Unset };
    Status { code: code.into(), message: String::new() }
}

fn attributes(span: &Span, selection: &AttributeSelection) -> Vec<KeyValue> {
    let http = &span.http;
    let mut attributes = vec![
        text("http.request.method", http.method),
        text("url.path", &http.path),
        text("url.scheme", "http"),
        text("server.address", &http.server_address),
        number("server.port", http.server_port),
        text("network.protocol.version", http.version),
        number("http.request.body.size", http.request_body_bytes),
        number("http.response.body.size", http.response_body_bytes),
    ];
    attributes.extend(peer(span));
    if http.status != 0 {
        attributes.push(number("http.response.status_code", http.status));
    }
    for (key, value) in [
        ("http.request.method_original", http.method_original.as_deref()),
        ("http.route", http.route.as_deref()),
        ("error.type", http.error_type.as_deref()),
        ("url.query", Some(&*http.query).filter(|query| !query.is_empty())),
    ] {
        attributes.extend(value.map(|value| text(key, value)));
    }
    attributes.retain(|attribute| selection.is_on(TRACES, &attribute.key));
    attributes
}

/// The other end of the connection. A server's client has no better name; a client says the whole URL.
fn peer(span: &Span) -> [KeyValue; 3] {
    let http = &span.http;
    let (peer, third) = match span.kind {
        SpanKind::Server => (span.peer, text("client.address", &span.peer.ip().to_string())),
        SpanKind::Client => (span.host, text("url.full", &url(http))),
    };
    [text("network.peer.address", &peer.ip().to_string()), number("network.peer.port", peer.port()), third]
}

/// The whole URL of a client's request; its query is redacted already, and told here whether or not `url.query` is, as
/// in OBI.
fn url(http: &Http) -> String {
    let Http { server_address: address, server_port: port, path, query, .. } = http;
    let is_bare_v6 = address.contains(':') && !address.starts_with('[');
    let (open, close) = if is_bare_v6 { ("[", "]") } else { ("", "") };
    let mark = if query.is_empty() { "" } else { "?" };
    format!("http://{open}{address}{close}:{port}{path}{mark}{query}")
}

#[cfg(test)]
#[path = "spans_tests.rs"]
mod tests;
