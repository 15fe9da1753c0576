//! A file against the table: every key is known, every value is of its kind.

use super::file::{Content, Node};
use super::keys::{self, Key, Kind, Status, nearest};
use super::{ConfigError, MAX_SHOWN, Warning, scalar};
use figment::value::{Dict, Value};
use std::collections::BTreeMap;

/// Entries of one list: what a person would write, and little enough to match for every process.
pub(super) const MAX_ENTRIES: usize = 1024;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// Its values, in sections.
    pub(super) values: Dict,
    /// Where each stands: by key, entries of lists as `key[0]`.
    pub(super) lines: BTreeMap<String, usize>,
    pub(super) warnings: Vec<Warning>,
}

/// Goes through a file.
struct Walker<'a> {
    file: &'a str,
    walked: Walked,
}

/// Checks the tree of the file called `file`.
pub(super) fn walk(file: &str, root: &Node) -> Result<Walked, ConfigError> {
    let mut walker = Walker { file, walked: Walked::default() };
    let keys: Vec<&'static Key> = keys::all().filter(|key| !key.path.is_empty()).collect();
    walker.walked.values = walker.section(root, &Place::default(), &keys)?;
    Ok(walker.walked)
}

/// Where in a file we are.
#[derive(Clone, Default)]
struct Place {
    /// From the root, for people.
    shown: String,
    /// From where the keys that count begin.
    relative: String,
    /// Somebody said already that all this has no effect.
    is_muted: bool,
}

impl Place {
    fn child(&self, name: &str) -> Self {
        let join = |path: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        Self { shown: join(&self.shown), relative: join(&self.relative), is_muted: self.is_muted }
    }

    fn entry(&self, suffix: &str, is_muted: bool) -> Self {
        Self { shown: format!("{}{suffix}", self.shown), relative: String::new(), is_muted }
    }
}

