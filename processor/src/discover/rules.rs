//! The entries of a configuration file, ready to match: those that want are alternatives, those that exclude win.

use super::selection::{Facts, SelectionError};
use crate::config::{Criteria, Naming, Pattern, PortRange, Rules};
use crate::decorate::Telling;
use globset::GlobMatcher;
use regex::Regex;
use std::sync::Arc;

/// A pattern, compiled.
#[derive(Clone, Debug)]
enum Compiled {
    Glob(GlobMatcher),
    Regex(Regex),
}

/// One entry, compiled.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    criteria: Criteria,
    exe: Option<Compiled>,
    cmd_args: Option<Compiled>,
    language: Option<Compiled>,
    /// How whom it selects is told, `None`: as everybody.
    telling: Option<Arc<Telling>>,
}

/// What a process is called, and how it is told.
#[derive(Clone, Debug, Default)]
pub struct Treatment {
    /// Its names, where the settings say so.
    pub naming: Naming,
    /// `None`: as everybody.
    pub telling: Option<Arc<Telling>>,
    /// How many entries select it, what stands beside them included.
    pub entries: usize,
}

/// All entries, compiled.
#[derive(Clone, Debug)]
pub(super) struct RuleSet {
    instrument: Vec<Rule>,
    exclude: Vec<Rule>,
    default_exclude: Vec<Rule>,
    naming: Naming,
}

impl Compiled {
    fn new(pattern: &Pattern) -> Result<Self, SelectionError> {
        match pattern {
            Pattern::Glob(glob) => {
                let compiled = globset::Glob::new(glob);
                compiled
                    .map(|glob| Self::Glob(glob.compile_matcher()))
                    .map_err(|error| SelectionError::new(glob, error))
            }
            Pattern::Regex(regex) => crate::config::compiled_regex(regex)
                .map(Self::Regex)
                .map_err(|error| SelectionError::new(regex, error)),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Glob(glob) => glob.is_match(text),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

impl Rule {
    fn new(criteria: &Criteria) -> Result<Self, SelectionError> {
        let compiled = |pattern: &Option<Pattern>| pattern.as_ref().map(Compiled::new).transpose();
        Ok(Self {
            exe: compiled(&criteria.exe)?,
            cmd_args: compiled(&criteria.cmd_args)?,
            language: compiled(&criteria.language)?,
            telling: telling(criteria)?,
            criteria: criteria.clone(),
        })
    }

    /// Every criterion holds. What is not known does not match.
    fn matches(&self, facts: &Facts<'_>) -> bool {
        let Criteria { open_ports, pids, containers_only, is_unknowable, .. } = &self.criteria;
        let port = |port: &u16| open_ports.iter().any(|range| range.contains(*port));
        let text = |pattern: &Option<Compiled>, text: Option<&str>| {
            pattern.as_ref().is_none_or(|pattern| text.is_some_and(|text| pattern.matches(text)))
        };
        !is_unknowable
            && (open_ports.is_empty() || facts.ports.iter().any(port))
            && (pids.is_empty() || facts.owns_pid && pids.contains(&facts.tgid))
            && (!containers_only || facts.is_in_container)
            && text(&self.exe, facts.exe)
            && text(&self.cmd_args, facts.cmdline)
            && text(&self.language, facts.language)
    }
}

fn telling(criteria: &Criteria) -> Result<Option<Arc<Telling>>, SelectionError> {
    let telling = Telling::new(&criteria.told);
    let telling = telling.map_err(|error| SelectionError::new(&criteria.label(), error))?;
    Ok((!telling.is_empty()).then(|| Arc::new(telling)))
}

/// Each name of `later`, else that of `earlier`.
fn over(later: &Naming, earlier: &Naming) -> Naming {
    let Naming { name, namespace } = later.clone();
    Naming {
        name: name.or_else(|| earlier.name.clone()),
        namespace: namespace.or_else(|| earlier.namespace.clone()),
    }
}

/// What one entry says after another.
fn refined(earlier: Option<Arc<Telling>>, later: Option<&Arc<Telling>>) -> Option<Arc<Telling>> {
    let Some(earlier) = earlier else { return later.map(Arc::clone) };
    let both = earlier.refined_by(later.map(Arc::as_ref).unwrap_or(&Telling::default()));
    (!both.is_empty()).then(|| Arc::new(both))
}

impl RuleSet {
    pub(super) fn new(rules: &Rules) -> Result<Self, SelectionError> {
        let all = |criteria: &[Criteria]| criteria.iter().map(Rule::new).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            instrument: all(&rules.instrument)?,
            exclude: all(&rules.exclude)?,
            default_exclude: all(&rules.default_exclude)?,
            naming: rules.naming.clone(),
        })
    }

    /// No entry wants anything.
    pub(super) const fn is_empty(&self) -> bool {
        self.instrument.is_empty()
    }

    /// The entries that want this process, and their places. A default exclusion yields to an entry that names it.
    pub(super) fn wanting(&self, facts: &Facts<'_>) -> impl Iterator<Item = (usize, &Rule)> {
        let is_left_out = self.leaves_out(facts).is_some();
        let matching =
            move |rule: &Rule| rule.matches(facts) && (!is_left_out || rule.criteria.is_explicit());
        self.instrument.iter().enumerate().filter(move |(_, rule)| matching(rule))
    }

    /// Place of the entry that says that it is never to be observed.
    pub(super) fn excludes(&self, facts: &Facts<'_>) -> Option<usize> {
        self.exclude.iter().position(|rule| rule.matches(facts))
    }

    /// Place of the default that leaves it out of what does not name it.
    pub(super) fn leaves_out(&self, facts: &Facts<'_>) -> Option<usize> {
        self.default_exclude.iter().position(|rule| rule.matches(facts))
    }

    /// How a process is treated that all these select: of each setting, the last that says something counts, as in Beyla.
    pub(super) fn treatment<'a>(&self, entries: impl Iterator<Item = &'a Rule>) -> Treatment {
        let mut all = Treatment::default();
        for Rule { criteria, telling, .. } in entries {
            all.naming = over(&criteria.naming, &all.naming);
            all.telling = refined(all.telling, telling.as_ref());
            all.entries += 1;
        }
        all.naming = over(&all.naming, &self.naming);
        all
    }

