//! What bytes can be, before they are read: a request, a response, a whole head.

use super::parse::{MAX_METHOD_BYTES, is_tchar, is_visible, split_method, split_version};
use crate::protocol::Reader;

/// What the first bytes of a message are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Looks {
    /// A request line of HTTP/1.x, or the beginning of one.
    Request,
    /// A status line of HTTP/1.x, or the beginning of one.
    Response,
    /// Neither.
    Neither,
}

/// What a message that begins with `bytes` can be. A cut first line is judged by what is there.
#[must_use]
pub fn looks(bytes: &[u8]) -> Looks {
    const PREFIX: &[u8] = b"HTTP/1.";
    let common = bytes.len().min(PREFIX.len());
    if common > 0
        && bytes.get(..common) == PREFIX.get(..common)
        && (common == PREFIX.len() || bytes.len() == common)
    {
        return Looks::Response;
    }
    if can_be_request(bytes) { Looks::Request } else { Looks::Neither }
}

/// Whether a message that begins with `bytes` can be a request. `H` alone can: Go reads the first byte of the next request
/// apart from its rest, and HEAD begins like a response.
#[must_use]
pub fn can_be_request(bytes: &[u8]) -> bool {
    match split_method(bytes) {
        Some((_, target)) => looks_like_target(target),
        None => (1..=MAX_METHOD_BYTES).contains(&bytes.len()) && bytes.iter().copied().all(is_tchar),
    }
}

/// A target without control characters; if its line is whole, `HTTP/1.x` ends it.
fn looks_like_target(target: &[u8]) -> bool {
    match Reader::new(target).line() {
        Some(line) => split_version(line).is_some(),
        None => is_visible(target) || ends_in_version(target),
    }
}

/// `target HTTP/1.` cut somewhere behind the blank.
fn ends_in_version(target: &[u8]) -> bool {
    let mut reader = Reader::new(target);
    let Some(before) = reader.until(b' ') else { return false };
    let version = reader.rest().strip_suffix(b"\r").unwrap_or(reader.rest());
    let is_prefix =
        b"HTTP/1.".starts_with(version) || (version.starts_with(b"HTTP/1.") && version.len() <= 8);
    is_prefix && before.iter().all(|byte| *byte > b' ')
}

/// Bytes of the head that begins `bytes`, its empty line included; `None` if it is not whole.
#[must_use]
pub fn head_len(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\n', ..] => return Some(1),
        [b'\r', b'\n', ..] => return Some(2),
        _ => {}
    }
    memchr::memchr_iter(b'\n', bytes).find_map(|end| match bytes.get(end + 1..) {
        Some([b'\n', ..]) => Some(end + 2),
        Some([b'\r', b'\n', ..]) => Some(end + 3),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http1::parse::request_line;

    #[test]
    fn a_first_line_that_is_not_whole_is_none() {
        let line = b"GET /abc HTTP/1.1\r\n";
        for end in 0..line.len() {
            assert!(request_line(&line[..end]).is_none());
            assert_eq!(looks(&line[..end]) == Looks::Request, end > 0, "{end}");
        }
        assert_eq!(looks(b"\x16\x03\x01"), Looks::Neither);
        assert_eq!(looks(b"PRI * HTTP/2.0\r\n"), Looks::Neither);
        assert_eq!(looks(b"HTTP/1.1 200 OK\r\n"), Looks::Response);
        assert_eq!(looks(b"SSH-2.0-OpenSSH\r\n"), Looks::Neither);
    }
}
