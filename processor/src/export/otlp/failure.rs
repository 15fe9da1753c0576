//! Why a request was not taken: a kind to be counted, a cause to be read, and what helps against it.

use hyper::StatusCode;
use tonic::Code;

/// Characters of a collector's text that are logged.
pub(super) const MAX_TEXT: usize = 300;

/// What helps where nobody is reached.
pub(super) const ADDRESS: &str =
    "check host and port of OTEL_EXPORTER_OTLP_ENDPOINT, and that the collector runs there";
const CREDENTIALS: &str = "check OTEL_EXPORTER_OTLP_HEADERS: the collector does not know who we are";
const PATH: &str = "check the path of OTEL_EXPORTER_OTLP_ENDPOINT, and that the collector takes this signal \
                    there: usual are port 4318 with /v1/traces and /v1/metrics";
const SERVICE: &str =
    "check that the collector takes this signal there: an OTLP receiver with gRPC, usually at port 4317";
const SIZE: &str = "make OTEL_BSP_MAX_EXPORT_BATCH_SIZE smaller, or let the collector take larger requests";
const REDIRECT: &str = "redirects are not followed: set OTEL_EXPORTER_OTLP_ENDPOINT to where it points";

/// Value of the labels `result` and `reason`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// No connection stood; nothing was sent, or surely not looked at.
    Connect,
    /// The collector says that it has too much to do.
    Throttled,
    /// The collector says that it can't, now.
    Unavailable,
    /// The collector says that it never will.
    Rejected,
    /// The collector may have taken it.
    Unconfirmed,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Rejected => "rejected",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// What went wrong in which step, and what to do about it, if we know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) cause: String,
    pub(super) remedy: Option<&'static str>,
}

impl Failure {
    pub(super) fn new(kind: Kind, cause: impl std::fmt::Display) -> Self {
        Self { kind, cause: shown(&cause.to_string()), remedy: None }
    }

    pub(super) const fn with(mut self, remedy: Option<&'static str>) -> Self {
        self.remedy = remedy;
        self
    }

    /// No connection came to be while `step` was tried.
    pub(super) fn too_slow(step: impl std::fmt::Display) -> Self {
        Self::new(Kind::Connect, format_args!("{step}: no answer in time")).with(Some(ADDRESS))
    }
}

/// One line, not too long: a collector's text is not ours.
pub(super) fn shown(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
}

/// An error with its causes: most libraries' own text says only where.
pub(super) fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What helps against a status of HTTP.
pub(super) fn against_status(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(CREDENTIALS),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Some(PATH),
        StatusCode::PAYLOAD_TOO_LARGE => Some(SIZE),
        status if status.is_redirection() => Some(REDIRECT),
        _ => None,
    }
}

/// What helps against a status of gRPC.
pub(super) const fn against_code(code: Code) -> Option<&'static str> {
    match code {
        Code::Unauthenticated | Code::PermissionDenied => Some(CREDENTIALS),
        Code::Unimplemented | Code::NotFound => Some(SERVICE),
        Code::ResourceExhausted => Some(SIZE),
        _ => None,
    }
}
