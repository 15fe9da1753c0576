//! What to observe, as it is said outside of `discovery`: by a few settings that are one entry together.

use super::{ConfigError, Criteria, Environment, Pattern, Place, PortRange, Rules, Selection, parse};
use crate::explain::Selectors;

/// Variables that name executables, in the order of [`Selection::executables`].
const EXECUTABLES: [&str; 3] = ["AUTO_TARGET_EXE", "EXECUTABLE_PATH", "EXECUTABLE_NAME"];

/// What stands outside of `discovery`, read.
struct Top {
    open_ports: Vec<PortRange>,
    pids: Vec<u32>,
    executables: Vec<Pattern>,
    language: Option<Pattern>,
    place: Place,
}

/// All of it: one more entry.
pub(super) fn top(env: &mut Environment) -> Result<Selection, ConfigError> {
    let glob = |text: &str| parse::glob(text).map(Pattern::Glob);
    let executables: Vec<Pattern> = [
        env.parsed(EXECUTABLES[0], glob, parse::GLOB)?,
        env.parsed(EXECUTABLES[1], parse::path_pattern, parse::GLOB)?,
        env.parsed(EXECUTABLES[2], parse::path_pattern, parse::GLOB)?,
    ]
    .into_iter()
    .flatten()
    .collect();
    let open_ports = env.parsed("OPEN_PORT", parse::ports, parse::PORTS)?.unwrap_or_default();
    let pids = env.parsed("TARGET_PID", parse::pids, parse::PIDS)?.unwrap_or_default();
    let language =
        env.parsed("AUTO_TARGET_LANGUAGE", glob, "a glob over the name of a language, as in {go,java}")?;
    Ok(assemble(Top { open_ports, pids, executables, language, place: top_place(env) }))
}

/// All of it that is set, for people.
fn top_place(env: &Environment) -> Place {
    let names = ["OPEN_PORT", "TARGET_PID"].iter().chain(&EXECUTABLES).chain(&["AUTO_TARGET_LANGUAGE"]);
    let set: Vec<String> = names.filter_map(|name| env.spelled(name)).collect();
    Place::of_settings(set.join(" and "))
}

/// What these settings are called, as they were set.
pub(super) fn selectors(env: &Environment) -> Selectors {
    let executables = EXECUTABLES.iter().filter_map(|name| env.spelled(name)).collect();
    Selectors::new(env.name_of("OPEN_PORT"), executables, env.name_of("TARGET_PID"))
}

/// Ports, pids and globs stand for themselves; what needs more becomes entries that say the same.
fn assemble(top: Top) -> Selection {
    let Top { open_ports, pids, executables, language, place } = top;
    let glob = |pattern: &Pattern| if let Pattern::Glob(glob) = pattern { Some(glob.clone()) } else { None };
    let globs: Option<Vec<String>> = executables.iter().map(glob).collect();
    if let (Some(executables), None) = (globs, &language) {
        return Selection { open_ports, executables, pids, rules: Rules::default() };
    }
    let entry = |exe: Option<Pattern>| Criteria {
        open_ports: open_ports.clone(),
        pids: pids.clone(),
        exe,
        language: language.clone(),
        place: place.clone(),
        ..Criteria::default()
    };
    let each = executables.iter().cloned().map(Some);
    let instrument = if executables.is_empty() { vec![entry(None)] } else { each.map(entry).collect() };
    Selection { rules: Rules { instrument, ..Rules::default() }, ..Selection::default() }
}
