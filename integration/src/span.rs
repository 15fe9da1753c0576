//! One line of `OTEL_EBPF_TRACE_PRINTER=json`.

use serde_json::Value;

/// What a test compares.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[allow(missing_docs, reason = "the printer's words")]
pub struct Span {
    pub is_server: bool,
    pub method: String,
    pub path: String,
    pub status: u16,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub start_us: u64,
    pub end_us: u64,
    pub trace_id: String,
    pub span_id: String,
    pub parent_id: String,
    pub host_name: String,
    pub host_port: String,
    pub peer_port: String,
}

/// What a server's own log says of one exchange: path with id, method, status, request and response body bytes.
pub type Row = (String, String, u16, u64, u64);

impl Span {
    /// Every span of one line, which is an array. Panics on a line that is none: stdout carries nothing else.
    #[must_use]
    pub fn parse_line(line: &str) -> Vec<Self> {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("stdout: {error}: {line}"));
        let spans = value.as_array().unwrap_or_else(|| panic!("stdout: no array: {line}"));
        spans.iter().map(Self::parse).collect()
    }

    /// As the server's log would say it.
    #[must_use]
    pub fn row(&self) -> Row {
        (self.path.clone(), self.method.clone(), self.status, self.request_bytes, self.response_bytes)
    }

    fn parse(value: &Value) -> Self {
        let attribute = |name: &str| text(&value["attributes"][name]);
        Self {
            is_server: text(&value["kind"]) == "SPAN_KIND_SERVER",
            method: attribute("method"),
            path: attribute("url"),
            status: number(&attribute("status")),
            request_bytes: number(&attribute("contentLen")),
            response_bytes: number(&attribute("responseLen")),
            start_us: number(&text(&value["start"])),
            end_us: number(&text(&value["end"])),
            trace_id: text(&value["traceID"]),
            span_id: text(&value["spanID"]),
            parent_id: text(&value["parentSpanID"]),
            host_name: text(&value["hostName"]),
            host_port: text(&value["hostPort"]),
            peer_port: text(&value["peerPort"]),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Numbers are printed as strings.
fn number<N: std::str::FromStr>(text: &str) -> N {
    text.parse().unwrap_or_else(|_| panic!("stdout: no number: {text:?}"))
}
