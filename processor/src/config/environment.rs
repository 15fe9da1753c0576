//! Settings as they were found: a file and variables in layers, the one that counts on top.

use super::keys::{self, Kind, PREFIXES, Status};
use super::walk::{Walked, walk};
use super::{ConfigError, MAX_SHOWN, Warning, file, scalar, show};
use crate::setting::InvalidSetting;
use figment::{
    Figment, Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Names of the layers that are no prefix.
const DEFAULTS: &str = "default";
const FILE: &str = "file";
const PLAIN: &str = "environment";
/// Keys that have a second variable with another unit: it counts before the file.
const TWINS: [(&str, &str); 4] = [
    ("otel_metrics_export.interval", "OTEL_METRIC_EXPORT_INTERVAL"),
    ("otel_traces_export.batch_max_size", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
    ("otel_traces_export.queue_size", "OTEL_BSP_MAX_QUEUE_SIZE"),
    ("otel_traces_export.batch_timeout", "OTEL_BSP_SCHEDULE_DELAY"),
];

/// The environment of this process. Bytes that are not UTF-8 are replaced, so that an error can show them.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |s: OsString| s.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// One layer of values, in sections like a file.
struct Layer {
    name: &'static str,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// Settings of ours, and what was said about them.
#[derive(Debug)]
pub struct Environment {
    set: BTreeMap<String, String>,
    layers: Figment,
    file: Option<PathBuf>,
    lines: BTreeMap<String, usize>,
    warnings: Vec<Warning>,
}

impl Environment {
    /// Takes what has a value, and the file at `file` or the one that `CONFIG_PATH` names; whatever has one of our
    /// prefixes and no meaning is warned about.
    ///
    /// # Errors
    /// The file can't be read, or says what is not understood.
    pub fn new(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let set: BTreeMap<_, _> = env
            .map(|(name, value)| (name, value.trim().to_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let named = PREFIXES.iter().find_map(|prefix| set.get(&format!("{prefix}CONFIG_PATH")));
        let file = file.map(Path::to_owned).or_else(|| named.map(PathBuf::from));
        let Walked { values, lines, mut warnings } =
            file.as_deref().map_or(Ok(Walked::default()), |path| read(path, &set))?;
        warnings.extend(set.keys().filter_map(|name| super::known::judge(name, &set)));
        let layers = layers(values, &set);
        Ok(Self { set, layers, file, lines, warnings })
    }

    /// A value by the name of its variable, without prefix: one of Beyla's, else what the file says.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
        allowed: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let Some((text, origin)) = self.found(&place_of(name)) else { return Ok(None) };
        if let Origin::Variable(used) = &origin {
            self.warn_if_overridden(used, name);
        }
        parse(&text).map(Some).map_err(|problem| self.wrong(&origin, &text, problem, allowed))
    }

    fn warn_if_overridden(&mut self, used: &str, name: &str) {
        for ignored in PREFIXES.map(|prefix| format!("{prefix}{name}")) {
            if self.set.get(&ignored).is_some_and(|value| self.set.get(used) != Some(value)) {
                self.warnings.push(Warning::Overridden { used: used.to_owned(), ignored });
            }
        }
    }

    /// A value by the whole name of its variable, else what the file says.
    pub(super) fn plain<T>(
        &self,
        variable: &str,
        parse: impl Fn(&str) -> Result<T, String>,
        allowed: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let key = keys::by_plain(variable);
        let place = key.map_or_else(|| format!("variable.{variable}"), keys::Key::place);
        let Some((text, origin)) = self.found(&place) else { return Ok(None) };
        let is_secret = key.is_some_and(|key| matches!(key.kind, Kind::Secret));
        let shown = if is_secret { show::HIDDEN } else { &text };
        parse(&text).map(Some).map_err(|problem| self.wrong(&origin, shown, problem, allowed))
    }

    fn wrong(&self, origin: &Origin, text: &str, problem: String, allowed: &'static str) -> ConfigError {
        ConfigError {
            place: if let Origin::File { place, .. } = origin { Some(place.clone()) } else { None },
            variable: origin.setting().to_owned(),
            value: show::without_password(text).chars().take(MAX_SHOWN).collect(),
            problem: problem.chars().take(MAX_SHOWN).collect(),
            allowed,
        }
    }

    /// The whole name under which a variable of Beyla was found, else the one that we would advise.
    pub(super) fn name_of(&self, name: &str) -> String {
        self.spelled(name).unwrap_or_else(|| format!("BEYLA_{name}"))
    }

    /// The whole name under which a variable of Beyla was found, or its key with file and line; `None`: nobody set it.
    pub(super) fn spelled(&self, name: &str) -> Option<String> {
        match self.found(&place_of(name))?.1 {
            Origin::Variable(variable) => Some(variable),
            Origin::File { place, key } => Some(format!("{key} ({place})")),
            Origin::Default => None,
        }
    }

    /// A variable by its whole name, or the key with file and line where a file said it.
    pub(super) fn spelled_plain(&self, variable: &str) -> String {
        let key = keys::by_plain(variable).and_then(|key| self.found(&key.place()));
        match key {
            Some((_, Origin::File { place, key })) => format!("{key} ({place})"),
            _ => variable.to_owned(),
        }
    }

    /// What somebody said at `place`, and who.
    fn found(&self, place: &str) -> Option<(String, Origin)> {
        let value = self.layers.find_value(place).ok()?;
        let origin = self.origin(place)?;
        let is_twin_set = || TWINS.iter().any(|(key, twin)| *key == place && self.set.contains_key(*twin));
        match origin {
            Origin::Default => None,
            Origin::File { .. } if is_twin_set() => None,
            // the text itself: a list that was split and joined again may have lost a comma
            Origin::Variable(ref name) => Some((self.set.get(name)?.clone(), origin)),
            Origin::File { .. } => Some((scalar::text(&value)?, origin)),
        }
    }

    /// Who said what stands at `place`; `None` if nobody did.
    #[must_use]
    pub fn origin(&self, place: &str) -> Option<Origin> {
        let layer = self.layers.find_metadata(place)?.name.to_string();
        Some(match layer.as_str() {
            DEFAULTS => Origin::Default,
            FILE => Origin::File { place: self.line(place), key: place.to_owned() },
            prefix => Origin::Variable(self.variable(prefix, place)?),
        })
    }

    fn variable(&self, prefix: &str, place: &str) -> Option<String> {
        if let Some(name) = place.strip_prefix("variable.") {
            let name = if prefix == PLAIN { name.to_owned() } else { format!("{prefix}{name}") };
            return Some(name);
        }
        let key = keys::by_path(place)?;
        let mut plain = key.plain().map(str::to_owned);
        let mut beyla = key.beyla().map(|name| format!("{prefix}{name}"));
        if prefix == PLAIN {
            plain.find(|name| self.set.contains_key(name))
        } else {
            beyla.find(|name| self.set.contains_key(name))
        }
    }

    /// The file and line of a key, for people: `beyla.yml:12`.
    fn line(&self, key: &str) -> String {
        let file = self.file.as_deref().unwrap_or(Path::new("")).display();
        self.lines.get(key).map_or_else(|| file.to_string(), |line| format!("{file}:{line}"))
    }

    /// Where an entry of a list stands.
    pub(super) fn entry(&self, key: &str, index: usize) -> String {
        self.line(&format!("{key}[{index}]"))
    }

    /// What stands in the section `key` can't be worked with.
    pub(super) fn invalid(&self, key: &str, error: &InvalidSetting) -> ConfigError {
        ConfigError::in_file(self.line(key), error.to_string())
    }

    /// A section or list by its key, as the type that works with it; its default if nobody says anything.
    ///
    /// # Errors
    /// It does not fit the type: names the file and the key.
    pub fn section<T: DeserializeOwned + Default>(&self, key: &str) -> Result<T, ConfigError> {
        if self.layers.find_value(key).is_err() {
            return Ok(T::default());
        }
        self.layers.extract_inner(key).map_err(|error| {
            let path = error.path.join(".");
            let place = match self.origin(&path) {
                Some(Origin::Variable(name)) => name,
                _ if self.file.is_some() => self.line(&path),
                _ => "environment".to_owned(),
            };
            ConfigError::in_file(place, format!("{path}: {}", error.kind))
        })
    }

    /// The value at a place as it counts, for people.
    #[must_use]
    pub fn value(&self, place: &str) -> Option<Value> {
        self.layers.find_value(place).ok()
    }

    /// Says something once.
    pub(super) fn warn(&mut self, warning: Warning) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    pub(super) fn into_warnings(self) -> Vec<Warning> {
        self.warnings
    }
}

/// Who said what a setting is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A file.
    File {
        /// Its name and the line.
        place: String,
        /// The key.
        key: String,
    },
    /// The variable of this name.
    Variable(String),
}

impl Origin {
    fn setting(&self) -> &str {
        match self {
            Self::Default => DEFAULTS,
            Self::File { key, .. } => key,
            Self::Variable(name) => name,
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str(DEFAULTS),
            Self::File { place, .. } => f.write_str(place),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

fn read(path: &Path, set: &BTreeMap<String, String>) -> Result<Walked, ConfigError> {
    let root = file::read(path, &|name| set.get(name).cloned())?;
    walk(&path.display().to_string(), &root)
}

/// Where the value of one of Beyla's variables is kept.
fn place_of(name: &str) -> String {
    keys::by_beyla(name).next().map_or_else(|| format!("variable.{name}"), keys::Key::place)
}

/// All layers, the one that counts on top.
fn layers(file: Dict, set: &BTreeMap<String, String>) -> Figment {
    let prefixed = PREFIXES.iter().rev().map(|prefix| Layer { name: prefix, values: prefixed(prefix, set) });
    let below = [
        Layer { name: DEFAULTS, values: defaults() },
        Layer { name: FILE, values: file },
        Layer { name: PLAIN, values: plain(set) },
    ];
    below.into_iter().chain(prefixed).fold(Figment::new(), Figment::merge)
}

fn defaults() -> Dict {
    let mut dict = Dict::new();
    let with_default = keys::all().filter(|key| !key.default.is_empty() && key.status() == Status::Supported);
    for key in
        with_default.filter(|key| !matches!(key.kind, Kind::Entries(_) | Kind::Sections(_) | Kind::Map))
    {
        put(&mut dict, &key.place(), typed(key.kind, key.default));
    }
    dict
}

fn prefixed(prefix: &str, set: &BTreeMap<String, String>) -> Dict {
    let mut dict = Dict::new();
    for (name, text) in set.iter().filter_map(|(name, text)| Some((name.strip_prefix(prefix)?, text))) {
        match keys::by_beyla(name).next() {
            Some(key) => put(&mut dict, &key.place(), typed(key.kind, text)),
            None => put(&mut dict, &format!("variable.{name}"), Value::from(text.as_str())),
        }
    }
    dict
}

fn plain(set: &BTreeMap<String, String>) -> Dict {
    let mut dict = Dict::new();
    for (name, text) in set.iter().filter(|(name, _)| !PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
    {
        match keys::by_plain(name) {
            Some(key) => put(&mut dict, &key.place(), typed(key.kind, text)),
            None => put(&mut dict, &format!("variable.{name}"), Value::from(text.as_str())),
        }
    }
    dict
}

/// By its kind; what is not of its kind stays a text, and whoever reads it says what is wrong.
fn typed(kind: Kind, text: &str) -> Value {
    scalar::value(kind, text).unwrap_or_else(|_| Value::from(text))
}

/// Sets `value` at a path of names joined by dots.
fn put(dict: &mut Dict, path: &str, value: Value) {
    let Some((first, rest)) = path.split_once('.') else {
        dict.insert(path.to_owned(), value);
        return;
    };
    let below = dict.entry(first.to_owned()).or_insert_with(|| Value::from(Dict::new()));
    if let Value::Dict(_, below) = below {
        put(below, rest, value);
    }
}
