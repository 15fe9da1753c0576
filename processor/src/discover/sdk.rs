//! Services that export their own telemetry: what they tell must not be told twice.
//!
//! Known by what they do, as OBI knows them: a client request to an OTLP endpoint that was answered well, over HTTP/1
//! ([`exported`]) or gRPC ([`exported_by_call`]). From then on that process is told as [`Exclusion`] says; what was told
//! before was told twice.

use crate::model::{Exchange, OwnSignals, Role};

/// Methods of OTLP over gRPC.
const TRACES_CALL: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS_CALL: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// The same, and paths of OTLP over HTTP.
const TRACES: [&str; 2] = ["/v1/traces", TRACES_CALL];
const METRICS: [&str; 2] = ["/v1/metrics", METRICS_CALL];

/// What exporters tell; of a service that exports the same itself, it is left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tells {
    /// Whatever there is, for people who debug.
    Everything,
    /// Traces.
    Traces,
    /// RED metrics.
    Metrics,
    /// Metrics made of spans.
    SpanMetrics,
}

/// What is left out of services that export themselves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exclusion {
    /// `EXCLUDE_OTEL_INSTRUMENTED_SERVICES`: traces of services that export traces, metrics of those that export metrics.
    /// Default: true.
    pub services: bool,
    /// `EXCLUDE_OTEL_INSTRUMENTED_SERVICES_SPAN_METRICS`: metrics of spans of services that export traces.
    /// Default: false.
    pub span_metrics: bool,
}

impl Default for Exclusion {
    fn default() -> Self {
        Self { services: true, span_metrics: false }
    }
}

impl Exclusion {
    /// Whether a span of a service that tells `own` itself is kept from an exporter.
    #[must_use]
    pub const fn excludes(self, own: OwnSignals, tells: Tells) -> bool {
        match tells {
            Tells::Everything => false,
            Tells::Traces => self.services && own.traces,
            Tells::Metrics => self.services && own.metrics,
            Tells::SpanMetrics => self.span_metrics && own.traces,
        }
    }
}

/// What an exchange shows its process to export; nothing for almost all.
#[must_use]
pub fn exported(exchange: &Exchange) -> OwnSignals {
    let http = &exchange.http;
    let is_accepted = exchange.role == Role::Client && (200..300).contains(&http.status);
    if !is_accepted || http.method.as_str() != "POST" {
        return OwnSignals::default();
    }
    // a collector behind a gateway has a prefix, as in /otlp/v1/traces
    let ends = |paths: [&str; 2]| paths.iter().any(|path| http.path.ends_with(path));
    OwnSignals { traces: ends(TRACES), metrics: ends(METRICS) }
}

/// What a call of gRPC exports, if it is answered well; nothing for almost all.
#[must_use]
pub fn exported_by_call(path: &[u8]) -> OwnSignals {
    OwnSignals { traces: path == TRACES_CALL.as_bytes(), metrics: path == METRICS_CALL.as_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EndedBy, HttpExchange, KtimeNs, Method, ProcessId, Socket};

    fn exchange(role: Role, method: &str, path: &str, status: u16) -> Exchange {
        let any = "127.0.0.1:1".parse().expect("an address");
        Exchange {
            process: ProcessId::default(),
            socket: Socket { cookie: 1, netns: 1, local: any, remote: any },
            role,
            request_offset: 0,
            start: KtimeNs(1),
            end: KtimeNs(2),
            ended_by: EndedBy::Framing,
            incomplete: None,
            http: HttpExchange {
                method: Method::new(method),
                path: path.into(),
                status,
                ..HttpExchange::default()
            },
        }
    }

    #[test]
    fn a_client_that_delivers_otlp_exports_it() {
        let none = OwnSignals::default();
        let traces = OwnSignals { traces: true, ..none };
        let metrics = OwnSignals { metrics: true, ..none };
        use Role::{Client, Server};
        for (role, method, path, status, signals) in [
            (Client, "POST", "/v1/traces", 200, traces),
            (Client, "POST", "/otlp/v1/traces", 202, traces),
            (Client, "POST", "/v1/metrics", 200, metrics),
            (Client, "POST", "/opentelemetry.proto.collector.trace.v1.TraceService/Export", 200, traces),
            (Client, "POST", "/v1/logs", 200, none),
            (Client, "POST", "/v1/traces", 503, none),
            (Client, "POST", "/v1/traces", 0, none),
            (Client, "GET", "/v1/traces", 200, none),
            (Server, "POST", "/v1/traces", 200, none),
            (Client, "POST", "/v1/traces/7", 200, none),
        ] {
            assert_eq!(exported(&exchange(role, method, path, status)), signals, "{role:?} {path} {status}");
        }
    }

    #[test]
    fn each_signal_is_excluded_by_itself() {
        let traces = OwnSignals { traces: true, metrics: false };
        let excluded = |exclusion: Exclusion| {
            [Tells::Everything, Tells::Traces, Tells::Metrics, Tells::SpanMetrics]
                .map(|tells| exclusion.excludes(traces, tells))
        };
        assert_eq!(excluded(Exclusion::default()), [false, true, false, false]);
        assert_eq!(excluded(Exclusion { services: false, span_metrics: false }), [false; 4]);
        assert_eq!(excluded(Exclusion { services: true, span_metrics: true }), [false, true, false, true]);
        assert!(!Exclusion::default().excludes(OwnSignals::default(), Tells::Traces));
    }
}
