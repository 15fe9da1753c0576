//! Settings: a file and environment variables to checked values.
//!
//! defaults < file < environment. What a file may say stands in [`keys`]; [`Environment`] holds the layers.
//! Every variable of Beyla is read as `BEYLA_X` and as `OTEL_EBPF_X`; where both are set, `OTEL_EBPF_X` counts.
//! An empty value is no value. A value that is not understood is an error: running with a setting that nobody asked
//! for is worse than not running.

mod beside;
mod combinations;
mod discovery;
mod environment;
mod file;
pub mod keys;
mod known;
pub mod otlp;
mod page;
mod parse;
mod prometheus;
mod scalar;
mod show;
#[cfg(test)]
mod tests;
mod walk;
mod warning;

pub use discovery::{Criteria, Naming, Pattern, Place, Rules};
pub use environment::{Environment, Origin, environment};
pub use file::MAX_FILE_BYTES;
pub use known::{Variable, variables};
pub use page::page;
pub use prometheus::{NativeHistograms, PrometheusConfig};
pub use show::show;
pub use warning::Warning;

pub(crate) use parse::compiled as compiled_regex;

use crate::decorate::DecorateSettings;
use crate::discover::sdk::Exclusion;
use crate::exit::Exit;
use crate::explain::Selectors;
use crate::select::AttributeSelection;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};

/// Where the loader listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/ratatosk/agent.sock";

/// All settings, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Socket of the loader. `RATATOSK_SOCKET`. Default: [`DEFAULT_SOCKET`].
    pub socket: PathBuf,
    /// What to observe. Default: nothing.
    pub selection: Selection,
    /// What the settings that select are called, as they were set.
    pub selectors: Selectors,
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
    /// How stderr says it. `LOG_FORMAT`. Default: text.
    pub log_format: LogFormat,
    /// Who may ask whether it lives. `HEALTH_CHECK_*`. Default: nobody.
    pub health: HealthConfig,
    /// Socket that `ratatosk explain` asks. `RATATOSK_EXPLAIN_SOCKET`. Default: [`crate::explain::socket_beside`].
    pub explain_socket: Option<PathBuf>,
    /// Routes, redaction, filters, sampling. Default: those of Beyla.
    pub decorate: DecorateSettings,
    /// Which attributes are told. `attributes.select`. Default: those of Beyla.
    pub attributes: AttributeSelection,
    /// What is left out of services that tell it themselves.
    pub exclusion: Exclusion,
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
    /// What a file says about it.
    pub rules: Rules,
}

impl Selection {
    /// Nothing is selected.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.has_criteria() && self.rules.instrument.is_empty()
    }

    /// One of the criteria beside the rules is set.
    #[must_use]
    pub const fn has_criteria(&self) -> bool {
        !self.open_ports.is_empty() || !self.executables.is_empty() || !self.pids.is_empty()
    }
}

/// Ports `first` to `last`, both included; `1 <= first <= last`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PortRange {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (first, last) if first == last => first.fmt(f),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
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

/// Where `/healthz` and `/readyz` are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthConfig {
    /// TCP port, `None`: off. `HEALTH_CHECK_PORT`.
    pub port: Option<u16>,
    /// Its address. `HEALTH_CHECK_LISTEN_ADDRESS`. Default: 127.0.0.1.
    pub listen_address: IpAddr,
    /// Unix socket, `None`: off. `HEALTH_CHECK_UNIX_SOCKET_PATH`.
    pub unix_socket_path: Option<PathBuf>,
    /// The variable that set the port: an error about the port names it.
    pub port_variable: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
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

/// A setting that is not understood, or a file that is none. Its text is one line for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// File and line, `None` for a variable.
    pub place: Option<String>,
    /// The variable with its prefix, or the key; empty if the file as a whole is wrong.
    pub variable: String,
    /// Its value, cut to [`MAX_SHOWN`] characters.
    pub value: String,
    /// What is wrong with it.
    pub problem: String,
    /// What is understood.
    pub allowed: &'static str,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, variable, value, problem, allowed } = self;
        match place {
            Some(place) if variable.is_empty() => write!(f, "{place}: {problem}"),
            Some(place) => {
                write!(f, "{place}: {variable}: {value:?} is not valid: {problem}; allowed: {allowed}")
            }
            None => write!(
                f,
                "environment variable {variable}={value:?} is not valid: {problem}; allowed: {allowed}"
            ),
        }
    }
}

/// Characters of a wrong value that an error shows: enough to find it, and still one line.
pub const MAX_SHOWN: usize = 200;
/// Characters of a whole error about a file.
const MAX_PROBLEM: usize = 1000;

