//! Heads of HTTP/1.x messages (RFC 9112), whole or cut.
//!
//! A line that is not whole says nothing: of a cut head only what stands before its last line end is used.

use crate::{
    model::{Method, RawQuery, SpanId, TraceId, TraceParent},
    protocol::Reader,
};
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// Longest method token: the longest registered one has 17 letters.
const MAX_METHOD_BYTES: usize = 32;
/// Longest path that is told: what common servers take for a whole request line is 8 KiB, dashboards show far less.
const MAX_PATH_BYTES: usize = 2048;
/// Longest query that is told: enough for a search, not for a form.
const MAX_QUERY_BYTES: usize = 1024;
/// Longest host that is told: a domain name has 253 letters, then a port.
const MAX_HOST_BYTES: usize = 261;

/// A path that was cut by the capture is told where this much of it is there: nobody takes it for a whole one. A shorter
/// piece could be the path of something else.
const MIN_CUT_PATH_BYTES: usize = 512;

/// First line of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestLine {
    /// Method.
    pub method: Method,
    /// Path of the target.
    pub path: Box<str>,
    /// Query of the target.
    pub query: RawQuery,
    /// Authority of the target, if it has one.
    pub authority: Option<Box<str>>,
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

/// What the header fields say that we need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields {
    /// `Content-Length`; `Some(None)` if it contradicts itself.
    pub content_length: Option<Option<u64>>,
    /// `Transfer-Encoding` ends with `chunked`.
    pub is_chunked: bool,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
    /// `Host`.
    pub host: Option<Box<str>>,
    /// `traceparent`, valid and alone.
    pub parent: Option<TraceParent>,
    traceparents: u8,
}

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

/// RFC 9110 5.6.2.
const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
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
    let token = bytes.iter().take_while(|byte| is_tchar(**byte)).count();
    match bytes.get(token..) {
        None | Some([]) => (1..=MAX_METHOD_BYTES).contains(&token),
        Some([b' ', target @ ..]) if (1..=MAX_METHOD_BYTES).contains(&token) => looks_like_target(target),
        Some(_) => false,
    }
}

