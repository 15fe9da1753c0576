//! The metrics of requests, by both their names.

/// A metric of requests.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) struct Metric {
    /// By the semantic conventions.
    pub(in crate::export) name: &'static str,
    /// As Prometheus writes it.
    pub(in crate::export) prometheus: &'static str,
    pub(in crate::export) help: &'static str,
    pub(in crate::export) field: Field,
}

/// Which of a series' histograms.
#[derive(Clone, Copy, Debug)]
pub(in crate::export) enum Field {
    Duration,
    RequestBytes,
    ResponseBytes,
}

impl Field {
    /// In UCUM.
    pub(in crate::export) const fn unit(self) -> &'static str {
        match self {
            Self::Duration => "s",
            Self::RequestBytes | Self::ResponseBytes => "By",
        }
    }
}

/// Metrics of requests that the process answered.
pub(in crate::export) const SERVER: [Metric; 3] = [
    Metric {
        name: "http.server.request.duration",
        prometheus: "http_server_request_duration_seconds",
        help: "Duration of HTTP server requests.",
        field: Field::Duration,
    },
    Metric {
        name: "http.server.request.body.size",
        prometheus: "http_server_request_body_size_bytes",
        help: "Size of HTTP server request bodies.",
        field: Field::RequestBytes,
    },
    Metric {
        name: "http.server.response.body.size",
        prometheus: "http_server_response_body_size_bytes",
        help: "Size of HTTP server response bodies.",
        field: Field::ResponseBytes,
    },
];

/// Metrics of requests that the process made.
pub(in crate::export) const CLIENT: [Metric; 3] = [
    Metric {
        name: "http.client.request.duration",
        prometheus: "http_client_request_duration_seconds",
        help: "Duration of HTTP client requests.",
        field: Field::Duration,
    },
    Metric {
        name: "http.client.request.body.size",
        prometheus: "http_client_request_body_size_bytes",
        help: "Size of HTTP client request bodies.",
        field: Field::RequestBytes,
    },
    Metric {
        name: "http.client.response.body.size",
        prometheus: "http_client_response_body_size_bytes",
        help: "Size of HTTP client response bodies.",
        field: Field::ResponseBytes,
    },
];
