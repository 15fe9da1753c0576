//! Settings: environment variables to checked values.
//!
//! Every variable of Beyla is read as `BEYLA_X` and as `OTEL_EBPF_X`; where both are set, `OTEL_EBPF_X` counts.
//! An empty value is no value. A value that is not understood is an error: running with a setting that nobody asked
//! for is worse than not running.

mod environment;
mod known;
pub mod otlp;
mod parse;
#[cfg(test)]
mod tests;

pub use environment::{Warning, environment};
pub use known::{VARIABLES, Variable};

use crate::exit::Exit;
use environment::Environment;
use std::{path::PathBuf, time::Duration};

/// Where the loader listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ratatosk/agent.sock";

/// All settings, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Socket of the loader. `RATATOSK_SOCKET`. Default: [`DEFAULT_SOCKET`].
    pub socket: PathBuf,
    /// What to observe. Default: nothing.
    pub selection: Selection,
    /// What stdout says. `TRACE_PRINTER`, or `PRINT_TRACES=true` for text. Default: nothing.
    pub trace_printer: TracePrinter,
    /// The Prometheus endpoint, `None`: off. `PROMETHEUS_PORT`, `PROMETHEUS_PATH`.
    pub prometheus: Option<PrometheusConfig>,
    /// The collectors. `OTEL_EXPORTER_OTLP_ENDPOINT` and its kin. Default: none.
    pub otlp: otlp::Otlp,
    /// Time to deliver what is queued when asked to end. `SHUTDOWN_TIMEOUT`. Default: 10 s.
    pub shutdown_timeout: Duration,
    /// What stderr says. `LOG_LEVEL`. Default: info.
    pub log_level: LogLevel,
    /// What was odd about the settings; to be logged once logging stands.
    pub warnings: Vec<Warning>,
}

/// What to observe. Criteria of different kinds must all hold; of one kind, one must. All empty: nothing is selected.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selection {
    /// Listening ports. `OPEN_PORT`.
    pub open_ports: Vec<PortRange>,
    /// Globs over the path of the executable, valid for `globset`; `*` crosses `/`. `AUTO_TARGET_EXE`, and
    /// `EXECUTABLE_PATH`, which may match any part of the path.
    pub executables: Vec<String>,
    /// Process ids, as the loader sees them. `TARGET_PID`.
    pub pids: Vec<u32>,
}

impl Selection {
    /// Nothing is selected.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.open_ports.is_empty() && self.executables.is_empty() && self.pids.is_empty()
    }
}

/// Ports `first` to `last`, both included; `1 <= first <= last`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

impl PortRange {
    /// Whether `port` is in it.
    #[must_use]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// What is printed on stdout.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TracePrinter {
    /// Nothing.
    #[default]
    Disabled,
    /// One line of text per span.
    Text,
    /// One line per span: a JSON array of one object.
    Json,
    /// The same, indented.
    JsonIndent,
    /// How many spans there were.
    Counter,
}

/// The Prometheus endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrometheusConfig {
    /// Port, on every IPv4 address. Not 0.
    pub port: u16,
    /// Path, begins with `/`. Default: `/metrics`.
    pub path: String,
    /// The variable that set the port: an error about the port names it.
    pub port_variable: String,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[allow(missing_docs, reason = "the words say it")]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// The same, in the words of `tracing`.
    #[must_use]
    pub const fn filter(self) -> tracing::level_filters::LevelFilter {
        match self {
            Self::Debug => tracing::level_filters::LevelFilter::DEBUG,
            Self::Info => tracing::level_filters::LevelFilter::INFO,
            Self::Warn => tracing::level_filters::LevelFilter::WARN,
            Self::Error => tracing::level_filters::LevelFilter::ERROR,
        }
    }
}

/// A variable has a value that is not understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("environment variable {variable}={value:?} is not valid: {problem}; allowed: {allowed}")]
pub struct ConfigError {
    /// The variable, with its prefix.
    pub variable: String,
    /// Its value, cut to [`MAX_SHOWN`] characters.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What is understood.
    pub allowed: &'static str,
}

/// Characters of a wrong value that an error shows: enough to find it, and still one line.
pub const MAX_SHOWN: usize = 200;

impl ConfigError {
    /// The exit code for it.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Config {
    /// Reads the settings from name-value pairs, normally [`environment`].
    pub fn load(env: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut env = Environment::new(env);
        let executables = [
            env.parsed("AUTO_TARGET_EXE", parse::glob, parse::GLOB)?,
            env.parsed("EXECUTABLE_PATH", parse::path_glob, parse::GLOB)?,
        ];
        let selection = Selection {
            open_ports: env.parsed("OPEN_PORT", parse::ports, parse::PORTS)?.unwrap_or_default(),
            executables: executables.into_iter().flatten().collect(),
            pids: env.parsed("TARGET_PID", parse::pids, parse::PIDS)?.unwrap_or_default(),
        };
        let mut config = Self {
            socket: env
                .plain("RATATOSK_SOCKET", parse::absolute, parse::SOCKET)?
                .unwrap_or_else(|| DEFAULT_SOCKET.into()),
            selection,
            trace_printer: trace_printer(&mut env)?,
            prometheus: prometheus(&mut env)?,
            otlp: otlp::otlp(&mut env)?,
            shutdown_timeout: otlp::shutdown_timeout(&mut env)?,
            log_level: env.parsed("LOG_LEVEL", parse::log_level, parse::LOG_LEVELS)?.unwrap_or_default(),
            warnings: env.into_warnings(),
        };
        config.warn_if_idle();
        Ok(config)
    }

    fn warn_if_idle(&mut self) {
        if self.selection.is_empty() {
            self.warnings.push(Warning::NothingSelected);
        }
        let has_collector = self.otlp.traces.is_some() || self.otlp.metrics.is_some();
        if self.trace_printer == TracePrinter::Disabled && self.prometheus.is_none() && !has_collector {
            self.warnings.push(Warning::NothingExported);
        }
    }
}

/// `TRACE_PRINTER` says it; `PRINT_TRACES` is its older form, heard only where the newer is silent.
fn trace_printer(env: &mut Environment) -> Result<TracePrinter, ConfigError> {
    let old = env.parsed("PRINT_TRACES", parse::boolean, parse::BOOLEANS)?;
    let new = env.parsed("TRACE_PRINTER", parse::trace_printer, parse::TRACE_PRINTERS)?;
    let from_old = if old == Some(true) { TracePrinter::Text } else { TracePrinter::Disabled };
    Ok(new.unwrap_or(from_old))
}

fn prometheus(env: &mut Environment) -> Result<Option<PrometheusConfig>, ConfigError> {
    let path = env.parsed("PROMETHEUS_PATH", parse::http_path, parse::HTTP_PATH)?;
    let port = env.parsed("PROMETHEUS_PORT", parse::port_or_off, parse::PORT_OR_OFF)?;
    let path = path.unwrap_or_else(|| "/metrics".to_owned());
    let port_variable = env.name_of("PROMETHEUS_PORT");
    Ok(port.flatten().map(|port| PrometheusConfig { port: port.get(), path, port_variable }))
}
