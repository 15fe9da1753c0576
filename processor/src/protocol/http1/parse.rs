//! First lines of HTTP/1.x messages (RFC 9112), whole or cut.
//!
//! A line that is not whole says nothing: of a cut head only what stands before its last line end is used.

use crate::{
    model::{Method, RawQuery, Text},
    protocol::Reader,
};

/// Longest method token: the longest registered one has 17 letters.
pub(super) const MAX_METHOD_BYTES: usize = 32;
/// Longest path that is told: what common servers take for a whole request line is 8 KiB, dashboards show far less.
const MAX_PATH_BYTES: usize = 2048;
/// Longest query that is told: enough for a search, not for a form.
const MAX_QUERY_BYTES: usize = 1024;
/// Longest host that is told: a domain name has 253 letters, then a port.
pub(super) const MAX_HOST_BYTES: usize = 261;

/// A path that was cut by the capture is told where this much of it is there: nobody takes it for a whole one. A shorter
/// piece could be the path of something else.
const MIN_CUT_PATH_BYTES: usize = 512;

/// First line of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestLine {
    /// Method.
    pub method: Method,
    /// Path of the target.
    pub path: Text,
    /// Query of the target.
    pub query: RawQuery,
    /// Authority of the target, if it has one.
    pub authority: Option<Text>,
    /// `(major, minor)`; `None` if the line was cut before it.
    pub version: Option<(u8, u8)>,
}

/// First line of a response.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StatusLine {
    /// Three digits.
    pub status: u16,
    /// `(major, minor)`.
    pub version: (u8, u8),
}

/// RFC 9110 5.6.2.
pub(super) const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// Whether there is neither a blank nor a control character. Goes on to the end in any case: so it takes many bytes at once.
pub(super) fn is_visible(target: &[u8]) -> bool {
    target.iter().fold(true, |yes, byte| yes & (*byte > b' ') & (*byte != 0x7f))
}

/// Splits `method rest`.
pub(super) fn split_method(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (method, rest) = line.split_at_checked(line.iter().position(|byte| !is_tchar(*byte))?)?;
    let rest = rest.strip_prefix(b" ")?;
    (1..=MAX_METHOD_BYTES).contains(&method.len()).then_some((method, rest))
}

/// Splits `target HTTP/1.x`.
pub(super) fn split_version(line: &[u8]) -> Option<(&[u8], (u8, u8))> {
    let (target, version) = line.split_at_checked(line.len().checked_sub(9)?)?;
    let version = version.strip_prefix(b" HTTP/1.")?;
    match version {
        [minor @ b'0'..=b'9'] if !target.is_empty() && is_visible(target) => {
            Some((target, (1, minor - b'0')))
        }
        _ => None,
    }
}

/// The request line that begins `head`; `None` if it is not whole or none.
#[must_use]
pub fn request_line(head: &[u8]) -> Option<(RequestLine, Reader<'_>)> {
    let mut reader = Reader::new(head);
    let line = reader.line()?;
    let (method, rest) = split_method(line)?;
    let (target, version) = split_version(rest)?;
    let method = Method::known(method).or_else(|| Some(Method::new(str::from_utf8(method).ok()?)))?;
    let Target { authority, path, query } = split_target(&method, target);
    let authority = authority.map(|bytes| text(bytes, MAX_HOST_BYTES));
    let (path, query) = (text(path, MAX_PATH_BYTES), RawQuery::new(text(query, MAX_QUERY_BYTES)));
    Some((RequestLine { method, path, query, authority, version: Some(version) }, reader))
}

/// What a request line says that goes on beyond what was captured: a known method, and a path that is whole because its
/// query has begun, or longer than anybody reads. `None` if it is whole, or says less.
#[must_use]
pub fn cut_request_line(head: &[u8]) -> Option<RequestLine> {
    let mut parts = Reader::new(head);
    let method = Method::known(parts.until(b' ')?)?;
    let target = parts.rest();
    let is_path = target.first() == Some(&b'/');
    let is_known =
        target.iter().any(|byte| matches!(byte, b'?' | b'#')) || target.len() >= MIN_CUT_PATH_BYTES;
    if !is_visible(target) || !is_path || !is_known {
        return None;
    }
    let path = text(split_target(&method, target).path, MAX_PATH_BYTES);
    // the query may go on: its last value could be half a secret that nothing redacts
    Some(RequestLine { method, path, query: RawQuery::default(), authority: None, version: None })
}

/// Parts of a request target.
struct Target<'a> {
    authority: Option<&'a [u8]>,
    path: &'a [u8],
    query: &'a [u8],
}

