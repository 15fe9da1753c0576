//! Text of strangers, made harmless for a terminal.

use std::fmt::{self, Write};

/// Displays text with everything escaped that could move the cursor, change colours, break the line or turn the
/// reading order: `\u{1b}`.
pub(super) struct Plain<'a>(pub(super) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_active(c) { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}

/// Controls (C0, DEL, C1), line separators, and the marks that turn text around (Unicode TR 36, section 3.5).
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends JSON with the same characters as `\u` escapes. JSON text has them in strings only, but for its own newlines,
/// which are kept.
pub(super) fn append_json(out: &mut String, json: &str) {
    for c in json.chars() {
        if c == '\n' || !is_active(c) {
            out.push(c);
        } else {
            // All of them lie in the basic plane: four digits do.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_passes() {
        let hostile = "/a\u{1b}[2J\n\r\u{7f}\u{9b}31m\u{202e}z";
        assert_eq!(Plain(hostile).to_string(), "/a\\u{1b}[2J\\n\\r\\u{7f}\\u{9b}31m\\u{202e}z");
        assert_eq!(Plain("/søk?π %20\\").to_string(), "/søk?π %20\\");
    }

    #[test]
    fn json_stays_json_of_the_same_text() {
        let hostile = "\u{1b}\u{7f}\u{9b}\u{202e}\u{2028}ø\n\"";
        let mut out = String::new();
        append_json(&mut out, &serde_json::to_string(hostile).unwrap());
        assert_eq!(out, "\"\\u001b\\u007f\\u009b\\u202e\\u2028ø\\n\\\"\"");
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), hostile);
    }
}
