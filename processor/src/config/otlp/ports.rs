//! Whether a collector's port and the protocol fit: a collector that does not understand a request may just hang up.

use super::{Endpoint, Layer, Protocol, Scheme};
use crate::config::{Environment, Warning};

/// Ports of web servers: what is behind them speaks HTTP.
const WEB: [&str; 2] = ["80", "443"];

impl Protocol {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
        }
    }
}

impl Endpoint {
    /// Its port, if it is written out.
    fn port(&self) -> Option<&str> {
        let (_, port) = self.address.rsplit_once(':').filter(|_| self.scheme != Scheme::Unix)?;
        (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(port)
    }
}

/// What is usual at a port, also as ...4317 and ...4318; `None`: nobody can tell.
fn usual(port: &str) -> Option<Protocol> {
    if port.ends_with("4317") {
        Some(Protocol::Grpc)
    } else if port.ends_with("4318") || WEB.contains(&port) {
        Some(Protocol::HttpProtobuf)
    } else {
        None
    }
}

/// Warns of an endpoint whose port and protocol do not fit, or whose protocol had to be guessed from a port that says
/// nothing. `family` is `TRACES_` or `METRICS_`.
pub(super) fn check(env: &mut Environment, family: &str, own: &Layer, general: &Layer) {
    let family = if own.endpoint.is_some() { family } else { "" };
    let Some(endpoint) = own.endpoint.as_ref().or(general.endpoint.as_ref()) else { return };
    let Some(port) = endpoint.port() else { return };
    let endpoint = env.spelled_plain(&format!("OTEL_EXPORTER_OTLP_{family}ENDPOINT"));
    let port = port.to_owned();
    match (own.protocol.or(general.protocol), usual(&port)) {
        (Some(spoken), Some(usual)) if spoken != usual => {
            env.warn(Warning::UnusualPort { endpoint, port, spoken: spoken.word(), usual: usual.word() });
        }
        (None, None) => env.warn(Warning::GuessedProtocol { endpoint, port }),
        _ => {}
    }
}
