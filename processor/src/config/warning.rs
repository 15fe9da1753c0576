//! What is odd about the settings, and no reason to stop.

use std::fmt;

/// Something odd about the settings that is no reason to stop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Warning {
    /// Beyla knows this setting, we do not yet.
    NotSupported {
        /// The variable, or the key after its file and line.
        setting: String,
        /// What it would do.
        effect: &'static str,
    },
    /// Nobody knows this variable.
    Unknown {
        /// The variable.
        variable: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// A variable that Beyla read in 2023, before they all had a prefix.
    NoPrefix {
        /// The variable.
        variable: String,
    },
    /// Both forms of a variable are set and differ.
    Overridden {
        /// The one that counts.
        used: String,
        /// The one that does not.
        ignored: String,
    },
    /// Another protocol is usual at this port.
    UnusualPort {
        /// The setting of the endpoint.
        endpoint: String,
        /// Its port.
        port: String,
        /// The protocol that is set.
        spoken: &'static str,
        /// The one that is usual.
        usual: &'static str,
    },
    /// No protocol is set, and the port does not tell it.
    GuessedProtocol {
        /// The setting of the endpoint.
        endpoint: String,
        /// Its port.
        port: String,
    },
    /// `attributes.select` names what nothing tells yet.
    NoSuchAttribute {
        /// A metric, or an attribute, as it was written.
        name: String,
    },
    /// No process can match.
    NothingSelected,
    /// Nobody would see a span.
    NothingExported,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSupported { setting, effect } => write!(
                f,
                "{setting} is a setting of Beyla that ratatosk does not support yet, it has no effect: it {effect}"
            ),
            Self::Unknown { variable, nearest: None } => {
                write!(f, "{variable} is not a setting: it has no effect")
            }
            Self::Unknown { variable, nearest: Some(nearest) } => {
                write!(f, "{variable} is not a setting: it has no effect; did you mean {nearest}?")
            }
            Self::NoPrefix { variable } => {
                write!(f, "{variable} has no effect without prefix; did you mean BEYLA_{variable}?")
            }
            Self::Overridden { used, ignored } => {
                write!(f, "{used} and {ignored} are both set and differ: {used} counts")
            }
            Self::UnusualPort { endpoint, port, spoken, usual } => write!(
                f,
                "{endpoint} has port {port}, where collectors speak {usual}, and the protocol is set to {spoken}: \
                 if nothing arrives, set OTEL_EXPORTER_OTLP_PROTOCOL={usual} or another port"
            ),
            Self::GuessedProtocol { endpoint, port } => write!(
                f,
                "{endpoint} has port {port}, which tells no protocol: http/protobuf is spoken; \
                 set OTEL_EXPORTER_OTLP_PROTOCOL to say so, or to grpc"
            ),
            Self::NoSuchAttribute { name } => write!(
                f,
                "attributes.select: {name} matches no metric or attribute that ratatosk tells yet, it has no effect"
            ),
            Self::NothingSelected => f.write_str(
                "nothing is selected: set BEYLA_OPEN_PORT, BEYLA_AUTO_TARGET_EXE or BEYLA_TARGET_PID, \
                 or discovery.instrument in a file",
            ),
            Self::NothingExported => {
                f.write_str("nothing is exported: set OTEL_EXPORTER_OTLP_ENDPOINT, BEYLA_PROMETHEUS_PORT or BEYLA_TRACE_PRINTER=text")
            }
        }
    }
}