impl ConfigError {
    /// About a file, at a line of it.
    pub(super) fn in_file(place: String, problem: String) -> Self {
        Self {
            place: Some(place),
            variable: String::new(),
            value: String::new(),
            problem: one_line(&problem),
            allowed: "",
        }
    }

    /// The exit code for it.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Config {
    /// Reads the settings from name-value pairs, normally [`environment`], and the file that they may name.
    ///
    /// # Errors
    /// [`ConfigError`] is one line for people.
    pub fn load(env: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        Self::load_with(None, env)
    }

    /// Reads the settings from the file at `file`, if any, and from name-value pairs.
    ///
    /// # Errors
    /// [`ConfigError`] is one line for people.
    pub fn load_with(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::from_environment(Environment::new(file, env)?)
    }

    fn from_environment(mut env: Environment) -> Result<Self, ConfigError> {
        let selection = discovery::selection(&mut env)?;
        let mut config = Self {
            socket: env
                .plain("RATATOSK_SOCKET", parse::absolute, parse::SOCKET)?
                .unwrap_or_else(|| DEFAULT_SOCKET.into()),
            selection,
            selectors: beside::selectors(&env),
            trace_printer: trace_printer(&mut env)?,
            prometheus: prometheus::prometheus(&mut env)?,
            log_format: env.parsed("LOG_FORMAT", parse::log_format, parse::LOG_FORMATS)?.unwrap_or_default(),
            health: health(&mut env)?,
            explain_socket: env.plain(crate::explain::SOCKET_VARIABLE, parse::absolute, parse::SOCKET)?,
            otlp: otlp::otlp(&mut env)?,
            shutdown_timeout: otlp::shutdown_timeout(&mut env)?,
            log_level: env.parsed("LOG_LEVEL", parse::log_level, parse::LOG_LEVELS)?.unwrap_or_default(),
            decorate: decorate(&env)?,
            attributes: attributes(&env)?,
            exclusion: exclusion(&mut env)?,
            warnings: Vec::new(),
        };
        combinations::check(&env)?;
        config.warnings = env.into_warnings();
        config.warn_of_attributes();
        config.warn_if_idle();
        Ok(config)
    }

    fn warn_of_attributes(&mut self) {
        let warning = |name: &String| Warning::NoSuchAttribute { name: name.clone() };
        self.warnings.extend(self.attributes.unmatched().iter().map(warning));
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

/// Control characters would let a file write into somebody's terminal.
fn one_line(text: &str) -> String {
    text.chars().take(MAX_PROBLEM).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn decorate(env: &Environment) -> Result<DecorateSettings, ConfigError> {
    Ok(DecorateSettings {
        routes: env.section("routes")?,
        redaction: env.section("attributes.sensitive_query_params")?,
        filter: env.section("filter.application")?,
        sampler: env.section("otel_traces_export.sampler")?,
        features: env.section("metrics.features")?,
    })
}

fn attributes(env: &Environment) -> Result<AttributeSelection, ConfigError> {
    let invalid = |error: crate::setting::InvalidSetting| env.invalid("attributes.select", &error);
    AttributeSelection::new(&env.section("attributes.select")?).map_err(invalid)
}

fn exclusion(env: &mut Environment) -> Result<Exclusion, ConfigError> {
    let default = Exclusion::default();
    let mut is_on = |name| env.parsed(name, parse::boolean, parse::BOOLEANS);
    Ok(Exclusion {
        services: is_on("EXCLUDE_OTEL_INSTRUMENTED_SERVICES")?.unwrap_or(default.services),
        span_metrics: is_on("EXCLUDE_OTEL_INSTRUMENTED_SERVICES_SPAN_METRICS")?
            .unwrap_or(default.span_metrics),
    })
}

fn health(env: &mut Environment) -> Result<HealthConfig, ConfigError> {
    let port = env.parsed("HEALTH_CHECK_PORT", parse::port_or_off, parse::PORT_OR_OFF)?;
    let address = env.parsed("HEALTH_CHECK_LISTEN_ADDRESS", parse::address, parse::ADDRESS)?;
    Ok(HealthConfig {
        port: port.flatten().map(std::num::NonZeroU16::get),
        listen_address: address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        unix_socket_path: env.parsed("HEALTH_CHECK_UNIX_SOCKET_PATH", parse::absolute, parse::SOCKET)?,
        port_variable: env.name_of("HEALTH_CHECK_PORT"),
    })
}
