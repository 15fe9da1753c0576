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

/// A runtime that is mapped, what the binary is, its name if it is that of an interpreter, C++, and else generic.
pub(super) fn of(facts: &Facts<'_>) -> Language {
    let binary = Some(facts.binary).filter(|binary| binary.is_settled());
    let cpp = (facts.libraries.has_cpp || facts.binary == Language::Cpp).then_some(Language::Cpp);
    // a Go or Rust program that loads a runtime is still what it was written in
    let compiled = binary.filter(|binary| matches!(binary, Language::Go | Language::Rust));
    compiled
        .or(facts.libraries.runtime)
        .or(binary)
        .or_else(|| by_name(facts.name))
        .or(cpp)
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
        use Language::{Cpp, Generic, Go, Java, Nodejs, Python, Rust, Unknown};
        for (runtime, binary, name, has_cpp, language) in [
            (Some(Java), Generic, "java", true, Java),
            (Some(Python), Go, "x", false, Go),
            (Some(Python), Rust, "x", false, Rust),
            (Some(Python), Cpp, "uwsgi", true, Python),
            (None, Nodejs, "anything", true, Nodejs),
            (None, Unknown, "python3.11", false, Python),
            (None, Generic, "pythonista", false, Generic),
            (None, Generic, "node-exporter", true, Cpp),
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
