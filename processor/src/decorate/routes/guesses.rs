//! Guesses that were made before: most requests of a service ask for a few paths.

use super::heuristic;
use foldhash::fast::RandomState;
use std::hash::BuildHasher;

/// Places, each for the last path that fell into it. With paths and routes as long as allowed: 256 KiB.
const PLACES: usize = 1024;

/// Longer paths hold ids as a rule, and do not come again.
const MAX_PATH_BYTES: usize = 128;

/// A path with the route that was guessed for it.
#[derive(Clone, Debug, Default)]
struct Guess {
    path: Box<str>,
    route: Box<str>,
}

/// The last guesses.
#[derive(Debug)]
pub(super) struct Guesses {
    places: Vec<Guess>,
    hasher: RandomState,
}

impl Default for Guesses {
    fn default() -> Self {
        Self { places: vec![Guess::default(); PLACES], hasher: RandomState::default() }
    }
}

impl Guesses {
    /// Appends the route of `path`, which is not empty. `wildcard` is always the same.
    pub(super) fn append(&mut self, out: &mut String, path: &str, wildcard: &str) {
        let hash = usize::try_from(self.hasher.hash_one(path)).unwrap_or_default();
        let place = self.places.get_mut(hash % PLACES).filter(|_| path.len() <= MAX_PATH_BYTES);
        match place {
            Some(guess) if *guess.path == *path => out.push_str(&guess.route),
            Some(guess) => {
                let start = out.len();
                heuristic::append(out, path, wildcard);
                *guess = Guess { path: path.into(), route: out.get(start..).unwrap_or_default().into() };
            }
            None => heuristic::append(out, path, wildcard),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