/// A target without control characters; if its line is whole, `HTTP/1.x` ends it.
fn looks_like_target(target: &[u8]) -> bool {
    match Reader::new(target).line() {
        Some(line) => split_version(line).is_some(),
        None => target.iter().all(|byte| *byte > b' ' && *byte != 0x7f) || ends_in_version(target),
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

/// Splits `target HTTP/1.x`.
fn split_version(line: &[u8]) -> Option<(&[u8], (u8, u8))> {
    let (target, version) = line.split_at_checked(line.len().checked_sub(9)?)?;
    let version = version.strip_prefix(b" HTTP/1.")?;
    let valid = !target.is_empty() && target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    match version {
        [minor @ b'0'..=b'9'] if valid => Some((target, (1, minor - b'0'))),
        _ => None,
    }
}

/// Bytes of the head that begins `bytes`, its empty line included; `None` if it is not whole.
#[must_use]
pub fn head_len(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\n', ..] => return Some(1),
        [b'\r', b'\n', ..] => return Some(2),
        _ => {}
    }
    let usual = EMPTY_LINE.find(bytes).map(|at| at + 3);
    // an end without carriage return may come first
    let before = bytes.get(..usual.unwrap_or(bytes.len())).unwrap_or(bytes);
    EMPTY_BARE_LINE.find(before).map(|at| at + 2).or(usual)
}

/// Made once: it costs as much as a search.
static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\r\n"));
static EMPTY_BARE_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\n"));

/// The request line that begins `head`; `None` if it is not whole or none.
#[must_use]
pub fn request_line(head: &[u8]) -> Option<(RequestLine, Reader<'_>)> {
    let mut reader = Reader::new(head);
    let line = reader.line()?;
    let mut parts = Reader::new(line);
    let method = parts.until(b' ')?;
    let is_method = (1..=MAX_METHOD_BYTES).contains(&method.len()) && method.iter().copied().all(is_tchar);
    let (target, version) = split_version(parts.rest())?;
    if !is_method {
        return None;
    }
    let method = Method::new(std::str::from_utf8(method).ok()?);
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
    let method = parts.until(b' ').and_then(|token| std::str::from_utf8(token).ok()).map(Method::new)?;
    let target = parts.rest();
    let is_clean = target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    let is_path = target.first() == Some(&b'/');
    let is_known =
        target.iter().any(|byte| matches!(byte, b'?' | b'#')) || target.len() >= MIN_CUT_PATH_BYTES;
    if !matches!(method, Method::Known(_)) || !is_clean || !is_path || !is_known {
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
    let end = path.iter().position(|byte| *byte == b'#').unwrap_or(path.len());
    let mut parts = path.get(..end).unwrap_or(path).splitn(2, |byte| *byte == b'?');
    let (path, query) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    Target { authority, path: if path.is_empty() { b"/" } else { path }, query }
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

fn text(bytes: &[u8], max_bytes: usize) -> Box<str> {
    // a third of the price of looking for what is to be replaced
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.get(..floor_boundary(text, max_bytes)).unwrap_or(text).into();
    }
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.truncate(floor_boundary(&text, max_bytes));
    text.into()
}

fn floor_boundary(text: &str, max_bytes: usize) -> usize {
    (0..=max_bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
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
    let status = [a, b, c].into_iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    Some((StatusLine { status, version: (1, minor - b'0') }, reader))
}

/// Reads the whole lines that are left. A field that is folded over several is one (RFC 9112 5.2); where its last line is
/// not whole, it says nothing.
#[must_use]
pub fn fields(reader: Reader<'_>) -> Fields {
    let bytes = reader.rest();
    let (mut fields, mut field, mut line) = (Fields::default(), 0, 0);
    for end in memchr::memchr_iter(b'\n', bytes) {
        if matches!(bytes.get(line..end), Some([] | [b'\r'])) {
            break;
        }
        let is_one_line = line == field;
        line = end + 1;
        if matches!(bytes.get(line), Some(b' ' | b'\t')) {
            continue; // folded: the next line belongs to this field
        }
        let whole = bytes.get(field..end).unwrap_or_default();
        field = line;
        if is_one_line {
            fields.take(whole);
        } else {
            fields.take(&joined(whole));
        }
    }
    fields
}

/// One line of several: each fold is a blank.
fn joined(lines: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
    lines.join(b" ".as_slice())
}

/// The value of the field called `name`, if `line` is it. Looks at no byte behind the name: most fields are none of ours.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    head.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

impl Fields {
    fn take(&mut self, line: &[u8]) {
        match line.first().map(u8::to_ascii_lowercase) {
            Some(b'h') => {
                if let Some(value) = value_of(line, b"host") {
                    self.host = Some(text(value, MAX_HOST_BYTES));
                }
            }
            Some(b'c') => {
                if let Some(value) = value_of(line, b"content-length") {
                    self.take_content_length(value);
                }
            }
            Some(b'e') => {
                if let Some(value) = value_of(line, b"expect") {
                    self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
                }
            }
            Some(b't') => self.take_t(line),
            _ => {}
        }
    }

    fn take_t(&mut self, line: &[u8]) {
        if let Some(value) = value_of(line, b"traceparent") {
            self.take_traceparent(value);
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            self.is_chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        }
    }

    /// The same number again is one number (RFC 9110 8.6); another is a contradiction.
    fn take_content_length(&mut self, value: &[u8]) {
        let number = decimal(value);
        self.content_length = match self.content_length {
            Some(earlier) if earlier != number => Some(None),
            _ => Some(number),
        };
    }

    /// Two of them are none (W3C Trace Context 3.2.1).
    fn take_traceparent(&mut self, value: &[u8]) {
        self.traceparents = self.traceparents.saturating_add(1);
        self.parent = if self.traceparents == 1 { traceparent(value) } else { None };
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let add = |number: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

/// `version-traceid-parentid-flags`, lower-case hex (W3C Trace Context 3.2).
fn traceparent(value: &[u8]) -> Option<TraceParent> {
    let mut parts = value.splitn(5, |byte| *byte == b'-');
    let [version] = hex::<1>(parts.next()?)?;
    let trace_id = hex::<16>(parts.next()?)?;
    let span_id = hex::<8>(parts.next()?)?;
    let [flags] = hex::<1>(parts.next()?)?;
    // version 00 has four fields; a later one may have more
    let is_valid = version != 0xff && (version != 0 || parts.next().is_none());
    let non_zero = trace_id != [0; 16] && span_id != [0; 8];
    (is_valid && non_zero).then_some(TraceParent {
        trace_id: TraceId(trace_id),
        span_id: SpanId(span_id),
        flags,
    })
}

fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
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

    #[test]
    fn only_a_valid_traceparent_that_is_alone_counts() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let head = |values: &[&str]| {
            let lines: String = values.iter().map(|v| format!("Traceparent: {v}\r\n")).collect();
            fields(Reader::new(lines.as_bytes())).parent
        };
        assert_eq!(head(&[good]).map(|parent| parent.flags), Some(1));
        assert!(head(&[good, good]).is_none());
        for bad in [
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert!(head(&[bad]).is_none(), "{bad}");
        }
        assert!(head(&["01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"]).is_some());
    }

    #[test]
    fn a_contradicting_length_is_no_length() {
        let lengths = |text: &str| fields(Reader::new(text.as_bytes())).content_length;
        assert_eq!(lengths("Content-Length: 5\r\ncontent-length: 5\r\n"), Some(Some(5)));
        assert_eq!(lengths("Content-Length: 5\r\nContent-Length: 6\r\n"), Some(None));
        assert_eq!(lengths("Content-Length: -5\r\n"), Some(None));
        assert_eq!(lengths("Content-Length: 5"), None, "a line that is not whole says nothing");
    }

    #[test]
    fn a_folded_field_is_one_line() {
        let lengths = |text: &str| fields(Reader::new(text.as_bytes())).content_length;
        assert_eq!(lengths("Content-Length:\r\n\t5\r\n\r\n"), Some(Some(5)));
        assert_eq!(lengths("X: a,\r\n b\r\n c\r\nContent-Length: 7\r\n\r\n"), Some(Some(7)));
        assert_eq!(lengths("X: a\r\n Content-Length: 7\r\n\r\n"), None, "a part of another field");
        assert_eq!(lengths("Content-Length: 5\r\n 6\r\n\r\n"), Some(None), "two numbers are none");
        assert_eq!(lengths("Content-Length: 5\r\n 6"), None, "the fold is not whole");
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