impl Walker<'_> {
    fn wrong(&self, line: usize, problem: String) -> ConfigError {
        ConfigError::in_file(format!("{}:{line}", self.file), problem)
    }

    fn section(&mut self, node: &Node, place: &Place, keys: &[&'static Key]) -> Result<Dict, ConfigError> {
        let mut dict = Dict::new();
        let map = match &node.content {
            Content::Map(map) => map,
            Content::Null => return Ok(dict),
            other => {
                let at = if place.shown.is_empty() { "the file" } else { &place.shown };
                return Err(self.wrong(node.line, format!("{at} must be a section, and is {}", other.name())));
            }
        };
        for (name, child) in map {
            if let Some(value) = self.child(child, &place.child(name), keys)? {
                dict.insert(name.clone(), value);
            }
        }
        Ok(dict)
    }

    fn child(
        &mut self,
        node: &Node,
        place: &Place,
        keys: &[&'static Key],
    ) -> Result<Option<Value>, ConfigError> {
        if let Some(key) = keys.iter().find(|key| key.path == place.relative) {
            return self.value(node, place, key);
        }
        let below = format!("{}.", place.relative);
        if keys.iter().any(|key| key.path.starts_with(&below)) {
            return self.section(node, place, keys).map(|dict| Some(Value::from(dict)));
        }
        Err(self.unknown(node.line, place, keys))
    }

    fn unknown(&self, line: usize, place: &Place, keys: &[&'static Key]) -> ConfigError {
        let sections = keys
            .iter()
            .flat_map(|key| key.path.match_indices('.').filter_map(|(end, _)| key.path.get(..end)));
        let candidates = keys.iter().map(|key| key.path).chain(sections);
        let key: String = place.shown.chars().take(MAX_SHOWN).collect();
        let hint = nearest(&place.relative, candidates).map(|near| format!("; did you mean {near}?"));
        let hint = hint.unwrap_or_else(|| "; docs/configuration.md has every key".to_owned());
        self.wrong(line, format!("{key:?} is no key{hint}"))
    }

    fn value(&mut self, node: &Node, place: &Place, key: &'static Key) -> Result<Option<Value>, ConfigError> {
        if node.content == Content::Null {
            return Ok(None);
        }
        self.walked.lines.insert(place.shown.clone(), node.line);
        let is_not_yet = self.is_not_yet(place, key);
        if is_not_yet && !place.is_muted {
            let setting = format!("{}:{}: {}", self.file, node.line, place.shown);
            self.walked.warnings.push(Warning::NotSupported { setting, effect: key.help });
        }
        let place = Place { is_muted: place.is_muted || is_not_yet, ..place.clone() };
        let value = self.of_kind(node, &place, key.kind)?;
        self.words(node.line, &place, key, &value);
        Ok(Some(value))
    }

    /// Warns about what a list asks for that has no effect yet.
    fn words(&mut self, line: usize, place: &Place, key: &Key, value: &Value) {
        let words = value.as_array().unwrap_or_default().iter().filter_map(Value::as_str);
        if let Some(words) = keys::words_not_yet(key, words).filter(|_| !place.is_muted) {
            let setting = format!("{}:{line}: {}: {words}", self.file, place.shown);
            self.walked.warnings.push(Warning::NotSupported { setting, effect: keys::WORD_EFFECT });
        }
    }

    /// Keys of entries follow the list that they stand in, but for the criteria that nothing here can meet.
    fn is_not_yet(&self, place: &Place, key: &Key) -> bool {
        if place.shown == place.relative {
            return key.status() == Status::NotYet;
        }
        keys::is_criterion_not_yet(key)
    }

    fn of_kind(&mut self, node: &Node, place: &Place, kind: Kind) -> Result<Value, ConfigError> {
        match (kind, &node.content) {
            (Kind::Any, _) => Ok(plain(node)),
            (Kind::Entries(keys), Content::List(list)) => self.entries(node.line, list, place, keys),
            (Kind::Sections(keys), Content::Map(map)) => self.sections(node.line, map, place, keys),
            (Kind::Map, Content::Map(map)) if map.iter().all(|(_, node)| is_flat(node)) => Ok(plain(node)),
            (Kind::Ports | Kind::List | Kind::ListOf(_), Content::List(list)) => {
                self.list(node, list, place, kind)
            }
            (Kind::Map | Kind::Entries(_) | Kind::Sections(_), _) => {
                Err(self.of_other_kind(node, place, kind))
            }
            (_, Content::Scalar(text)) => self.scalar(node, text, place, kind),
            _ => Err(self.of_other_kind(node, place, kind)),
        }
    }

    fn of_other_kind(&self, node: &Node, place: &Place, kind: Kind) -> ConfigError {
        let Place { shown, .. } = place;
        self.wrong(node.line, format!("{shown} is {}; allowed: {}", node.content.name(), kind.allowed()))
    }

    fn scalar(&self, node: &Node, text: &str, place: &Place, kind: Kind) -> Result<Value, ConfigError> {
        scalar::value(kind, text).map_err(|problem| {
            let text: String = text.chars().take(MAX_SHOWN).collect();
            let text = if matches!(kind, Kind::Secret) { String::new() } else { format!(": {text:?}") };
            self.wrong(
                node.line,
                format!("{}{text} is not valid: {problem}; allowed: {}", place.shown, kind.allowed()),
            )
        })
    }

    fn list(&self, node: &Node, list: &[Node], place: &Place, kind: Kind) -> Result<Value, ConfigError> {
        self.bounded(node.line, list.len(), place)?;
        let mut items = Vec::new();
        for item in list {
            match &item.content {
                Content::Scalar(text) if matches!(kind, Kind::List) => items.push(Value::from(text.as_str())),
                Content::Scalar(text) => {
                    items.extend(self.scalar(item, text, place, kind)?.into_array().unwrap_or_default())
                }
                _ => return Err(self.of_other_kind(item, place, Kind::Text)),
            }
        }
        Ok(Value::from(items))
    }

    fn bounded(&self, line: usize, entries: usize, place: &Place) -> Result<(), ConfigError> {
        if entries <= MAX_ENTRIES {
            return Ok(());
        }
        Err(self
            .wrong(line, format!("{} has {entries} entries; allowed: at most {MAX_ENTRIES}", place.shown)))
    }

    fn entries(
        &mut self,
        line: usize,
        list: &[Node],
        place: &Place,
        keys: &'static [Key],
    ) -> Result<Value, ConfigError> {
        self.bounded(line, list.len(), place)?;
        let keys: Vec<&'static Key> = keys.iter().collect();
        let mut entries = Vec::new();
        for (index, node) in list.iter().enumerate() {
            let place = place.entry(&format!("[{index}]"), place.is_muted);
            self.walked.lines.insert(place.shown.clone(), node.line);
            entries.push(Value::from(self.section(node, &place, &keys)?));
        }
        Ok(Value::from(entries))
    }

    fn sections(
        &mut self,
        line: usize,
        map: &[(String, Node)],
        place: &Place,
        keys: &'static [Key],
    ) -> Result<Value, ConfigError> {
        self.bounded(line, map.len(), place)?;
        let keys: Vec<&'static Key> = keys.iter().collect();
        let mut sections = Dict::new();
        for (name, node) in map {
            let place = place.entry(&format!("[{name}]"), place.is_muted);
            sections.insert(name.clone(), Value::from(self.section(node, &place, &keys)?));
        }
        Ok(Value::from(sections))
    }
}

const fn is_flat(node: &Node) -> bool {
    matches!(node.content, Content::Scalar(_) | Content::Null)
}

/// As it stands, every scalar a text. The depth is bounded where the file is read.
fn plain(node: &Node) -> Value {
    match &node.content {
        Content::Null => Value::from(""),
        Content::Scalar(text) => Value::from(text.as_str()),
        Content::List(list) => Value::from(list.iter().map(plain).collect::<Vec<_>>()),
        Content::Map(map) => {
            Value::from(map.iter().map(|(name, node)| (name.clone(), plain(node))).collect::<Dict>())
        }
    }
}
