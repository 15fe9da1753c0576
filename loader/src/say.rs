//! Words to people, on stderr.

use std::io::Write;

/// One line, after the name of the program.
pub fn named(what: &dyn std::fmt::Display) {
    line(&format!("ratatosk-loader: {what}"));
}

/// One line in one write: launcher, loader and processor share stderr, and pieces of their lines would mix. A closed stderr
/// is no reason to end.
pub fn line(text: &str) {
    let _told = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}
