//! What every server here answers, and its own log of it (see `../python/truth.py`).

use bytes::Bytes;
use std::{fs::OpenOptions, io::Write};

/// An answer, already logged.
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Sent in parts of unknown sum.
    pub is_streamed: bool,
    /// The body.
    pub parts: Vec<Bytes>,
}

impl Answer {
    /// Decides and logs.
    pub fn new(method: &str, path: &str, request_bytes: usize) -> Self {
        let folder = path.split('/').nth(1).unwrap_or_default();
        let status = match folder {
            "gone" => 404,
            "error" => 500,
            "put" => 201,
            _ => 200,
        };
        let letters = |letter: &str, count| Bytes::from(letter.repeat(count));
        let parts = match folder {
            "chunked" => vec![letters("a", 1000), letters("b", 20_000), letters("c", 1)],
            "big" => vec![letters("x", 300_000)],
            _ => vec![letters("x", 7 * path.len())],
        };
        let sent = if method == "HEAD" { 0 } else { parts.iter().map(Bytes::len).sum() };
        let name = std::env::var("TRUTH_LOG").expect("TRUTH_LOG");
        let mut log = OpenOptions::new().create(true).append(true).open(name).expect("log");
        let line = format!("{path} {method} {status} {request_bytes} {sent}\n");
        log.write_all(line.as_bytes()).expect("line of the log");
        Self { status, is_streamed: folder == "chunked", parts }
    }
}