    /// The same, where the settings beside the rules select it, too: they are the last entry, and have names alone.
    pub(super) fn treatment_beside<'a>(&self, entries: impl Iterator<Item = &'a Rule>) -> Treatment {
        let Treatment { naming, telling, entries } = self.treatment(entries);
        let naming = over(&self.naming, &naming);
        Treatment { naming, telling: refined(telling, None), entries: entries + 1 }
    }

    /// Pids of all entries.
    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.instrument.iter().chain(&self.exclude).flat_map(|rule| rule.criteria.pids.iter().copied())
    }

    /// Ports of all entries that want.
    pub(super) fn ports(&self) -> impl Iterator<Item = PortRange> {
        self.instrument.iter().flat_map(|rule| rule.criteria.open_ports.iter().copied())
    }

    /// Command lines are asked for.
    pub(super) fn needs_cmdline(&self) -> bool {
        self.instrument
            .iter()
            .chain(&self.exclude)
            .chain(&self.default_exclude)
            .any(|rule| rule.cmd_args.is_some())
    }

    /// Languages are asked for.
    pub(super) fn needs_language(&self) -> bool {
        let all = self.instrument.iter().chain(&self.exclude).chain(&self.default_exclude);
        all.into_iter().any(|rule| rule.language.is_some())
    }

    /// Some that it selects are told otherwise than others.
    pub(super) fn tells_apart(&self) -> bool {
        self.instrument.iter().any(|rule| rule.telling.is_some())
    }

    /// A port that matches decides by itself.
    pub(super) fn ports_decide(&self) -> bool {
        let with_ports = self.instrument.iter().filter(|rule| !rule.criteria.open_ports.is_empty());
        self.exclude.is_empty() && with_ports.into_iter().all(|rule| rule.criteria.is_by_port())
    }

    /// Only executables decide.
    pub(super) fn executables_decide(&self) -> bool {
        let mut all = self.instrument.iter().chain(&self.exclude).chain(&self.default_exclude);
        all.all(|rule| rule.criteria.is_by_executable())
    }
}
