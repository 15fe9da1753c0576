//! `http.route`: paths to the few routes that they are instances of.
//!
//! in   method-less: path, status and service of each request, server and client alike, as in OBI
//! out  the route, and whether the user asked to leave such requests out
//! keeps the routes of each service ([`known`]), and in the mode `low-cardinality` a tree of segments per service

mod guesses;
mod heuristic;
mod known;
mod pattern;
mod recent;
#[cfg(test)]
mod tests;
mod trie;
mod words;

use super::ServiceRouteSettings;
use crate::{
    model::{KtimeNs, Service, Signals, SpanKind},
    setting::InvalidSetting,
};
use guesses::Guesses;
use hashbrown::HashMap;
use known::Known;
use pattern::Patterns;
use serde::Deserialize;
use std::sync::Arc;
use trie::Trie;

/// The route where nobody knows, and where there are too many.
const EVERYTHING: &str = "/**";

/// Services with a tree; those beyond share one. A full tree takes some 200 KiB.
const MAX_TRIES: usize = 64;

/// Children that a segment may be allowed: beyond, nothing would be collapsed.
const MAX_CARDINALITY: usize = 1_000;

/// `routes`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct RouteSettings {
    /// What to do with a path that matches no pattern. Default: `heuristic`.
    pub unmatched: Unmatched,
    /// Routes: `:name` and `{name}` stand for one segment, `*` at the end for all that follow.
    pub patterns: Vec<String>,
    /// Requests to leave out, in the same form.
    pub ignored_patterns: Vec<String>,
    /// What these are left out of. Default: `all`.
    pub ignore_mode: IgnoreMode,
    /// One character that stands for a segment that was recognised as an id. Default: `*`.
    pub wildcard_char: String,
    /// Different segments after one, in the mode `low-cardinality`: 1 to 1000; 0: as many as there are. Default: 10.
    pub max_path_segment_cardinality: usize,
}

/// What to do with a path that matches no pattern.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Unmatched {
    /// It has no route.
    Unset,
    /// It is its own route. There will be as many as clients ask for.
    Path,
    /// Its route is `/**`.
    Wildcard,
    /// What looks like an id in it becomes a wildcard.
    #[default]
    Heuristic,
    /// The same, and segments with too many siblings become one wildcard.
    LowCardinality,
}

/// What a request that matches an ignored pattern is left out of.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum IgnoreMode {
    /// Of everything.
    #[default]
    All,
    /// Of traces.
    Traces,
    /// Of metrics.
    Metrics,
}

impl Default for RouteSettings {
    fn default() -> Self {
        Self {
            unmatched: Unmatched::default(),
            patterns: Vec::new(),
            ignored_patterns: Vec::new(),
            ignore_mode: IgnoreMode::default(),
            wildcard_char: "*".to_owned(),
            max_path_segment_cardinality: 10,
        }
    }
}

/// Finds routes.
#[derive(Debug)]
pub struct Routes {
    patterns: Patterns,
    ignored: Patterns,
    ignore_mode: IgnoreMode,
    unmatched: Unmatched,
    wildcard: String,
    max_children: usize,
    everything: Arc<str>,
    guesses: Guesses,
    known: Known,
    tries: HashMap<Box<str>, Trie>,
    text: String,
    folded: u64,
}

/// Routes of one service alone.
#[derive(Debug)]
pub struct ServiceRoutes {
    incoming: Patterns,
    outgoing: Patterns,
}

impl ServiceRoutes {
    /// Routes by the settings of an entry.
    ///
    /// # Errors
    /// [`InvalidSetting`] names the key.
    pub fn new(settings: &ServiceRouteSettings) -> Result<Self, InvalidSetting> {
        check_patterns("routes.incoming", &settings.incoming)?;
        check_patterns("routes.outgoing", &settings.outgoing)?;
        Ok(Self { incoming: Patterns::new(&settings.incoming), outgoing: Patterns::new(&settings.outgoing) })
    }

    fn find(&self, kind: SpanKind, path: &str) -> Option<&Arc<str>> {
        match kind {
            SpanKind::Server => self.incoming.find(path),
            SpanKind::Client => self.outgoing.find(path),
        }
    }
}

/// A request whose route is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who answered it, or was answered.
    pub service: &'a Service,
    /// Which of both.
    pub kind: SpanKind,
    /// Its path.
    pub path: &'a str,
    /// What it was answered with, 0 if that is not known.
    pub status: u16,
    /// When.
    pub now: KtimeNs,
}