/// Parts of a request target (RFC 9112 3.2), fragment left out.
fn split_target<'a>(method: &Method, target: &'a [u8]) -> Target<'a> {
    if method.as_str() == "CONNECT" {
        return Target { authority: Some(target), path: b"", query: b"" };
    }
    let (authority, path) = match absolute_form(target) {
        Some((authority, path)) => (Some(authority), path),
        None => (None, target),
    };
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
    let (path, rest) = path.split_at_checked(end).unwrap_or_default();
    let query = rest.strip_prefix(b"?").and_then(|query| query.split(|byte| *byte == b'#').next());
    Target { authority, path: if path.is_empty() { b"/" } else { path }, query: query.unwrap_or_default() }
}

fn absolute_form(target: &[u8]) -> Option<(&[u8], &[u8])> {
    if target.first() == Some(&b'/') {
        return None;
    }
    let after = memchr::memmem::find(target, b"://").and_then(|at| target.get(at + 3..))?;
    let end = after.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(after.len());
    let (authority, path) = after.split_at_checked(end)?;
    // user:password@ is nobody's business
    let host = authority.iter().rposition(|byte| *byte == b'@').and_then(|at| authority.get(at + 1..));
    Some((host.unwrap_or(authority), path))
}

pub(super) fn text(bytes: &[u8], max_bytes: usize) -> Text {
    if bytes.is_empty() {
        return Text::default(); // most requests have no query
    }
    // a third of the price of looking for what is to be replaced
    match str::from_utf8(bytes) {
        Ok(text) => up_to(text, max_bytes).into(),
        Err(_) => up_to(&String::from_utf8_lossy(bytes), max_bytes).into(),
    }
}

/// As much of `text` as `max_bytes` hold.
fn up_to(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    (0..=max_bytes).rev().find_map(|at| text.get(..at)).unwrap_or_default()
}

/// The status line that begins `head`; `None` if it is not whole or none.
#[must_use]
pub fn status_line(head: &[u8]) -> Option<(StatusLine, Reader<'_>)> {
    let mut reader = Reader::new(head);
    let line = reader.line()?;
    let after = line.strip_prefix(b"HTTP/1.")?;
    let [minor @ b'0'..=b'9', b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = after
    else {
        return None;
    };
    if !matches!(reason, [] | [b' ', ..]) {
        return None;
    }
    let digit = |ascii: &u8| u16::from(ascii - b'0');
    let status = digit(a) * 100 + digit(b) * 10 + digit(c);
    Some((StatusLine { status, version: (1, minor - b'0') }, reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_lose_scheme_authority_and_query() {
        for (line, authority, path) in [
            ("GET /a?b=c HTTP/1.1\r\n", None, "/a"),
            ("GET http://u:p@h:81/x#y HTTP/1.1\r\n", Some("h:81"), "/x"),
            ("GET http://h?q HTTP/1.0\r\n", Some("h"), "/"),
            ("OPTIONS * HTTP/1.1\r\n", None, "*"),
            ("CONNECT h:443 HTTP/1.1\r\n", Some("h:443"), ""),
            ("GET /r?to=http://x/ HTTP/1.1\r\n", None, "/r"),
        ] {
            let (parsed, _) = request_line(line.as_bytes()).expect(line);
            assert_eq!((parsed.authority.as_deref(), &*parsed.path), (authority, path), "{line}");
        }
    }

    #[test]
    fn a_cut_line_says_what_surely_is_its_path() {
        let path = |line: &str| cut_request_line(line.as_bytes()).map(|line| line.path);
        let long = format!("/{}", "p".repeat(MIN_CUT_PATH_BYTES));
        assert_eq!(path("GET /search?q=a+long").as_deref(), Some("/search"));
        assert_eq!(path(&format!("GET {long}")).as_deref(), Some(long.as_str()));
        for line in
            ["GET /orders/12", "FOO /a?b", "GET a?b", "GET /a?b HTTP/1.1\r\n", "GET /a?b HTT", "GET", ""]
        {
            assert_eq!(path(line), None, "{line}");
        }
    }

    #[test]
    fn status_lines() {
        assert_eq!(status_line(b"HTTP/1.1 204 No Content\r\n").map(|(line, _)| line.status), Some(204));
        assert_eq!(status_line(b"HTTP/1.0 200\r\n").map(|(line, _)| line.version), Some((1, 0)));
        assert!(status_line(b"HTTP/1.1 2000 x\r\n").is_none());
        assert!(status_line(b"HTTP/1.1 200").is_none());
    }
}
