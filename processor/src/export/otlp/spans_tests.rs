use super::*;
use crate::export::samples::{client_span, server_span, service};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

fn machine() -> Machine {
    let attributes = [("deployment.environment.name", "test"), ("host.name", "not this")];
    Machine {
        host_name: "box".to_owned(),
        host_id: "id".to_owned(),
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        selection: Arc::default(),
    }
}

fn shown(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let value = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(n) => n.to_string(),
        other => panic!("{other:?}"),
    };
    let shown: BTreeMap<_, _> = attributes.iter().map(|a| (a.key.as_str(), value(a))).collect();
    assert_eq!(shown.len(), attributes.len(), "an attribute is there twice");
    shown
}

fn of<'a>(pairs: &[(&'a str, &str)]) -> BTreeMap<&'a str, String> {
    pairs.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

#[test]
fn a_server_span_says_what_the_conventions_ask_for() {
    let span = otlp(&server_span(), &AttributeSelection::default());
    assert_eq!((span.name.as_str(), span.kind), ("GET", i32::from(span::SpanKind::Server)));
    assert_eq!((span.trace_id, span.span_id), (vec![1; 16], vec![2; 8]));
    assert!(span.parent_span_id.is_empty());
    assert_eq!(span.start_time_unix_nano, 1_700_000_000_123_456_789);
    assert_eq!(span.end_time_unix_nano, 1_700_000_000_124_691_356);
    assert_eq!((span.flags, span.status.unwrap().code), (0x101, i32::from(StatusCode::Unset)));
    let expected = of(&[
        ("client.address", "127.0.0.1"),
        ("http.request.body.size", "0"),
        ("http.request.method", "GET"),
        ("http.response.body.size", "615"),
        ("http.response.status_code", "200"),
        ("network.peer.address", "127.0.0.1"),
        ("network.peer.port", "54321"),
        ("network.protocol.version", "1.1"),
        ("server.address", "shop.example"),
        ("server.port", "8080"),
        ("url.path", "/users/7"),
        ("url.scheme", "http"),
    ]);
    assert_eq!(shown(&span.attributes), expected);
}

#[test]
fn a_request_without_answer_is_an_error_and_an_odd_method_is_http() {
    let span = otlp(&client_span(), &AttributeSelection::default());
    assert_eq!((span.name.as_str(), span.kind), ("HTTP /users/{id}", i32::from(span::SpanKind::Client)));
    assert_eq!((span.parent_span_id, span.flags), (vec![3; 8], 0x301));
    assert_eq!(span.status.unwrap().code, i32::from(StatusCode::Error));
    let attributes = shown(&span.attributes);
    assert_eq!(attributes["http.request.method"], "_OTHER");
    assert_eq!(attributes["http.request.method_original"], "BREW");
    assert_eq!(attributes["error.type"], "no_response");
    assert_eq!(attributes["network.peer.address"], "2001:db8::1");
    assert!(!attributes.contains_key("http.response.status_code"));
    assert!(!attributes.contains_key("client.address"));
}

#[test]
fn each_service_instance_is_one_resource() {
    let mut other = server_span();
    other.service = service("nginx", "host:99");
    let mut again = server_span();
    again.service = service("nginx", "host:42");
    let request = request(&[server_span(), other, client_span(), again], &machine());
    let spans: Vec<usize> =
        request.resource_spans.iter().map(|resource| resource.scope_spans[0].spans.len()).collect();
    assert_eq!(spans, [2, 1, 1]);
}

#[test]
fn the_whole_url_of_a_client_has_the_redacted_query_and_an_address_that_can_be_read() {
    let Span { http, .. } = client_span();
    for (address, query, expected) in [
        ("shop", "", "http://shop:81/a"),
        ("shop", "page=2&token=REDACTED", "http://shop:81/a?page=2&token=REDACTED"),
        ("::1", "q", "http://[::1]:81/a?q"),
        ("[::1]", "", "http://[::1]:81/a"),
    ] {
        let (server_address, path) = (address.into(), "/a".into());
        let http = Http { server_address, server_port: 81, path, query: query.into(), ..http.clone() };
        assert_eq!(url(&http), expected);
    }
}

#[test]
fn a_resource_says_who_and_where() {
    let resource = machine().resource(&client_span().service);
    let version = env!("CARGO_PKG_VERSION");
    let expected = of(&[
        ("deployment.environment.name", "test"),
        ("host.id", "id"),
        ("host.name", "box"),
        ("os.type", "linux"),
        ("process.executable.name", "python3.11"),
        ("process.executable.path", "/usr/bin/python3.11"),
        ("process.pid", "43"),
        ("service.instance.id", "host:43"),
        ("service.name", "worker"),
        ("service.namespace", "shop"),
        ("telemetry.distro.name", "ratatosk"),
        ("telemetry.distro.version", version),
        ("telemetry.sdk.language", "python"),
        ("telemetry.sdk.name", "ratatosk"),
        ("telemetry.sdk.version", version),
    ]);
    assert_eq!(shown(&resource.attributes), expected);
}

fn selecting(json: &str) -> Machine {
    let selection = AttributeSelection::new(&serde_json::from_str(json).unwrap()).unwrap();
    Machine { selection: Arc::new(selection), ..machine() }
}

#[test]
fn a_query_that_is_not_selected_is_not_told() {
    let mut span = server_span();
    span.http.query = "a=b".into();
    for (json, is_told) in [("{}", true), (r#"{"traces": {"exclude": ["url.*"]}}"#, false)] {
        let request = request(&[span.clone()], &selecting(json));
        let attributes = shown(&request.resource_spans[0].scope_spans[0].spans[0].attributes);
        assert_eq!(attributes.contains_key("url.query"), is_told, "{json}");
        assert!(attributes.contains_key("url.path"), "it can't be selected");
    }
}

#[test]
fn a_resource_says_only_what_is_selected_and_what_can_not_be() {
    let lists = r#"{"resource": {"include": ["service.*", "host.*"], "exclude": ["host_id"]}}"#;
    let resource = selecting(lists).resource(&client_span().service);
    let keys: Vec<&str> = shown(&resource.attributes).into_keys().collect();
    let service = ["service.instance.id", "service.name", "service.namespace"];
    assert_eq!(keys, [&["deployment.environment.name", "host.name"], &service[..]].concat());
}