impl Routes {
    /// Routes by the settings.
    ///
    /// # Errors
    /// [`InvalidSetting`] names the key.
    pub fn new(settings: &RouteSettings) -> Result<Self, InvalidSetting> {
        check_patterns("routes.patterns", &settings.patterns)?;
        check_patterns("routes.ignored_patterns", &settings.ignored_patterns)?;
        let wildcard = settings.wildcard_char.as_str();
        if wildcard.chars().count() != 1 || wildcard.contains(|c: char| c == '/' || c.is_control()) {
            return Err(InvalidSetting::new("routes.wildcard_char", wildcard, "one character, no slash"));
        }
        let max_children = settings.max_path_segment_cardinality;
        if max_children > MAX_CARDINALITY {
            let key = "routes.max_path_segment_cardinality";
            return Err(InvalidSetting::new(key, max_children.to_string(), "a number from 0 to 1000"));
        }
        Ok(Self {
            patterns: Patterns::new(&settings.patterns),
            ignored: Patterns::new(&settings.ignored_patterns),
            ignore_mode: settings.ignore_mode,
            unmatched: settings.unmatched,
            wildcard: wildcard.to_owned(),
            max_children,
            everything: EVERYTHING.into(),
            guesses: Guesses::default(),
            known: Known::default(),
            tries: HashMap::new(),
            text: String::new(),
            folded: 0,
        })
    }

    /// What a request for `path` may be told as.
    #[must_use]
    pub fn signals(&self, path: &str) -> Signals {
        match self.ignored.find(path).map(|_| self.ignore_mode) {
            None => Signals::ALL,
            Some(IgnoreMode::All) => Signals::NONE,
            Some(IgnoreMode::Traces) => Signals { traces: false, ..Signals::ALL },
            Some(IgnoreMode::Metrics) => Signals { metrics: false, ..Signals::ALL },
        }
    }

    /// The route of a request; `own` are those of its service alone, which come after those of all.
    #[must_use]
    pub fn route(&mut self, asked: Asked<'_>, own: Option<&ServiceRoutes>) -> Option<Arc<str>> {
        let Asked { service, kind, path, .. } = asked;
        if path.is_empty() {
            // CONNECT has none
            return None;
        }
        let written = self.patterns.find(path).or_else(|| own?.find(kind, path));
        if let Some(pattern) = written {
            return Some(Arc::clone(pattern));
        }
        match self.unmatched {
            Unmatched::Unset => None,
            Unmatched::Path => Some(path.into()),
            Unmatched::Wildcard => Some(Arc::clone(&self.everything)),
            Unmatched::LowCardinality if self.max_children > 0 => {
                self.guess(path);
                self.thin_out(service);
                Some(self.admitted(asked).unwrap_or_else(|| Arc::clone(&self.everything)))
            }
            Unmatched::Heuristic | Unmatched::LowCardinality => Some(self.guessed(asked)),
        }
    }

    /// Spans whose route became `/**` because their service has too many, since this was last asked.
    pub fn take_folded(&mut self) -> u64 {
        std::mem::take(&mut self.folded)
    }

    /// What the path alone suggests. The same again, as long as the service has that route.
    fn guessed(&mut self, asked: Asked<'_>) -> Arc<str> {
        let Asked { service, path, .. } = asked;
        if let Some(route) = self.known.recent.find(service, path) {
            return Arc::clone(route);
        }
        self.guess(path);
        let Some(route) = self.admitted(asked) else { return Arc::clone(&self.everything) };
        self.known.recent.remember(service, path, &route);
        route
    }

    /// The text as a route of the service, if it may have it.
    fn admitted(&mut self, asked: Asked<'_>) -> Option<Arc<str>> {
        let is_missing = matches!(asked.status, 404 | 405);
        let known = self.known.admit(asked.service, &self.text, is_missing, asked.now);
        self.folded += u64::from(known.is_none());
        known
    }

    fn guess(&mut self, path: &str) {
        self.text.clear();
        self.guesses.append(&mut self.text, path, &self.wildcard);
    }

    /// What was guessed, through the tree of `service`.
    fn thin_out(&mut self, service: &Service) {
        let name = service.name.as_str();
        let has_room = self.tries.len() < MAX_TRIES || self.tries.contains_key(name);
        let name = if has_room { name } else { "" };
        let guessed = std::mem::take(&mut self.text);
        if let Some(trie) = self.tries.get_mut(name) {
            trie.append(&mut self.text, &guessed, &self.wildcard);
            return;
        }
        let mut trie = Trie::new(self.max_children);
        trie.append(&mut self.text, &guessed, &self.wildcard);
        self.tries.insert(name.into(), trie);
    }
}

fn check_patterns(key: &str, patterns: &[String]) -> Result<(), InvalidSetting> {
    match patterns.iter().position(|pattern| pattern.trim() != pattern || pattern.is_empty()) {
        Some(at) => Err(InvalidSetting::new(
            format!("{key}[{at}]"),
            patterns.get(at).cloned().unwrap_or_default(),
            "a path like /users/{id} or /static/*, without blanks around it",
        )),
        None => Ok(()),
    }
}
