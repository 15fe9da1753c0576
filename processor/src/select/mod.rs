//! Which attributes metrics and traces carry: `attributes.select`.
//!
//! An exporter asks once, when it starts: [`AttributeSelection::is_on`] of each section and attribute that it can tell.
//! Sections are the names of metrics, `traces` and `resource`; the names of both may be written with dots or underscores.

mod known;
#[cfg(test)]
mod tests;

pub use known::{RESOURCE, TRACES};

use crate::setting::InvalidSetting;
use globset::{Glob, GlobMatcher};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What to change, by glob over sections: `attributes.select`.
pub type SelectSettings = BTreeMap<String, InclusionLists>;

/// Attributes of a section.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct InclusionLists {
    /// Globs of the attributes to tell. Empty: the defaults.
    pub include: Vec<String>,
    /// Globs of attributes to take out of these.
    pub exclude: Vec<String>,
}

/// The attributes that are told, by section.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttributeSelection {
    on: BTreeMap<&'static str, BTreeSet<&'static str>>,
    unmatched: Vec<String>,
}

/// A section of the settings, ready to be applied.
struct Lists {
    section: GlobMatcher,
    include: Vec<(String, GlobMatcher)>,
    exclude: Vec<(String, GlobMatcher)>,
}

impl Default for AttributeSelection {
    fn default() -> Self {
        Self::of(&[])
    }
}

impl AttributeSelection {
    /// The defaults, changed by the settings: broad sections (`*`) first, in the order of their names.
    ///
    /// # Errors
    /// [`InvalidSetting`]: a glob that is none.
    pub fn new(settings: &SelectSettings) -> Result<Self, InvalidSetting> {
        let mut sections: Vec<(String, &InclusionLists)> =
            settings.iter().map(|(section, lists)| (normal_section(section), lists)).collect();
        sections.sort_by(|(a, _), (b, _)| a.cmp(b));
        let lists = sections.iter().map(|(section, lists)| Lists::new(section, lists));
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        let mut selection = Self::of(&lists);
        selection.unmatched = unmatched(settings, &lists);
        Ok(selection)
    }

    /// Whether `section` (a metric's name, [`TRACES`] or [`RESOURCE`], with dots) tells `attribute` (with dots).
    ///
    /// A metric of HTTP has no attributes beside those that can be selected. Other attributes of spans and resources, and
    /// those of other metrics, are always told.
    #[must_use]
    pub fn is_on(&self, section: &str, attribute: &str) -> bool {
        match self.on.get(section) {
            Some(on) => on.contains(attribute) || !known::is_selectable(section, attribute),
            None => true,
        }
    }

    /// Sections and attributes of the settings that match nothing that is told today: they deserve a warning.
    #[must_use]
    pub fn unmatched(&self) -> &[String] {
        &self.unmatched
    }

    fn of(lists: &[Lists]) -> Self {
        let on = known::SECTIONS.iter().map(|section| (section.name, selected(section, lists))).collect();
        Self { on, unmatched: Vec::new() }
    }
}

/// As OBI does it: each list that applies adds what it includes and takes away what it excludes; if the first one includes
/// nothing that there is, the defaults are what it begins with.
fn selected(section: &known::Section, lists: &[Lists]) -> BTreeSet<&'static str> {
    let defaults = || section.attributes().filter(|(_, is_default)| *is_default).map(|(name, _)| name);
    let matches = |globs: &[(String, GlobMatcher)], name: &str| {
        globs.iter().any(|(_, glob)| glob.is_match(underscored(name)))
    };
    let mut applying =
        lists.iter().filter(|lists| lists.section.is_match(underscored(section.name))).peekable();
    if applying.peek().is_none() {
        return defaults().collect();
    }
    let mut on = BTreeSet::new();
    for (n, lists) in applying.enumerate() {
        on.extend(section.attributes().map(|(name, _)| name).filter(|name| matches(&lists.include, name)));
        if n == 0 && on.is_empty() {
            on.extend(defaults());
        }
        on.retain(|name| !matches(&lists.exclude, name));
    }
    on
}

impl Lists {
    fn new(section: &str, lists: &InclusionLists) -> Result<Self, InvalidSetting> {
        let key = |kind: &str| format!("attributes.select.{section}.{kind}");
        let globs = |kind, globs: &[String]| {
            let compile = |glob: &String| Ok((glob.clone(), compiled(key(kind), glob)?));
            globs.iter().map(compile).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            section: compiled("attributes.select".to_owned(), section)?,
            include: globs("include", &lists.include)?,
            exclude: globs("exclude", &lists.exclude)?,
        })
    }

    fn knows(&self, glob: &GlobMatcher) -> bool {
        let sections = known::SECTIONS.iter().filter(|known| self.section.is_match(underscored(known.name)));
        sections.flat_map(known::Section::attributes).any(|(name, _)| glob.is_match(underscored(name)))
    }
}

fn compiled(key: String, glob: &str) -> Result<GlobMatcher, InvalidSetting> {
    let compiled = Glob::new(&underscored(glob));
    let invalid = |_| InvalidSetting::new(key, glob, "a name, or a glob like http.* or k8s_*");
    Ok(compiled.map_err(invalid)?.compile_matcher())
}

fn unmatched(settings: &SelectSettings, lists: &[Lists]) -> Vec<String> {
    let is_known = |section: &str| {
        let normal = normal_section(section);
        let matcher = compiled(String::new(), &normal);
        matcher.is_ok_and(|glob| known::SECTIONS.iter().any(|known| glob.is_match(underscored(known.name))))
    };
    let sections = settings.keys().filter(|section| !is_known(section)).cloned();
    // of a section that is not told, its name says it all
    let told = lists
        .iter()
        .filter(|lists| known::SECTIONS.iter().any(|known| lists.section.is_match(underscored(known.name))));
    let attributes = told
        .flat_map(|lists| lists.include.iter().filter(|(_, glob)| !lists.knows(glob)))
        .map(|(name, _)| name.clone());
    sections.chain(attributes).collect()
}

fn underscored(name: &str) -> String {
    name.replace('.', "_")
}

/// A metric may be written as Prometheus shows it: without the endings that an exporter added, with underscores.
fn normal_section(name: &str) -> String {
    let name = underscored(name);
    let mut name = name.as_str();
    for ending in ["_bucket", "_sum", "_count", "_total", "_seconds", "_bytes"] {
        name = name.strip_suffix(ending).unwrap_or(name);
    }
    name.to_owned()
}
