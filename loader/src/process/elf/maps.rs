//! Names of the files that a process has mapped: a runtime is known by its library.

use ratatosk_abi::Language;
use std::io::{BufRead, BufReader, Read};

/// Longest list that is read: a large JVM has some thousand lines of 100 bytes.
const MAX_BYTES: u64 = 4 << 20;
/// Longest line: a path is at most 4096 bytes.
const MAX_LINE_BYTES: u64 = 8192;

/// What mapped libraries say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Libraries {
    /// Of the runtime that is mapped, if one is.
    pub(super) runtime: Option<Language>,
    /// A standard library of C++ is mapped.
    pub(super) has_cpp: bool,
}

/// Prefixes of file names, the one first that more likely hosts the other: what embeds both a JVM and Python is a JVM.
/// What an executable says of itself counts before.
const RUNTIMES: [(&str, Language); 12] = [
    ("libjvm.so", Language::Java),
    ("libcoreclr.so", Language::Dotnet),
    ("libclrjit.so", Language::Dotnet),
    ("libmonosgen-", Language::Dotnet),
    ("libnode.so", Language::Nodejs),
    ("libphp", Language::Php),
    ("libruby.so", Language::Ruby),
    ("libruby-", Language::Ruby),
    ("libpython2.", Language::Python),
    ("libpython3", Language::Python),
    ("libpypy", Language::Python),
    ("libswiftCore.so", Language::Swift),
];
const CPP: [&str; 2] = ["libstdc++.so", "libc++.so"];

/// Reads `/proc/<pid>/maps` to its end or bound.
pub(super) fn libraries(maps: &mut impl Read) -> Libraries {
    let mut lines = BufReader::new(maps.take(MAX_BYTES));
    let (mut best, mut has_cpp) = (RUNTIMES.len(), false);
    let mut line = Vec::new();
    while (&mut lines).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let name = file_name(&line);
        let known = RUNTIMES.iter().position(|(prefix, _)| name.starts_with(prefix.as_bytes()));
        best = known.unwrap_or(best).min(best);
        has_cpp |= CPP.iter().any(|prefix| name.starts_with(prefix.as_bytes()));
        line.clear();
    }
    Libraries { runtime: RUNTIMES.get(best).map(|(_, language)| *language), has_cpp }
}

/// What follows the last slash; nothing where no file is mapped.
fn file_name(line: &[u8]) -> &[u8] {
    let slash = line.iter().rposition(|byte| *byte == b'/');
    slash.and_then(|at| line.get(at + 1..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Libraries {
        let lines = names.iter().map(|name| format!("7f00-7f01 r-xp 00000000 fe:01 12   {name}\n"));
        libraries(&mut lines.collect::<String>().as_bytes())
    }

    #[test]
    fn a_runtime_is_known_by_its_library() {
        for (name, language) in [
            ("/usr/lib/jvm/lib/server/libjvm.so", Language::Java),
            ("/usr/share/dotnet/shared/8.0/libcoreclr.so", Language::Dotnet),
            ("/usr/lib/libpython3.11.so.1.0", Language::Python),
            ("/usr/lib/libruby-3.1.so.3.1.2", Language::Ruby),
            ("/usr/lib/libnode.so.108", Language::Nodejs),
            ("/usr/lib/apache2/modules/libphp8.2.so (deleted)", Language::Php),
        ] {
            assert_eq!(of(&["/bin/x", name, "[stack]"]).runtime, Some(language), "{name}");
        }
    }

    #[test]
    fn the_surest_counts_and_its_place_does_not() {
        assert_eq!(of(&["/l/libpython3.11.so", "/l/libjvm.so"]).runtime, Some(Language::Java));
        assert_eq!(of(&["/l/libjvm.so", "/l/libpython3.11.so"]).runtime, Some(Language::Java));
    }

    #[test]
    fn a_directory_of_that_name_is_no_library() {
        let found = of(&["/libjvm.so/x", "/l/libstdc++.so.6", "[heap]", ""]);
        assert_eq!(found, Libraries { runtime: None, has_cpp: true });
    }

    #[test]
    fn lines_beyond_their_bound_end_nothing() {
        let long = format!("/{}", "x".repeat(20_000));
        assert_eq!(of(&[&long, "/l/libjvm.so"]).runtime, Some(Language::Java));
        assert_eq!(libraries(&mut b"/libjvm".as_slice()).runtime, None);
    }
}
