//! The variables as they were found: prefixes, precedence, and which of them nobody reads.

use super::known::{self, PREFIXES};
use super::{ConfigError, MAX_SHOWN};
use figment::{
    Figment, Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};
use std::{collections::BTreeMap, ffi::OsString, fmt};

/// Something odd about the settings that is no reason to stop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Warning {
    /// Beyla knows this variable, we do not yet.
    NotSupported {
        /// The variable.
        variable: String,
    },
    /// Nobody knows this variable.
    Unknown {
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
    /// No process can match.
    NothingSelected,
    /// Nobody would see a span.
    NothingExported,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSupported { variable } => {
                write!(
                    f,
                    "{variable} is a setting of Beyla that ratatosk does not support yet: it has no effect"
                )
            }
            Self::Unknown { variable } => write!(f, "{variable} is not a setting: it has no effect"),
            Self::Overridden { used, ignored } => {
                write!(f, "{used} and {ignored} are both set and differ: {used} counts")
            }
            Self::NothingSelected => f.write_str(
                "nothing is selected: set BEYLA_OPEN_PORT, BEYLA_AUTO_TARGET_EXE or BEYLA_TARGET_PID",
            ),
            Self::NothingExported => {
                f.write_str(
                    "nothing is exported: set OTEL_EXPORTER_OTLP_ENDPOINT, BEYLA_PROMETHEUS_PORT or BEYLA_TRACE_PRINTER=text",
                )
            }
        }
    }
}

/// The environment of this process. Bytes that are not UTF-8 are replaced, so that an error can show them.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |s: OsString| s.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// The variables with one prefix, as a layer of settings: its name is the prefix, its keys are what follows.
struct Prefixed<'a> {
    prefix: &'static str,
    set: &'a BTreeMap<String, String>,
}

impl Provider for Prefixed<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.prefix)
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        let own = self.set.iter().filter_map(|(name, value)| Some((name.strip_prefix(self.prefix)?, value)));
        let dict: Dict = own.map(|(name, value)| (name.to_owned(), Value::from(value.as_str()))).collect();
        Ok(Profile::Default.collect(dict))
    }
}

/// Variables of ours, and what was said about them.
#[derive(Debug)]
pub(super) struct Environment {
    set: BTreeMap<String, String>,
    /// One layer a prefix, the one that counts on top.
    layers: Figment,
    warnings: Vec<Warning>,
}

impl Environment {
    /// Takes what has a value; whatever has one of our prefixes and no meaning is warned about.
    pub(super) fn new(env: impl Iterator<Item = (String, String)>) -> Self {
        let set: BTreeMap<_, _> = env
            .map(|(name, value)| (name, value.trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let warnings = set.keys().filter_map(|name| known::judge(name)).collect();
        let layer = |layers: Figment, prefix: &&'static str| layers.merge(Prefixed { prefix, set: &set });
        let layers = PREFIXES.iter().rev().fold(Figment::new(), layer);
        Self { set, layers, warnings }
    }

    /// The value of a variable of Beyla, by the name without prefix.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
        allowed: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(used) = self.source_of(name) else { return Ok(None) };
        for ignored in PREFIXES.map(|prefix| format!("{prefix}{name}")) {
            if self.set.get(&ignored).is_some_and(|value| self.set.get(&used) != Some(value)) {
                self.warnings.push(Warning::Overridden { used: used.clone(), ignored });
            }
        }
        self.plain(&used, parse, allowed)
    }

    /// The whole name of the variable that counts.
    fn source_of(&self, name: &str) -> Option<String> {
        let layer = self.layers.find_metadata(name)?;
        Some(format!("{}{name}", layer.name))
    }

    /// The value of a variable by its whole name.
    pub(super) fn plain<T>(
        &self,
        variable: &str,
        parse: impl Fn(&str) -> Result<T, String>,
        allowed: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.set.get(variable) else { return Ok(None) };
        parse(value).map(Some).map_err(|problem| ConfigError {
            variable: variable.to_owned(),
            value: value.chars().take(MAX_SHOWN).collect(),
            problem: problem.chars().take(MAX_SHOWN).collect(),
            allowed,
        })
    }

    /// The whole name under which a variable of Beyla was found, else the one that we would advise.
    pub(super) fn name_of(&self, name: &str) -> String {
        self.source_of(name).unwrap_or_else(|| format!("BEYLA_{name}"))
    }

    pub(super) fn into_warnings(self) -> Vec<Warning> {
        self.warnings
    }
}
