//! An exchange in the words of the semantic conventions for HTTP (1.44).

use crate::{
    correlate::Context,
    model::{ClockPair, Exchange, Http, HttpExchange, Method, Role, Service, Signals, Span, Text},
};
use std::{net::SocketAddr, sync::Arc};

/// `error.type` where no response was seen.
const NO_RESPONSE: &str = "no_response";

/// The span of `exchange`.
#[must_use]
pub fn span(exchange: Exchange, context: Context, service: Arc<Service>, clock: &ClockPair) -> Span {
    let Exchange { ref socket, role, start, end, http, .. } = exchange;
    let (peer, host) = match role {
        Role::Server => (&socket.remote, &socket.local),
        Role::Client => (&socket.local, &socket.remote),
    };
    Span {
        trace_id: context.trace_id,
        span_id: context.span_id,
        parent_id: context.parent_id,
        trace_flags: context.flags,
        kind: role.into(),
        start: clock.unix(start),
        end: clock.unix(end),
        peer: *peer,
        host: *host,
        service,
        signals: Signals::ALL,
        http: attributes(http, role, *host),
    }
}

fn attributes(http: HttpExchange, role: Role, host: SocketAddr) -> Http {
    let (server_address, server_port) = server(http.host, host);
    let (method, method_original) = match http.method {
        Method::Known(method) => (method, None),
        Method::Other(token) => ("_OTHER", Some(token)),
    };
    Http {
        method,
        method_original,
        path: http.path,
        // decorate knows what may be told of it
        query: Box::default(),
        route: None,
        server_address,
        server_port,
        status: http.status,
        error_type: error_type(http.status, role),
        request_body_bytes: http.request_body_bytes,
        response_body_bytes: http.response_body_bytes,
        version: if http.version == (1, 0) { "1.0" } else { "1.1" },
    }
}

/// A server is at fault from 500 on, for a client everything from 400 on is an error.
fn error_type(status: u16, role: Role) -> Option<Box<str>> {
    let first_error = if role == Role::Server { 500 } else { 400 };
    match status {
        0 => Some(NO_RESPONSE.into()),
        status if status >= first_error => Some(status.to_string().into()),
        _ => None,
    }
}

/// `server.address` and `server.port`: as the client named them, else as it reached them.
fn server(mut named: Text, reached: SocketAddr) -> (Text, u16) {
    if named.is_empty() {
        return (compact_str::format_compact!("{}", reached.ip()), reached.port());
    }
    let mut port = reached.port();
    if let Some((name, digits)) = split_port(&named) {
        port = digits.parse().unwrap_or(port);
        named.truncate(name.len());
    }
    (named, port)
}

/// `name:port`. A colon within an IPv6 address is none before a port.
fn split_port(named: &str) -> Option<(&str, &str)> {
    // a port is short: looking from the end byte by byte is the quickest
    let (name, port) = named.split_at_checked(named.bytes().rposition(|byte| byte == b':')?)?;
    let is_bracketed = name.starts_with('[') && name.ends_with(']');
    let is_whole = is_bracketed || !name.bytes().any(|byte| byte == b':');
    (is_whole && !name.is_empty()).then_some((name, port.strip_prefix(':')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_named_as_the_client_named_it() {
        let reached: SocketAddr = "10.0.0.1:8080".parse().expect("address");
        for (named, address, port) in [
            ("", "10.0.0.1", 8080),
            ("shop", "shop", 8080),
            ("shop:81", "shop", 81),
            ("[::1]:82", "[::1]", 82),
            ("[::1]", "[::1]", 8080),
            ("shop:x", "shop", 8080),
        ] {
            assert_eq!(server(named.into(), reached), (address.into(), port), "{named}");
        }
    }

    #[test]
    fn who_is_at_fault_depends_on_the_side() {
        assert_eq!(error_type(404, Role::Server), None);
        assert_eq!(error_type(404, Role::Client).as_deref(), Some("404"));
        assert_eq!(error_type(503, Role::Server).as_deref(), Some("503"));
        assert_eq!(error_type(0, Role::Server).as_deref(), Some(NO_RESPONSE));
    }
}
