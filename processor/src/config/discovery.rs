//! What to observe, as a file says it.

use super::{ConfigError, Environment, PortRange, Selection, beside, parse};
use crate::decorate::{EntrySettings, ServiceRouteSettings, Telling};
use crate::sample::SamplerSettings;
use figment::value::Value;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Entries of one list; every one is looked at for every process.
const MAX_RULES: usize = 256;
/// Agents that Beyla's users leave out by default: they would tell about each other.
const AGENTS: &str = "{*/beyla,*/alloy,*/obi,*/ebpf-instrument,*/prometheus-config-reloader,\
*otelcol,*otelcol-contrib,*otelcol-contrib[!/]*}";
/// Keys of an entry that ask for what only Kubernetes or a container runtime knows.
const FOREIGN: [&str; 2] = ["k8s_", "container_name"];

/// What a file says about who is observed. Entries are alternatives.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rules {
    /// Who is wanted. `discovery.instrument`, `discovery.services`.
    pub instrument: Vec<Criteria>,
    /// Who is never observed. `discovery.exclude_instrument`, `discovery.exclude_services`.
    pub exclude: Vec<Criteria>,
    /// Who is left out of what a wanted entry does not name by port, pid or path.
    pub default_exclude: Vec<Criteria>,
    /// What every process is called whose entry has no name.
    pub naming: Naming,
}

/// What a process is called.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Naming {
    /// `service.name`.
    pub name: Option<String>,
    /// `service.namespace`.
    pub namespace: Option<String>,
}

/// Criteria that must all hold. Without any, nobody meets them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Criteria {
    /// What such a process is called.
    pub naming: Naming,
    /// It listens on one of these.
    pub open_ports: Vec<PortRange>,
    /// It is one of these, as the loader sees them.
    pub pids: Vec<u32>,
    /// Path of its executable.
    pub exe: Option<Pattern>,
    /// Its command line, arguments joined by spaces.
    pub cmd_args: Option<Pattern>,
    /// Its language.
    pub language: Option<Pattern>,
    /// It runs in a container.
    pub containers_only: bool,
    /// Something is asked for that can't be known here: nobody meets it.
    pub is_unknowable: bool,
    /// How such a process is told.
    #[serde(default)]
    pub told: EntrySettings,
    /// Where these criteria stand.
    #[serde(default)]
    pub place: Place,
}

/// Where an entry stands, for people.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Place {
    /// The list, or the settings that it was made of.
    pub list: String,
    /// Which of the list, from 1; 0: it is not of a list.
    pub number: usize,
    /// File and line; empty: there are none.
    pub line: String,
}

/// A text that must match.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Pattern {
    /// The whole text; `*` crosses `/`.
    Glob(String),
    /// Any part of the text.
    Regex(String),
}

/// An entry as it stands in a file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    name: Option<String>,
    namespace: Option<String>,
    open_ports: Vec<String>,
    target_pids: Vec<String>,
    exe_path: Option<String>,
    exe_path_regexp: Option<String>,
    cmd_args: Option<String>,
    languages: Option<String>,
    containers_only: bool,
    exports: Option<Vec<String>>,
    sampler: Option<SamplerSettings>,
    routes: Option<ServiceRouteSettings>,
    metrics: EntryMetrics,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

/// `metrics` of an entry.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EntryMetrics {
    features: Option<Vec<String>>,
}

/// Which words its patterns are.
#[derive(Clone, Copy)]
enum Dialect {
    Glob,
    Regex,
}

impl Pattern {
    /// Whether it names anything, not just everything.
    #[must_use]
    pub fn is_explicit(&self) -> bool {
        let (Self::Glob(text) | Self::Regex(text)) = self;
        text.chars().any(char::is_alphanumeric)
    }

    fn new(dialect: Dialect, text: &str) -> Result<Self, String> {
        match dialect {
            Dialect::Glob => parse::glob(text).map(Self::Glob),
            Dialect::Regex => parse::regex(text).map(Self::Regex),
        }
    }
}

impl Place {
    pub(super) const fn of_settings(list: String) -> Self {
        Self { list, number: 0, line: String::new() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.number {
            0 => f.write_str(&self.list)?,
            number => write!(f, "entry {number} of {}", self.list)?,
        }
        if self.line.is_empty() { Ok(()) } else { write!(f, " ({})", self.line) }
    }
}

impl Criteria {
    /// Where it stands and what it is called, for people.
    #[must_use]
    pub fn label(&self) -> String {
        let name = self.naming.name.as_ref().map(|name| format!(", named {name}")).unwrap_or_default();
        format!("{}{name}", self.place)
    }

    /// Whether it names processes, not just everything: then no default leaves them out.
    #[must_use]
    pub fn is_explicit(&self) -> bool {
        let patterns = [&self.exe, &self.cmd_args];
        let by_pattern = patterns.into_iter().flatten().any(Pattern::is_explicit);
        !self.open_ports.is_empty() || !self.pids.is_empty() || by_pattern
    }

    /// Only the executable decides.
    #[must_use]
    pub const fn is_by_executable(&self) -> bool {
        self.exe.is_some() && self.open_ports.is_empty() && !self.asks_for_process()
    }

    /// Only listening ports decide.
    #[must_use]
    pub const fn is_by_port(&self) -> bool {
        !self.open_ports.is_empty() && self.exe.is_none() && !self.asks_for_process()
    }

