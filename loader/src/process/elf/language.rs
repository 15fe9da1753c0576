//! Facts to a language.

use super::maps::Libraries;
use ratatosk_abi::Language;

/// What was found of one process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) libraries: Libraries,
    /// What the executable itself says.
    pub(super) binary: Language,
    /// File name of the executable.
    pub(super) name: &'a str,
}

/// Interpreters by the beginning of their name: only where neither binary nor libraries told.
const NAMES: [(&str, Language); 9] = [
    ("beam.smp", Language::Erlang),
    ("bun", Language::Bun),
    ("deno", Language::Deno),
    ("dotnet", Language::Dotnet),
    ("java", Language::Java),
    ("node", Language::Nodejs),
    ("php", Language::Php),
    ("python", Language::Python),
    ("ruby", Language::Ruby),
];

/// What the executable is, a runtime that it has mapped, its name if it is that of an interpreter, and else generic.
/// A library in C++ makes no program a C++ one, unless nothing could be read of the program itself.
pub(super) fn of(facts: &Facts<'_>) -> Language {
    let Facts { libraries, binary, name } = facts;
    let unread_cpp = *binary == Language::Unknown && libraries.has_cpp;
    Some(*binary)
        .filter(|binary| binary.is_settled())
        .or(libraries.runtime)
        .or_else(|| by_name(name))
        .or_else(|| (*binary == Language::Cpp || unread_cpp).then_some(Language::Cpp))
        .unwrap_or(Language::Generic)
}

/// `python3.11` is Python, `pythonista` is not.
fn by_name(name: &str) -> Option<Language> {
    let is_version = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-'));
    let fits = |(prefix, _): &&(&str, _)| {
        name.strip_prefix(prefix).is_some_and(|rest| is_version(rest.strip_prefix("-fpm").unwrap_or(rest)))
    };
    NAMES.iter().find(fits).map(|(_, language)| *language)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(runtime: Option<Language>, binary: Language, name: &str, has_cpp: bool) -> Language {
        of(&Facts { libraries: Libraries { runtime, has_cpp }, binary, name })
    }

    #[test]
    fn facts_count_in_the_order_of_how_sure_they_are() {
        use Language::{Cpp, Generic, Go, Java, Nodejs, Python, Ruby, Rust, Unknown};
        for (runtime, binary, name, has_cpp, language) in [
            (Some(Java), Generic, "java", true, Java),
            (Some(Python), Go, "x", false, Go),
            (Some(Python), Rust, "x", false, Rust),
            (Some(Python), Cpp, "uwsgi", true, Python),
            (Some(Java), Python, "python3", true, Python),
            (Some(Java), Generic, "ruby", true, Java),
            (None, Nodejs, "anything", true, Nodejs),
            (None, Unknown, "python3.11", false, Python),
            (None, Generic, "pythonista", false, Generic),
            (None, Generic, "ruby", true, Ruby),
            (None, Generic, "postgres", true, Generic),
            (None, Unknown, "envoy", true, Cpp),
            (None, Cpp, "envoy", false, Cpp),
            (None, Unknown, "", false, Generic),
        ] {
            assert_eq!(facts(runtime, binary, name, has_cpp), language, "{name} {binary:?} {runtime:?}");
        }
    }

    #[test]
    fn an_interpreter_may_have_a_version_in_its_name() {
        for name in ["php-fpm8.2", "php8.2", "php-fpm", "ruby3.1", "python3", "node"] {
            assert!(by_name(name).is_some(), "{name}");
        }
        for name in ["phpstorm", "nodejs-thing", "javac", "rubyist"] {
            assert_eq!(by_name(name), None, "{name}");
        }
    }
}
