//! Every key of a configuration file and every variable that Beyla, OBI or we know: one table, in the order of the pages.

mod attributes;
mod discovery;
mod ebpf;
mod exporters;
mod nearest;
mod network;
mod status;
mod top;

pub use nearest::nearest;
pub use status::Status;

/// Prefixes of Beyla's variables; the first that is set counts.
pub const PREFIXES: [&str; 2] = ["OTEL_EBPF_", "BEYLA_"];

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands in a file: names joined by dots. Empty: only variables set it.
    pub path: &'static str,
    /// Names of variables, separated by spaces: of Beyla's without prefix, whole names after `=`.
    pub variables: &'static str,
    /// What a value looks like.
    pub kind: Kind,
    /// Value if nobody says another; empty if there is none.
    pub default: &'static str,
    /// What it does: half a sentence, so that "not done yet: ..." can stand before it.
    pub help: &'static str,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One value of any text.
    Text,
    /// The same, never shown: it may grant access.
    Secret,
    /// true or false.
    Bool,
    /// A whole number between these, both included.
    Integer(i64, i64),
    /// A number, with a fraction or without.
    Number,
    /// As Go writes it: 500ms, 1m30s.
    Duration,
    /// Ports and ranges: 80,8000-8999.
    Ports,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list of values.
    List,
    /// A list of these words.
    ListOf(&'static [&'static str]),
    /// Names of the user's own, each with a value.
    Map,
    /// A list of sections, each with these keys.
    Entries(&'static [Key]),
    /// Names of the user's own, each with a section of these keys.
    Sections(&'static [Key]),
    /// Whatever a later version makes of it: nothing below it is looked at.
    Any,
}

impl Kind {
    /// For people: what is allowed.
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Text | Self::Secret => "one value".to_owned(),
            Self::Bool => "true, false".to_owned(),
            Self::Integer(i64::MIN, i64::MAX) => "a whole number".to_owned(),
            Self::Integer(first, i64::MAX) => format!("a whole number from {first}"),
            Self::Integer(first, last) => format!("a whole number from {first} to {last}"),
            Self::Number => "a number".to_owned(),
            Self::Duration => "a duration, as in 500ms, 15s, 1m30s".to_owned(),
            Self::Ports => super::parse::PORTS.to_owned(),
            Self::OneOf(words) => words.join(", "),
            Self::List => "a list of values".to_owned(),
            Self::ListOf(words) => format!("a list of {}", words.join(", ")),
            Self::Map => "a section of names with a value each".to_owned(),
            Self::Entries(_) => "a list of sections".to_owned(),
            Self::Sections(_) => "a section of names with a section each".to_owned(),
            Self::Any => "anything".to_owned(),
        }
    }

    /// For tables: one or two words.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Secret => "secret".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Integer(..) => "integer".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Ports => "ports".to_owned(),
            Self::OneOf(words) => words.join(", "),
            Self::List => "list".to_owned(),
            Self::ListOf(words) => format!("list of {}", words.join(", ")),
            Self::Map => "name: value".to_owned(),
            Self::Entries(_) => "list of sections".to_owned(),
            Self::Sections(_) => "name: section".to_owned(),
            Self::Any => "section".to_owned(),
        }
    }
}

impl Key {
    /// Names of variables: with `true`, those of Beyla without prefix; with `false`, whole names.
    fn names(&self, is_beyla: bool) -> impl Iterator<Item = &'static str> + use<> {
        let names = self.variables.split_whitespace();
        names.filter(move |name| name.starts_with('=') != is_beyla).map(|name| name.trim_start_matches('='))
    }

    /// Names of Beyla's variables, without prefix.
    pub fn beyla(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.names(true)
    }

    /// Whole names of variables.
    pub fn plain(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.names(false)
    }

    /// The key, or the variable if it has none: for people.
    #[must_use]
    pub fn name(&self) -> String {
        let variable =
            || self.beyla().map(|name| format!("BEYLA_{name}")).chain(self.plain().map(str::to_owned)).next();
        if self.path.is_empty() { variable().unwrap_or_default() } else { self.path.to_owned() }
    }

    /// Where its value is kept among the layers.
    pub(super) fn place(&self) -> String {
        let variable =
            || self.variables.split_whitespace().next().unwrap_or_default().trim_start_matches('=');
        if self.path.is_empty() { format!("variable.{}", variable()) } else { self.path.to_owned() }
    }

    /// Whether it does something in this version.
    #[must_use]
    pub fn status(&self) -> Status {
        status::of(self)
    }
}

/// Every setting.
pub fn all() -> impl Iterator<Item = &'static Key> {
    [top::KEYS, discovery::KEYS, exporters::KEYS, attributes::KEYS, ebpf::KEYS, network::KEYS]
        .into_iter()
        .flatten()
}

/// The setting at `path`.
#[must_use]
pub fn by_path(path: &str) -> Option<&'static Key> {
    all().find(|key| !key.path.is_empty() && key.path == path)
}

/// The settings of one of Beyla's variables, without prefix.
pub fn by_beyla(name: &str) -> impl Iterator<Item = &'static Key> {
    all().filter(move |key| key.beyla().any(|known| known == name))
}

/// The setting of a variable by its whole name.
#[must_use]
pub fn by_plain(name: &str) -> Option<&'static Key> {
    all().find(|key| key.plain().any(|known| known == name))
}

/// Whether keys stand below `path`.
#[must_use]
pub fn is_section(path: &str) -> bool {
    all().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Whether it is one of the criteria of an entry that nothing here can meet yet, or that has no effect.
#[must_use]
pub fn is_criterion_not_yet(key: &Key) -> bool {
    discovery::CRITERIA.iter().any(|known| known.path == key.path)
        && status::CRITERIA_NOT_YET.iter().any(|known| key.path.starts_with(known))
}

/// Those words of a value of `key` that have no effect yet, joined.
pub(super) fn words_not_yet<'a>(key: &Key, words: impl Iterator<Item = &'a str>) -> Option<String> {
    status::words_not_yet(key, words)
}

/// What such a word would do.
pub(super) const WORD_EFFECT: &str = "tells this family of metrics";

/// Integers with no bound of their own.
const ANY: Kind = Kind::Integer(i64::MIN, i64::MAX);
/// Counts and sizes.
const COUNT: Kind = Kind::Integer(0, i64::MAX);
/// A TCP port, 0 for none.
const PORT: Kind = Kind::Integer(0, 65_535);

const fn key(
    path: &'static str,
    variables: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Key {
    Key { path, variables, kind, default, help }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_key_stands_twice_and_each_has_a_name_and_a_sentence() {
        let mut seen = BTreeSet::new();
        for key in all() {
            assert!(seen.insert(key.place()), "{} stands twice", key.place());
            assert!(!key.help.is_empty() && !key.name().is_empty(), "{key:?}");
            assert!(key.path.is_empty() || !is_section(key.path), "{} is a section, too", key.path);
        }
    }

    #[test]
    fn what_is_supported_is_a_key() {
        for place in status::SUPPORTED {
            assert!(all().any(|key| key.place() == *place), "{place} is no key");
        }
    }
}