    const fn asks_for_process(&self) -> bool {
        !self.pids.is_empty()
            || self.cmd_args.is_some()
            || self.language.is_some()
            || self.containers_only
            || self.is_unknowable
    }

    /// It has no criterion.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.exe.is_none() && self.open_ports.is_empty() && !self.asks_for_process()
    }
}

impl Entry {
    fn criteria(self, dialect: Dialect, place: Place) -> Result<Criteria, String> {
        let pattern = |key: &str, text: Option<String>| {
            let pattern = text.map(|text| {
                Pattern::new(dialect, &text).map_err(|error| format!("{key}: {text:?}: {error}"))
            });
            pattern.transpose()
        };
        let list = |texts: Vec<String>| texts.join(",");
        let ports = Some(list(self.open_ports)).filter(|ports| !ports.is_empty());
        let pids = Some(list(self.target_pids)).filter(|pids| !pids.is_empty());
        let is_unknowable = self.other.keys().any(|key| FOREIGN.iter().any(|known| key.starts_with(known)));
        let told = EntrySettings {
            exports: self.exports,
            sampler: self.sampler,
            routes: self.routes,
            features: self.metrics.features,
        };
        Telling::new(&told).map_err(|error| error.to_string())?;
        let criteria = Criteria {
            told,
            place,
            naming: Naming { name: self.name, namespace: self.namespace },
            open_ports: ports.map_or(Ok(Vec::new()), |ports| parse::ports(&ports))?,
            pids: pids
                .map_or(Ok(Vec::new()), |pids| parse::pids(&pids))
                .map_err(|error| format!("target_pids: {error}"))?,
            exe: pattern("exe_path", self.exe_path.or(self.exe_path_regexp))?,
            cmd_args: pattern("cmd_args", self.cmd_args)?,
            language: pattern("languages", self.languages)?,
            containers_only: self.containers_only,
            is_unknowable,
        };
        if criteria.is_empty() {
            Err("this entry has no criterion: it would select nobody".to_owned())
        } else {
            Ok(criteria)
        }
    }
}

/// Reads all that selects.
pub(super) fn selection(env: &mut Environment) -> Result<Selection, ConfigError> {
    let mut selection = beside::top(env)?;
    let text = |text: &str| Ok(text.to_owned());
    let name = env.parsed("SERVICE_NAME", text, "a name")?;
    let naming = Naming { name, namespace: env.parsed("SERVICE_NAMESPACE", text, "a name")? };
    let rules = &mut selection.rules;
    // as in Beyla they come last, with the names that stand beside them
    let beside = std::mem::take(&mut rules.instrument);
    rules.instrument = both(env, ["discovery.instrument", "discovery.services"])?;
    rules.instrument.extend(beside.into_iter().map(|entry| Criteria { naming: naming.clone(), ..entry }));
    rules.exclude = both(env, ["discovery.exclude_instrument", "discovery.exclude_services"])?;
    rules.default_exclude = default_exclude(env)?;
    rules.naming = naming;
    Ok(selection)
}

/// The entries of a list and of its older form, whose patterns are regular expressions.
fn both(env: &Environment, [globs, regexes]: [&str; 2]) -> Result<Vec<Criteria>, ConfigError> {
    let mut all = entries(env, globs, Dialect::Glob)?;
    all.extend(entries(env, regexes, Dialect::Regex)?);
    Ok(all)
}

fn entries(env: &Environment, key: &str, dialect: Dialect) -> Result<Vec<Criteria>, ConfigError> {
    let entries: Vec<Entry> = env.section(key)?;
    if entries.len() > MAX_RULES {
        let problem = format!("{key} has {} entries; allowed: at most {MAX_RULES}", entries.len());
        return Err(ConfigError::in_file(env.entry(key, MAX_RULES), problem));
    }
    let criteria = |(index, entry): (usize, Entry)| {
        let failed =
            |problem| ConfigError::in_file(env.entry(key, index), format!("{key}[{index}]: {problem}"));
        let place = Place { list: key.to_owned(), number: index + 1, line: env.entry(key, index) };
        entry.criteria(dialect, place).map_err(failed)
    };
    entries.into_iter().enumerate().map(criteria).collect()
}

/// A file that says anything about it replaces the whole list, as in Beyla.
fn default_exclude(env: &Environment) -> Result<Vec<Criteria>, ConfigError> {
    let [globs, regexes] = ["discovery.default_exclude_instrument", "discovery.default_exclude_services"];
    let mut all = if env.value(globs).is_some() || env.value(regexes).is_some() {
        both(env, [globs, regexes])?
    } else {
        vec![by_executable(AGENTS.to_owned(), &format!("the default of {globs}"))]
    };
    let key = "discovery.excluded_linux_system_paths";
    let folders: Vec<String> = env.section(key)?;
    all.extend(
        folders.iter().filter(|folder| !folder.is_empty()).map(|folder| {
            by_executable(format!("{}*", globset::escape(folder)), &format!("{folder} of {key}"))
        }),
    );
    Ok(all)
}

fn by_executable(glob: String, place: &str) -> Criteria {
    let place = Place::of_settings(place.to_owned());
    Criteria { exe: Some(Pattern::Glob(glob)), place, ..Criteria::default() }
}
