//! Spans for the tests of exporters.

use crate::model::{Http, Service, Signals, Span, SpanId, SpanKind, TraceId, UnixNanos};
use std::sync::Arc;

/// A GET to nginx that took 1.234567 ms, on 2023-11-14.
pub(crate) fn server_span() -> Span {
    Span {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([2; 8]),
        parent_id: None,
        trace_flags: 1,
        kind: SpanKind::Server,
        start: UnixNanos(1_700_000_000_123_456_789),
        end: UnixNanos(1_700_000_000_124_691_356),
        peer: "127.0.0.1:54321".parse().unwrap(),
        host: "127.0.0.1:8080".parse().unwrap(),
        service: service("nginx", "host:42"),
        signals: Signals::ALL,
        http: Http {
            method: "GET",
            path: "/users/7".into(),
            server_address: "shop.example".into(),
            server_port: 8080,
            status: 200,
            request_body_bytes: 0,
            response_body_bytes: 615,
            version: "1.1",
            ..Http::default()
        },
    }
}

/// A BREW by Python over IPv6 that was never answered, with route and parent.
pub(crate) fn client_span() -> Span {
    let mut span = server_span();
    span.kind = SpanKind::Client;
    span.parent_id = Some(SpanId([3; 8]));
    span.peer = "[::1]:54321".parse().unwrap();
    span.host = "[2001:db8::1]:80".parse().unwrap();
    span.service = Arc::new(Service {
        name: "worker".to_owned(),
        namespace: "shop".to_owned(),
        instance_id: "host:43".to_owned(),
        language: "python".to_owned(),
        pid: 43,
        executable: "/usr/bin/python3.11".to_owned(),
        ..Service::default()
    });
    span.http.method = "_OTHER";
    span.http.method_original = Some("BREW".into());
    span.http.route = Some("/users/{id}".into());
    span.http.status = 0;
    span.http.error_type = Some("no_response".into());
    span
}

pub(crate) fn service(name: &str, instance_id: &str) -> Arc<Service> {
    Arc::new(Service { name: name.to_owned(), instance_id: instance_id.to_owned(), ..Service::default() })
}
