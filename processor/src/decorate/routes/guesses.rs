//! Guesses that were made before: most requests of a service ask for a few paths.

use super::heuristic;
use crate::places::Places;

/// Longer paths hold ids as a rule, and do not come again.
pub(super) const MAX_PATH_BYTES: usize = 128;

/// A path with the route that was guessed for it.
#[derive(Debug)]
struct Guess {
    path: Box<str>,
    route: Box<str>,
}

/// The last guesses. With paths and routes as long as allowed: 256 KiB.
#[derive(Debug, Default)]
pub(super) struct Guesses(Places<Guess>);

impl Guesses {
    /// Appends the route of `path`, which is not empty. `wildcard` is always the same.
    pub(super) fn append(&mut self, out: &mut String, path: &str, wildcard: &str) {
        if path.len() > MAX_PATH_BYTES {
            return heuristic::append(out, path, wildcard);
        }
        let hash = self.0.hash(path);
        if let Some(guess) = self.0.get(hash).filter(|guess| *guess.path == *path) {
            return out.push_str(&guess.route);
        }
        let start = out.len();
        heuristic::append(out, path, wildcard);
        let route = out.get(start..).unwrap_or_default().into();
        self.0.put(hash, Guess { path: path.into(), route });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::PLACES;

    #[test]
    fn a_guess_is_the_same_each_time() {
        let mut guesses = Guesses::default();
        let long = format!("/{}", "a/".repeat(MAX_PATH_BYTES));
        let paths: Vec<String> = (0..3 * PLACES)
            .map(|n| format!("/users/{n}/orders"))
            .chain(["/".into(), "a".into(), long])
            .collect();
        for path in paths.iter().chain(&paths).flat_map(|path| [path, path]) {
            let (mut fresh, mut kept) = (String::new(), String::from("before"));
            heuristic::append(&mut fresh, path, "*");
            guesses.append(&mut kept, path, "*");
            assert_eq!(kept, format!("before{fresh}"));
        }
    }
}
